//! How perf was called, without what that tells of the machine.

use super::features::WITH_VALUE;

/// perf's options without file names, and without the program that was recorded.
pub(crate) fn kept(words: &[String]) -> Vec<String> {
    const KEPT: &[&str] = &[
        "-e",
        "--event",
        "-c",
        "--count",
        "-k",
        "--clockid",
        "-m",
        "--mmap-pages",
        "-F",
        "--freq",
        "--call-graph",
        "-C",
        "--cpu",
        "-p",
        "--pid",
        "-t",
        "--tid",
        "-D",
        "--delay",
        "--synth",
    ];
    let mut out = vec!["perf".to_owned()];
    let mut words = words.iter().skip(1).map(String::as_str);
    while let Some(word) = words.next() {
        if word == "record" && out.len() == 1 {
            out.push(word.to_owned());
        } else if word == "--" || !word.starts_with('-') {
            out.extend(["--".to_owned(), "redacted".to_owned()]);
            break;
        } else if WITH_VALUE.contains(&word) {
            let value = words.next();
            if KEPT.contains(&word) {
                out.push(word.to_owned());
                out.extend(value.map(str::to_owned));
            }
        } else if !word.contains(['=', '/']) {
            out.push(word.to_owned());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_lose_files_and_programs() {
        let line = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            kept(&words).join(" ")
        };
        assert_eq!(
            line(
                "/usr/bin/perf record -q -a -c 1 -o /data/x --control fifo:/a -e sched:sched_switch --filter x"
            ),
            "perf record -q -a -c 1 -e sched:sched_switch"
        );
        assert_eq!(line("perf record -g ./secret -a"), "perf record -g -- redacted");
    }
}
