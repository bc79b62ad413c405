#!/usr/bin/env bash
# Times a DWARF capture to an SVG: agenttrace against perf script and inferno, in one run.
#
#   benches/stacks.sh CAPTURE...
#
# CAPTURE is a perf.data of this machine, or a folder that `fixtures/record_stacks.sh bench`
# or `benches/record_programs.sh` made. Both sides read the same symbols. Needs perf,
# inferno's programs (`cargo install inferno`) and target/release/agenttrace, or what
# AGENTTRACE names. Each side runs RUNS times (7) in turn; the medians count.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
agenttrace=${AGENTTRACE:-$here/../target/release/agenttrace}
runs=${RUNS:-7}
[ $# -gt 0 ] || { echo "usage: stacks.sh CAPTURE..." >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

theirs() {
    perf --buildid-dir "$cache" script --no-inline -i "$capture" "${kallsyms[@]}" 2>/dev/null |
        inferno-collapse-perf | inferno-flamegraph >"$tmp/theirs.svg"
}

ours() {
    "$agenttrace" flamegraph "$capture" --kind cpu --whole-capture --no-inline \
        --debug-dir "$cache" "${kallsyms[@]}" --out "$tmp/ours.svg" 2>/dev/null
}

milliseconds() { # COMMAND: how long it takes
    local from to
    from=$(date +%s%N)
    "$@"
    to=$(date +%s%N)
    echo $(((to - from) / 1000000))
}

median() { sort -n | sed -n "$(((runs + 1) / 2))p"; }

for capture in "$@"; do
    cache=$HOME/.debug
    kallsyms=()
    if [ -d "$capture" ]; then
        cache=$capture/buildid
        kallsyms=(--kallsyms "$capture/kallsyms")
        capture=$capture/perf.data
    fi
    : >"$tmp/theirs" >"$tmp/ours"
    for _ in $(seq "$runs"); do
        milliseconds theirs >>"$tmp/theirs"
        milliseconds ours >>"$tmp/ours"
    done
    samples=$(perf script -i "$capture" -F event 2>/dev/null | grep -c 'cpu-clock' || true)
    a=$(median <"$tmp/theirs") b=$(median <"$tmp/ours")
    awk -v name="$capture" -v n="$samples" -v mb="$(($(stat -c %s "$capture") >> 20))" \
        -v a="$a" -v b="$b" 'BEGIN {
            printf "%s: %d samples, %d MB: perf and inferno %d ms, agenttrace %d ms, 1/%.1f\n",
                name, n, mb, a, b, a / b }'
done
