//! `agenttrace dump`: any stage's data as text, for people and for golden tests.

use std::fmt::Write as _;
use std::process::ExitCode;

use agenttrace_attribute::report::StepReport;
use agenttrace_model::parse::{Diagnostics, write_event, write_events_header};
use agenttrace_model::{Model, OpKind, State, TaskId, WakeSource, Windows};
use anyhow::{Result, anyhow};

use crate::args::{DumpArgs, Stage};
use crate::input::Files;
use crate::{output, pipeline};

/// Text is handed to standard output in pieces of about this size.
const PIECE: usize = 1 << 16;

pub(crate) fn run(args: &DumpArgs) -> Result<ExitCode> {
    pipeline::use_threads(args.capture.threads)?;
    let path = &args.capture.read.path;
    let files = Files::open(path)?;
    let unpacked = pipeline::unpack(&files, &args.capture.read)?;
    match args.stage {
        Stage::Records => {
            let capture = pipeline::open(&unpacked, &args.capture.read)?;
            let mut out = Pieces::default();
            capture
                .dump_records(&mut |line| out.line(line))
                .map_err(|e| anyhow!("{}: {e}", path.display()))?;
            out.end()?;
        }
        Stage::Events => {
            let capture = pipeline::open(&unpacked, &args.capture.read)?;
            let mut text = String::new();
            write_events_header(capture.info(), &mut text);
            let mut out = Pieces { text, failed: None };
            let mut diagnostics = Diagnostics::default();
            capture
                .read(&mut diagnostics, &mut |batch| {
                    for event in batch {
                        write_event(event, &mut out.text);
                        out.line("");
                    }
                })
                .map_err(|e| anyhow!("{}: {e}", path.display()))?;
            out.end()?;
        }
        Stage::Timelines => {
            let file = pipeline::markers(&args.capture)?;
            let capture = pipeline::open(&unpacked, &args.capture.read)?;
            let loaded = pipeline::load(&capture, &args.capture.read, file.as_ref())?;
            let mut out = Pieces::default();
            for (id, task) in loaded.model.task_ids() {
                if args.task.is_empty() || args.task.contains(&task.tid.0) {
                    timeline(&loaded.model, id, &mut out);
                }
            }
            out.end()?;
        }
        Stage::Windows | Stage::Attribution | Stage::Verdicts => {
            let capture = pipeline::open(&unpacked, &args.capture.read)?;
            let (loaded, placed) = pipeline::load_placed(&capture, &args.capture)?;
            let wanted = args.step.as_deref().map(pipeline::step_id);
            if args.stage == Stage::Windows {
                let text = windows(&loaded.model, &placed.windows, wanted.as_ref());
                output::print(text.as_bytes())?;
                return Ok(ExitCode::SUCCESS);
            }
            let report = pipeline::report(&loaded, &placed, None, None);
            let mut out = Pieces::default();
            for step in report.steps.iter().filter(|s| wanted.as_ref().is_none_or(|id| s.id == *id))
            {
                let text =
                    if args.stage == Stage::Verdicts { verdicts(step) } else { attribution(step) };
                out.line(&text);
            }
            out.end()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Output in pieces; after the first failure nothing more is written.
#[derive(Default)]
struct Pieces {
    text: String,
    failed: Option<anyhow::Error>,
}

impl Pieces {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() > PIECE {
            self.flush();
        }
    }
    fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = output::print(self.text.as_bytes()).err();
        }
        self.text.clear();
    }
    fn end(mut self) -> Result<()> {
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }
}

fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

fn task_name(model: &Model, id: TaskId) -> String {
    let task = model.task(id);
    let name = task.names.last().map(|(_, comm)| comm.to_text()).unwrap_or_default();
    format!("{}({})", shown(&name), task.tid)
}

