//! ftrace's stacks, which are records of their own, to the events that they belong to.
//!
//! The kernel writes a stack right behind its event, on the same CPU. An interrupt may
//! come between:
//!
//! ```text
//! cpu0:  event A | irq: event B | irq: stack of B | stack of A | event C
//! cpu1:       event D                   |             stack of D
//! ```
//! So an event waits for its stack until its CPU goes on at the same level (task,
//! softirq, hardirq, NMI) or below; and all that is younger waits with it.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::events::Context;
use crate::stack::{Chain, StackEvent, StackRecord};
use crate::units::Tid;

/// How many records may wait for one that a CPU has not gone on from: it may have gone
/// to sleep.
const WAITING: usize = 4096;

/// One record of ftrace in the pass over stacks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    /// Of a stack: a sample of its own, for where its event is not there.
    pub(crate) event: StackEvent<'a>,
    /// Who wrote it: a CPU, of one buffer.
    pub(crate) writer: u32,
    pub(crate) context: Context,
    pub(crate) part: Part,
}

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Event,
    Stack,
    /// Not written in order with the others: a name from before.
    Aside,
}

/// Puts pieces together, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Attach<'a> {
    /// Not yet delivered; whether each still waits for a stack.
    queue: VecDeque<(StackEvent<'a>, bool)>,
    /// How many were delivered.
    done: u64,
    /// For each writer and level the event that waits: its number, and its task.
    open: FxHashMap<u32, [Option<(u64, Tid)>; LEVELS]>,
    /// To be delivered.
    ready: Vec<StackEvent<'a>>,
}

const LEVELS: usize = 4;

fn level(context: Context) -> usize {
    match context.flags {
        flags if flags & 0x40 != 0 => 3,
        flags if flags & 0x08 != 0 => 2,
        flags if flags & 0x10 != 0 => 1,
        _ => 0,
    }
}

impl<'a> Attach<'a> {
    /// Takes pieces in the order of time, and delivers what is complete.
    pub(crate) fn push(&mut self, pieces: &[Piece<'a>], sink: &mut dyn FnMut(&[StackEvent<'a>])) {
        for piece in pieces {
            match piece.part {
                Part::Aside => self.queue.push_back((piece.event, false)),
                Part::Event => self.event(piece),
                Part::Stack => {
                    if !self.stack(piece) {
                        self.queue.push_back((piece.event, false));
                    }
                }
            }
            while let Some((event, waits)) = self.queue.front() {
                if *waits && self.queue.len() <= WAITING {
                    break;
                }
                self.ready.push(*event);
                self.queue.pop_front();
                self.done = self.done.saturating_add(1);
            }
        }
        sink(&self.ready);
        self.ready.clear();
    }

    /// Delivers the rest.
    pub(crate) fn finish(mut self, sink: &mut dyn FnMut(&[StackEvent<'a>])) {
        self.ready.extend(self.queue.drain(..).map(|(event, _)| event));
        sink(&self.ready);
    }

    fn event(&mut self, piece: &Piece<'a>) {
        let number = self.done.saturating_add(self.queue.len() as u64);
        let level = level(piece.context);
        let slots = self.open.entry(piece.writer).or_default();
        for slot in slots.iter_mut().skip(level) {
            if let Some((over, _)) = slot.take()
                && let Some((_, waits)) = at(&mut self.queue, self.done, over)
            {
                *waits = false;
            }
        }
        if let Some(slot) = slots.get_mut(level) {
            *slot = Some((number, piece.event.tid));
        }
        self.queue.push_back((piece.event, true));
    }

    /// Whether its event was there.
    fn stack(&mut self, piece: &Piece<'a>) -> bool {
        let slot =
            self.open.get(&piece.writer).and_then(|slots| *slots.get(level(piece.context))?);
        let Some((number, tid)) = slot else { return false };
        let Some((event, _)) = at(&mut self.queue, self.done, number) else { return false };
        let StackRecord::Sample(sample) = &mut event.what else { return false };
        let StackRecord::Sample(stack) = &piece.event.what else { return false };
        if tid != piece.event.tid {
            return false;
        }
        let Some(chain) = joined(sample.chain, stack.chain) else { return false };
        sample.chain = chain;
        true
    }
}

/// The event of this number, while it waits.
fn at<'q, 'a>(
    queue: &'q mut VecDeque<(StackEvent<'a>, bool)>,
    done: u64,
    number: u64,
) -> Option<&'q mut (StackEvent<'a>, bool)> {
    queue.get_mut(usize::try_from(number.checked_sub(done)?).ok()?)
}

/// Both parts of a stack. `None` where a part is there already.
fn joined<'a>(have: Chain<'a>, new: Chain<'a>) -> Option<Chain<'a>> {
    let one = |have: &'a [u8], new: &'a [u8]| match (have.is_empty(), new.is_empty()) {
        (true, _) => Some(new),
        (false, true) => Some(have),
        (false, false) => None,
    };
    Some(match (have, new) {
        (Chain::None, new) => new,
        (Chain::Ftrace { kernel, user }, Chain::Ftrace { kernel: k, user: u }) => {
            Chain::Ftrace { kernel: one(kernel, k)?, user: one(user, u)? }
        }
        (Chain::Trace { kernel, user }, Chain::Trace { kernel: k, user: u }) => {
            Chain::Trace { kernel: one(kernel, k)?, user: one(user, u)? }
        }
        (
            Chain::Words(_) | Chain::Script(_) | Chain::Ftrace { .. } | Chain::Trace { .. },
            Chain::None
            | Chain::Words(_)
            | Chain::Script(_)
            | Chain::Ftrace { .. }
            | Chain::Trace { .. },
        ) => return None,
    })
}
