//! Journal commits while a step ran: who asked for them, who was in them, how long each phase took.

use std::collections::BTreeMap;

use agenttrace_model::parse::{Dev, Nanos};
use agenttrace_model::{Commit, Model};

use crate::detail::{Column, Table, Value, Words};
use crate::inclusive::Index;
use crate::journal::{Asked, asked, members};
use crate::mechanism::{Mechanism, StepView};
use crate::path::device_name;

pub(crate) struct Commits;

/// Who asked, in words: `fsync of agent (tid 7)`, `the journal's timer`.
pub(crate) fn asked_words(index: &Index<'_>, asked: Asked) -> Option<String> {
    match asked {
        Asked::Task { task, time, call, .. } => {
            let id = index.model.tasks.get(task.0 as usize)?;
            let name = id.name_at(time).to_text();
            let name = if name.is_empty() { "an unnamed task" } else { name.as_str() };
            let who = format!("{name} (tid {})", id.tid.0);
            Some(match call {
                Some(nr) => format!("{} of {who}", index.model.syscalls.name(nr)),
                None => who,
            })
        }
        Asked::Timer => Some("the journal's timer".to_owned()),
        Asked::Unknown => None,
    }
}

/// The commits of each device that overlap a window, and the start of the one before each.
pub(crate) fn in_window(model: &Model, from: Nanos, to: Nanos) -> Vec<(usize, &Commit, Nanos)> {
    let first = model.commits.partition_point(|c| c.start < from).saturating_sub(EARLIER);
    let last = model.commits.partition_point(|c| c.start < to);
    let near = model.commits.get(first..last).unwrap_or_default();
    let overlaps = |commit: &Commit| commit.end.is_none_or(|end| end > from);
    let found = near.iter().enumerate().filter(|(_, commit)| overlaps(commit));
    found
        .map(|(at, commit)| {
            let same = |other: &&Commit| (other.dev, other.fast) == (commit.dev, commit.fast);
            let before = near.iter().take(at).rev().find(same);
            (first + at, commit, before.map_or(Nanos::ZERO, |other| other.start))
        })
        .collect()
}

/// A commit that overlaps a window began as one of the last so many before it, and so did the
/// one before it: each file system commits one at a time.
const EARLIER: usize = 64;

/// Commits that have begun in a window, by the second; thousandths are cut off.
pub(crate) fn per_second(commits: u64, wall: Nanos) -> Option<u64> {
    let second = u128::from(commits) * 1_000_000_000;
    u64::try_from(second.checked_div(u128::from(wall.0))?).ok()
}

/// Without handles, members are looked for among all tasks' calls: for so many commits.
const MOST_INFERRED: usize = 16;

impl Mechanism for Commits {
    fn id(&self) -> &'static str {
        "commits"
    }
    fn title(&self) -> &'static str {
        "journal commits while the step ran"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["jbd2:jbd2_start_commit", "jbd2:jbd2_end_commit"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("device", "device"),
            Column::text("kind", "kind"),
            Column::count("transaction", "transaction"),
            Column::text("asked_by", "asked for by"),
            Column::time("total_ns", "length"),
            Column::time("waited_ns", "our syncs waited"),
            Column::time("locking_ns", "locking"),
            Column::time("flushing_ns", "flushing"),
            Column::time("logging_ns", "logging"),
            Column::count("handles", "handles"),
            Column::count("ours", "ours"),
            Column::count("kernel", "kernel's"),
            Column::count("theirs", "others'"),
            Column::text("others", "the others"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let (index, model) = (view.index, view.index.model);
        let mut waited: BTreeMap<usize, Nanos> = BTreeMap::new();
        for (number, ns) in view.made.syncs(index, view.work).iter().flat_map(|call| &call.commits)
        {
            *waited.entry(*number).or_default() += *ns;
        }
        let recorded = index.journals().handles_recorded;
        let mut began: BTreeMap<Dev, u64> = BTreeMap::new();
        let mut rows: Vec<[Value<'static>; 14]> = Vec::new();
        for (number, commit, since) in in_window(model, view.step.start, view.step.end) {
            if commit.start >= view.step.start {
                *began.entry(commit.dev).or_default() += 1;
            }
            let between =
                |from: Option<Nanos>, to: Option<Nanos>| from.zip(to).map(|(from, to)| to - from);
            let known = !commit.fast && (recorded || rows.len() < MOST_INFERRED);
            let members = known.then(|| members(index, Some(view.number), number, since));
            let kind = match (commit.fast, commit.given_up) {
                (false, _) => "full",
                (true, false) => "fast",
                (true, true) => "fast, given up",
            };
            rows.push([
                device_name(model, commit.dev).into(),
                kind.into(),
                commit.transaction.map(u64::from).into(),
                asked_words(index, asked(model, commit)).into(),
                between(Some(commit.start), commit.end).into(),
                waited.get(&number).copied().into(),
                between(commit.locking, commit.flushing).into(),
                between(commit.flushing, commit.logging).into(),
                between(commit.logging, commit.end).into(),
                commit.handles.map(u64::from).into(),
                members.as_ref().map(|m| m.ours).into(),
                members.as_ref().map(|m| m.kernel).into(),
                members.as_ref().map(|m| m.theirs()).into(),
                members.map(|m| m.words(index, commit.start)).into(),
            ]);
        }
        let wall = view.step.end - view.step.start;
        let mut notes: Vec<Words> = began
            .into_iter()
            .filter_map(|(dev, n)| {
                let name = device_name(model, dev);
                Some(format!("{n} began on {name}: {} a second", per_second(n, wall)?).into())
            })
            .collect();
        if !recorded && !rows.is_empty() {
            notes.push(
                "inferred: handles were not captured (jbd2:jbd2_handle_start); ours and the others are calls that changed a directory or an inode since the commit before, on whatever file system"
                    .into(),
            );
        }
        Table::from_iter(rows).with_notes(notes)
    }
}
