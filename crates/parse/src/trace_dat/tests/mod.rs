//! A built trace.dat against exact values, trace-cmd, and hostile changes.

mod build;
mod exact;
mod forms;
mod hostile;
mod oracle;
mod stacks;

use crate::{Capture, CaptureInfo, Diagnostics, ReadOptions, Totals, Unpacked, write_event};

/// Everything that a capture delivers; each event as `dump --stage events` shows it.
struct Read {
    info: CaptureInfo,
    events: Vec<String>,
    totals: Totals,
    diagnostics: Diagnostics,
}

fn read(bytes: &[u8]) -> Read {
    let unpacked = Unpacked::of(bytes).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let mut diagnostics = Diagnostics::default();
    let mut events = Vec::new();
    let totals = capture
        .read(&mut diagnostics, &mut |batch| {
            for event in batch {
                let mut line = String::new();
                write_event(event, &mut line);
                events.push(line.trim_end().to_owned());
            }
        })
        .unwrap();
    Read { info: capture.info().clone(), events, totals, diagnostics }
}
