//! Critical-path segments in words.

use std::sync::Arc;

use agenttrace_model::parse::{Comm, Nanos, Pid, Tid};
use agenttrace_model::{Model, TaskId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Checked;
use crate::cause::{Cause, Resource};
use crate::detail::Words;
use crate::path::{Frame, PathSegment, Reason, device_name, file_name};
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
    let (mut out, mut known) = std::mem::take(&mut texts.draft);
    out.begin(start);
    // As long as no task is renamed, a segment's cell and whether its state was inferred tell
    // its kind.
    known.clear();
    let mut kinds = Kinds { model, checked, texts };
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
    let segments = out.take();
    kinds.texts.draft = (out, known);
    segments
}

/// Names, stacks and kinds that many steps have in common, made once for each thread.
#[derive(Default)]
pub(super) struct Texts {
    names: FxHashMap<Comm, Arc<str>>,
    /// By frames, with the names of those that are tasks.
    stacks: FxHashMap<Box<[(Frame, Comm)]>, Stack>,
    words: FxHashSet<Arc<[Words]>>,
    kinds: FxHashMap<Told, Arc<SegmentKind>>,
    /// The stack that is looked for; its memory is used again.
    wanted: Vec<(Frame, Comm)>,
    /// The segments in the making, and what is known of the path's cells: memory to use again.
    draft: (Segments, Vec<Option<Known>>),
}

/// What tells a kind, as long as the names and stacks that it is made of are kept.
#[derive(PartialEq, Eq, Hash)]
struct Told {
    task: TaskId,
    comm: Comm,
    cause: Cause,
    resource: Resource,
    under: Option<Cause>,
    /// Where its words lie, and its object's.
    stack: (usize, Option<usize>),
    reason: Option<Reason>,
    inferred: bool,
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
        let known = self.words.get(words.as_slice()).map(Arc::clone);
        let words = known.unwrap_or_else(|| {
            let words: Arc<[Words]> = words.into();
            self.words.insert(Arc::clone(&words));
            words
        });
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
    fn kind(&mut self, s: &PathSegment) -> (Arc<SegmentKind>, Nanos) {
        let model = self.model;
        let frames = self.checked.path.stacks.frames(s.stack);
        let renamed = |task: TaskId| {
            model.tasks.get(task.0 as usize).map_or(Nanos::MAX, |task| task.renamed(s.start))
        };
        let mut until = renamed(s.task);
        for frame in frames {
            if let Frame::Task(task) = frame {
                // With names of functions, a kworker's frame tells what it works on.
                let changes = !model.kernel_names.is_empty();
                until = until.min(if changes { s.start } else { renamed(*task) });
            }
        }
        let task = model.tasks.get(s.task.0 as usize);
        let comm = task.map(|t| t.name_at(s.start)).unwrap_or_default();
        let stack = self.texts.stack(model, frames, s.start);
        let told = Told {
            task: s.task,
            comm,
            cause: s.cause,
            resource: s.resource,
            under: s.under,
            stack: (stack.words.as_ptr().addr(), stack.object.as_ref().map(|o| o.as_ptr().addr())),
            reason: s.reason,
            inferred: s.inferred,
        };
        let broken = self.checked.broken.as_deref();
        let lasting = broken.is_none() && model.kernel_names.is_empty();
        if let Some(known) = self.texts.kinds.get(&told).filter(|_| lasting) {
            return (Arc::clone(known), until);
        }
        let name = self.texts.names.entry(comm);
        let name = Arc::clone(name.or_insert_with(|| Arc::from(comm.text())));
        let reason = s.reason.map(|reason| reason.text().into());
        let kind = Arc::new(SegmentKind {
            tid: task.map_or(Tid(-1), |t| t.tid),
            pid: task.map_or(Pid(-1), |t| t.pid),
            comm: name,
            cause: s.cause,
            resource: s.resource,
            under: s.under,
            stack: stack.words,
            object: stack.object,
            reason: reason.or_else(|| broken.map(|why| why.to_owned().into())),
            inferred: s.inferred,
        });
        if lasting {
            self.texts.kinds.insert(told, Arc::clone(&kind));
        }
        (kind, until)
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

#[cfg(test)]
mod tests {
    use agenttrace_model::Builder;
    use agenttrace_model::parse::CaptureInfo;

    use super::*;
    use crate::path::{StackId, StepPath};

    #[test]
    fn steps_share_what_is_the_same_in_all_of_them() {
        let model = Builder::new(&CaptureInfo::default()).finish(None).unwrap();
        let segment = |start, end, reason| PathSegment {
            start: Nanos(start),
            end: Nanos(end),
            task: TaskId(0),
            cause: Cause::Unknown,
            resource: Resource::Unknown,
            under: None,
            stack: StackId::EMPTY,
            reason,
            inferred: false,
        };
        let mut texts = Texts::default();
        let mut step = |list: Vec<PathSegment>, broken: Option<&str>| {
            let broken = broken.map(str::to_owned);
            let checked = Checked { path: StepPath::of_segments(list), broken, rows: Vec::new() };
            segments(&model, &checked, &mut texts)
        };
        let first = step(vec![segment(0, 5, None), segment(5, 7, Some(Reason::NoWaker))], None);
        let second = step(vec![segment(9, 10, Some(Reason::NoWaker))], None);
        let broken = step(vec![segment(10, 11, None)], Some("not whole"));
        let third = step(vec![segment(11, 12, None)], None);
        let inferred = step(vec![PathSegment { inferred: true, ..segment(12, 13, None) }], None);
        assert_eq!((first.kinds().len(), second.kinds().len()), (2, 1));
        assert!(Arc::ptr_eq(&first.kinds()[1], &second.kinds()[0]));
        assert!(Arc::ptr_eq(&first.kinds()[0], &third.kinds()[0]));
        assert!(Arc::ptr_eq(&first.kinds()[0].stack, &second.kinds()[0].stack));
        assert!(inferred.kinds()[0].inferred && !third.kinds()[0].inferred);
        let reason = |s: &Segments| s.kinds()[0].reason.clone().unwrap_or_default();
        assert_eq!(reason(&second), "no waker recorded");
        assert_eq!(reason(&broken), "not whole");
        assert_eq!(reason(&third), "");
    }
}
