//! Mechanisms of the kernel, a file each: what they did, as tables that may overlap.
//!
//! A mechanism reads the model over a step's work and its path, and gives rows. [`ALL`] is
//! the one place where it is registered: reports in every format, the schema's keys and the
//! documentation's list follow from it. What costs it a pass over the whole capture is kept
//! in [`Index`](crate::inclusive::Index), made once for all steps when first asked for.
//! Verdicts read the same values through functions of the mechanism's file.

mod block_delayed_by;
pub(crate) mod block_files;
mod block_requests;
pub(crate) mod commits;
mod cpu_throttle;
mod delayed_by;
pub(crate) mod faults;
mod interrupts;
mod io_uring;
pub(crate) mod locks;
pub(crate) mod metadata;
mod migrations;
pub(crate) mod network;
pub(crate) mod oom_kills;
mod page_cache;
pub(crate) mod polling;
pub(crate) mod reclaim;
pub(crate) mod refaults;
mod relative;
pub(crate) mod services;
pub(crate) mod spawns;
mod steal;
mod syncs;
pub(crate) mod tlb;
mod wakeup_chains;
mod wakeup_tail;
mod wakeups;
pub(crate) mod watchers;
pub(crate) mod writeback_throttle;

use std::sync::Arc;

use agenttrace_model::{Captured, Step, Windows};
use rayon::prelude::*;

use crate::detail::{Column, Details, Head, Table};
use crate::inclusive::{Collected, Index, Stretch};
use crate::made::Made;
use crate::path::StepPath;
use crate::report::StepReport;
use crate::stacks::SampleIndex;
use crate::tools::Tools;

pub(crate) use cpu_throttle::within as throttled_within;
pub(crate) use steal::within as holes_within;

/// One mechanism.
pub(crate) trait Mechanism: Sync {
    /// Stable id, a key in JSON.
    fn id(&self) -> &'static str;
    /// What the rows of a step are.
    fn title(&self) -> &'static str;
    /// Without any of these event types it cannot be seen.
    fn needs(&self) -> &'static [&'static str];
    /// The columns of a step's rows.
    fn columns(&self) -> &'static [Column];
    /// What it did in a step.
    fn step(&self, view: &StepView<'_>) -> Table;
    /// The columns of the session's rows, where they differ from a step's.
    fn session_columns(&self) -> &'static [Column] {
        self.columns()
    }
    /// Whether the session's table tells who made steps slow, and so belongs on the one screen.
    fn names_actors(&self) -> bool {
        false
    }
    /// What it did between steps, or over all of them; nothing, for most.
    fn session(&self, _: &SessionView<'_>) -> Table {
        Table::default()
    }
}

/// One step, as mechanisms see it.
#[derive(Clone, Copy)]
pub(crate) struct StepView<'a> {
    pub(crate) index: &'a Index<'a>,
    pub(crate) windows: &'a Windows,
    /// Its place in [`Windows::steps`].
    pub(crate) number: usize,
    pub(crate) step: &'a Step,
    /// Who worked for it, when.
    pub(crate) work: &'a [Stretch],
    pub(crate) path: &'a StepPath,
    /// Samples with call chains, where the capture has any.
    pub(crate) stacks: Option<&'a SampleIndex<'a>>,
    /// What rules need as well.
    pub(crate) made: &'a Made,
}

/// All steps, as mechanisms see them.
#[derive(Clone, Copy)]
pub(crate) struct SessionView<'a> {
    pub(crate) index: &'a Index<'a>,
    pub(crate) windows: &'a Windows,
    /// The work of all steps, each stretch once.
    pub(crate) work: &'a [Stretch],
    pub(crate) reports: &'a [StepReport],
    /// What is usual for the tools.
    pub(crate) tools: &'a Tools<'a>,
    /// What the pass over all work collected.
    pub(crate) collected: &'a Collected,
}

/// A table keeps at most this many rows; [`Detail::more`] tells of the others.
const MOST_ROWS: usize = 500;

/// Hardly a step fills more tables.
const MOST_FILLED: usize = 10;

