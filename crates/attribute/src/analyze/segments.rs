//! Critical-path segments in words.

use std::sync::Arc;

use agenttrace_model::parse::{Comm, Nanos, Pid, Tid};
use agenttrace_model::{Model, TaskId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Checked;
use crate::detail::Words;
use crate::path::{Frame, PathSegment, device_name, file_name};
use crate::report::{SegmentKind, Segments};

/// A kind that has been put into words.
#[derive(Clone, Copy)]
struct Known {
    /// Its place in [`Segments::kinds`].
    kind: usize,
    /// Its words hold before this time.
    until: Nanos,
}

/// The segments of a path, with their stacks, objects and reasons as text.
pub(super) fn segments(model: &Model, checked: &Checked, texts: &mut Texts) -> Segments {
    let path = &checked.path.segments;
    let start = path.first().map_or(Nanos::ZERO, |s| s.start);
    let mut out = Segments::with_capacity(start, path.len());
    let mut kinds = Kinds { model, checked, texts };
    // As long as no task is renamed, a segment's cell and whether its state was inferred tell
    // its kind.
    let mut known: Vec<Option<Known>> = Vec::new();
    for (s, cell) in path.iter().zip(&checked.path.places) {
        let place = cell.index() * 2 + usize::from(s.inferred);
        if place >= known.len() {
            known.resize(place + 1, None);
        }
        let Some(slot) = known.get_mut(place) else { continue };
        let kind = match *slot {
            Some(known) if s.start < known.until => known.kind,
            before => {
                let (kind, until) = kinds.kind(s);
                let same = before.filter(|b| out.kinds().get(b.kind) == Some(&kind));
                let kind = same.map_or_else(|| out.add_kind(kind), |b| b.kind);
                *slot = Some(Known { kind, until });
                kind
            }
        };
        out.push(kind, s.end - s.start);
    }
    out.shrink_to_fit();
    out
}

/// Names and stacks that many steps have in common, made once for each thread.
#[derive(Default)]
pub(super) struct Texts {
    names: FxHashMap<Comm, Arc<str>>,
    /// By frames, with the names of those that are tasks.
    stacks: FxHashMap<Box<[(Frame, Comm)]>, Stack>,
    words: FxHashSet<Arc<[Words]>>,
    /// The stack that is looked for; its memory is used again.
    wanted: Vec<(Frame, Comm)>,
}

/// A stack in words, and the file or device that it is about.
#[derive(Clone)]
struct Stack {
    words: Arc<[Words]>,
    object: Option<Arc<str>>,
}

impl Texts {
    fn stack(&mut self, model: &Model, frames: &[Frame], at: Nanos) -> Stack {
        self.wanted.clear();
        self.wanted.extend(frames.iter().map(|frame| {
            let task =
                if let Frame::Task(id) = frame { model.tasks.get(id.0 as usize) } else { None };
            (*frame, task.map(|task| task.name_at(at)).unwrap_or_default())
        }));
        // With names of functions, a task's frame tells more than its name.
        let lasting = model.kernel_names.is_empty();
        if let Some(known) = self.stacks.get(self.wanted.as_slice()).filter(|_| lasting) {
            return known.clone();
        }
        let words: Vec<Words> = frames.iter().map(|frame| frame.text(model, at)).collect();
        // Tasks of one name have their stacks in common.
        let words = match self.words.get(words.as_slice()) {
            Some(known) => Arc::clone(known),
            None => Arc::from(words),
        };
        self.words.insert(Arc::clone(&words));
        let object = frames.iter().rev().find_map(|frame| object(model, *frame)).map(Arc::from);
        let stack = Stack { words, object };
        if lasting {
            self.stacks.insert(self.wanted.as_slice().into(), stack.clone());
        }
        stack
    }
}

struct Kinds<'m> {
    model: &'m Model,
    checked: &'m Checked,
    texts: &'m mut Texts,
}

impl Kinds<'_> {
    /// What a segment is, and until when another with the same properties is that as well:
    /// names of tasks may change.
    fn kind(&mut self, s: &PathSegment) -> (SegmentKind, Nanos) {
        let model = self.model;
        let frames = self.checked.path.stacks.frames(s.stack);
        let mut until = self.renamed(s.task, s.start);
        for frame in frames {
            if let Frame::Task(task) = frame {
                // With names of functions, a kworker's frame tells what it works on.
                let changes = !model.kernel_names.is_empty();
                until = until.min(if changes { s.start } else { self.renamed(*task, s.start) });
            }
        }
        let task = model.tasks.get(s.task.0 as usize);
        let comm = task.map(|t| t.name_at(s.start)).unwrap_or_default();
        let known = self.texts.names.entry(comm);
        let comm = Arc::clone(known.or_insert_with(|| Arc::from(comm.to_text())));
        let stack = self.texts.stack(model, frames, s.start);
        let kind = SegmentKind {
            tid: task.map_or(Tid(-1), |t| t.tid),
            pid: task.map_or(Pid(-1), |t| t.pid),
            comm,
            cause: s.cause,
            resource: s.resource,
            under: s.under,
            stack: stack.words,
            object: stack.object,
            reason: match s.reason {
                Some(reason) => Some(reason.text().into()),
                None => self.checked.broken.clone().map(Into::into),
            },
            inferred: s.inferred,
        };
        (kind, until)
    }

    /// When a task gets its next name.
    fn renamed(&self, task: TaskId, time: Nanos) -> Nanos {
        let names = self.model.tasks.get(task.0 as usize).map(|t| t.names.as_slice());
        let names = names.unwrap_or_default();
        let after = names.partition_point(|(since, _)| *since <= time);
        names.get(after).map_or(Nanos::MAX, |(since, _)| *since)
    }
}

/// The file or device that a frame is about.
fn object(model: &Model, frame: Frame) -> Option<String> {
    match frame {
        Frame::Fault(_, file) => file.map(|file| file_name(model, file)),
        Frame::Block(_, dev) | Frame::Journal(dev) => Some(device_name(model, dev)),
        Frame::Syscall(_)
        | Frame::Task(_)
        | Frame::Spawn
        | Frame::Loader
        | Frame::Startup
        | Frame::Exit
        | Frame::Lock(_)
        | Frame::Irq(_)
        | Frame::Softirq(_)
        | Frame::Uring(_)
        | Frame::Tick
        | Frame::Reclaim(_)
        | Frame::DirtyPause
        | Frame::TlbWait
        | Frame::User => None,
    }
}
