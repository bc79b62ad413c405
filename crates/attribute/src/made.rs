//! What several tables and rules of one step need, made once when it is first asked for.

use std::cell::OnceCell;

use agenttrace_model::parse::Nanos;

use crate::inclusive::{Index, Kinds, Stretch};
use crate::journal::{SyncCall, syncs};
use crate::mechanism::metadata;
use crate::spawn::{Spawn, spawns};

/// Of one step.
#[derive(Default)]
pub(crate) struct Made {
    /// Which operations it has.
    pub(crate) kinds: Kinds,
    metadata: OnceCell<metadata::Sums>,
    syncs: OnceCell<Vec<SyncCall>>,
    spawns: OnceCell<Vec<Spawn>>,
}

impl Made {
    /// Of a step that has operations of these kinds.
    pub(crate) fn new(kinds: Kinds) -> Self {
        Self { kinds, ..Self::default() }
    }

    /// What its tasks did with names and inodes.
    pub(crate) fn metadata(&self, index: &Index<'_>, work: &[Stretch]) -> &metadata::Sums {
        self.metadata.get_or_init(|| metadata::sums(index, work))
    }

    /// Its finished durability calls.
    pub(crate) fn syncs(&self, index: &Index<'_>, work: &[Stretch]) -> &[SyncCall] {
        let work = if self.kinds.syncs { work } else { &[] };
        self.syncs.get_or_init(|| syncs(index, work))
    }

    /// The processes that it started; those that live on count until its end.
    pub(crate) fn spawns(&self, index: &Index<'_>, work: &[Stretch], end: Nanos) -> &[Spawn] {
        self.spawns.get_or_init(|| spawns(index, work, end))
    }
}
