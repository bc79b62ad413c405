//! The states of a task, packed: 16 bytes each.
//!
//! ```text
//! start   since when: 64 bits
//! wake    the wakeup; all ones: none
//! what    state: 5 bits, inferred: 1 bit, CPU: 26 bits, all ones where it is not known
//! ```

use std::ops::Range;

use agenttrace_parse::{Cpu, Nanos, SwitchState};
use bytemuck::{Pod, Zeroable};

use crate::items::{Indexed, Items};
use crate::scratch::{Rows, Spill};
use crate::task::{Span, State, UnknownReason, WakeId};

/// The states of a task: spans in time order.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    rows: Rows<Row>,
}

/// A task ran over `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ran {
    /// Since when.
    pub from: Nanos,
    /// Until when.
    pub to: Nanos,
    /// That it began then was recorded; else it was seen later.
    pub begins: bool,
    /// That it ended then was recorded; else it was not seen any more.
    pub ends: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
struct Row {
    start: u64,
    wake: u32,
    what: u32,
}

const STATE: u32 = 0x1f;
const INFERRED: u32 = 1 << 5;
const CPU: u32 = 6;
/// The CPU is not known; or has a number that no machine has.
const NO_CPU: u32 = u32::MAX >> CPU;
const NO_WAKE: u32 = u32::MAX;

/// Every state, by its number in a row.
const STATES: [State; 17] = [
    State::Unknown(UnknownReason::BeforeFirstEvent),
    State::Unknown(UnknownReason::LostEvents),
    State::Unknown(UnknownReason::NoSwitch),
    State::Running,
    State::Runnable,
    State::New,
    State::Dead,
    State::Blocked(SwitchState::Runnable),
    State::Blocked(SwitchState::Interruptible),
    State::Blocked(SwitchState::Uninterruptible),
    State::Blocked(SwitchState::Stopped),
    State::Blocked(SwitchState::Traced),
    State::Blocked(SwitchState::Idle),
    State::Blocked(SwitchState::Parked),
    State::Blocked(SwitchState::Zombie),
    State::Blocked(SwitchState::Dead),
    State::Blocked(SwitchState::Other),
];

/// Two small tables and a sum, for which way a match goes is hard to foretell.
fn number(state: State) -> u32 {
    let first = match state {
        State::Unknown(_) => 0,
        State::Running => 3,
        State::Runnable => 4,
        State::New => 5,
        State::Dead => 6,
        State::Blocked(_) => 7,
    };
    let within = match state {
        State::Unknown(why) => why as u32,
        State::Blocked(how) => how as u32,
        State::Running | State::Runnable | State::New | State::Dead => 0,
    };
    first + within
}

impl Row {
    fn new(span: Span) -> Self {
        let row = Self {
            start: span.start.0,
            wake: span.wake.map_or(NO_WAKE, |wake| wake.0),
            what: number(span.state) | if span.inferred { INFERRED } else { 0 },
        };
        row.on(span.cpu)
    }

    fn on(self, cpu: Cpu) -> Self {
        let what = self.what & (STATE | INFERRED) | cpu.0.min(NO_CPU) << CPU;
        Self { what, ..self }
    }

    /// Always inlined, so that a reader pays for the fields that it looks at.
    #[inline(always)]
    fn span(self) -> Span {
        let cpu = self.what >> CPU;
        let state = STATES.get((self.what & STATE) as usize).copied();
        Span {
            start: Nanos(self.start),
            state: state.unwrap_or(State::Unknown(UnknownReason::NoSwitch)),
            cpu: if cpu == NO_CPU { Cpu::NONE } else { Cpu(cpu) },
            wake: (self.wake != NO_WAKE).then_some(WakeId(self.wake)),
            inferred: self.what & INFERRED != 0,
        }
    }
}

impl Spans {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The span with this index.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<Span> {
        self.rows.read(index).map(Row::span)
    }

    /// How the task ran on a CPU, if it did so in the span with this index; what it does last
    /// lasts until `end`.
    #[must_use]
    #[inline]
    pub fn ran_on(&self, cpu: Cpu, index: usize, end: Nanos) -> Option<Ran> {
        let mut rows = self.rows.settled().get(index..)?.iter();
        let span = rows.next()?.span();
        let next = rows.next().map(|next| next.span());
        let unseen = |next: Span| matches!(next.state, State::Unknown(_));
        (span.state == State::Running && span.cpu == cpu).then(|| Ran {
            from: span.start,
            to: next.map_or(end, |next| next.start),
            begins: !span.inferred,
            ends: !next.is_some_and(unseen),
        })
    }

    /// The first.
    #[must_use]
    #[inline]
    pub fn first(&self) -> Option<Span> {
        self.get(0)
    }

    /// The last.
    #[must_use]
    #[inline]
    pub fn last(&self) -> Option<Span> {
        self.len().checked_sub(1).and_then(|last| self.get(last))
    }

