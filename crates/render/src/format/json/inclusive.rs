//! A step's inclusive counters to JSON; `null` for what was not captured.

use agenttrace_attribute::report::{BlockRow, FaultRows, Inclusive, Stats};

use crate::json_writer::JsonWriter;

pub(super) fn inclusive(j: &mut JsonWriter<'_>, all: &Inclusive) {
    j.object(true);
    j.key("syscalls");
    match &all.syscalls {
        None => j.null(),
        Some(rows) => {
            j.array(true);
            for row in rows {
                j.item().object(false);
                j.key("name").text(&row.name);
                j.key("count").number(row.count);
                j.key("errors").number(row.errors);
                j.key("total_ns").number(row.total.0);
                j.key("max_ns").number(row.max.0);
                j.end();
            }
            j.end();
        }
    }
    j.key("faults");
    match &all.faults {
        None => j.null(),
        Some(rows) => faults(j, rows),
    }
    j.key("block");
    match &all.block {
        None => j.null(),
        Some(rows) => {
            j.array(true);
            for row in rows {
                block(j, row);
            }
            j.end();
        }
    }
    stats(j, "wakeups", all.wakeups.as_ref());
    j.key("run_delay_ns").number_or_null(all.run_delay.map(|ns| ns.0));
    j.key("migrations");
    match all.migrations {
        None => j.null(),
        Some(m) => {
            j.object(false);
            j.key("count").number(m.count);
            j.key("cross_node").number_or_null(m.cross_node);
            j.end();
        }
    }
    j.key("spawns");
    match all.spawns {
        None => j.null(),
        Some(s) => {
            j.object(false);
            j.key("forks").number(s.forks);
            j.key("execs").number(s.execs);
            j.key("total_ns").number(s.total.0);
            j.end();
        }
    }
    stats(j, "fsyncs", all.fsyncs.as_ref());
    j.key("tlb_flushes");
    match all.tlb_flushes {
        None => j.null(),
        Some(t) => {
            j.object(false);
            j.key("local").number(t.local);
            j.key("remote").number(t.remote);
            j.end();
        }
    }
    j.key("cpu_ns").number_or_null(all.cpu.map(|ns| ns.0));
    stats(j, "lock_waits", all.lock_waits.as_ref());
    j.end();
}

pub(super) fn stats_keys(j: &mut JsonWriter<'_>, s: &Stats) {
    j.key("count").number(s.count);
    for (key, ns) in
        [("total_ns", s.total), ("p50_ns", s.p50), ("p99_ns", s.p99), ("max_ns", s.max)]
    {
        j.key(key).number(ns.0);
    }
}

fn stats(j: &mut JsonWriter<'_>, key: &'static str, stats: Option<&Stats>) {
    j.key(key);
    match stats {
        None => j.null(),
        Some(s) => {
            j.object(false);
            stats_keys(j, s);
            j.end();
        }
    }
}

fn faults(j: &mut JsonWriter<'_>, rows: &FaultRows) {
    j.object(true);
    stats(j, "minor", Some(&rows.minor));
    stats(j, "major", Some(&rows.major));
    j.key("estimated").bool(rows.estimated);
    j.key("files").array(true);
    for file in &rows.files {
        j.item().object(false);
        j.key("path").text_or_null(file.path.as_deref());
        j.key("source").text_or_null(file.source);
        j.key("dev").text(&file.dev.to_string());
        j.key("ino").number(file.ino);
        j.key("count").number(file.count);
        j.key("major").number(file.major);
        j.key("total_ns").number(file.total.0);
        j.end();
    }
    j.end().end();
}

fn block(j: &mut JsonWriter<'_>, row: &BlockRow) {
    j.item().object(false);
    j.key("device").text(&row.dev.to_string());
    j.key("name").text_or_null(row.name.as_deref());
    j.key("op").text(row.op);
    j.key("count").number(row.count);
    j.key("bytes").number(row.bytes);
    j.key("queue_ns").number(row.queue.0);
    j.key("device_ns").number(row.device.0);
    j.key("p50_ns").number(row.p50.0);
    j.key("p99_ns").number(row.p99.0);
    j.key("max_ns").number(row.max.0);
    j.key("open").number(row.open);
    j.end();
}
