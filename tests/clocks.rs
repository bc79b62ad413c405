//! Clocks of the marks mapped to the capture's, and mappings that cannot be right.

use std::fmt::Write as _;

use agenttrace_model::{Builder, MarkOptions, Marked, place_marks};
use agenttrace_parse::{Capture, Diagnostics, Nanos, ReadOptions, Unpacked, read_steps};

use crate::json::Json;
use crate::support::{Fixture, fixtures, report_text, root, run};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
/// The wall clock at the capture's time 0.
const WALL: u64 = 1_764_000_000_000_000_000;

fn place(events: &[u8], steps: &str, offset: Option<i64>) -> Result<Marked, String> {
    let unpacked = Unpacked::of(events).map_err(|e| e.to_string())?;
    let capture = Capture::open(&unpacked, &ReadOptions::default()).map_err(|e| e.to_string())?;
    let mut builder = Builder::new(capture.info());
    capture
        .read(&mut Diagnostics::default(), &mut |events| builder.push(events))
        .map_err(|e| e.to_string())?;
    let file = read_steps(steps.as_bytes());
    let file = Some(&file);
    let options = MarkOptions { file, clock_offset: offset, ..MarkOptions::default() };
    place_marks(&builder.finish(None).unwrap(), capture.info(), &options)
}

/// A task that runs from 1 s to 100 s, with these lines in the head and in between.
fn events(head: &str, between: &str) -> Vec<u8> {
    format!(
        "# agenttrace.events/1\n# arch x86_64\n{head}\
         0 - 100/100 - record:comm pid=100 tid=100 exec=0 comm=\"agent\"\n\
         1000000000 0 0/0 d sched:sched_switch prev_comm=\"swapper/0\" prev_pid=0 prev_state=R next_comm=\"agent\" next_pid=100\n\
         {between}\
         100000000000 0 100/100 d sched:sched_switch prev_comm=\"agent\" prev_pid=100 prev_state=S next_comm=\"swapper/0\" next_pid=0\n"
    )
    .into_bytes()
}

fn step(id: u64, start: u64, end: u64) -> String {
    format!("{{\"step_id\":{id},\"pid\":100,\"start_ns\":{start},\"end_ns\":{end}}}\n")
}

fn times(marked: &Marked) -> Vec<(u64, u64)> {
    marked.steps.iter().map(|s| (s.start.0, s.end.0)).collect()
}

fn refusal(events: &[u8], steps: &str) -> String {
    place(events, steps, None).expect_err("nothing relates the clocks")
}

#[test]
fn the_same_clock_is_as_exact_as_the_times() {
    let steps = step(1, 2 * S, 3 * S);
    let marked = place(&events("# clock monotonic\n", ""), &steps, None).unwrap();
    assert_eq!((marked.mapping.as_str(), marked.error), ("same clock", Some(Nanos(0))));
    let rounded = events("# clock monotonic\n# resolution 1000\n", "");
    let marked = place(&rounded, &steps, None).unwrap();
    assert_eq!((marked.mapping.as_str(), marked.error), ("same clock", Some(Nanos(1000))));
    assert_eq!(times(&marked), [(2 * S, 3 * S)]);
}

#[test]
fn realtime_by_clock_data() {
    let head = format!("# clock monotonic\n# wall {S} {}\n", WALL + S);
    let steps = format!("{{\"clock\":\"realtime\"}}\n{}", step(1, WALL + 2 * S + 7, WALL + 3 * S));
    let marked = place(&events(&head, ""), &steps, None).unwrap();
    assert_eq!(times(&marked), [(2 * S + 7, 3 * S)]);
    assert_eq!(marked.mapping, "realtime, by the capture's clock data");
    assert_eq!(marked.error, Some(Nanos(1000)));
}

