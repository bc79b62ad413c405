//! Small hand-written captures with every nanosecond of the expected path.
//!
//! `fixtures/crafted/CASE/events.txt` says what a case shows. The paths here were
//! worked out by hand from the rows of the cause table, not printed by the program.
//! Times are in microseconds; the stack follows, and what a run delay or an
//! interrupt was under stands in parentheses.

use crate::support::{Analysis, Fixture, fixtures};

fn case(name: &str) -> Analysis {
    let name = format!("crafted/{name}");
    let found: Option<Fixture> = fixtures("crafted").into_iter().find(|f| f.name == name);
    found.unwrap_or_else(|| panic!("fixtures/{name} is missing")).analyze()
}

/// The path of a step, a line a segment.
fn path(analysis: &Analysis, step: usize) -> String {
    let path = &analysis.paths[step];
    let mut out = String::new();
    for s in &path.segments {
        let stack: Vec<_> =
            path.stacks.frames(s.stack).iter().map(|f| f.text(&analysis.model, s.end)).collect();
        let micros = |ns: u64| {
            if ns.is_multiple_of(1000) { (ns / 1000).to_string() } else { format!("{ns} ns") }
        };
        let under = s.under.map_or(String::new(), |u| format!(" ({})", u.name()));
        let mut words = vec![stack.join(" > ")];
        words.retain(|w| !w.is_empty());
        words.extend(s.reason.map(|r| format!("[{}]", r.text())));
        out.push_str(&format!(
            "{} {} {} {}{under} | {}\n",
            micros(s.start.0),
            micros(s.end.0),
            s.cause.name(),
            s.resource.name(),
            words.join(" ")
        ));
    }
    out
}

/// Compares ignoring the indentation of the expected text.
fn expect(name: &str, step: usize, want: &str) {
    let analysis = case(name);
    let got = path(&analysis, step);
    let want: Vec<&str> = want.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let trimmed: Vec<&str> = got.lines().map(str::trim).collect();
    assert!(want == trimmed, "{name}: expected\n{}\n\ngot\n{got}", want.join("\n"));
}

#[test]
fn preempted() {
    expect(
        "preempted",
        0,
        "1000 3000 user_cpu cpu_user | user
         3000 7000 run_delay run_queue (user_cpu) |
         7000 10000 user_cpu cpu_user | user",
    );
}

#[test]
fn vfork() {
    expect(
        "vfork",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 2000 spawn cpu_kernel | vfork
         2000 2200 spawn cpu_user | vfork > agent > spawn
         2200 2900 spawn cpu_kernel | vfork > agent > spawn > execve
         2900 3100 run_delay run_queue (spawn) | vfork
         3100 3200 spawn cpu_kernel | vfork
         3200 4000 user_cpu cpu_user | user",
    );
}

