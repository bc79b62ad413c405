//! What the samples of each event type hold of stacks, counted.

use agenttrace_model::parse::stack::{Chain, Mode, Sample};

/// What the samples of one event type hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many samples.
    pub(super) samples: u64,
    /// With a stack of any kind.
    pub(super) stacks: u64,
    /// With frames of the kernel.
    pub(super) kernel: u64,
    /// With frames of the program, by frame pointers or as a text gives them.
    pub(super) frames: u64,
    /// With registers and a piece of the stack, to be unwound.
    pub(super) dwarf: u64,
    /// With the last branches as a call stack.
    pub(super) branches: u64,
    /// With a user part that comes later.
    pub(super) deferred: u64,
}

impl Tally {
    /// Counts a sample.
    pub(crate) fn add(&mut self, sample: &Sample<'_>) {
        let (mut kernel, mut user) = (false, false);
        for frame in sample.chain.frames() {
            kernel |= frame.mode == Mode::Kernel;
            user |= frame.mode == Mode::User;
        }
        let dwarf = sample.user.is_some_and(|user| !user.stack.is_empty());
        let branches = sample.branches.call_stack && !sample.branches.bytes.is_empty();
        let count = |to: &mut u64, one: bool| *to = to.saturating_add(u64::from(one));
        count(&mut self.samples, true);
        count(&mut self.stacks, sample.chain != Chain::None || dwarf || branches);
        count(&mut self.kernel, kernel);
        count(&mut self.frames, user && !dwarf);
        count(&mut self.dwarf, dwarf);
        count(&mut self.branches, branches);
        count(&mut self.deferred, sample.chain.deferred().is_some());
    }

    /// What the stacks are made of, in words.
    pub(super) fn kinds(&self) -> String {
        let kinds = [
            (self.kernel, "kernel"),
            (self.frames, "user by frame pointers"),
            (self.dwarf, "user by DWARF"),
            (self.branches, "user by last branches"),
            (self.deferred, "user recorded on the way out of the kernel"),
        ];
        let words: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{kind} {count}"))
            .collect();
        if words.is_empty() { "no frames".to_owned() } else { words.join(", ") }
    }
}