fn timeline(model: &Model, id: TaskId, out: &mut Pieces) {
    let task = model.task(id);
    out.line(&format!("task {} pid {}", task_name(model, id), task.pid));
    for span in &task.states {
        let state = match span.state {
            State::Unknown(reason) => format!("unknown ({})", reason.text()),
            State::Running => format!("running on {}", span.cpu),
            State::Runnable => "runnable".to_owned(),
            State::Blocked(state) => format!("blocked {}", state.letter()),
            State::New => "new".to_owned(),
            State::Dead => "dead".to_owned(),
        };
        let wake =
            span.wake.map(|w| model.wake(w)).map_or(String::new(), |wake| match wake.source {
                WakeSource::Task(waker) => format!(" woken by {}", task_name(model, waker)),
                WakeSource::Block(request) => format!(" woken by block request {request}"),
                WakeSource::Timer => " woken by a timer".to_owned(),
                WakeSource::Network => " woken by the network".to_owned(),
                WakeSource::Interrupt(name) => {
                    format!(
                        " woken by interrupt {}",
                        model.names.get(name as usize).map_or(String::new(), |n| shown(n))
                    )
                }
                WakeSource::Unknown => " woken from an unnamed context".to_owned(),
            });
        let inferred = if span.inferred { " (inferred)" } else { "" };
        out.line(&format!("  {:>12} {state}{wake}{inferred}", span.start));
    }
    for op in &task.ops {
        let depth =
            std::iter::successors(op.parent(), |p| task.ops.get(*p).and_then(|o| o.parent()))
                .count();
        let what = match op.kind {
            OpKind::Syscall(call) => format!(
                "{}{}{}",
                model.syscalls.name(call.nr),
                call.ret.map_or(String::new(), |r| format!(" = {r}")),
                if call.continued { " (continued)" } else { "" }
            ),
            OpKind::Fault(fault) => format!(
                "page fault {:#x}{}",
                fault.address.0,
                match fault.major {
                    Some(true) => " major",
                    Some(false) => " minor",
                    None => "",
                }
            ),
            OpKind::Lock { addr, .. } => format!("lock {:#x}", addr.0),
            OpKind::Irq(name) => format!(
                "irq {}",
                model.names.get(name as usize).map_or(String::new(), |n| shown(n))
            ),
            OpKind::Softirq(vec) => format!("softirq {vec}"),
            OpKind::LocalTimer => "timer tick".to_owned(),
            OpKind::Work(function) => format!("work {:#x}", function.0),
            OpKind::Commit { dev, transaction } => format!("journal commit {dev} {transaction}"),
            OpKind::SyncFile { dev, ino } => format!("sync {dev} ino {ino}"),
            OpKind::Exit => "exit".to_owned(),
            OpKind::Reclaim(reclaim) => format!(
                "{}{}",
                reclaim.kind.name(),
                reclaim.pages.map_or(String::new(), |pages| format!(" {pages} pages"))
            ),
            OpKind::DirtyPause(_) => "pause for dirty memory".to_owned(),
            OpKind::TlbWait(_) => "remote TLB flush".to_owned(),
        };
        let end = if op.end == agenttrace_model::parse::Nanos::MAX {
            "open".to_owned()
        } else {
            op.end.to_string()
        };
        let estimated = if op.estimated { " (estimated)" } else { "" };
        out.line(&format!(
            "  {:>12} .. {end:>12} {}{what}{estimated}",
            op.start,
            "  ".repeat(depth)
        ));
    }
}

fn windows(
    model: &Model,
    windows: &Windows,
    wanted: Option<&agenttrace_model::parse::StepId>,
) -> String {
    let mut text = String::new();
    for (index, step) in windows.steps.iter().enumerate() {
        if wanted.is_some_and(|id| step.id != *id) {
            continue;
        }
        let _ = writeln!(
            text,
            "step {} {} root {} [{}, {}) {}",
            shown(&step.id.to_string()),
            shown(&step.tool),
            task_name(model, step.root),
            step.start,
            step.end,
            step.parent
                .and_then(|p| windows.steps.get(p))
                .map_or(String::new(), |p| format!("in {}", shown(&p.id.to_string()))),
        );
        if let Some(clipped) = &step.clipped {
            let _ = writeln!(text, "  clipped: {clipped}");
        }
        for (task, from, to, inferred) in windows.work(index) {
            let how = if inferred { " (inferred)" } else { "" };
            let _ = writeln!(text, "  {} works [{from}, {to}){how}", task_name(model, task));
        }
    }
    for note in &windows.notes {
        let _ = writeln!(text, "note: {}", shown(note));
    }
    text
}

fn attribution(step: &StepReport) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "step {} {} [{}, {}) wall {}",
        shown(&step.id.to_string()),
        shown(&step.tool),
        step.start,
        step.end,
        step.wall
    );
    for row in &step.exclusive {
        let under = row.under.map_or(String::new(), |u| format!(" under {}", u.name()));
        let _ =
            writeln!(text, "  {:>12} {} {}{under}", row.ns, row.cause.name(), row.resource.name());
    }
    for s in &step.segments {
        let under = s.under.map_or(String::new(), |u| format!(" under {}", u.name()));
        let reason = s.reason.as_ref().map_or(String::new(), |r| format!(" ({r})"));
        let inferred = if s.inferred { " (inferred)" } else { "" };
        let _ = writeln!(
            text,
            "  [{}, {}) {} {}({}) {} {}{under} {}{reason}{inferred}",
            s.start,
            s.end,
            s.end - s.start,
            shown(&s.comm),
            s.tid,
            s.cause.name(),
            s.resource.name(),
            shown(&s.stack.join(" > ")),
        );
    }
    text
}

fn verdicts(step: &StepReport) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "step {} {} wall {}",
        shown(&step.id.to_string()),
        shown(&step.tool),
        step.wall
    );
    for v in &step.verdicts {
        let _ = writeln!(
            text,
            "  {} {} {} ns {:.4} {}: {}",
            v.id,
            v.cause.name(),
            v.ns,
            v.share,
            v.confidence.name(),
            shown(&v.title)
        );
        for reason in &v.reasons {
            let _ = writeln!(text, "    reason: {}", shown(reason));
        }
        for e in &v.evidence {
            let _ = writeln!(
                text,
                "    evidence: {} [{} {}] ({})",
                shown(&e.text),
                e.value,
                e.unit,
                e.source
            );
        }
        for r in &v.recommendations {
            let saves = r.saves.map_or(String::new(), |ns| format!(", at most {ns} ns"));
            let _ = writeln!(text, "    fix: {} [{}]{saves}", shown(&r.text), shown(&r.condition));
        }
    }
    text
}
