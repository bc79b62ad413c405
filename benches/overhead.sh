#!/usr/bin/env bash
# Measures what recording costs for each event: the same work with and without it.
#
#   sudo benches/overhead.sh [perf|ftrace]...      both, where nothing is named
#
# Three loops on one CPU: system calls that do nothing, first touches of memory, and two
# processes that hand a byte to each other. Each is timed by its own clock RUNS times (7)
# without recording and with it, in turn; the medians count. The events are those that the
# README records. Needs perf or tracefs, and gcc. On a quiet machine, as root.
set -euo pipefail

runs=${RUNS:-7}
modes=("$@")
[ $# -gt 0 ] || modes=(perf ftrace)
[ "$(id -u)" = 0 ] || { echo "overhead.sh: must be root" >&2; exit 2; }
tracefs=/sys/kernel/tracing
[ -d $tracefs/events ] || mount -t tracefs nodev $tracefs
tmp=$(mktemp -d /dev/shm/overhead.XXXXXX)
trap 'rm -rf "$tmp"' EXIT

cat >"$tmp/overhead.c" <<'C'
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
    const char *what = argc > 1 ? argv[1] : "";
    long n = argc > 2 ? atol(argv[2]) : 0;
    long long start = 0;
    if (strcmp(what, "syscalls") == 0) {
        start = now();
        for (long i = 0; i < n; i++) syscall(SYS_getppid);
    } else if (strcmp(what, "faults") == 0) {
        char *p = mmap(0, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return 1;
        madvise(p, n * 4096, MADV_NOHUGEPAGE);
        start = now();
        for (long i = 0; i < n; i++) p[i * 4096] = 1;
    } else if (strcmp(what, "switches") == 0) {
        int there[2], back[2];
        char c = 0;
        if (pipe(there) || pipe(back)) return 1;
        if (fork() == 0) {
            close(there[1]); /* it ends when the parent does */
            while (read(there[0], &c, 1) == 1)
                if (write(back[1], &c, 1) != 1) break;
            _exit(0);
        }
        start = now();
        for (long i = 0; i < n; i++)
            if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1) return 1;
    } else {
        return 2;
    }
    printf("%lld\n", now() - start);
    return 0;
}
C
gcc -O2 -o "$tmp/overhead" "$tmp/overhead.c"

events=()
for e in sched:sched_{switch,waking,wakeup_new,migrate_task,process_fork,process_exec,process_exit} \
    task:task_newtask exceptions:page_fault_{user,kernel} \
    filemap:mm_filemap_{fault,add_to_page_cache,delete_from_page_cache} \
    block:block_{bio_queue,rq_issue,rq_complete} jbd2:jbd2_{start,end}_commit \
    lock:contention_{begin,end} irq:irq_handler_{entry,exit} irq:softirq_{entry,exit} \
    timer:hrtimer_expire_entry net:netif_receive_skb; do
    [ -d "$tracefs/events/${e/://}" ] && events+=("$e")
done
joined=$(IFS=,; echo "${events[*]}")

median() { sort -n | sed -n "$(((runs + 1) / 2))p"; }

none() { "$tmp/overhead" "$1" "$2"; }

perf_on() { # the time, and below it the events of the program
    perf record -q -a -d -c 1 -k CLOCK_MONOTONIC -m 8M -o "$tmp/perf.data" \
        -e raw_syscalls:sys_enter,raw_syscalls:sys_exit --exclude-perf \
        -e minor-faults,major-faults -e "$joined" \
        -- "$tmp/overhead" "$1" "$2" 2>/dev/null
}

perf_count() {
    perf script -i "$tmp/perf.data" -F comm,event 2>/dev/null | grep -c '^ *overhead ' || true
}

ftrace_on() {
    echo 65536 >$tracefs/buffer_size_kb
    echo >$tracefs/trace
    echo 1 >$tracefs/tracing_on
    for e in raw_syscalls "${events[@]}"; do echo 1 >"$tracefs/events/${e/://}/enable"; done
    "$tmp/overhead" "$1" "$2"
    echo 0 >$tracefs/events/enable
}

ftrace_count() {
    grep -c '^ *overhead-' $tracefs/trace || true
    echo 1 >$tracefs/buffer_size_kb # gives the memory back
}

for mode in "${modes[@]}"; do
    total_ns=0 total_events=0
    for work in "syscalls 100000" "faults 20000" "switches 10000"; do
        read -r name n <<<"$work"
        : >"$tmp/plain" >"$tmp/recorded"
        for _ in $(seq "$runs"); do
            none "$name" "$n" >>"$tmp/plain"
            "${mode}_on" "$name" "$n" >>"$tmp/recorded"
        done
        count=$("${mode}_count")
        plain=$(median <"$tmp/plain") recorded=$(median <"$tmp/recorded")
        total_ns=$((total_ns + recorded - plain)) total_events=$((total_events + count))
        awk -v mode="$mode" -v name="$name" -v n="$n" -v a="$plain" -v b="$recorded" -v c="$count" \
            'BEGIN { printf "%s %-8s %6d times: %6.0f ns each, recorded %6.0f ns; %7d events, %4.0f ns an event\n",
                mode, name, n, a / n, b / n, c, c ? (b - a) / c : 0 }'
    done
    echo "$mode all: $((total_ns / (total_events > 0 ? total_events : 1))) ns an event"
done
