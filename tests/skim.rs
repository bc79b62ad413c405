//! A capture whose beginning is skimmed: a later step says the same.

use agenttrace_model::{Beginning, Builder, Model, Step, Windows};
use agenttrace_parse::{Capture, Input, Nanos, ReadOptions, Unpacked, read_steps};

use crate::support::{Analysis, analyze_skimming, fixtures};

/// What a step depends on began no earlier before it.
const SETTLE: Nanos = Nanos(20_000_000);

/// What comes some time before a step.
fn before(windows: &Windows, model: &Model, step: &Step) -> Beginning {
    let before = step.start - SETTLE;
    let goes_on = windows.steps.iter().filter(|other| other.end > before);
    Beginning {
        before,
        steps_since: goes_on.map(|other| other.start).min().unwrap(),
        roots: windows.steps.iter().map(|step| model.task(step.root).tid).collect(),
    }
}

#[test]
fn the_path_of_a_later_step_is_the_same() {
    let (mut steps, mut skimmed) = (0, 0);
    for fixture in fixtures("recorded").into_iter().filter(|f| !f.is_large()) {
        let (bytes, marks) = (fixture.bytes(), fixture.step_bytes());
        let unpacked = Unpacked::of(&bytes).expect("the fixture unpacks");
        let capture = Capture::open(&unpacked, &ReadOptions::default()).expect("it opens");
        // What calls cost is measured over what is read, unless a cut tells of its whole.
        let told = marks.as_deref().map(read_steps).is_some_and(|f| f.calibration.is_some());
        if !capture.skims() || !told {
            continue;
        }
        let input = Input { main: &bytes, parts: Vec::new() };
        let analyze = |beginning: Option<Beginning>| -> Analysis {
            let (read, marks) = (ReadOptions::default(), marks.as_deref());
            analyze_skimming(Builder::new, &input, &read, marks, beginning)
                .unwrap_or_else(|e| panic!("{}: {e}", fixture.name))
        };
        let whole = analyze(None);
        for (step, window) in whole.windows.steps.iter().enumerate() {
            let beginning = before(&whole.windows, &whole.model, window);
            let part = analyze(Some(beginning));
            let (want, got) = (whole.words_of(step), part.words_of(step));
            assert_eq!(got, want, "{} step {}", fixture.name, window.id);
            steps += 1;
            skimmed += part.totals.skimmed;
        }
    }
    assert!(steps > 100 && skimmed > 100_000, "{steps} steps, {skimmed} events passed over");
}
