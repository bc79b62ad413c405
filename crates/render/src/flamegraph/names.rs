//! Frames to names that readers of folded lines take for nothing else.

use agenttrace_attribute::stacks::{FrameKind, FrameText};
use rustc_hash::FxHashMap;

use crate::escape::{cut_middle, frame};

/// Names longer than this are cut in pictures, in columns.
const LONGEST: usize = 256;

/// The names of one frame.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// The frame.
    pub(super) frame: FrameText,
    /// In folded lines: whole.
    pub(super) folded: String,
    /// For inferno: cut, and with a mark of its kind at the end, which inferno takes off
    /// again (`_[k]`). So a function and a system call of one name have colours of their
    /// own.
    pub(super) drawn: String,
}

/// Names, made once each.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: FxHashMap<FrameText, usize>,
    names: Vec<Name>,
}

impl Names {
    /// The number of a frame's name.
    pub(super) fn id(&mut self, frame: &FrameText) -> usize {
        if let Some(id) = self.ids.get(frame) {
            return *id;
        }
        self.names.push(Name::new(frame));
        let id = self.names.len() - 1;
        self.ids.insert(frame.clone(), id);
        id
    }

    pub(super) fn get(&mut self, frame: &FrameText) -> &Name {
        let id = self.id(frame);
        &self.names[id]
    }

    pub(super) fn all(&self) -> &[Name] {
        &self.names
    }
}

impl Name {
    fn new(of: &FrameText) -> Self {
        let text = frame(&of.text);
        let (folded, mark) = match of.kind {
            // A line that begins with a hash is taken for a comment.
            FrameKind::Label | FrameKind::Entry | FrameKind::Leaf => (
                text.strip_prefix("# ").map(|rest| format!("\\x23 {rest}")).unwrap_or(text),
                "_[w]",
            ),
            FrameKind::Kernel => (without_number(text), "_[k]"),
            FrameKind::Inlined => (without_number(text), "_[i]"),
            FrameKind::Jit => (without_number(text), "_[j]"),
            FrameKind::User => (without_number(text), ""),
        };
        let mut drawn = cut_middle(&folded, LONGEST);
        if mark.is_empty() && drawn.ends_with(']') {
            // Not to be taken for a mark.
            drawn = drawn.replace("_[", "_\\x5b");
        }
        drawn.push_str(mark);
        Self { frame: of.clone(), folded, drawn }
    }
}

/// A name whose last word is a number would be taken for a name and a weight.
fn without_number(name: String) -> String {
    match name.rsplit_once(' ') {
        Some((before, last)) if last.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            format!("{before}\\x20{last}")
        }
        Some(_) | None => name,
    }
}
