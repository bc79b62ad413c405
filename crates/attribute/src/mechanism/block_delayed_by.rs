//! Who delayed a step's block requests: the requests in the device's queue before them, by owner.

use crate::block_io::{Delay, OwnerKind, delays};
use crate::detail::{Column, Table};
use crate::mechanism::{Mechanism, StepView};
use crate::path::file_name;

pub(crate) struct BlockDelayedBy;

impl Mechanism for BlockDelayedBy {
    fn id(&self) -> &'static str {
        "block_delayed_by"
    }
    fn title(&self) -> &'static str {
        "whose requests were in the queue before the step's"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["block:block_rq_issue", "block:block_rq_complete", "block:block_bio_queue"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("owner", "owner"),
            Column::text("how", "how"),
            Column::text("step", "step"),
            Column::text("file", "file"),
            Column::count("requests", "its requests"),
            Column::count("writes", "writes"),
            Column::bytes("total_bytes", "bytes"),
            Column::count("delayed", "before ours"),
            Column::time("queue_ns", "ours queued"),
            Column::time("device_ns", "both on device"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let index = view.index;
        let delays = delays(index, Some(view.number), view.work, |_| true);
        let step = |d: &Delay| d.owner.step.and_then(|n| index.windows.steps.get(n));
        let rows = delays.owners.iter().map(|d| {
            let how = match d.owner.kind {
                OwnerKind::Task => "submitted",
                OwnerKind::WriteBack => "write-back of its writes",
                OwnerKind::Journal => "journal",
                OwnerKind::Unknown => "not recorded",
            };
            let task = d.owner.task.and_then(|id| index.model.tasks.get(id.0 as usize));
            [
                task.map(|t| t.name_at(view.step.end).to_text()).into(),
                how.into(),
                step(d).map(|s| s.id.to_string()).into(),
                d.files.first().map(|(file, _)| file_name(index.model, *file)).into(),
                d.requests.into(),
                d.writes.into(),
                d.bytes.into(),
                d.delayed.into(),
                d.queue.into(),
                d.device.into(),
            ]
        });
        let rows: Table = rows.collect();
        let mut notes = Vec::new();
        if !rows.is_empty() {
            notes.push(
                "summed over the step's requests: their time in the queue while the owner's, issued before, were in it or on the device; and their time on the device together with those"
                    .into(),
            );
        }
        rows.with_notes(notes)
    }
}
