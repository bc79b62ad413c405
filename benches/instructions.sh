#!/usr/bin/env bash
# Counts the instructions of each stage, by `valgrind --tool=callgrind`: a figure without
# noise, to be compared before and after a change.
#
#   benches/instructions.sh [CAPTURE STEPS]      a checked-in fixture, where none is named
#
# Prints a Markdown table of instructions for each event. A line of source counts for the
# stage whose file it is in; code of libraries (sorting, hashing, memory) for the stages that
# called it, by their shares. What no stage called (the program's start, threads) is apart.
# Needs valgrind and python3. AGENTTRACE names the program; else it is built.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
fixture=$here/../fixtures/recorded/spawn_cost
capture=${1:-$fixture/perf.data} steps=${2:-$fixture/steps.jsonl}
if [ -z "${AGENTTRACE:-}" ]; then
    (cd "$here/.." && cargo build --quiet --release --bin agenttrace)
    AGENTTRACE=$here/../target/release/agenttrace
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

valgrind --tool=callgrind --callgrind-out-file="$tmp/out" "$AGENTTRACE" analyze "$capture" \
    --markers "$steps" --format json --threads 1 >/dev/null 2>"$tmp/log" ||
    { cat "$tmp/log" >&2; exit 1; }
events=$("$AGENTTRACE" check "$capture" 2>/dev/null | awk '$1 == "events" { print $2; exit }')

python3 - "$tmp/out" "$events" <<'PY'
import collections, re, sys

# The first that is in a file's path.
STAGES = [
    ("walk and order", ["parse/src/perf_data/order", "parse/src/perf_data/record", "parse/src/stream"]),
    ("decode", ["parse/src"]),
    ("build", ["model/src/build"]),
    ("steps and claims", ["model/src/marks", "model/src/clock", "model/src/claims", "model/src/window"]),
    ("model, looked up", ["model/src"]),
    ("critical paths", ["attribute/src/walk", "attribute/src/path", "attribute/src/rows",
                        "attribute/src/facts", "attribute/src/phases", "attribute/src/cpu_lines",
                        "attribute/src/cursor", "attribute/src/cells", "attribute/src/memo"]),
    ("report", ["attribute/src"]),
    ("JSON", ["render/src"]),
    ("program", ["crates/cli"]),
]

def stage(path):
    for name, parts in STAGES:
        if any(part in path for part in parts):
            return name
    return None

# Callgrind's format: `fl=` begins a function, `fi=` and `fe=` change the file inside it
# (inlined code), the line after `calls=` is what a callee took.
files, functions = {}, {}
def named(names, text):
    match = re.match(r"\((\d+)\)(?: (.*))?$", text)
    if not match:
        return text
    if match[2] is not None:
        names[match[1]] = match[2]
    return names.get(match[1], "")

LIBRARIES = "libraries"
costs = collections.Counter()  # by stage: lines of ours
library = collections.Counter()  # by function: other lines
home = {}  # of a function of ours: its stage
callers = collections.defaultdict(collections.Counter)  # of a function: by caller, what it took
own = here = function = callee = ""
calling = False
for line in open(sys.argv[1], errors="replace"):
    key, _, rest = line.rstrip("\n").partition("=")
    if key in ("fl", "fi", "fe", "cfi", "cfl"):
        path = named(files, rest)
        if key == "fl":
            own = here = path
        elif key in ("fi", "fe"):
            here = path
    elif key == "fn":
        function = named(functions, rest)
        if stage(own):
            home[function] = stage(own)
    elif key == "cfn":
        callee = named(functions, rest)
    elif key == "calls":
        calling = True
    elif line[:1] in "0123456789+-*" and line.strip():
        count = int(line.split()[1])
        if calling:
            callers[callee][function] += count
        elif stage(here):
            costs[stage(here)] += count
        else:
            library[function] += count
        calling = False

# What a function of a library took counts for its callers, each by its share; these may be
# of a library too.
shares = {f: {home[f]: 1.0} if f in home else {LIBRARIES: 1.0} for f in {*library, *home, *callers}}
for _ in range(40):
    for f in shares:
        above = callers.get(f)
        if f in home or not above:
            continue
        mixed = collections.Counter()
        for caller, count in above.items():
            for name, share in shares.get(caller, {LIBRARIES: 1.0}).items():
                mixed[name] += share * count
        total = sum(mixed.values())
        if total:
            shares[f] = {name: count / total for name, count in mixed.items()}
for f, count in library.items():
    for name, share in shares[f].items():
        costs[name] += share * count
costs = {name: round(costs[name]) for name in [name for name, _ in STAGES] + [LIBRARIES]}

total, events = sum(costs.values()), int(sys.argv[2])
print(f"{events} events, {total:,} instructions\n")
print("| stage | instructions | for each event |\n| --- | --: | --: |")
for name, count in costs.items():
    print(f"| {name} | {count:,} | {count / events:.0f} |")
print(f"| all | {total:,} | {total / events:.0f} |")
PY
