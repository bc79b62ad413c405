//! Sums to the rows of the report.

use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Model, NameSource};

use super::{BlockKey, BlockSum, Calls};
use crate::path::device_name;
use crate::report::{BlockRow, FileFaults, SyscallRow};
use crate::stats::stats;

pub(super) fn syscall_rows(model: &Model, sums: &Calls) -> Vec<SyscallRow> {
    let mut rows: Vec<SyscallRow> = sums
        .made
        .iter()
        .map(|(nr, sum)| SyscallRow {
            name: model.syscalls.name(*nr),
            count: sum.count,
            errors: sum.errors,
            total: sum.total,
            max: sum.max,
        })
        .collect();
    rows.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    rows
}

pub(super) fn file_rows(model: &Model, sums: &BTreeMap<u32, (u64, u64, Nanos)>) -> Vec<FileFaults> {
    let mut rows: Vec<FileFaults> = sums
        .iter()
        .filter_map(|(file, (count, major, total))| {
            let info = model.files.get(*file as usize)?;
            Some(FileFaults {
                path: info.path.clone(),
                source: info.source.map(NameSource::text),
                dev: info.id.dev,
                ino: info.id.ino,
                count: *count,
                major: *major,
                total: *total,
            })
        })
        .collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.total), row.dev, row.ino));
    rows
}

pub(super) fn block_rows(model: &Model, sums: BTreeMap<BlockKey, BlockSum>) -> Vec<BlockRow> {
    sums.into_iter()
        .map(|((dev, op), mut sum)| {
            let stats = stats(&mut sum.durations);
            let name = device_name(model, dev);
            BlockRow {
                dev,
                name: (name != dev.to_string()).then_some(name),
                op,
                count: sum.count,
                bytes: sum.bytes,
                queue: sum.queue,
                device: sum.device,
                p50: stats.p50,
                p99: stats.p99,
                max: stats.max,
                open: sum.open,
            }
        })
        .collect()
}