    /// All of them.
    #[must_use]
    pub fn iter(&self) -> Items<'_, Self> {
        self.range(0..self.len())
    }

    /// Those from an index on.
    #[must_use]
    pub fn since(&self, index: usize) -> Items<'_, Self> {
        self.range(index..self.len())
    }

    /// Those with an index in this range.
    #[must_use]
    pub fn range(&self, range: Range<usize>) -> Items<'_, Self> {
        Items::new(self, self.len(), range)
    }

    /// How many start before a time: the index of the first that does not.
    #[must_use]
    pub fn before(&self, time: Nanos) -> usize {
        self.rows.settled().partition_point(|row| row.start < time.0)
    }

    /// How many start at a time or before: the index of the first that starts later.
    #[must_use]
    pub fn up_to(&self, time: Nanos) -> usize {
        self.rows.settled().partition_point(|row| row.start <= time.0)
    }

    /// The rows, to be moved.
    pub(crate) fn rows(&mut self) -> &mut dyn Spill {
        &mut self.rows
    }

    pub(crate) fn push(&mut self, span: Span) {
        self.rows.push(Row::new(span));
    }

    pub(crate) fn set_last(&mut self, span: Span) {
        if let Some(last) = self.back(0) {
            *last = Row::new(span);
        }
    }

    /// Changes the state of one: the last, or of those before it the one so far back.
    pub(crate) fn set_state(&mut self, back: usize, state: State) {
        if let Some(row) = self.back(back) {
            row.what = row.what & !STATE | number(state);
        }
    }

    /// The row so far before the last, one of those that stay in memory.
    #[inline]
    fn back(&mut self, back: usize) -> Option<&mut Row> {
        let last = self.len().checked_sub(1)?;
        self.rows.in_memory(last.checked_sub(back)?)
    }

    /// Changes the CPU of the last.
    pub(crate) fn set_cpu(&mut self, cpu: Cpu) {
        if let Some(last) = self.back(0) {
            *last = last.on(cpu);
        }
    }
}

impl FromIterator<Span> for Spans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        Self { rows: Vec::from_iter(spans.into_iter().map(Row::new)).into() }
    }
}

impl Indexed for Spans {
    type Item = Span;

    #[inline(always)]
    fn item(&self, index: usize) -> Option<Span> {
        self.get(index)
    }
}

impl<'s> IntoIterator for &'s Spans {
    type Item = Span;
    type IntoIter = Items<'s, Spans>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, state: State) -> Span {
        Span { start: Nanos(start), state, cpu: Cpu(3), wake: Some(WakeId(7)), inferred: true }
    }

    #[test]
    fn what_is_put_in_comes_out_for_every_state() {
        assert_eq!(size_of::<Row>(), 16);
        let mut spans = Spans::default();
        for (at, state) in STATES.into_iter().enumerate() {
            assert_eq!(number(state), at as u32);
            spans.push(span(at as u64, state));
            assert_eq!(spans.last(), Some(span(at as u64, state)));
        }
        let bare = Span { cpu: Cpu::NONE, wake: None, inferred: false, ..span(17, State::Running) };
        spans.push(bare);
        assert_eq!((spans.len(), spans.get(17)), (18, Some(bare)));
        assert_eq!(spans.first(), Some(span(0, STATES[0])));
        let starts: Vec<u64> = spans.iter().rev().skip(1).step_by(8).map(|s| s.start.0).collect();
        assert_eq!(starts, [16, 8, 0]);
        assert_eq!(spans.since(16).map(|s| s.start.0).collect::<Vec<_>>(), [16, 17]);
        assert_eq!(spans.since(18).next(), None);
        let edges = [0, 16, 99].map(|at| (spans.before(Nanos(at)), spans.up_to(Nanos(at))));
        assert_eq!(edges, [(0, 1), (16, 17), (18, 18)]);
    }

    #[test]
    fn a_run_lasts_until_the_next_state_and_is_on_its_cpu() {
        let mut spans = Spans::default();
        assert_eq!(spans.ran_on(Cpu(3), 0, Nanos(9)), None);
        spans.push(span(1, State::Running));
        spans.push(span(4, State::Runnable));
        spans.push(Span { cpu: Cpu::NONE, ..span(5, State::Running) });
        spans.push(Span { cpu: Cpu(0), inferred: false, ..span(6, State::Running) });
        spans.push(span(8, State::Unknown(UnknownReason::NoSwitch)));
        spans.push(span(9, State::Running));
        let on = |cpu, index| {
            let ran = spans.ran_on(Cpu(cpu), index, Nanos(20))?;
            Some((ran.from.0, ran.to.0, ran.begins, ran.ends))
        };
        assert_eq!([0, 1, 2].map(|i| on(3, i)), [Some((1, 4, false, true)), None, None]);
        let first = Some((6, 8, true, false));
        assert_eq!([3, 4, 5, usize::MAX].map(|i| on(0, i)), [first, None, None, None]);
        assert_eq!(on(3, 5), Some((9, 20, false, true)));
    }

    #[test]
    fn a_change_touches_nothing_else() {
        let mut spans = Spans::default();
        spans.push(span(1, State::Blocked(SwitchState::Interruptible)));
        spans.push(span(2, State::Runnable));
        spans.set_cpu(Cpu(900_000));
        assert_eq!(spans.last(), Some(Span { cpu: Cpu(900_000), ..span(2, State::Runnable) }));
        spans.set_cpu(Cpu::NONE);
        spans.set_state(1, State::Unknown(UnknownReason::LostEvents));
        let lost = span(1, State::Unknown(UnknownReason::LostEvents));
        let last = Span { cpu: Cpu::NONE, ..span(2, State::Runnable) };
        assert_eq!(spans.iter().collect::<Vec<_>>(), [lost, last]);
        spans.set_last(span(5, State::Dead));
        assert_eq!(spans.iter().collect::<Vec<_>>(), [lost, span(5, State::Dead)]);
        // No machine has so many CPUs: a broken record.
        spans.set_cpu(Cpu(1 << 30));
        assert_eq!(spans.last().map(|span| span.cpu), Some(Cpu::NONE));
    }
}