#[test]
fn two_anchors_follow_the_drift() {
    // The wall clock loses 50 us each second on the capture's.
    let wall = |at: u64| WALL + at - at / 20_000;
    let anchor = |at: u64| format!("{{\"monotonic_raw_ns\":{at},\"realtime_ns\":{}}}", wall(at));
    let steps = format!(
        "{{\"clock\":\"realtime\",\"anchors\":[{},{}]}}\n{}{}",
        anchor(2 * S),
        anchor(90 * S),
        step(1, wall(40 * S), wall(41 * S)),
        step(2, wall(94 * S), wall(95 * S))
    );
    let marked = place(&events("# clock monotonic_raw\n", ""), &steps, None).unwrap();
    for (got, want) in times(&marked).iter().zip([(40 * S, 41 * S), (94 * S, 95 * S)]) {
        assert!(got.0.abs_diff(want.0) <= 1 && got.1.abs_diff(want.1) <= 1, "{got:?}");
    }
    // 50 ppm slower to one side is 50.0025 faster to the other.
    assert_eq!(marked.mapping, "realtime, by 2 anchors in the steps file (drift 50.003 ppm)");
    // Two readings of 1 us; beyond the last anchor their part of the distance.
    let errors: Vec<u64> = marked.steps.iter().filter_map(|s| Some(s.error?.0)).collect();
    assert_eq!(errors, [1000, 1056]);
    assert_eq!(marked.error, Some(Nanos(1056)));
}

#[test]
fn one_anchor_gives_an_offset() {
    let steps = format!(
        "{{\"clock\":\"boottime\",\"anchors\":[{{\"monotonic_ns\":{S},\"boottime_ns\":{}}}]}}\n{}",
        61 * S,
        step(1, 71 * S, 72 * S)
    );
    let marked = place(&events("# clock monotonic\n", ""), &steps, None).unwrap();
    assert_eq!(times(&marked), [(11 * S, 12 * S)]);
    assert_eq!(marked.mapping, "boottime, by 1 anchor in the steps file (offset only)");
    // Both tick alike, so that the distance adds nothing.
    assert_eq!(marked.error, Some(Nanos(1000)));
}

#[test]
fn a_clock_that_was_set_is_said() {
    let steps = format!(
        "{{\"clock\":\"realtime\",\"anchors\":[{{\"monotonic_ns\":{},\"realtime_ns\":{}}},{{\"monotonic_ns\":{},\"realtime_ns\":{}}}]}}\n{}",
        2 * S,
        WALL,
        4 * S,
        WALL + 3 * S,
        step(1, WALL + S, WALL + 2 * S)
    );
    let marked = place(&events("# clock monotonic\n", ""), &steps, None).unwrap();
    assert_eq!(marked.error, Some(Nanos(S)));
    assert!(
        marked.notes[0].starts_with("the clocks moved against each other"),
        "{:?}",
        marked.notes
    );
}

#[test]
fn texts_in_the_trace_relate_any_clock() {
    // A clock that counts one each microsecond, and does not say so.
    let tick = |at: u64, reading: u64| {
        format!("{at} 0 100/100 . ftrace:print buf=\"agenttrace:C|monotonic|{reading}\"\n")
    };
    let counter = |between: &str| {
        format!(
            "# agenttrace.events/1\n# arch x86_64\n\
             0 - 100/100 - record:comm pid=100 tid=100 exec=0 comm=\"agent\"\n\
             1000 0 0/0 d sched:sched_switch prev_comm=\"swapper/0\" prev_pid=0 prev_state=R next_comm=\"agent\" next_pid=100\n\
             {between}90000 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0\n"
        )
        .into_bytes()
    };
    let steps = step(1, 7 * S + 30 * MS, 7 * S + 40 * MS);
    let two = counter(&(tick(2000, 7 * S + 2 * MS) + &tick(80_000, 7 * S + 80 * MS)));
    let marked = place(&two, &steps, None).unwrap();
    assert_eq!(times(&marked), [(30_000, 40_000)]);
    assert_eq!(marked.mapping, "monotonic, by 2 texts agenttrace:C in the trace (rate measured)");
    // One reading does not tell the unit.
    let text = refusal(&counter(&tick(2000, 7 * S + 2 * MS)), &steps);
    assert!(text.contains("agenttrace:C|monotonic|NS"), "{text}");
    // perf's own clock counts nanoseconds: one gives the offset.
    let local = events("# clock local\n", &tick(2 * S, 9 * S));
    let marked = place(&local, &step(1, 9 * S, 10 * S), None).unwrap();
    assert_eq!(times(&marked), [(2 * S, 3 * S)]);
    // 20 us for the way from reading to writing, and 500 ppm over one second.
    assert_eq!(marked.error, Some(Nanos(520_000)));
}

