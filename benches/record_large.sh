#!/usr/bin/env bash
# Records a capture of a given size for measuring speed, as root, on any Linux machine with
# perf, gcc, make, e2fsprogs and util-linux:
#
#   sudo benches/record_large.sh SIZE --out DIR       SIZE: 300M, 1G, 4G, ...
#
# Gives DIR/{perf.data,steps.jsonl,README.md}. The workload is bench_wide of
# fixtures/workload; it runs until perf.data has that size, which takes about 10 seconds for
# each gigabyte. The capture is written to DIR directly, which so must have room and be able
# to take 200 MB a second: a fast disk, or tmpfs.
set -euo pipefail

usage() {
    echo "usage: record_large.sh SIZE --out DIR" >&2
    exit 2
}
size= out=
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=${2:-}; shift 2 ;;
        -*) usage ;;
        *) size=$1; shift ;;
    esac
done
[ -n "$size" ] && [ -n "$out" ] || usage
bytes=$(numfmt --from=iec "$size") || usage

here=$(cd "$(dirname "$0")/../fixtures" && pwd)
. "$here/recording.sh"
agent= perf=
restore() { kill $agent $perf 2>/dev/null || true; }

# The events of the README's command line, as far as this kernel has them.
wanted="
sched:sched_switch sched:sched_waking sched:sched_wakeup_new sched:sched_migrate_task
sched:sched_process_fork sched:sched_process_exec sched:sched_process_exit task:task_newtask
exceptions:page_fault_user exceptions:page_fault_kernel
filemap:mm_filemap_fault filemap:mm_filemap_add_to_page_cache
filemap:mm_filemap_delete_from_page_cache
block:block_bio_queue block:block_rq_issue block:block_rq_complete
ext4:ext4_sync_file_enter ext4:ext4_sync_file_exit jbd2:jbd2_start_commit jbd2:jbd2_end_commit
lock:contention_begin lock:contention_end net:netif_receive_skb
irq:irq_handler_entry irq:irq_handler_exit irq:softirq_entry irq:softirq_exit
timer:hrtimer_expire_entry
"
events=
for e in $wanted; do
    if [ -d "$tracefs/events/${e/://}" ]; then
        events+=${events:+,}$e
    else
        echo "record_large.sh: this kernel has no $e" >&2
    fi
done

dir=$out d=$tmp/run
mkdir "$d"
mkfifo "$d/go" "$d/control" "$d/ack"
rm -f "$dir/perf.data" "$dir/steps.jsonl"
spin
start_agent bench_wide "$bin/agent" bench_wide --dir "$tmp/work" --journal-dir "$tmp/journal" --out "$dir"
sync

# The system calls of perf itself and of the spinners are left out, and no other events of
# theirs: see record.sh.
perf record -a -d -c 1 -k CLOCK_MONOTONIC -m 8M -r 1 -o "$dir/perf.data" \
    --control "fifo:$d/control,$d/ack" \
    -e raw_syscalls:sys_enter,raw_syscalls:sys_exit --exclude-perf --filter "$others" \
    -e "$events" -e minor-faults,major-faults >"$d/perf.log" 2>&1 &
perf=$!
exec 8<>"$d/control" 9<>"$d/ack"
echo ping >&8
read -r _ <&9 # answered when recording runs
echo >"$d/go"

while [ "$(stat -c %s "$dir/perf.data")" -lt "$bytes" ]; do
    for p in $agent $perf; do
        kill -0 "$p" 2>/dev/null || { cat "$d/perf.log"; echo "record_large.sh: the recording failed" >&2; exit 1; }
    done
    sleep 0.05
done
kill "$agent"
wait "$agent" || { echo "record_large.sh: bench_wide failed" >&2; exit 1; }
echo stop >&8
wait "$perf" || { cat "$d/perf.log" >&2; exit 1; }
agent= perf=
exec 8>&- 9>&-
stop_helpers
rm "$dir/truth.jsonl" # the workload knows none
chmod 644 "$dir/perf.data"
cp "$here/workload/recipes/bench_wide.md" "$dir/README.md"
cat "$d/perf.log"
echo "bench_wide: $(stat -c %s "$dir/perf.data") bytes, $(($(wc -l <"$dir/steps.jsonl") - 1)) steps"
