#!/usr/bin/env bash
# Compares agenttrace with other readers of the same captures, and prints Markdown tables:
#
#   benches/compare.sh CAPTURE STEPS [CAPTURE STEPS]...
#
# For each capture: time, ratio, CPU and memory of each tool; of agenttrace also one thread
# against two, few steps against many, and one step against all. For all of them: growth.
# The tools run in turn, RUNS times (5), with the capture in the page cache and output to
# /dev/null; medians count. perf script runs SLOW_RUNS times (2). Memory is measured in
# further runs. On a quiet machine, with perf and python3. The steps are those of
# record_large.sh or multiply: on the capture's clock, a line each.
#
# AGENTTRACE and LINUX_PERF_DATA name the programs; else they are built.
set -euo pipefail

if [ $# -lt 2 ] || [ $(($# % 2)) = 1 ]; then
    echo "usage: compare.sh CAPTURE STEPS [CAPTURE STEPS]..." >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
runs=${RUNS:-5} slow_runs=${SLOW_RUNS:-2}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

built() { # CARGO COMMAND...: the program that cargo says it built
    (cd "$here/.." && cargo "$@" --message-format json 2>/dev/null) |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1 || true
}
agenttrace=${AGENTTRACE:-$(built build --release --bin agenttrace)}
crate=${LINUX_PERF_DATA:-$(built bench --no-run --bench linux_perf_data)}
[ -x "$agenttrace" ] && [ -x "$crate" ] || { echo "compare.sh: cargo could not build" >&2; exit 2; }

# ---- measuring -----------------------------------------------------------

# once NAME COMMAND...: adds a line to the results of NAME.
once() {
    local name=$1
    shift
    "$here/measure.py" "$@" >>"$tmp/$name"
}
# column NAME N: the median of a column.
column() {
    cut -d' ' -f"$2" "$tmp/$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
memory() { # NAME COMMAND...: peak RSS and RssAnon, in a run of its own
    local name=$1
    shift
    "$here/measure.py" --memory "$@" >"$tmp/$name.memory"
}
megabytes() { # NAME N: 1 for RSS, 2 for RssAnon
    [ ! -e "$tmp/$1.memory" ] || cut -d' ' -f"$2" "$tmp/$1.memory" | awk '{ printf "%.0f MB", $1 / 1024 }'
}
# calc FORMAT EXPRESSION
calc() { awk "BEGIN { printf \"$1\", $2 }"; }

analyze() { # OPTIONS...: the command, in `command`
    command=("$agenttrace" analyze "$capture" --markers "$steps" "$@")
}

# ---- steps files ---------------------------------------------------------

# pieces N: the time between the first step and the last of each of 10 tasks (or as many as
# have steps), in N steps of equal length: the same cover for any N. No agent would begin a
# step inside of a system call: --clock-offset makes that a warning.
pieces() {
    python3 - "$steps" "$1" <<'PY'
import json, sys
spans = {}
for line in open(sys.argv[1]):
    step = json.loads(line)
    if "start_ns" in step:
        key = (step["pid"], step["tid"])
        first, last = spans.get(key, (step["start_ns"], step["end_ns"]))
        spans[key] = (min(first, step["start_ns"]), max(last, step["end_ns"]))
print('{"schema":"agenttrace.steps/1","clock":"monotonic"}')
tasks = sorted(spans.items())[:10]
each = max(int(sys.argv[2]) // len(tasks), 1)
number = 0
for (pid, tid), (first, last) in tasks:
    cuts = [first + (last - first) * n // each for n in range(each + 1)]
    for start, end in zip(cuts, cuts[1:]):
        number += 1
        print(json.dumps({"step_id": number, "tool": "piece", "pid": pid, "tid": tid,
                          "start_ns": start, "end_ns": end}))
PY
}

# short_step FROM TO: a step in the middle of the capture, of no more than the median length.
short_step() {
    python3 - "$steps" "$@" <<'PY'
import json, sys
first, last = map(int, sys.argv[2:])
steps = [json.loads(line) for line in open(sys.argv[1])]
steps = [s for s in steps if s.get("start_ns", 0) >= first and s.get("end_ns", last) < last]
length = lambda s: s["end_ns"] - s["start_ns"]
median = sorted(map(length, steps))[len(steps) // 2]
middle = [s for s in steps[len(steps) // 2:] + steps if length(s) <= median]
print(middle[0]["step_id"])
PY
}

# ---- one capture ---------------------------------------------------------

compare() {
    local capture=$1 steps=$2 command bytes events step n name
    rm -f "$tmp"/*
    cat "$capture" >/dev/null # into the page cache
    bytes=$(stat -c %s "$capture")
    "$agenttrace" check "$capture" >"$tmp/check" 2>/dev/null
    events=$(awk '$1 == "events" { print $2; exit }' "$tmp/check")
    step=$(short_step $(awk '$1 == "duration" { print $5, $7; exit }' "$tmp/check"))
    pieces 10 >"$tmp/steps10.jsonl"
    pieces 10000 >"$tmp/steps10000.jsonl"
    for n in $(seq "$runs"); do
        analyze --format json && once json "${command[@]}"
        analyze --format text && once text "${command[@]}"
        analyze --format json --threads 1 && once one_thread "${command[@]}"
        analyze --format json --threads 2 && once two_threads "${command[@]}"
        analyze --format json --step "$step" && once one_step "${command[@]}"
        command=("$agenttrace" analyze "$capture" --format json --clock-offset 0 --markers)
        once steps10 "${command[@]}" "$tmp/steps10.jsonl"
        once steps10000 "${command[@]}" "$tmp/steps10000.jsonl"
        once timehist perf sched timehist -i "$capture"
        once trace perf trace -s -i "$capture"
        once crate "$crate" "$capture"
        once lines wc -l "$capture"
        once bytes wc -c "$capture"
        [ "$n" -gt "$slow_runs" ] || once script perf script -i "$capture"
    done
    analyze --format json && memory json "${command[@]}"
    analyze --format text && memory text "${command[@]}"
    analyze --format json --step "$step" && memory one_step "${command[@]}"
    memory timehist perf sched timehist -i "$capture"
    memory trace perf trace -s -i "$capture"
    memory crate "$crate" "$capture"
    memory script perf script -i "$capture"
    memory lines wc -l "$capture"

    printf '### %s: %s MB, %s events, %s steps\n\n' "$(basename "$(dirname "$capture")")" \
        "$(calc %.0f "$bytes / 1e6")" "$events" "$(grep -c start_ns "$steps")"
    echo '| tool | time | MB/s | million events/s | time to agenttrace | CPU time | peak RSS | peak RssAnon |'
    echo '| --- | --: | --: | --: | --: | --: | --: | --: |'
    row json '`agenttrace analyze --format json`'
    row text '`agenttrace analyze`'
    row timehist '`perf sched timehist`'
    row trace '`perf trace -s`'
    row script '`perf script`'
    row crate '`linux-perf-data`, records and samples'
    row lines '`wc -l`'
    row bytes '`wc -c`'
    printf '\n| agenttrace | time | | of |\n| --- | --: | --: | --- |\n'
    pair '2 threads' two_threads 'time with 1 thread' one_thread
    pair '10,000 steps over the same time' steps10000 'time with 10 steps' steps10
    pair "one short step (\`--step $step\`)" one_step 'the whole analysis' json
    echo
    growth+="| $(basename "$(dirname "$capture")") | $(calc %.0f "$bytes / 1e6") | $(column json 1) | "
    growth+="$(calc %.2f "$(column json 1) / $bytes * 1e9") | $(megabytes json 2) |"$'\n'
}

row() { # NAME WHAT
    local time mine
    time=$(column "$1" 1) mine=$(column json 1)
    echo "| $2 | $(calc %.3f "$time") s | $(calc %.0f "$bytes / 1e6 / $time") |" \
        "$(calc %.1f "$events / 1e6 / $time") | $(calc %.2f "$time / $mine") |" \
        "$(calc %.3f "$(column "$1" 2)") s | $(megabytes "$1" 1) | $(megabytes "$1" 2) |"
}
pair() { # WHAT NAME OF-WHAT NAME
    echo "| $1 | $(calc %.3f "$(column "$2" 1)") s | $(calc %.2f "$(column "$2" 1) / $(column "$4" 1)") | $3, $(calc %.3f "$(column "$4" 1)") s |"
}

growth=
echo "$(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r), $(perf --version)"
echo "Medians of $runs runs in turn (\`perf script\`: $slow_runs), warm page cache."
echo
while [ $# -gt 0 ]; do
    compare "$1" "$2"
    shift 2
done
echo '| capture | MB | time of `analyze --format json`, s | s for each GB | peak RssAnon |'
echo '| --- | --: | --: | --: | --: |'
printf '%s' "$growth"