#[test]
fn anchors_lead_on_to_texts() {
    let steps = format!(
        "{{\"clock\":\"realtime\",\"anchors\":[{{\"monotonic_ns\":{},\"realtime_ns\":{WALL}}}]}}\n{}",
        9 * S,
        step(1, WALL + S, WALL + 2 * S)
    );
    let text = |at: u64, reading: u64| {
        format!("{at} 0 100/100 . ftrace:print buf=\"agenttrace:C|monotonic|{reading}\"\n")
    };
    let between = text(2 * S, 9 * S) + &text(90 * S, 97 * S);
    let marked = place(&events("# clock local\n", &between), &steps, None).unwrap();
    assert_eq!(times(&marked), [(3 * S, 4 * S)]);
    assert_eq!(
        marked.mapping,
        "realtime, by 1 anchor in the steps file (offset only), then by 2 texts agenttrace:C in the trace (drift 0.000 ppm)"
    );
    assert_eq!(marked.error, Some(Nanos(2000)));
}

/// In-band marks of steps 1 to `n`, of a second each, every two seconds from 2 s.
fn in_band(n: u64) -> String {
    (1..=n).fold(String::new(), |mut text, id| {
        for (at, what) in
            [(2 * id * S, format!("B|{id}|grep")), (2 * id * S + S, format!("E|{id}"))]
        {
            let _ = writeln!(text, "{at} 0 100/100 . ftrace:print buf=\"agenttrace:{what}\"");
        }
        text
    })
}

#[test]
fn marks_of_the_same_ids_carry_the_others() {
    // The file's clock is 500 s ahead; the third step's times were taken 80 ms late.
    let mut steps = String::new();
    for id in 1..=6 {
        let late = if id == 3 { 80 * MS } else { 0 };
        steps += &step(id, 500 * S + 2 * id * S + late, 501 * S + 2 * id * S + late);
    }
    steps += &step(9, 540 * S, 541 * S);
    let marked = place(&events("# clock local\n", &in_band(6)), &steps, None).unwrap();
    assert_eq!(
        marked.mapping,
        "by 10 in-band marks of the same ids (2 far off left out, drift 0.000 ppm)"
    );
    let last = marked.steps.last().unwrap();
    assert_eq!((last.start.0, last.end.0, last.mapped), (40 * S, 41 * S, true));
    // A joined step has the times of its marks, and their tool.
    let third = &marked.steps[2];
    assert_eq!((third.start.0, third.tool.as_str(), third.mapped), (6 * S, "grep", false));
    assert_eq!(third.error, Some(Nanos(0)));
}

#[test]
fn in_band_marks_contradict_a_wrong_mapping() {
    let shifted: String =
        (1..=4).map(|id| step(id, 2 * id * S + 50 * MS, 2 * id * S + S)).collect();
    let marked = place(&events("# clock monotonic\n", &in_band(4)), &shifted, None).unwrap();
    let note = marked.notes.iter().find(|n| n.contains("the mapping is wrong"));
    assert!(note.is_some_and(|n| n.contains("lie 50000000 ns from")), "{:?}", marked.notes);
    let good: String = (1..=4).map(|id| step(id, 2 * id * S + 9_000, 2 * id * S + S)).collect();
    let marked = place(&events("# clock monotonic\n", &in_band(4)), &good, None).unwrap();
    assert_eq!(marked.notes, Vec::<String>::new());
}

