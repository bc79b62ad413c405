//! Critical-path segments in words.

use std::sync::Arc;

use agenttrace_model::Model;
use agenttrace_model::parse::Comm;
use rustc_hash::FxHashMap;

use super::Checked;
use crate::path::{Frame, StackId, device_name, file_name};
use crate::report::Segment;

/// The words of one entry stack.
#[derive(Clone)]
struct Words {
    stack: Arc<[String]>,
    object: Option<Arc<str>>,
}

/// The segments of a path, with their stacks, objects and reasons as text.
pub(super) fn segments(model: &Model, checked: &Checked) -> Vec<Segment> {
    let mut cache: FxHashMap<StackId, Words> = FxHashMap::default();
    let mut names: FxHashMap<Comm, Arc<str>> = FxHashMap::default();
    let mut out = Vec::with_capacity(checked.path.segments.len());
    for segment in &checked.path.segments {
        let words = match cache.get(&segment.stack) {
            Some(words) => words.clone(),
            None => {
                let frames = checked.path.stacks.frames(segment.stack);
                let words = Words {
                    stack: frames.iter().map(|f| f.text(model, segment.start)).collect(),
                    object: frames.iter().rev().find_map(|f| object(model, *f)).map(Arc::from),
                };
                // A task's name may change.
                if !frames.iter().any(|f| matches!(f, Frame::Task(_))) {
                    cache.insert(segment.stack, words.clone());
                }
                words
            }
        };
        let Some(task) = model.tasks.get(segment.task.0 as usize) else { continue };
        let comm = task.name_at(segment.start);
        let comm = names.entry(comm).or_insert_with(|| Arc::from(comm.to_text()));
        out.push(Segment {
            start: segment.start,
            end: segment.end,
            tid: task.tid,
            pid: task.pid,
            comm: Arc::clone(comm),
            cause: segment.cause,
            resource: segment.resource,
            under: segment.under,
            stack: words.stack,
            object: words.object,
            reason: segment.reason.map(|r| r.text().to_owned()).or_else(|| checked.broken.clone()),
            inferred: segment.inferred,
        });
    }
    out
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
