//! All texts of a folder, named by AGENTTRACE_SAMPLES: every line of an event is read.

use super::read;
use crate::Problem;

#[test]
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
fn every_line_of_the_samples() {
    let Some(folder) = std::env::var_os("AGENTTRACE_SAMPLES") else {
        println!("skipped: AGENTTRACE_SAMPLES names no folder");
        return;
    };
    let mut texts = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        texts += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let read = read(&bytes);
        if name.contains("latency") || name.ends_with("report_l.txt") {
            let said = read.map(|r| r.totals.events).unwrap_err().to_string();
            assert!(said.contains("latency format"), "{name}: {said}");
            continue;
        }
        let read = read.unwrap();
        assert_eq!(
            read.diagnostics.count(Problem::BadLine),
            0,
            "{name}: {:?}",
            read.diagnostics.examples()
        );
        assert_eq!(read.diagnostics.count(Problem::UnknownEvent), 0, "{name}");
        // An event's line has a time and a name; counted here by other means.
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| {
            !line.starts_with(['#', '\t']) && line.contains("] ") && line.contains(": ")
        });
        let losses = read.events.iter().filter(|e| e.contains(" record:lost ")).count();
        assert_eq!(read.totals.records as usize - losses, lines.count(), "{name}");
    }
    assert!(texts > 0, "no text in the folder");
}