#[test]
fn what_is_not_known_is_no_guess() {
    let on = |clock: &str| format!("{{\"clock\":\"{clock}\"}}\n{}", step(1, 2 * S, 3 * S));
    let text = refusal(&events("# clock tai\n", ""), &on("realtime"));
    assert!(text.contains("leap seconds") && text.contains("--clock-offset NS"), "{text}");
    let text = refusal(&events("# clock monotonic\n", ""), &on("boottime"));
    assert!(text.contains("suspended") && text.contains("-k CLOCK_MONOTONIC"), "{text}");
    let text = refusal(&events("", ""), &on("monotonic"));
    assert!(text.contains("perf's own clock") && text.contains("\"anchors\""), "{text}");
    // By hand it is done, and nobody knows how well.
    let marked = place(&events("", ""), &on("monotonic"), Some(5 * S as i64)).unwrap();
    assert_eq!((times(&marked), marked.error), (vec![(7 * S, 8 * S)], None));
}

/// Steps of 10 ms each 100 ms, in which a task syncs a file for 8 ms; it sleeps in
/// between, in a call.
fn worker(n: u64) -> (Vec<u8>, impl Fn(u64) -> String) {
    let start = |i: u64| S + i * 100 * MS;
    let mut between = String::new();
    let mut line = |at: u64, what: &str| {
        let _ = writeln!(between, "{at} 0 {what}");
    };
    let out = "100/100 d sched:sched_switch prev_comm=\"agent\" prev_pid=100 prev_state=S next_comm=\"swapper/0\" next_pid=0";
    let back = "0/0 d sched:sched_switch prev_comm=\"swapper/0\" prev_pid=0 prev_state=R next_comm=\"agent\" next_pid=100";
    for i in 1..=n {
        let at = start(i);
        for (nr, from, to) in [(74, at + MS, at + 9 * MS), (230, at + 11 * MS, at + 99 * MS)] {
            line(from, &format!("100/100 . raw_syscalls:sys_enter id={nr} args=3,0,0,0,0,0"));
            line(from + 50_000, out);
            line(to - 50_000, "0/0 dh sched:sched_waking comm=\"agent\" pid=100 target_cpu=0");
            line(to - 40_000, back);
            line(to, &format!("100/100 . raw_syscalls:sys_exit id={nr} ret=0"));
        }
    }
    let steps = move |shift: u64| -> String {
        (1..=n).map(|i| step(i, start(i) + shift, start(i) + 10 * MS + shift)).collect()
    };
    (events("# clock monotonic\n", &between), steps)
}

#[test]
fn shifted_steps_are_refused() {
    let (capture, steps) = worker(20);
    let marked = place(&capture, &steps(0), None).unwrap();
    assert_eq!((marked.steps.len(), marked.notes), (20, Vec::new()));
    // Into the sleeps: nobody runs in these windows.
    let text = refusal(&capture, &steps(50 * MS));
    assert!(
        text.contains("of 20 steps timed by the steps file, 20 have a window in which"),
        "{text}"
    );
    // Half a step: each edge is inside a call, though the task runs in between.
    let text = refusal(&capture, &steps(5 * MS));
    assert!(text.contains("of 40 edges of the others' windows, 40 lie inside"), "{text}");
    // Hours: outside.
    let text = refusal(&capture, &steps(7200 * S));
    assert!(text.starts_with("no step could be placed"), "{text}");
    // By hand it is the user's word, and a note.
    let marked = place(&capture, &steps(0), Some(50 * MS as i64)).unwrap();
    assert!(marked.notes[0].starts_with("the steps' times do not fit"), "{:?}", marked.notes);
}

