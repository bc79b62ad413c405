//! Texts of a few lines to the events that they must give.

mod dialects;
mod folder;
mod hostile;
mod order;
mod stacks;

use crate::{Capture, CaptureInfo, Diagnostics, Error, ReadOptions, Totals, Unpacked, write_event};

/// What a text gave.
struct Read {
    info: CaptureInfo,
    totals: Totals,
    diagnostics: Diagnostics,
    /// As `dump --stage events` shows them.
    events: Vec<String>,
    /// The number of each one's line.
    lines: Vec<u64>,
}

fn read(text: &[u8]) -> Result<Read, Error> {
    let unpacked = Unpacked::of(text)?;
    let capture = Capture::open(&unpacked, &ReadOptions::default())?;
    let mut diagnostics = Diagnostics::default();
    let (mut events, mut lines) = (Vec::new(), Vec::new());
    let totals = capture.read(&mut diagnostics, &mut |batch| {
        for event in batch {
            let mut line = String::new();
            write_event(event, &mut line);
            events.push(line);
            lines.push(event.record);
        }
    })?;
    Ok(Read { info: capture.info().clone(), totals, diagnostics, events, lines })
}

fn refusal(text: &str) -> String {
    match read(text.as_bytes()) {
        Ok(_) => "read".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A text's dialect and its events, a line each.
fn events(text: &str) -> String {
    let read = read(text.as_bytes()).unwrap();
    format!("{}\n{}\n", read.info.format, read.events.join("\n"))
}

const TRACE: &str = "\
# tracer: nop
#
# entries-in-buffer/entries-written: 8/8   #P:2
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
     my - odd> n-5180    [001] .....  1524.005689: sys_enter: NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)
     my - odd> n-5180    [001] .....  1524.005689: sys_exit: NR 8 = -29
     my - odd> n-5180    [001] ...1.  1524.005748: tracing_mark_write: agenttrace:B|1|a: b
            work-77      [001] d.h3.  1524.005800: sched_waking: comm=a pid=1 (x) pid=5180 prio=120 target_cpu=001
          <idle>-0       [000] dNs2.  1524.005801: sched_wakeup: comm=my - odd> n pid=5180 prio=120 target_cpu=000
           <...>-88      [000] d..2.  1524.005802: sched_switch: prev_comm=a ==> b prev_pid=88 prev_prio=120 prev_state=D|K ==> next_comm=swapper/0 next_pid=0 next_prio=120
     my - odd> n-5180    [001] .....  1524.005900: block_rq_complete: 254,0 FWFS () 2048 + 8 be,0,4 [-5]
     my - odd> n-5180    [001] .....  1524.005901: kmem_cache_free: call_site=x ptr=0
";

const TRACE_CMD: &str = "\
cpus=2
     my - odd> n-5180  [001]  1524.005688663: sys_enter:            NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)
build:            work-77    [001]  1524.005700000: (+12)    sched_switch:         a:1 b:77 [120] W ==> my - odd> n:5180 [120] Latency: 8.2 usecs
CPU:0 [3 EVENTS DROPPED]
     my - odd> n-5180  [001]  1524.005748012: print:                tracing_mark_write: agenttrace:E|1
     my - odd> n-5180  [000]  1524.005749103: sched_wakeup:         my - odd> n:5180 [120] CPU:001

Average wakeup latency: 1977.908 usecs
";

const TRACE_CMD_RAW: &str = "\
            work-77    [001]  1524.005689: sys_enter:             id=257 args=ARRAY[9c, ff, ff, ff, 00, 00, 00, 00, b0, f6, f2, 39, 3f, 7f, 00, 00, 02, 00, 08, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00]
            work-77    [001]  1524.005690: sys_exit:              id=257 ret=3
            work-77    [001]  1524.005691: print:                 ip=tracing_mark_write buf=agenttrace:B|2|x y
            work-77    [001]  1524.005692: block_rq_issue:        dev=266338304 sector=171454096 nr_sector=8 bytes=4096 ioprio=16388 rwbs=DS comm=work cmd=
            work-77    [001]  1524.005693: mm_filemap_add_to_page_cache: pfn=0x18a9d8 i_ino=9d600e index=0x80 s_dev=266338304 order=3
            work-77    [001]  1524.005694: sched_switch:          prev_comm=a b prev_pid=77 prev_prio=120 prev_state=128 next_comm=swapper/1 next_pid=0 next_prio=120
";

const PERF: &str = "\
# ========
# captured on    : Wed Nov 25 15:48:08 2026
# os release : 6.18.1
# nrcpus online : 2
# cmdline : /usr/bin/perf record -a -c 1 -k CLOCK_MONOTONIC
# clockid: monotonic (1)
# ========
#
         swapper     0/0     [000]     0.000000000: PERF_RECORD_FORK(7:7):(2:2)
         swapper     0/0     [000]     0.000000000: PERF_RECORD_NAMESPACES 7/7 - nr_namespaces: 7
\t\t[0/net: 4/0xeffffff9, 1/uts: 4/0xeffffffe, 2/ipc: 4/0xefffffff, 3/pid: 4/0xeffffffc, 
\t\t 4/user: 4/0xeffffffd, 5/mnt: 4/0xeffffff8, 6/cgroup: 4/0xeffffffb]
 thr:1-2 (a) [0]     7/9     [001]  1880.800269463:                      sched:sched_switch: prev_comm=thr:1-2 (a) [0] prev_pid=9 prev_prio=120 prev_state=S ==> next_comm=x next_pid=10 next_prio=120
\tffffffff821f8298 __schedule+0x618 ([kernel.kallsyms])

             :-1     7/-1    [001]  1880.800269500:          1                              minor-faults:     7f274f82d408 [unknown]     5610bc27152d [unknown]
               x    10/10    [001]  1880.800269600: PERF_RECORD_LOST lost 168
               x    10/10    [001]  1880.800269700: syscalls:sys_enter_openat: dfd: 0xffffff9c, filename: 0x7f22b86040b1, flags: 0x00080000, mode: 0x00000000
";
