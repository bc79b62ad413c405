//! What the samples of each event type hold of stacks, counted.

use agenttrace_model::parse::stack::{Chain, Mode, StackEvent, StackRecord};

/// What the samples of one event type hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many samples.
    pub(crate) samples: u64,
    /// With a stack of any kind.
    pub(crate) stacks: u64,
    /// With frames of the kernel.
    pub(crate) kernel: u64,
    /// With frames of the program, by frame pointers or as a text gives them.
    pub(crate) frames: u64,
    /// With registers and a piece of the stack, to be unwound.
    pub(crate) dwarf: u64,
    /// With the last branches as a call stack.
    pub(crate) branches: u64,
    /// With a user part that comes later.
    pub(crate) deferred: u64,
}

/// Counts the samples of a batch, by their event type.
pub(super) fn count(tallies: &mut [Tally], events: &[StackEvent<'_>]) {
    for event in events {
        let StackRecord::Sample(sample) = &event.what else { continue };
        let Some(tally) = tallies.get_mut(sample.event_type) else { continue };
        let (mut kernel, mut user) = (false, false);
        for frame in sample.chain.frames() {
            kernel |= frame.mode == Mode::Kernel;
            user |= frame.mode == Mode::User;
        }
        let dwarf = sample.user.is_some_and(|user| !user.stack.is_empty());
        let branches = sample.branches.call_stack && !sample.branches.bytes.is_empty();
        let deferred = sample.chain.deferred().is_some();
        let mut add = |to: fn(&mut Tally) -> &mut u64, one: bool| {
            let to = to(tally);
            *to = to.saturating_add(u64::from(one));
        };
        add(|t| &mut t.samples, true);
        add(|t| &mut t.stacks, sample.chain != Chain::None || dwarf || branches);
        add(|t| &mut t.kernel, kernel);
        add(|t| &mut t.frames, user && !dwarf);
        add(|t| &mut t.dwarf, dwarf);
        add(|t| &mut t.branches, branches);
        add(|t| &mut t.deferred, deferred);
    }
}