/// Every mechanism, in the order of reports.
pub(crate) const ALL: &[&dyn Mechanism] = &[
    &delayed_by::DelayedBy,
    &relative::Relative,
    &wakeups::Wakeups,
    &wakeup_tail::WakeupTail,
    &wakeup_chains::WakeupChains,
    &interrupts::Interrupts,
    &cpu_throttle::CpuThrottle,
    &migrations::Migrations,
    &steal::Steal,
    &faults::Faults,
    &refaults::Refaults,
    &page_cache::PageCache,
    &reclaim::Reclaim,
    &oom_kills::OomKills,
    &writeback_throttle::WritebackThrottle,
    &tlb::Tlb,
    &metadata::Metadata,
    &watchers::Watchers,
    &locks::Locks,
    &block_requests::BlockRequests,
    &block_files::BlockFiles,
    &block_delayed_by::BlockDelayedBy,
    &syncs::Syncs,
    &commits::Commits,
    &io_uring::IoUring,
    &spawns::Spawns,
    &spawns::SpawnList,
    &polling::Polling,
    &network::NetworkWaits,
    &services::Services,
];

/// What each mechanism did in a step. A mechanism that was captured and did nothing gives
/// an empty table; one that was not captured gives none.
pub(crate) fn of_step(view: &StepView<'_>) -> Details {
    let heads = view.index.heads();
    let mut tables = Vec::with_capacity(MOST_FILLED);
    for (place, (mechanism, head)) in ALL.iter().zip(heads.iter()).enumerate() {
        if head.missing.is_empty() {
            let table = mechanism.step(view);
            if !table.says_nothing() {
                tables.push((place, table.at_most(MOST_ROWS, head.columns.len())));
            }
        }
    }
    Details::of(Arc::clone(heads), tables)
}

/// Adds to the tables of a step what is told relative to the other steps of its tool.
pub(crate) fn relate(tools: &Tools<'_>, report: &mut StepReport) {
    relative::relate(tools, report);
}

/// What mechanisms did over all steps; those alone that have something to say.
pub(crate) fn of_session(view: &SessionView<'_>) -> Details {
    let mechanisms = ALL.par_iter().zip(view.index.heads().par_iter()).with_max_len(1);
    let captured = mechanisms.filter(|(_, head)| head.missing.is_empty());
    let (heads, tables): (Vec<Head>, Vec<Table>) = captured
        .map(|(mechanism, head)| {
            let columns = mechanism.session_columns();
            let table = mechanism.session(view).at_most(MOST_ROWS, columns.len());
            (Head { columns, ..head.clone() }, table)
        })
        .filter(|(_, table)| !table.is_empty())
        .unzip();
    Details::of(heads.into(), tables.into_iter().enumerate().collect())
}

/// The heads of the tables of steps: what each of [`ALL`] is, and what it needs and a
/// capture lacks.
pub(crate) fn heads(captured: &Captured) -> Arc<[Head]> {
    let head = |m: &&dyn Mechanism| {
        let needs = m.needs().iter().copied();
        Head {
            id: m.id(),
            title: m.title(),
            actors: m.names_actors(),
            columns: m.columns(),
            missing: needs.filter(|name| !captured.has(name)).collect(),
        }
    };
    ALL.iter().map(head).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::detail::Unit;

    #[test]
    fn ids_are_unique_and_keys_tell_their_unit() {
        let ids: BTreeSet<&str> = ALL.iter().map(|m| m.id()).collect();
        assert_eq!(ids.len(), ALL.len());
        for mechanism in ALL {
            for columns in [mechanism.columns(), mechanism.session_columns()] {
                let keys: BTreeSet<&str> = columns.iter().map(|c| c.key).collect();
                assert_eq!(keys.len(), columns.len(), "{}", mechanism.id());
                for column in columns {
                    let (ns, bytes) = (column.unit == Unit::Nanos, column.unit == Unit::Bytes);
                    assert_eq!(column.key.ends_with("_ns"), ns, "{}", column.key);
                    assert_eq!(column.key.ends_with("_bytes"), bytes, "{}", column.key);
                }
            }
        }
    }
}