#[test]
fn waiting_roots_are_no_alarm() {
    let (capture, _) = worker(20);
    // Timed by somebody else, around the whole task, and of a task that only waits.
    let whole = step(1, 0, 200 * S) + &step(2, S, 3 * S);
    let marked = place(&capture, &whole, None).unwrap();
    assert!(!marked.notes.iter().any(|n| n.contains("fit the capture")), "{:?}", marked.notes);
    // A server, timed from outside: at both edges it waits for work.
    let text = String::from_utf8(capture).unwrap().replace("id=230", "id=0");
    let around: String = (1..=20)
        .map(|i| step(i, S + i * 100 * MS - 5 * MS, S + i * 100 * MS + 15 * MS))
        .skip(1)
        .collect();
    let marked = place(text.as_bytes(), &around, None).unwrap();
    assert_eq!((marked.steps.len(), marked.notes), (19, Vec::new()));
}

#[test]
fn an_edge_may_lie_in_the_call_that_logs() {
    let (capture, steps) = worker(20);
    // write in place of fsync.
    let text = String::from_utf8(capture).unwrap().replace("id=74", "id=1");
    let marked = place(text.as_bytes(), &steps(5 * MS), None).unwrap();
    assert!(!marked.notes.iter().any(|n| n.contains("do not fit")), "{:?}", marked.notes);
}

/// A shift of a fixture's marks, under names that no in-band mark of it has.
fn shifted(fixture: &Fixture, by: i64) -> String {
    let text = String::from_utf8(fixture.step_bytes().unwrap_or_default()).unwrap();
    text.lines().fold(String::new(), |mut out, line| {
        let Ok(json) = Json::parse(line) else { return out };
        let number = |key: &str| json.get(key).number().map(|n| n.saturating_add_signed(by));
        let (Some(start), Some(end)) = (number("start_ns"), number("end_ns")) else {
            let _ = writeln!(out, "{line}");
            return out;
        };
        let _ = writeln!(
            out,
            "{{\"step_id\":\"at {start}\",\"pid\":{},\"tid\":{},\"start_ns\":{start},\"end_ns\":{end}}}",
            json.get("pid").number().unwrap_or(0),
            json.get("tid").number().unwrap_or(0)
        );
        out
    })
}

/// Whether the report of shifted marks would say so.
fn caught(fixture: &Fixture, by: i64) -> bool {
    match place(&fixture.bytes(), &shifted(fixture, by), None) {
        Err(_) => true,
        Ok(marked) => marked.notes.iter().any(|n| n.contains("fit the capture")),
    }
}

#[test]
fn recorded_steps_raise_no_alarm() {
    for fixture in fixtures("recorded").into_iter().filter(|f| f.steps && !f.is_large()) {
        assert!(!caught(&fixture, 0), "{}", fixture.name);
    }
}

#[test]
fn recorded_steps_that_are_shifted_raise_one() {
    let mut silent = Vec::new();
    for fixture in fixtures("recorded").into_iter().filter(|f| f.steps && !f.is_large()) {
        assert!(caught(&fixture, 3_600 * S as i64), "{} by an hour", fixture.name);
        let text = shifted(&fixture, 0);
        let walls: Vec<u64> = text
            .lines()
            .filter_map(|line| {
                let json = Json::parse(line).ok()?;
                Some(json.get("end_ns").number()? - json.get("start_ns").number()?)
            })
            .collect();
        let fifth = walls.iter().sum::<u64>() / walls.len() as u64 / 5;
        if !caught(&fixture, i64::try_from(fifth).unwrap_or(0)) {
            silent.push(fixture.name);
        }
    }
    // Fixtures from elsewhere are not judged.
    silent.retain(|name| root().join("fixtures").join(name).is_dir());
    let known: Vec<String> = SILENT.iter().map(|name| format!("recorded/{name}")).collect();
    assert_eq!(silent, known);
}

