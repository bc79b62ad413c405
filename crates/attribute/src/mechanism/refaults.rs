//! Refaults: pages that a step had to add to the page cache again, by file and by who had evicted them.

use std::collections::BTreeMap;

use crate::detail::{Column, Table, Value};
use crate::mechanism::{Mechanism, SessionView, StepView};
use crate::page_cache::{Evicted, Refault, by, evicted, group, how, step};
use crate::path::file_name;
use crate::{inclusive::Index, stats::plural};

pub(crate) struct Refaults;

/// Bytes of a page: all x86-64 and most other kernels use pages of 4 KiB.
pub(crate) const PAGE: u64 = 4096;

const COLUMNS: &[Column] = &[
    Column::text("file", "file"),
    Column::count("pages", "pages"),
    Column::text("by", "evicted by"),
    Column::text("how", "how"),
    Column::time("distance_ns", "p50 out for"),
    Column::count("between", "p50 pages between"),
    Column::text("reading", "while reading"),
    Column::bytes("again_bytes", "added again"),
];

const SESSION: &[Column] = &[
    Column::text("step", "step"),
    Column::text("file", "file"),
    Column::count("pages", "pages"),
    Column::text("by", "evicted by"),
    Column::text("how", "how"),
    Column::time("distance_ns", "p50 out for"),
    Column::count("between", "p50 pages between"),
    Column::text("reading", "while reading"),
    Column::bytes("again_bytes", "added again"),
];

impl Mechanism for Refaults {
    fn id(&self) -> &'static str {
        "refaults"
    }
    fn title(&self) -> &'static str {
        "pages added to the page cache again, by who had evicted them"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["filemap:mm_filemap_add_to_page_cache", "filemap:mm_filemap_delete_from_page_cache"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let groups = evicted(view.index, view.work);
        groups.iter().map(|e| row(view.index, e, Some(view.number))).collect()
    }
    fn session_columns(&self) -> &'static [Column] {
        SESSION
    }
    fn names_actors(&self) -> bool {
        true
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        let (history, windows) = (view.index.cache(), view.windows);
        let mut by_step: BTreeMap<usize, Vec<&Refault>> = BTreeMap::new();
        let mut outside = 0_u64;
        for refault in history.all() {
            match refault.task.and_then(|task| windows.claim_at(task, refault.time)) {
                Some(step) => by_step.entry(step).or_default().push(refault),
                None => outside += refault.pages,
            }
        }
        let mut found: Vec<(usize, Evicted)> = by_step
            .into_iter()
            .flat_map(|(step, list)| {
                group(history, list.into_iter()).into_iter().map(move |e| (step, e))
            })
            .collect();
        found.sort_by_key(|(step, e)| (std::cmp::Reverse(e.pages), *step, e.eviction));
        let rows = found
            .iter()
            .map(|(number, e)| {
                let own = step(view.index, *number).into();
                std::iter::once(own).chain(row(view.index, e, Some(*number))).collect::<Vec<_>>()
            })
            .collect::<Table>();
        let notes = (outside > 0).then(|| {
            format!("{} were added again outside of all steps", plural(outside, "page")).into()
        });
        rows.with_notes(notes)
    }
}

fn row(index: &Index<'_>, evicted: &Evicted, own: Option<usize>) -> [Value<'static>; 8] {
    let eviction = &evicted.eviction;
    [
        file_name(index.model, eviction.file).into(),
        evicted.pages.into(),
        by(index, evicted, own).into(),
        how(index, eviction).into(),
        evicted.distance.into(),
        evicted.between.into(),
        eviction.reading.map(|file| file_name(index.model, file)).into(),
        evicted.pages.saturating_mul(PAGE).into(),
    ]
}
