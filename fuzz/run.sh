#!/usr/bin/env bash
# Runs fuzz targets for long: fuzz/run.sh INPUTS TARGET...
# Prints for each target: inputs tried, crashes, peak memory. Logs go to
# $AGENTTRACE_FUZZ_LOGS, by default fuzz/target/logs.
#
# Needs `cargo install cargo-fuzz`. No nightly compiler and no sanitizer: the project
# has no code of its own that could break memory, so what is looked for are panics,
# overflows (both checks are on), hangs, and memory.
set -euo pipefail
cd "$(dirname "$0")"

inputs=$1
shift
logs=${AGENTTRACE_FUZZ_LOGS:-target/logs}
mkdir -p "$logs"
logs=$(cd "$logs" && pwd)
export RUSTC_BOOTSTRAP=1

# The seeds are written by the replay test, from the fixtures.
AGENTTRACE_CORPUS="$PWD/corpus" cargo test --quiet --manifest-path ../Cargo.toml \
    -p agenttrace-parse --release --test damage corpus_for_the_fuzzer >/dev/null
AGENTTRACE_CORPUS="$PWD/corpus" cargo test --quiet --manifest-path ../Cargo.toml \
    -p agenttrace-model --release --test stacks corpus_for_the_fuzzer >/dev/null

for target in "$@"; do
    # Long enough for the seeds: a trace.dat cannot be short.
    case $target in
    steps) length=1024 ;;
    ftrace_text | format) length=4096 ;;
    *) length=16384 ;;
    esac
    cargo fuzz build -s none "$target"
    done_before=0
    # After a crash the run goes on, until all inputs are tried; each crash leaves its
    # input in artifacts/.
    while [ "$done_before" -lt "$inputs" ]; do
        log=$logs/$target.$done_before.log
        status=0
        cargo fuzz run -s none "$target" "corpus/$target" -- \
            -runs=$((inputs - done_before)) -max_len=$length -timeout=10 -rss_limit_mb=512 \
            -malloc_limit_mb=128 -print_final_stats=1 >"$log" 2>&1 || status=$?
        tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
        peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log" | tail -n 1)
        echo "$target: tried ${tried:-0}, peak memory ${peak:-?} MB, $([ "$status" = 0 ] && echo "no crash" || echo "crash, see $log")"
        done_before=$((done_before + ${tried:-0} + 1))
    done
done
