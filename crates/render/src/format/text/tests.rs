//! Exact text of a hand-made report.

use agenttrace_attribute::cause::Cause;
use agenttrace_model::parse::Nanos;

use super::*;
use crate::escape::width;
use crate::fixture;

fn plain(width: usize) -> Style {
    Style { width, ..Style::default() }
}

#[test]
fn the_session_on_one_screen() {
    let report = fixture::report();
    let expected = "\
agenttrace  perf.data   2 steps, 24.2 ms   2 CPUs, Linux 6.18.1   no events lost
            markers: steps file, same clock

 where the steps' time went             ms      %  steps  failure mode
 1 major_fault  ##################  14.502   59.9      1  index evicted, refaulted
                first fix: MADV_POPULATE_READ before the step
 2 user_cpu     ##########           7.308   30.2      2  not the kernel
 3 vfs_metadata ###                  2.104    8.7      1  2,400 stats per call
                first fix: git untracked cache, cache the listing
 4 run_delay    #                    0.300    1.2      1  waits for a CPU
                first fix: fewer busy tasks, or more CPUs

 slowest steps                             wall  x median                                     sure
          142 search_codebase           20.2 ms      2.1x                                     high
              mmap fault storm: vector_index.db was evicted by step 141 (scan_repo, repo.pack 64 MiB
              read) 1.2 s earlier
 a|<sc...[31m evil;\\u{202...)</script>   4.0 ms                                               medium
              not the kernel: `agent` computes

 by tool          steps    in all     p50      p95      p99  costs most
 search_codebase     12  121.0 ms  9.6 ms  20.2 ms  20.2 ms
   vfs_metadata: 6.1 ms x 200 steps = 1.2 s

 seen in part  interrupt (no irq:irq_handler_entry)
 not captured  tlb_flush (no tlb:tlb_flush)
 data loss     3 blocked tasks that ran again without a recorded waker
 note          step 9 ends before it begins: line 4
 full reports  out/report.md
";
    assert_eq!(session(&report, &plain(100), Some("out/report.md")), expected);
}

#[test]
fn a_step_in_full() {
    let report = fixture::report();
    let expected = "\
step 142  search_codebase   agent pid 18421   20.214 ms   2.1x the tool's median (9.6 ms)
      322.644126913 to 322.664341234 on the capture's clock
 marked with   model=\"x-1\"   n=3
 states        18.4 ms observed, 1.8 ms inferred from other events
 recording     about 0.81 ms of it (4.0 %), by 2,700 events on the path; 450 events a ms in all
                    ms      %    cpu  run q  dev q device  other
 major_fault    14.502   71.7  1.811         0.402 11.912  0.377
 user_cpu        3.308   16.4  3.308
 vfs_metadata    2.104   10.4  2.104
 run_delay       0.300    1.5         0.300                       in major_fault
                20.214  100.0  7.223  0.300  0.402 11.912  0.377

 verdict       mmap fault storm: vector_index.db was evicted by step 141 (scan_repo, repo.pack
               64 MiB read) 1.2 s earlier
               major_fault with its run delay: 14.8 ms, 73.2 % of the step
 confidence    high: every needed event captured, none lost in the window
 evidence      298 faults slept for I/O; 297 of their pages were in the cache at 322.651 and deleted
               in step 141 [exceptions:page_fault_user]
 fix           MADV_POPULATE_READ on the index before the step (Linux 5.14+)         at most 13.0 ms
               keep step 141's scan out of the cache: POSIX_FADV_NOREUSE (Linux 6.3+)

 all its tasks did, in parallel or not (does not add up to the wall time)
 system calls  openat 847 (1.1 ms, 3 errors)   newfstatat 2,400 (0.70 ms)
 page faults   major 300 (13.9 ms, p99 90.0 us)   minor 1,204 (0.40 ms, p99 90.0 us)
               /data/vector_index.db 298 (298 major, 13.8 ms)
 block I/O     read 301 on vda (254:0): 1.2 MiB, queue 0.40 ms, device 11.9 ms, p50 40.0 us p99
               0.31 ms max 9.2 ms
 fsync         none
 wakeups       312, 1.9 ms in all, p50 40.0 us p99 90.0 us max 1.1 ms
 run delay     0.30 ms
 processes     2 forks, 2 execs, 1.4 ms making and starting them
 migrations    3
 CPU time      7.2 ms
 not captured  lock waits   TLB flushes (needs tlb:tlb_flush)
 tasks         agent 18421 (20.2 ms)   search 18430 (13.2 ms, inferred)

 programs started
   program        spawns     fork   resident
   true|<script>      20  0.38 ms          -
   sh                  1   1.2 ms  512.0 MiB
   (3 more rows)
   note        fork copies page tables

 block I/O (queued to completed), in microseconds
   n 301   p50 40.1 us   p99 0.31 ms   max 9.2 ms
   [8, 16)         12 |@@@                                                 |
   [16, 32)        42 |@@@@@@@@@@                                          |
   [32, 64)       230 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|
   [64, 128)        9 |@@@                                                 |
   [128, 256)       3 |@                                                   |
   [256, 512)       0 |                                                    |
   [512, 1K)        0 |                                                    |
   [1K, 2K)         0 |                                                    |
   [2K, 4K)         0 |                                                    |
   [4K, 8K)         0 |                                                    |
   [8K, 16K)        5 |@@                                                  |
";
    assert_eq!(step(&report, &report.steps[0], &plain(100)), expected);
}

#[test]
fn what_was_not_captured_is_said() {
    let report = fixture::report();
    let text = step(&report, &report.steps[1], &plain(80));
    let part = " not captured  system calls   page faults   block I/O   fsync   wakeups
               run delay   processes   lock waits   migrations
               TLB flushes (needs tlb:tlb_flush)   CPU time
";
    assert!(text.contains(part), "{text}");
    assert!(!text.contains(" 0.0 ms") && !text.contains("none"), "{text}");
}

/// Every line fits, at any width, with colours or without, names however hostile.
#[test]
fn lines_fit_and_nothing_acts_on_the_terminal() {
    let mut report = fixture::report();
    let long = "\u{6f22}\u{5b57}/\x1b]0;x\x07\u{202e}".repeat(40);
    report.session.ranking[1].failure_mode = long.clone();
    report.session.ranking[2].first_fix = "word ".repeat(60);
    report.session.by_tool[0].tool = long.clone();
    report.session.by_tool[0].penalty = long.clone();
    report.session.name = Some(long.clone());
    report.steps[0].verdicts[0].title = long.clone();
    report.steps[0].verdicts[0].recommendations[0].text = long.clone().into();
    report.steps[0].comm = long.clone();
    report.steps[0].tasks[0].comm = long.clone();
    report.notes = vec![long; 9];
    for columns in [1, 80, 81, 99, 100, 101, 120, 200] {
        for (color, ascii) in [(false, false), (false, true), (true, false)] {
            let style = Style { color, ascii, width: columns };
            let mut text = session(&report, &style, None);
            for one in &report.steps {
                text.push_str(&step(&report, one, &style));
            }
            for ink in ["0", "1", "2", "31", "32", "33", "36"] {
                text = text.replace(&format!("\x1b[{ink}m"), "");
            }
            for line in text.lines() {
                assert!(width(line) <= columns.max(80), "{columns}: {line}");
            }
            assert!(!text.chars().any(|c| crate::escape::hostile(c) && c != '\n'));
            assert!(!ascii || text.is_ascii());
        }
    }
}

#[test]
fn colour_changes_no_text() {
    let report = fixture::report();
    let colored = session(&report, &Style { color: true, ..plain(100) }, None);
    assert!(colored.contains("\x1b[32mhigh\x1b[0m"));
    let mut bare = colored;
    for ink in ["0", "1", "2", "31", "32", "33", "36"] {
        bare = bare.replace(&format!("\x1b[{ink}m"), "");
    }
    assert_eq!(
        bare.lines().map(str::trim_end).collect::<Vec<_>>(),
        session(&report, &plain(100), None).lines().collect::<Vec<_>>()
    );
}

#[test]
fn a_screen_stays_one_screen() {
    let mut report = fixture::report();
    for i in 0..500 {
        let mut one = fixture::fault_step();
        one.wall = Nanos(10_000_000 - i * 1_000);
        report.steps.push(one);
    }
    report.notes = vec!["a note".to_owned(); 100];
    for columns in [80, 100, 120] {
        let text = session(&report, &plain(columns), None);
        assert!(text.lines().count() <= 48, "{text}");
        assert!(text.contains("more notes"), "{text}");
        assert!(text.contains("shorter steps"), "{text}");
    }
}

#[test]
fn an_empty_report_is_no_error() {
    let mut report = fixture::report();
    report.steps.clear();
    report.session.ranking.clear();
    report.session.by_tool.clear();
    assert!(session(&report, &plain(80), None).contains("no time to show"));
}

#[test]
fn a_verdict_about_several_causes_says_so() {
    let report = fixture::report();
    let step = &report.steps[0];
    let mut verdict = step.verdicts[0].clone();
    verdict.causes = vec![(verdict.cause, Nanos(2)), (Cause::Spawn, Nanos(1))];
    assert_eq!(
        crate::rows::weight(step, &verdict),
        "major_fault and 1 other cause: 14.8 ms, 73.2 % of the step"
    );
}
