//! A path's segments summed by what they have in common, as they come.

use agenttrace_model::TaskId;
use agenttrace_model::parse::Nanos;
use rustc_hash::FxHashMap;

use crate::cause::{Cause, Resource};
use crate::path::{PathSegment, Reason, StackId};

/// What segments of one cell have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct CellKey {
    pub(crate) task: TaskId,
    pub(crate) cause: Cause,
    pub(crate) resource: Resource,
    /// For a run delay, the cause that the time would have had.
    pub(crate) under: Option<Cause>,
    pub(crate) stack: StackId,
    pub(crate) reason: Option<Reason>,
}

/// The segments of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CellSum {
    pub(crate) key: CellKey,
    pub(crate) ns: Nanos,
    pub(crate) segments: u64,
    /// Events recorded while its task was on a CPU for it.
    pub(crate) recorded: u64,
    /// Its time in calls or faults of which the end was not recorded.
    pub(crate) estimated: Nanos,
}

/// A cell's place in [`Cells`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CellId(u32);

impl CellId {
    /// Its value in a list with one for each cell, in their order.
    pub(crate) fn of<T: Copy + Default>(self, list: &[T]) -> T {
        list.get(self.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The cells of a path, in the order of their first segments.
#[derive(Clone, Default, Debug)]
pub(crate) struct Cells {
    sums: Vec<CellSum>,
    ids: FxHashMap<CellKey, CellId>,
}

impl CellKey {
    pub(crate) fn of(segment: &PathSegment) -> Self {
        Self {
            task: segment.task,
            cause: segment.cause,
            resource: segment.resource,
            under: segment.under,
            stack: segment.stack,
            reason: segment.reason,
        }
    }
}

impl Cells {
    /// Adds a segment, of which events and estimates are not known.
    pub(crate) fn add(&mut self, segment: &PathSegment) -> CellId {
        let id = self.id(CellKey::of(segment));
        if let Some(sum) = self.get_mut(id) {
            sum.ns += segment.end - segment.start;
            sum.segments += 1;
        }
        id
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.sums.clear();
        self.ids.clear();
    }

    /// The cell of this key, made where there is none.
    pub(crate) fn id(&mut self, key: CellKey) -> CellId {
        *self.ids.entry(key).or_insert_with(|| {
            let id = CellId(u32::try_from(self.sums.len()).unwrap_or(u32::MAX));
            let (ns, estimated) = (Nanos::ZERO, Nanos::ZERO);
            self.sums.push(CellSum { key, ns, segments: 0, recorded: 0, estimated });
            id
        })
    }

    pub(crate) fn get_mut(&mut self, id: CellId) -> Option<&mut CellSum> {
        self.sums.get_mut(id.0 as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CellSum> {
        self.sums.iter()
    }

    /// The time of the cells of which this holds.
    pub(crate) fn sum(&self, keep: impl Fn(&CellKey) -> bool) -> Nanos {
        self.sums.iter().filter(|cell| keep(&cell.key)).map(|cell| cell.ns).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_one_key_are_one_cell_in_the_order_of_the_first() {
        let segment = |start, end, cause| PathSegment {
            start: Nanos(start),
            end: Nanos(end),
            task: TaskId(3),
            cause,
            resource: Resource::CpuUser,
            under: None,
            stack: StackId::EMPTY,
            reason: None,
            inferred: false,
        };
        let path = [
            segment(0, 5, Cause::UserCpu),
            segment(5, 7, Cause::Fsync),
            segment(7, 8, Cause::UserCpu),
        ];
        let mut cells = Cells::default();
        let places = path.map(|segment| cells.add(&segment).index());
        assert_eq!(places, [0, 1, 0]);
        let got: Vec<(Cause, u64, u64)> =
            cells.iter().map(|c| (c.key.cause, c.ns.0, c.segments)).collect();
        assert_eq!(got, [(Cause::UserCpu, 6, 2), (Cause::Fsync, 2, 1)]);
        assert_eq!(cells.sum(|key| key.cause == Cause::UserCpu), Nanos(6));
    }
}
