//! What `cut` writes, read back.

use super::build::{Builder, small};
use super::captures;
use super::exact::{info, read};
use crate::perf_data::record::kind;
use crate::{Pid, Problem, Redactor, Tid, Unpacked, cut};

fn without_numbers(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|l| l.split_once(' ').unwrap().1).collect()
}

#[test]
fn everything_kept_is_the_same_capture() {
    let bytes = small();
    let all = cut_of(&bytes, &|_| true, None).unwrap();
    let (before, after) = (read(&bytes, 1), read(&all, 1));
    assert_eq!(without_numbers(&before.0), without_numbers(&after.0));
    assert_eq!(before.2.by_type, after.2.by_type);
    let (before, after) = (info(&bytes), info(&all));
    assert_eq!(crate::CaptureInfo { bytes: 0, ..before }, crate::CaptureInfo { bytes: 0, ..after });
    // A cut of a cut of everything is itself.
    assert_eq!(all, cut_of(&all, &|_| true, None).unwrap());
}

#[test]
fn chosen_records_keep_their_order() {
    let mut b = Builder::new();
    for round in 0..100_u64 {
        for cpu in 0..2 {
            for n in 0..8 {
                b.switch(1_000 + round * 100 + n * 10 + u64::from(cpu), cpu, 7, 1, 0);
            }
        }
        b.round();
    }
    let bytes = b.finish();
    let third = cut_of(&bytes, &|record| record % 3 == 0, None).unwrap();
    let whole = read(&bytes, 1).0;
    let expect: Vec<&str> = whole
        .iter()
        .filter_map(|l| l.strip_prefix('#')?.split_once(' '))
        .filter(|(number, _)| number.parse::<u64>().unwrap() % 3 == 0)
        .map(|(_, line)| line)
        .collect();
    let (lines, diagnostics, _) = read(&third, 1);
    assert_eq!(without_numbers(&lines), expect);
    assert_eq!(diagnostics.count(Problem::OutOfOrder), 0);
}

struct Hide;

impl Redactor for Hide {
    fn comm(&mut self, _pid: Pid, tid: Tid, _comm: &[u8]) -> Option<Vec<u8>> {
        (tid.0 != 10).then(|| format!("task-{tid}").into_bytes())
    }
    fn path(&mut self, pid: Pid, _path: &[u8]) -> Option<Vec<u8>> {
        Some(format!("/hidden/{pid}/of/some/length").into_bytes())
    }
}

#[test]
fn names_are_replaced_wherever_they_are() {
    let mut b = Builder::new();
    b.comm(7, b"secret\0\0", 0).comm(10, b"public\0\0", 0).mmap2(7, b"/secret/lib.so", 0);
    b.record(
        kind::THREAD_MAP,
        0,
        &[&1_u64.to_le_bytes()[..], &7_u64.to_le_bytes(), b"secret\0\0\0\0\0\0\0\0\0\0"].concat(),
    );
    b.record(17, 0, b"secret symbol...");
    b.switch(100, 0, 7, 2, 9).exec(400, 7, b"/secret/tool", 42);
    let out = cut_of(&b.finish(), &|_| true, Some(&mut Hide)).unwrap();
    let (lines, diagnostics, _) = read(&out, 1);
    assert_eq!(
        lines,
        [
            "#0 0 - -1/-1 - record:comm pid=7 tid=7 exec=0 comm=\"task-7\"",
            "#1 0 - -1/-1 - record:comm pid=10 tid=10 exec=0 comm=\"public\"",
            "#2 0 - -1/-1 - record:mmap2 pid=7 tid=7 addr=0x1000 len=0x2000 pgoff=0x0 maj=254 min=1 ino=99 filename=\"/hidden/7/of/some/length\"",
            "#4 100 0 7/7 d sched:sched_switch prev_comm=\"task-7\" prev_pid=7 prev_state=D next_comm=\"task-9\" next_pid=9",
            "#5 400 0 7/7 . sched:sched_process_exec filename=\"/hidden/7/of/some/length\" pid=7 old_pid=7 agent_step_id=42",
        ]
    );
    assert_eq!(diagnostics.iter().count(), 0);
    assert!(memchr::memmem::find(&out, b"secret").is_none());
    let info = info(&out);
    assert_eq!(info.hostname.as_deref(), Some("redacted"));
    assert_eq!(info.command_line, ["perf", "record", "-a", "--", "redacted"]);
    assert!(info.system_wide);
}

#[test]
fn recorded_captures_survive_a_cut() {
    for path in captures() {
        let bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 16 << 20 {
            continue;
        }
        let all = cut_of(&bytes, &|_| true, None).unwrap();
        let (before, after) = (read(&bytes, 1 << 15), read(&all, 1 << 15));
        assert!(without_numbers(&before.0) == without_numbers(&after.0), "{}", path.display());
        assert_eq!(before.2.by_type, after.2.by_type, "{}", path.display());
    }
}

fn cut_of(
    bytes: &[u8],
    keep: &dyn Fn(u64) -> bool,
    redact: Option<&mut dyn Redactor>,
) -> Result<Vec<u8>, crate::Error> {
    cut(&Unpacked::of(bytes)?, keep, redact)
}