#[test]
fn clone_exit_only() {
    expect(
        "clone_exit_only",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1800 spawn cpu_kernel | clone
         1800 2000 user_cpu cpu_user | user
         2000 2100 spawn cpu_kernel | wait4
         2100 2200 spawn cpu_kernel | wait4 > agent > clone
         2200 4000 user_cpu cpu_user | wait4 > agent > user
         4000 4300 spawn cpu_kernel | wait4 > agent > exit > exit_group
         4300 4500 run_delay run_queue (spawn) | wait4
         4500 4600 spawn cpu_kernel | wait4
         4600 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn restarted_sleep() {
    expect(
        "restarted_sleep",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | clock_nanosleep
         1600 2600 sleep timer | clock_nanosleep
         2600 2700 run_delay run_queue (syscall_cpu) | clock_nanosleep
         2700 2800 syscall_cpu cpu_kernel | clock_nanosleep
         2800 3000 user_cpu cpu_user | user
         3000 3100 syscall_cpu cpu_kernel | clock_nanosleep
         3100 5000 sleep timer | clock_nanosleep
         5000 5100 run_delay run_queue (syscall_cpu) | clock_nanosleep
         5100 5200 syscall_cpu cpu_kernel | clock_nanosleep
         5200 6000 user_cpu cpu_user | user",
    );
}

#[test]
fn waking_first() {
    expect(
        "waking_first",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 2000 syscall_cpu cpu_kernel | read
         2000 2400 run_delay run_queue (syscall_cpu) | read
         2400 2500 syscall_cpu cpu_kernel | read
         2500 3000 user_cpu cpu_user | user",
    );
}

#[test]
fn exec_nonleader() {
    expect(
        "exec_nonleader",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | futex
         1600 2000 user_cpu cpu_user | futex > agent > user
         2000 2600 spawn cpu_kernel | futex > agent > execve
         2600 2700 run_delay run_queue (syscall_cpu) | futex
         2700 2720 syscall_cpu cpu_kernel | futex
         2720 2800 user_cpu cpu_user | user
         2800 2900 spawn cpu_kernel | exit
         2900 3000 unknown unknown | [the task was not alive]
         3000 3200 spawn cpu_kernel | execve
         3200 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn futex_lock() {
    expect(
        "futex_lock",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | futex
         1600 3600 user_lock lock_holder | futex > agent
         3600 3700 run_delay run_queue (syscall_cpu) | futex
         3700 3800 syscall_cpu cpu_kernel | futex
         3800 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn pool_handoff() {
    expect(
        "pool_handoff",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1700 syscall_cpu cpu_kernel | futex
         1700 2000 user_cpu cpu_user | user
         2000 2100 syscall_cpu cpu_kernel | futex
         2100 4000 user_cpu cpu_user | futex > agent > user
         4000 4100 syscall_cpu cpu_kernel | futex > agent > futex
         4100 4300 run_delay run_queue (syscall_cpu) | futex
         4300 4400 syscall_cpu cpu_kernel | futex
         4400 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn poll_ticks() {
    expect(
        "poll_ticks",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | poll
         1600 2600 network_wait peer | poll
         2600 2700 run_delay run_queue (syscall_cpu) | poll
         2700 2800 syscall_cpu cpu_kernel | poll
         2800 2900 user_cpu cpu_user | user
         2900 3000 syscall_cpu cpu_kernel | poll
         3000 4000 network_wait peer | poll
         4000 4100 run_delay run_queue (syscall_cpu) | poll
         4100 4200 syscall_cpu cpu_kernel | poll
         4200 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn poll_timed_out() {
    expect(
        "poll_timed_out",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | poll
         1600 3600 sleep timer | poll
         3600 4000 user_cpu cpu_user | user
         4000 4100 syscall_cpu cpu_kernel | futex
         4100 6100 sleep timer | futex
         6100 6500 user_cpu cpu_user | user
         6500 6600 syscall_cpu cpu_kernel | poll
         6600 8600 ipc_wait unknown | poll [no waker recorded]
         8600 9000 user_cpu cpu_user | user",
    );
}

#[test]
fn loopback() {
    expect(
        "loopback",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | recvfrom
         1600 3000 service_wait peer | recvfrom > server
         3000 3300 run_delay run_queue (syscall_cpu) | recvfrom
         3300 3400 syscall_cpu cpu_kernel | recvfrom
         3400 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn network() {
    expect(
        "network",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | recvfrom
         1600 3000 network_wait peer | recvfrom
         3000 3300 run_delay run_queue (syscall_cpu) | recvfrom
         3300 3400 syscall_cpu cpu_kernel | recvfrom
         3400 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn readahead_fault() {
    expect(
        "readahead_fault",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1800 major_fault cpu_kernel | major fault index.db
         1800 2800 major_fault device | major fault index.db > block read 254:0
         2800 2810 major_fault completion | major fault index.db > block read 254:0
         2810 2900 run_delay run_queue (major_fault) | major fault index.db
         2900 3000 major_fault cpu_kernel | major fault index.db
         3000 3000008 ns user_cpu cpu_user | user
         3000008 ns 3100 syscall_cpu cpu_kernel | getpid
         3100 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn log_force() {
    expect(
        "log_force",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1700 fsync cpu_kernel | fsync
         1700 2200 fsync device | fsync > block write 254:0
         2200 2210 fsync completion | fsync > block write 254:0
         2210 2250 run_delay run_queue (fsync) | fsync
         2250 2320 fsync cpu_kernel | fsync
         2320 2330 fsync run_queue | fsync > kworker/1:1H
         2330 2420 fsync completion | fsync > kworker/1:1H
         2420 2900 fsync device | fsync > kworker/1:1H > block write 254:0
         2900 2910 fsync device_queue | fsync > kworker/1:1H > block write 254:0
         2910 3300 fsync device | fsync > kworker/1:1H > block write 254:0
         3300 3310 fsync completion | fsync > kworker/1:1H > block write 254:0
         3310 3330 fsync run_queue | fsync > kworker/1:1H
         3330 3350 fsync completion | fsync > kworker/1:1H
         3350 3400 run_delay run_queue (fsync) | fsync
         3400 3450 fsync cpu_kernel | fsync
         3450 3450008 ns user_cpu cpu_user | user
         3450008 ns 3460 syscall_cpu cpu_kernel | getpid
         3460 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn contention() {
    expect(
        "contention",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | write
         1600 1700 kernel_lock cpu_kernel | write > kernel lock 0xff00
         1700 2700 kernel_lock lock_holder | write > kernel lock 0xff00 > server
         2700 2800 run_delay run_queue (kernel_lock) | write > kernel lock 0xff00
         2800 2900 kernel_lock cpu_kernel | write > kernel lock 0xff00
         2900 3000 syscall_cpu cpu_kernel | write
         3000 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn pid_reuse() {
    expect(
        "pid_reuse",
        0,
        "1000 1100 user_cpu cpu_user | user
         1100 1280 spawn cpu_kernel | clone
         1280 2500 user_cpu cpu_user | user
         2500 2600 syscall_cpu cpu_kernel | read
         2600 4000 service_wait peer | read > server
         4000 4100 run_delay run_queue (syscall_cpu) | read
         4100 4200 syscall_cpu cpu_kernel | read
         4200 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn implied_switch_in() {
    expect(
        "implied_switch_in",
        0,
        "1000 1900 user_cpu cpu_user | user
         1900 2000 syscall_cpu cpu_kernel | nanosleep
         2000 3000 sleep unknown | nanosleep [no waker recorded]
         3000 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn lost_events() {
    expect(
        "lost_events",
        0,
        "1000 1400 user_cpu cpu_user | user
         1400 1500 syscall_cpu cpu_kernel | getpid
         1500 3000 unknown unknown | [lost events]
         3000 3500 run_delay run_queue (user_cpu) |
         3500 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn interleaved_marks() {
    expect(
        "interleaved_marks",
        0,
        "1000 1100 syscall_cpu cpu_kernel | prctl
         1100 2000 user_cpu cpu_user | user
         2000 2100 syscall_cpu cpu_kernel | prctl
         2100 3000 user_cpu cpu_user | user",
    );
    expect(
        "interleaved_marks",
        1,
        "2000 2100 syscall_cpu cpu_kernel | prctl
         2100 3000 user_cpu cpu_user | user
         3000 3100 syscall_cpu cpu_kernel | prctl
         3100 4000 user_cpu cpu_user | user",
    );
}

#[test]
fn interrupted() {
    expect(
        "interrupted",
        0,
        "1000 2000 user_cpu cpu_user | user
         2000 2200 interrupt cpu_kernel (user_cpu) | irq eth0-rx
         2200 2300 user_cpu cpu_user | user
         2300 2500 interrupt cpu_kernel (user_cpu) | softirq NET_RX
         2500 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn half_outside() {
    expect(
        "half_outside",
        0,
        "500 900 user_cpu cpu_user | user
         900 900500 ns syscall_cpu cpu_kernel | getpid
         900500 ns 900508 ns user_cpu cpu_user | user
         900508 ns 901 syscall_cpu cpu_kernel | getpid
         901 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | getpid
         1600 2000 user_cpu cpu_user | user",
    );
    expect(
        "half_outside",
        1,
        "4000 5500 user_cpu cpu_user | user
         5500 5501 syscall_cpu cpu_kernel | getpid",
    );
    let windows = case("half_outside").windows;
    let clipped: Vec<Option<&str>> =
        windows.steps.iter().map(|step| step.clipped.as_deref()).collect();
    assert_eq!(
        clipped,
        [
            Some("its first 400000 ns lie before the capture"),
            Some("its last 3499000 ns lie after the capture")
        ]
    );
    assert_eq!(
        windows.notes,
        [
            "step 3: [7000000, 8000000) ns lies outside the capture, which holds [500000, 5501000) ns; if the clocks differ see \
          --clock-offset"
        ]
    );
}

#[test]
fn open_calls() {
    expect(
        "open_calls",
        0,
        "1000 1500 service_wait peer | read > busy
         1500 1600 run_delay run_queue (syscall_cpu) | read
         1600 1700 syscall_cpu cpu_kernel | read
         1700 2500 user_cpu cpu_user | user
         2500 2600 syscall_cpu cpu_kernel | clock_nanosleep
         2600 3800 sleep unknown | clock_nanosleep [no waker recorded]",
    );
}

#[test]
fn cpu_begins_late() {
    // By start: the other task's step is the first.
    expect("cpu_begins_late", 0, "1500 3000 unknown unknown | [before first event]");
    expect(
        "cpu_begins_late",
        1,
        "2000 3000 unknown unknown | [before first event]
         3000 3200 user_cpu cpu_user | user
         3200 3300 syscall_cpu cpu_kernel | getpid
         3300 3400 user_cpu cpu_user | user",
    );
}

#[test]
fn lost_at_start() {
    expect(
        "lost_at_start",
        0,
        "1000 1400 user_cpu cpu_user | user
         1400 1500 syscall_cpu cpu_kernel | read
         1500 3000 unknown unknown | [lost events]
         3000 3500 user_cpu cpu_user | user",
    );
    let lost = case("lost_at_start").model.lost;
    let lost: Vec<(u64, u64)> = lost.iter().map(|l| (l.from.0, l.to.0)).collect();
    assert_eq!(lost, [(500_000, 5_501_000)]);
}

#[test]
fn ftrace_marks() {
    expect(
        "ftrace_marks",
        0,
        "1000100 ns 1001 syscall_cpu cpu_kernel | write
         1001 2000 user_cpu cpu_user | user
         2000 2001 syscall_cpu cpu_kernel | write
         2001 2500 user_cpu cpu_user | user
         2500 2501 syscall_cpu cpu_kernel | write
         2501 3000 user_cpu cpu_user | user
         3000 3001 syscall_cpu cpu_kernel | write
         3001 4000 user_cpu cpu_user | user
         4000 4000100 ns syscall_cpu cpu_kernel | write",
    );
    let windows = case("ftrace_marks").windows;
    let steps: Vec<(String, &str, Option<usize>, u64, u64)> = windows
        .steps
        .iter()
        .map(|s| (s.id.to_string(), s.tool.as_str(), s.parent, s.start.0, s.end.0))
        .collect();
    assert_eq!(
        steps,
        [
            ("run 1".to_owned(), "grep|x", None, 1_000_100, 4_000_100),
            ("2".to_owned(), "", Some(0), 2_000_100, 3_000_100)
        ]
    );
}

#[test]
fn no_context() {
    // As `network`: the soft interrupt's own events stand for the flags.
    expect(
        "no_context",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | recvfrom
         1600 3000 network_wait peer | recvfrom
         3000 3300 run_delay run_queue (syscall_cpu) | recvfrom
         3300 3400 syscall_cpu cpu_kernel | recvfrom
         3400 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn no_interrupts() {
    // The task under the interrupt is taken for the waker, with little confidence.
    expect(
        "no_interrupts",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | recvfrom
         1600 3000 service_wait peer | recvfrom > server
         3000 3300 run_delay run_queue (syscall_cpu) | recvfrom
         3300 3400 syscall_cpu cpu_kernel | recvfrom
         3400 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn sleep_under_a_bystander() {
    // As `no_interrupts`, but nothing except its timer ends a sleep.
    expect(
        "sleep_under_a_bystander",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | clock_nanosleep
         1600 3000 sleep timer | clock_nanosleep
         3000 3300 run_delay run_queue (syscall_cpu) | clock_nanosleep
         3300 3400 syscall_cpu cpu_kernel | clock_nanosleep
         3400 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn fault_end_without_address() {
    // The second fault's end is the completion, not the next evidence of user mode.
    expect(
        "fault_end_without_address",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1700 minor_fault cpu_kernel | page fault anon
         1700 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn direct_reclaim() {
    expect(
        "direct_reclaim",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1520 minor_fault cpu_kernel | page fault anon
         1520 1700 reclaim cpu_kernel | page fault anon > direct reclaim
         1700 2700 reclaim timer | page fault anon > direct reclaim
         2700 2800 run_delay run_queue (reclaim) | page fault anon > direct reclaim
         2800 2900 reclaim cpu_kernel | page fault anon > direct reclaim
         2900 3000 minor_fault cpu_kernel | page fault anon
         3000 3000008 ns user_cpu cpu_user | user
         3000008 ns 3100 syscall_cpu cpu_kernel | getpid
         3100 3500 user_cpu cpu_user | user",
    );
    expect("direct_reclaim", 1, "6000 9000 user_cpu cpu_user | user");
}

#[test]
fn dirty_pause() {
    expect(
        "dirty_pause",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1700 syscall_cpu cpu_kernel | write
         1700 1710 writeback_throttle cpu_kernel | write > balance_dirty_pages
         1710 1810 run_delay run_queue (writeback_throttle) | write > balance_dirty_pages
         1810 1900 writeback_throttle cpu_kernel | write > balance_dirty_pages
         1900 3900 writeback_throttle timer | write > balance_dirty_pages
         3900 4000 run_delay run_queue (writeback_throttle) | write > balance_dirty_pages
         4000 4100 syscall_cpu cpu_kernel | write
         4100 5000 user_cpu cpu_user | user",
    );
}

#[test]
fn remote_flush() {
    expect(
        "remote_flush",
        0,
        "1000 1500 user_cpu cpu_user | user
         1500 1600 syscall_cpu cpu_kernel | munmap
         1600 2600 tlb_flush cpu_kernel | munmap > remote TLB flush
         2600 3100 syscall_cpu cpu_kernel | munmap
         3100 3200 user_cpu cpu_user | user",
    );
    expect(
        "remote_flush",
        1,
        "6000 6500 user_cpu cpu_user | user
         6500 8500 syscall_cpu cpu_kernel | munmap
         8500 9000 user_cpu cpu_user | user",
    );
    expect(
        "remote_flush",
        2,
        "10000 10200 user_cpu cpu_user | user
         10200 11800 syscall_cpu cpu_kernel | munmap
         11800 12000 user_cpu cpu_user | user",
    );
}
