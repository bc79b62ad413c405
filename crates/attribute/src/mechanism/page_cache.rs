//! The page cache: what a step added to it and took out of it, by file, with the sizes of folios.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::CacheEvent;

use super::refaults::PAGE;
use crate::detail::{Column, Table, Value};
use crate::inclusive::Index;
use crate::mechanism::{Mechanism, SessionView, StepView};
use crate::page_cache::Removal;
use crate::path::file_name;

pub(crate) struct PageCache;

const COLUMNS: &[Column] = &[
    Column::text("file", "file"),
    Column::count("added", "pages added"),
    Column::count("again", "again"),
    Column::count("reclaimed", "reclaimed"),
    Column::count("dropped", "dropped"),
    Column::count("truncated", "truncated"),
    Column::text("orders", "folios by order"),
    Column::count("untold", "removed, cause not told"),
    Column::bytes("added_bytes", "added"),
];

/// What happened to one file's pages.
#[derive(Default)]
struct Sums {
    added: u64,
    again: u64,
    reclaimed: u64,
    dropped: u64,
    truncated: u64,
    untold: u64,
    /// Folios added, by order.
    orders: BTreeMap<u32, u64>,
}

impl Sums {
    fn event(&mut self, event: &CacheEvent, how: Option<Removal>) {
        match how {
            None => {
                self.added += event.pages;
                *self.orders.entry(event.pages.max(1).ilog2()).or_default() += 1;
            }
            Some(
                Removal::Reclaim
                | Removal::CgroupReclaim
                | Removal::DirectReclaim
                | Removal::Kswapd,
            ) => self.reclaimed += event.pages,
            Some(
                Removal::DropCaches | Removal::Fadvise | Removal::Madvise | Removal::Invalidated,
            ) => self.dropped += event.pages,
            Some(Removal::Truncated) => self.truncated += event.pages,
            Some(Removal::Unknown | Removal::NotRecorded) => self.untold += event.pages,
        }
    }
}

const HITS: &str =
    "hits in the page cache leave no event; only what was added and removed is counted";

impl Mechanism for PageCache {
    fn id(&self) -> &'static str {
        "page_cache"
    }
    fn title(&self) -> &'static str {
        "page cache, by file"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["filemap:mm_filemap_add_to_page_cache", "filemap:mm_filemap_delete_from_page_cache"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let history = view.index.cache();
        let mut files: BTreeMap<u32, Sums> = BTreeMap::new();
        for stretch in view.work {
            for (event, how) in history.events(view.index.model, stretch) {
                files.entry(event.file).or_default().event(event, how);
            }
            for refault in history.refaults(stretch) {
                files.entry(refault.file).or_default().again += refault.pages;
            }
        }
        rows(view.index, files)
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        let (history, model) = (view.index.cache(), view.index.model);
        let mut files: BTreeMap<u32, Sums> = BTreeMap::new();
        for (event, how) in (0..model.cache.len()).filter_map(|at| history.event(model, at)) {
            files.entry(event.file).or_default().event(event, how);
        }
        for refault in history.all() {
            files.entry(refault.file).or_default().again += refault.pages;
        }
        let rows = rows(view.index, files);
        let note =
            (!rows.is_empty()).then(|| "all tasks of the machine, within steps or not".into());
        rows.with_notes(note)
    }
}

fn rows(index: &Index<'_>, files: BTreeMap<u32, Sums>) -> Table {
    let mut files: Vec<(u32, Sums)> = files.into_iter().collect();
    files.sort_by_key(|(file, s)| {
        (Reverse(s.added + s.reclaimed + s.dropped + s.truncated + s.untold), *file)
    });
    let rows: Table = files.iter().map(|(file, s)| row(index, *file, s)).collect();
    let notes = (!rows.is_empty()).then(|| HITS.into());
    rows.with_notes(notes)
}

fn row(index: &Index<'_>, file: u32, s: &Sums) -> [Value<'static>; 9] {
    let orders: Vec<String> = s.orders.iter().map(|(order, n)| format!("{order}:{n}")).collect();
    [
        file_name(index.model, file).into(),
        s.added.into(),
        s.again.into(),
        s.reclaimed.into(),
        s.dropped.into(),
        s.truncated.into(),
        orders.join(" ").into(),
        s.untold.into(),
        s.added.saturating_mul(PAGE).into(),
    ]
}
