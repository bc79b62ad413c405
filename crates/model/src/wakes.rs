//! Wakeups, packed: 24 bytes each.
//!
//! ```text
//! time     when: 64 bits
//! wakee    the task woken                  current  who was current; all ones: nobody
//! source   by kind: a task, a request, a name
//! what     kind of the source: 3 bits, birth: 1 bit, call on a file: 1 bit, CPU: 27 bits, all ones where
//!          it is not known
//! ```

use std::ops::Range;

use agenttrace_parse::{Cpu, Nanos};
use bytemuck::{Pod, Zeroable};

use crate::items::{Indexed, Items};
use crate::scratch::{Rows, Spill};
use crate::search::first_not;
use crate::task::{TaskId, Wake, WakeId, WakeSource};

/// The wakeups of a capture, in time order.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    rows: Rows<Row>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
struct Row {
    time: u64,
    wakee: u32,
    current: u32,
    source: u32,
    what: u32,
}

const KIND: u32 = 7;
const BIRTH: u32 = 1 << 3;
const FILE_CALL: u32 = 1 << 4;
const CPU: u32 = 5;
/// The CPU is not known; or has a number that no machine has.
const NO_CPU: u32 = u32::MAX >> CPU;
const NOBODY: u32 = u32::MAX;

/// Kinds of sources.
const UNKNOWN: u32 = 0;
const TASK: u32 = 1;
const BLOCK: u32 = 2;
const TIMER: u32 = 3;
const NETWORK: u32 = 4;
const INTERRUPT: u32 = 5;

impl Row {
    fn new(wake: Wake) -> Self {
        let (kind, source) = match wake.source {
            WakeSource::Task(task) => (TASK, task.0),
            WakeSource::Block(request) => (BLOCK, request),
            WakeSource::Timer => (TIMER, 0),
            WakeSource::Network => (NETWORK, 0),
            WakeSource::Interrupt(name) => (INTERRUPT, name),
            WakeSource::Unknown => (UNKNOWN, 0),
        };
        let birth = if wake.birth { BIRTH } else { 0 };
        let file_call = if wake.file_call { FILE_CALL } else { 0 };
        Self {
            time: wake.time.0,
            wakee: wake.wakee.0,
            current: wake.current.map_or(NOBODY, |task| task.0),
            source,
            what: kind | birth | file_call | wake.cpu.0.min(NO_CPU) << CPU,
        }
    }

    /// Always inlined, so that a reader pays for the fields that it looks at.
    #[inline(always)]
    fn wake(self) -> Wake {
        let cpu = self.what >> CPU;
        Wake {
            time: Nanos(self.time),
            wakee: TaskId(self.wakee),
            current: (self.current != NOBODY).then_some(TaskId(self.current)),
            source: match self.what & KIND {
                TASK => WakeSource::Task(TaskId(self.source)),
                BLOCK => WakeSource::Block(self.source),
                TIMER => WakeSource::Timer,
                NETWORK => WakeSource::Network,
                INTERRUPT => WakeSource::Interrupt(self.source),
                _ => WakeSource::Unknown,
            },
            cpu: if cpu == NO_CPU { Cpu::NONE } else { Cpu(cpu) },
            birth: self.what & BIRTH != 0,
            file_call: self.what & FILE_CALL != 0,
        }
    }
}

impl Wakes {
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

    /// The wakeup with this id.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, id: WakeId) -> Option<Wake> {
        self.item(id.0 as usize)
    }

    /// The wakeup with an id that came from here: none is ever removed.
    #[must_use]
    #[inline(always)]
    pub(crate) fn wake(&self, id: WakeId) -> Wake {
        #[expect(
            clippy::indexing_slicing,
            reason = "ids are made by push, and no wakeup is ever removed"
        )]
        self.rows.settled()[id.0 as usize].wake()
    }

    /// All of them.
    #[must_use]
    pub fn iter(&self) -> Items<'_, Self> {
        self.range(0..self.len())
    }

    /// Those with an index in this range.
    #[must_use]
    pub fn range(&self, range: Range<usize>) -> Items<'_, Self> {
        Items::new(self, self.len(), range)
    }

    /// How many happen before a time: the index of the first that does not.
    #[must_use]
    pub fn before(&self, time: Nanos) -> usize {
        self.rows.settled().partition_point(|row| row.time < time.0)
    }

    /// The same, looked for from an index on, before which all are earlier.
    #[must_use]
    pub fn before_from(&self, from: usize, time: Nanos) -> usize {
        let rows = self.rows.settled();
        first_not(from, rows.len(), |at| rows.get(at).is_some_and(|row| row.time < time.0))
    }

    /// How many happen at a time or before: the index of the first that happens later.
    #[must_use]
    pub fn up_to(&self, time: Nanos) -> usize {
        self.rows.settled().partition_point(|row| row.time <= time.0)
    }

    /// The rows, to be moved.
    pub(crate) fn rows(&mut self) -> &mut dyn Spill {
        &mut self.rows
    }

    pub(crate) fn push(&mut self, wake: Wake) -> WakeId {
        let id = WakeId(u32::try_from(self.len()).unwrap_or(u32::MAX));
        self.rows.push(Row::new(wake));
        id
    }
}

impl Indexed for Wakes {
    type Item = Wake;

    #[inline(always)]
    fn item(&self, index: usize) -> Option<Wake> {
        self.rows.read(index).map(Row::wake)
    }
}

impl<'w> IntoIterator for &'w Wakes {
    type Item = Wake;
    type IntoIter = Items<'w, Wakes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_for_every_source() {
        assert_eq!(size_of::<Row>(), 24);
        let sources = [
            WakeSource::Task(TaskId(5)),
            WakeSource::Block(u32::MAX),
            WakeSource::Timer,
            WakeSource::Network,
            WakeSource::Interrupt(9),
            WakeSource::Unknown,
        ];
        let mut wakes = Wakes::default();
        let mut all = Vec::new();
        for (at, source) in sources.into_iter().enumerate() {
            let none = at % 2 == 0;
            let wake = Wake {
                time: Nanos(10 * at as u64),
                wakee: TaskId(100 + at as u32),
                current: if none { None } else { Some(TaskId(at as u32)) },
                source,
                cpu: if none { Cpu::NONE } else { Cpu(at as u32) },
                birth: none,
                file_call: at % 3 == 0,
            };
            assert_eq!(wakes.push(wake), WakeId(at as u32));
            all.push(wake);
        }
        assert_eq!(wakes.iter().collect::<Vec<_>>(), all);
        assert_eq!(wakes.iter().rev().nth(1), Some(all[4]));
        assert_eq!((wakes.get(WakeId(3)), wakes.get(WakeId(6))), (Some(all[3]), None));
        let edges = [0, 20, 21, 99].map(|at| (wakes.before(Nanos(at)), wakes.up_to(Nanos(at))));
        assert_eq!(edges, [(0, 1), (2, 3), (3, 3), (6, 6)]);
        // No machine has so many CPUs: a broken record.
        let broken = Wake { cpu: Cpu(1 << 30), ..all[1] };
        let id = wakes.push(broken);
        assert_eq!(wakes.get(id).map(|wake| wake.cpu), Some(Cpu::NONE));
    }
}
