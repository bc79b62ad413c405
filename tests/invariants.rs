//! What holds for every capture: conservation, order, independence of threads.

use agenttrace_model::WakeSource;
use agenttrace_parse::Nanos;

use crate::json::Json;
use crate::support::{Analysis, Fixture, Random, analyze, events_text, fixtures, report_text};

fn all() -> Vec<Fixture> {
    ["recorded", "crafted"].into_iter().flat_map(fixtures).filter(|f| !f.is_large()).collect()
}

#[test]
fn segments_tile_their_window() {
    for fixture in all() {
        let analysis = fixture.analyze();
        assert_eq!(analysis.windows.steps.len(), analysis.paths.len(), "{}", fixture.name);
        for (step, path) in analysis.windows.steps.iter().zip(&analysis.paths) {
            let mut at = step.start;
            for segment in &path.segments {
                assert_eq!(
                    segment.start, at,
                    "{} step {}: a gap or an overlap",
                    fixture.name, step.id
                );
                assert!(
                    segment.end > segment.start,
                    "{} step {}: an empty segment at {at}",
                    fixture.name,
                    step.id
                );
                at = segment.end;
            }
            assert_eq!(at, step.end, "{} step {}: the end", fixture.name, step.id);
        }
    }
}

#[test]
fn states_do_not_overlap() {
    for fixture in all() {
        let analysis = fixture.analyze();
        for (id, task) in analysis.model.task_ids() {
            let starts: Vec<Nanos> = task.states.iter().map(|s| s.start).collect();
            assert!(starts.is_sorted(), "{}: states of {id:?} out of order", fixture.name);
        }
    }
}

#[test]
fn no_waker_was_in_a_call_on_a_file_unless_its_wakeup_says_that_it_may_be() {
    let (mut elsewhere, mut on_file) = (0, 0);
    for fixture in all() {
        let model = fixture.analyze().model;
        for wake in &model.wakes {
            let WakeSource::Task(waker) = wake.source else { continue };
            let task = model.task(waker);
            let before = Nanos(wake.time.0.saturating_sub(1));
            let mut around = task.op_chain(task.op_at(before)).map(|(_, op)| op);
            let call = around.find_map(|op| op.syscall());
            if call.is_some_and(|call| model.syscalls.on_file(&call)) {
                assert!(wake.file_call, "{}: {} at {}", fixture.name, task.tid, wake.time);
                on_file += 1;
            }
            elsewhere += u32::from(!wake.file_call);
        }
    }
    assert!(elsewhere > 1000 && on_file > 1000, "{elsewhere} {on_file}");
}

#[test]
fn rows_of_the_report_add_up() {
    for fixture in all() {
        let report = Json::parse(&report_text(&fixture, &[])).expect("the report is JSON");
        for step in report.get("steps").list() {
            let number = |key: &str| step.get(key).number().expect("a number");
            let rows: u64 =
                step.get("exclusive").list().iter().filter_map(|row| row.get("ns").number()).sum();
            assert_eq!(rows, number("wall_ns"), "{} step {:?}", fixture.name, step.get("step_id"));
            assert_eq!(
                rows,
                number("end_ns") - number("start_ns"),
                "{} step {:?}",
                fixture.name,
                step.get("step_id")
            );
            assert!(number("self_ns") <= number("wall_ns"), "{}", fixture.name);
        }
        let ranking: u64 = report
            .get("session")
            .get("ranking")
            .list()
            .iter()
            .filter_map(|r| r.get("ns").number())
            .sum();
        assert_eq!(
            Some(ranking),
            report.get("session").get("wall_ns").number(),
            "{}: the ranking",
            fixture.name
        );
    }
}

#[test]
fn threads_change_no_byte() {
    for fixture in all() {
        let one = report_text(&fixture, &["--threads", "1"]);
        let eight = report_text(&fixture, &["--threads", "8"]);
        assert!(one == eight, "{}: the report depends on the number of threads", fixture.name);
    }
}

/// Path by path: window, and each segment with the words of its stack.
fn words(analysis: &Analysis) -> Vec<String> {
    (0..analysis.windows.steps.len()).flat_map(|step| analysis.words_of(step)).collect()
}

#[test]
fn the_text_of_the_events_tells_the_same() {
    for fixture in all() {
        let (header, lines) = events_text(&fixture.bytes());
        let text = format!("{header}{}\n", lines.join("\n"));
        let again = analyze(text.as_bytes(), fixture.step_bytes().as_deref())
            .unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
        let (want, got) = (words(&fixture.analyze()), words(&again));
        let differs = want.iter().zip(&got).find(|(a, b)| a != b);
        assert!(want == got, "{}: capture and text differ, first {differs:?}", fixture.name);
    }
}

/// Shuffles lines within windows, as streams of several CPUs that arrive at
/// different speeds. Lines of one time keep their order: it carries meaning.
fn shuffled(lines: &[String]) -> Vec<&String> {
    const WINDOW: usize = 40;
    let time =
        |line: &String| line.split(' ').next().and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
    let mut random = Random(0x5eed);
    let mut out = Vec::new();
    for window in lines.chunks(WINDOW) {
        let mut order: Vec<usize> = (0..window.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        let mut times: Vec<u64> = window.iter().map(time).collect();
        times.dedup();
        for t in times {
            let places: Vec<usize> =
                (0..order.len()).filter(|i| time(&window[order[*i]]) == t).collect();
            let mut own: Vec<usize> = places.iter().map(|i| order[*i]).collect();
            own.sort_unstable();
            for (place, line) in places.into_iter().zip(own) {
                order[place] = line;
            }
        }
        out.extend(order.into_iter().map(|i| &window[i]));
    }
    out
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    for fixture in all() {
        let (header, lines) = events_text(&fixture.bytes());
        let mixed: Vec<&str> = shuffled(&lines).into_iter().map(String::as_str).collect();
        let text = format!("{header}{}\n", mixed.join("\n"));
        let again = analyze(text.as_bytes(), fixture.step_bytes().as_deref())
            .unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
        assert!(
            words(&fixture.analyze()) == words(&again),
            "{}: shuffled input changes the paths",
            fixture.name
        );
    }
}
