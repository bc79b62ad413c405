//! One recording with ftrace's stacks in its three forms: the same stacks, and those that
//! trace-cmd shows.

use std::fmt::Write as _;

use agenttrace_parse::stack::{Mode, StackEvent, StackRecord};
use agenttrace_parse::{Capture, Diagnostics, ReadOptions, Unpacked};

use crate::support::{bless_block, root};

/// What a form gives of one event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Stack {
    /// In microseconds, rounded as texts have it.
    time: u64,
    tid: i32,
    /// `subsystem:event`.
    event: String,
    kernel: Vec<(Option<u64>, String)>,
    user: Vec<u64>,
}

impl Stack {
    /// Without addresses of the kernel, which tracefs does not print.
    fn names(mut self) -> Self {
        self.kernel.iter_mut().for_each(|(ip, _)| *ip = None);
        self
    }
}

fn bytes(file: &str) -> Vec<u8> {
    let path = root().join("fixtures/ftrace_stacks").join(file);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Function by the address of its first byte.
fn symbols(kallsyms: &[u8]) -> Vec<(u64, String)> {
    let text = std::str::from_utf8(kallsyms).expect("kallsyms is text");
    let line = |line: &str| {
        let mut words = line.split(' ');
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)?.to_owned()))
    };
    let mut symbols: Vec<_> = text.lines().filter_map(line).collect();
    symbols.sort();
    symbols
}

fn read(file: &str) -> Vec<Stack> {
    let bytes = bytes(file);
    let unpacked = Unpacked::of(&bytes).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    assert!(capture.has_stacks(), "{file}");
    let symbols = symbols(capture.kallsyms().unwrap_or(&[]));
    let name = |ip: u64| {
        let after = symbols.partition_point(|(start, _)| *start <= ip);
        symbols[after - 1].1.clone()
    };
    let mut stacks = Vec::new();
    let mut take = |event: &StackEvent<'_>| {
        let StackRecord::Sample(sample) = &event.what else { return };
        let event_type = &capture.info().event_types[sample.event_type];
        let mut stack = Stack {
            time: event.time.0.saturating_add(500) / 1000,
            tid: event.tid.0,
            event: event_type.name.clone(),
            ..Stack::default()
        };
        for frame in sample.chain.frames() {
            if frame.mode == Mode::User {
                stack.user.extend(frame.ip);
                continue;
            }
            let named = frame.named.map(|n| String::from_utf8_lossy(n.symbol).into_owned());
            let named = named.or_else(|| frame.ip.map(name));
            stack.kernel.push((frame.ip, named.expect("an address or a name")));
        }
        stacks.push(stack);
    };
    let mut diagnostics = Diagnostics::default();
    capture.read_stacks(&mut diagnostics, &mut |events| events.iter().for_each(&mut take)).unwrap();
    assert_eq!(diagnostics.iter().count(), 0, "{file}");
    stacks
}

/// What trace-cmd shows, taken apart here: a line for each event, and lines of frames.
fn shown_by_trace_cmd() -> Vec<Stack> {
    let text = String::from_utf8(bytes("report.txt")).unwrap();
    let mut stacks: Vec<Stack> = Vec::new();
    let mut user = false;
    for line in text.lines().skip(1) {
        let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        if line.contains("kernel_stack:") {
            user = false;
            continue;
        }
        user |= line.contains("user_stack:");
        if let Some((_, frame)) = line.split_once("=> ") {
            let stack = stacks.last_mut().expect("an event before its stack");
            if user {
                stack.user.extend(Some(hex(frame)).filter(|ip| *ip != 0));
            } else {
                let (name, ip) = frame.split_once(" (").unwrap();
                stack.kernel.push((Some(hex(ip.trim_end_matches(')'))), name.to_owned()));
            }
            continue;
        }
        // `true-16194 [000] 15549.773854: page_fault_user: ...`
        let words: Vec<&str> = line.split_whitespace().collect();
        let system = if words[3] == "sys_enter:" { "raw_syscalls" } else { "exceptions" };
        stacks.push(Stack {
            time: words[2].trim_end_matches(':').replace('.', "").parse().unwrap(),
            tid: words[0].split_once('-').unwrap().1.parse().unwrap(),
            event: format!("{system}:{}", words[3].trim_end_matches(':')),
            ..Stack::default()
        });
    }
    stacks
}

#[test]
fn three_forms_of_one_recording() {
    let expected = shown_by_trace_cmd();
    assert_eq!(expected.len(), 76);
    assert!(expected.iter().all(|stack| stack.kernel.len() >= 3 && !stack.user.is_empty()));
    let forms = [
        ("trace.dat", "trace.dat, with its symbols"),
        ("report.txt", "`trace-cmd report`"),
        ("trace.txt", "tracefs `trace`"),
    ];
    let mut table = String::from(
        "| recorded with | events | with kernel frames | with user frames | kernel addresses |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for (file, title) in forms {
        let stacks = read(file);
        let addresses = stacks.iter().flat_map(|s| &s.kernel).all(|(ip, _)| ip.is_some());
        assert_eq!(stacks.len(), expected.len(), "{file}");
        for (seen, expected) in stacks.iter().zip(&expected) {
            if addresses {
                assert_eq!(seen, expected, "{file}");
            } else {
                assert_eq!(*seen, expected.clone().names(), "{file}");
            }
        }
        let count = |part: fn(&Stack) -> bool| stacks.iter().filter(|s| part(s)).count();
        let _ = writeln!(
            table,
            "| {title} | {} | {} | {} | {} |",
            stacks.len(),
            count(|s| !s.kernel.is_empty()),
            count(|s| !s.user.is_empty()),
            if addresses { "yes" } else { "names alone" }
        );
    }
    bless_block("docs/FORMATS.md", "stacks", &table);
}