/// Where a shift by a fifth of a step is not told from the right times: a root that is
/// in user mode, or in its own wait for work, nearly all the time; a few steps of different
/// work, with too few edges to judge by; or lost events.
const SILENT: [&str; 31] = [
    "block_delays",
    "block_reads",
    "block_rivals",
    "block_writes",
    "cold_start",
    "cpu_throttle",
    "cpu_throttle_rivals",
    "directory_contention",
    "dirty_throttle",
    "fault_kinds",
    "fsync_batching",
    "fsync_fast_commit",
    "interleaved",
    "io_uring",
    "journal_waits",
    "lost_events",
    "memory_limit",
    "metadata_cascade",
    "minor_fault_storm",
    "mmap_fault_storm",
    "mmap_fault_storm_nospin",
    "nested_steps",
    "network_wait",
    "refaults",
    "run_delay",
    "scheduling",
    "spawn_phases_nospin",
    "tlb_shootdown",
    "user_lock",
    "vfs_metadata",
    "watch_storm",
];

#[test]
fn check_says_what_a_dialect_lacks() {
    let all = fixtures("crafted");
    let check = |name: &str| {
        let found = all.iter().find(|f| f.name == format!("crafted/{name}")).expect("the fixture");
        let answer = run(&found.dir, &["check", "events.txt"]);
        assert_eq!(answer.code, 0, "{}", answer.err);
        let lacks = answer.out.lines().filter_map(|l| l.strip_prefix("lacks       "));
        lacks.map(str::to_owned).collect::<Vec<_>>()
    };
    let lacks = check("no_interrupts");
    assert_eq!(lacks.len(), 3, "{lacks:?}");
    assert!(lacks[0].starts_with("times are rounded to 1000 ns"), "{lacks:?}");
    assert!(lacks[1].contains("record irq:irq_handler_entry/exit"), "{lacks:?}");
    assert!(lacks[2].contains("options/record-tgid"), "{lacks:?}");
    assert!(check("no_context")[1].ends_with("the interrupts' own events tell them apart"));
    assert_eq!(check("network"), Vec::<String>::new());
}

#[test]
fn reports_say_what_the_format_lacks() {
    let all = fixtures("crafted");
    let report = |name: &str| {
        let found = all.iter().find(|f| f.name == format!("crafted/{name}"));
        Json::parse(&report_text(found.expect("the fixture"), &[])).expect("JSON")
    };
    let json = report("no_interrupts");
    let fidelity = json.get("capture").get("fidelity");
    assert_eq!(fidelity.get("resolution_ns").number(), Some(1000));
    assert_eq!(fidelity.get("context"), &Json::Bool(false));
    assert_eq!(json.get("capture").get("clock").get("error_ns").number(), Some(1000));
    let verdict = |json: &Json| {
        let verdicts = json.get("steps").list()[0].get("verdicts").list().to_vec();
        let found = verdicts
            .into_iter()
            .find(|v| v.get("cause").text().is_some_and(|c| c.ends_with("_wait")));
        let found = found.expect("a verdict on the wait");
        let reasons: Vec<String> = found
            .get("reasons")
            .list()
            .iter()
            .filter_map(|r| r.text().map(str::to_owned))
            .collect();
        (found.get("confidence").text().unwrap_or_default().to_owned(), reasons.join("; "))
    };
    let (confidence, reasons) = verdict(&json);
    assert_eq!(confidence, "low");
    assert!(reasons.contains("does not tell interrupts from tasks"), "{reasons}");
    assert!(reasons.contains("which process a thread belongs to"), "{reasons}");
    // With the interrupt's own events, the waker is known.
    let (confidence, reasons) = verdict(&report("no_context"));
    assert_eq!(confidence, "high", "{reasons}");
    // A short step on rounded times.
    let text =
        String::from_utf8(all.iter().find(|f| f.name == "crafted/no_context").expect("it").bytes())
            .unwrap();
    let marked = place(text.as_bytes(), &step(1, MS, MS + 9_000), None).unwrap();
    assert_eq!(marked.steps[0].error, Some(Nanos(1000)));
}
