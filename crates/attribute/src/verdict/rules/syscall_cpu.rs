//! Running inside system calls.
//!
//! # What it detects
//! Time of the critical path running in the kernel, in calls that no other rule is about.
//! # Evidence
//! The calls by name, their count and time.
//! # Why it matters
//! Many small calls cost more by their number than by what they do.
//! # When it is wrong
//! Tracing every system call makes each dearer (docs/OVERHEAD.md): cheap calls look worse than
//! they are.
//! # References
//! ARCHITECTURE.md (the table of causes); include/trace/events/syscalls.h.

use crate::cause::Cause;
use crate::path::Frame;
use crate::stats::{human, thousands};
use crate::verdict::{Facts, Finding, Rule, advice, count, shares, time};

pub(crate) struct SyscallCpu;

impl Rule for SyscallCpu {
    fn id(&self) -> &'static str {
        "syscall_cpu"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::SyscallCpu]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "work inside system calls"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let calls = facts.top(cause, |cell| {
            cell.frames
                .iter()
                .rev()
                .find_map(|f| if let Frame::Syscall(nr) = f { Some(*nr) } else { None })
        });
        let rows = facts.inclusive().syscalls.as_deref().unwrap_or_default();
        for (nr, ns) in calls.iter().take(3) {
            let name = facts.model().syscalls.name(*nr);
            evidence.push(time(
                format_args!("{} on a CPU in {name}", human(*ns)),
                *ns,
                "critical path",
            ));
            if let Some(row) = rows.iter().find(|row| row.name == name) {
                evidence.push(count(
                    format_args!(
                        "{name} {} times, {} in all",
                        thousands(row.count),
                        human(row.total)
                    ),
                    row.count,
                    "raw_syscalls of the step's tasks",
                ));
            }
        }
        let first = calls.first().map(|(nr, _)| facts.model().syscalls.name(*nr));
        let times = first
            .as_ref()
            .and_then(|name| rows.iter().find(|row| row.name == *name))
            .map_or(0, |row| row.count);
        let what = match (&first, times) {
            (Some(name), 0 | 1) => format!(", most in {name}"),
            (Some(name), times) => format!(", most in {} {name}", thousands(times)),
            (None, _) => String::new(),
        };
        Finding {
            title: sentence!("kernel CPU in system calls: {}{what}", human(facts.own(cause))),
            evidence,
            recommendations: vec![advice(
                facts,
                cause,
                "fewer, larger calls",
                "where the same call is made many times; tracing itself makes each dearer",
            )],
            doubts: Vec::new(),
        }
    }
}
