//! Durability operations: fsync and its kin.
//!
//! # What it detects
//! Time of the critical path inside fsync, fdatasync, msync and their kin, and in
//! writes to files opened with O_SYNC or O_DSYNC.
//! # Evidence
//! How many on which file, how long each; what they waited for: data, the journal's commit,
//! the flush of the device's cache, completions; how many commits a grouping window would
//! have left; who else was in the commits.
//! # Why it matters
//! Each one waits for the device's cache to be flushed, and often for a journal commit.
//! # When it is wrong
//! A journal commit also writes what other programs changed: the cost need not be the
//! step's own data. Grouping delays durability by the length of the window.
//! # References
//! fsync(2); fs/jbd2/commit.c; fs/ext4/fast_commit.c;
//! Documentation/filesystems/ext4/journal.rst.

use std::collections::BTreeMap;

use agenttrace_model::parse::{Dev, Nanos};
use agenttrace_model::{Commit, SyscallClass};

use crate::cause::{Cause, Resource};
use crate::journal::{Members, SyncCall, SyncParts, groups, members};
use crate::mechanism::commits::{in_window, per_second};
use crate::path::{Frame, device_name, file_name};
use crate::report::{Evidence, Recommendation};
use crate::stats::{human, mean, percent, plural};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, hint, shares, time};

pub(crate) struct FsyncStalls;

/// How long changes may wait for each other before they are made durable together.
const WINDOW: Nanos = Nanos(100_000_000);
const WINDOW_WORDS: &str = "100 ms";
/// Fewer syncs than this are not many.
const MANY: u64 = 5;
const SYNCS: &str = "raw_syscalls";
const WAITS: &str = "waits in the durability calls of all its tasks";

impl Rule for FsyncStalls {
    fn id(&self) -> &'static str {
        "fsync_stalls"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Fsync]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "fsync waits for the disk"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let own = facts.own(cause);
        let calls = facts.parts.made.syncs(facts.parts.index, facts.parts.work);
        let commits = facts.top(cause, |cell| {
            cell.frames
                .iter()
                .find_map(|f| if let Frame::Journal(dev) = f { Some(*dev) } else { None })
        });
        let commit: Nanos = commits.iter().map(|(_, ns)| *ns).sum();
        let journal = commits.first().map(|(dev, _)| device_name(facts.model(), *dev));
        let on = facts.device(cause);
        let call = facts.call(cause).map_or_else(|| "fsync".into(), |(name, _)| name);

        let mut evidence = shares(facts, cause);
        let mut title = format!("{call}: {}", human(own));
        if let Some(fsyncs) = facts.inclusive().fsyncs.filter(|s| s.count > 0) {
            title = plural(fsyncs.count, &call).to_string();
            if let Some(file) = only_file(calls) {
                title.push_str(&format!(" of {}", file_name(facts.model(), file)));
            }
            title.push_str(&match fsyncs.count {
                1 => format!(", {}", human(fsyncs.total)),
                // Syncs of io_uring are no calls of their own.
                _ if calls.is_empty() => {
                    format!(", {} each", human(mean(fsyncs.total, fsyncs.count)))
                }
                _ => format!(
                    " in {}, {} each",
                    human(spread(calls)),
                    human(mean(fsyncs.total, fsyncs.count))
                ),
            });
            let text = format!(
                "{} by all its tasks: p50 {}, p99 {}",
                plural(fsyncs.count, "durability operation"),
                human(fsyncs.p50),
                human(fsyncs.p99)
            );
            evidence.push(count(text, fsyncs.count, SYNCS));
        }
        if let Some(journal) = journal.filter(|_| commit > ZERO) {
            title.push_str(&format!(
                ", {} in the journal commit on {journal}",
                percent(commit, own)
            ));
            evidence.push(time(
                format_args!("{} in journal commits on {journal}", human(commit)),
                commit,
                "jbd2 on the critical path",
            ));
        } else if let Some((device, ns)) = on.as_ref().filter(|(_, ns)| told(*ns, own)) {
            title.push_str(&format!(", {} waiting for {device}", percent(*ns, own)));
        }
        let (device, queue) =
            (facts.on(cause, Resource::Device), facts.on(cause, Resource::DeviceQueue));
        if device + queue > ZERO {
            let name = on.map_or_else(|| "the device".to_owned(), |(name, _)| name);
            evidence.push(time(
                format_args!("{} on {name}, {} in its queue", human(device), human(queue)),
                device + queue,
                "block requests on the critical path",
            ));
        }
        evidence.extend(split(calls));
        let others = others(facts, calls);
        evidence.extend(rates(facts));
        evidence.extend(in_commits(facts, others.as_ref()));
        let grouped = groups(calls, WINDOW);
        let many = calls.len() as u64;
        let worth = many >= MANY && grouped.saturating_mul(2) <= many;
        if worth {
            let left = plural(grouped, if commit > ZERO { "commit" } else { "sync" });
            title.push_str(&format!("; grouped by {WINDOW_WORDS}: {left}"));
            let text = format!("grouped by {WINDOW_WORDS}, {left} would have been left");
            evidence.push(count(text, grouped, SYNCS));
        }
        let grouped = worth.then_some((many, grouped));
        let others = others.as_ref();
        let recommendations = recommendations(facts, cause, &call, commit, grouped, others);
        Finding { title, evidence, recommendations, doubts: Vec::new() }
    }
}

/// Whether a part of a time is worth a word in the title.
fn told(part: Nanos, of: Nanos) -> bool {
    part.0.saturating_mul(100) >= of.0
}

/// The file of all calls, if they have the same.
fn only_file(calls: &[SyncCall]) -> Option<u32> {
    let first = calls.first()?.file?;
    calls.iter().all(|call| call.file == Some(first)).then_some(first)
}

/// From the start of the first to the end of the last.
fn spread(calls: &[SyncCall]) -> Nanos {
    let from = calls.first().map_or(Nanos::ZERO, |call| call.start);
    calls.iter().map(|call| call.end).max().unwrap_or(from) - from
}

/// What the calls waited for, a line each.
fn split(calls: &[SyncCall]) -> Vec<Evidence> {
    let mut sum = SyncParts::default();
    for call in calls {
        sum.add(&call.parts);
    }
    let total: Nanos = calls.iter().map(|call| call.end - call.start).sum();
    let phases = match sum.locking + sum.flushing + sum.logging {
        ZERO => String::new(),
        _ => format!(
            " (locking {}, flushing {}, logging {})",
            human(sum.locking),
            human(sum.flushing),
            human(sum.logging)
        ),
    };
    let parts = [
        (sum.data, "writing data".to_owned()),
        (sum.commit, format!("waiting for the commit{phases}")),
        (sum.flush, "the device flushing its cache".to_owned()),
        (sum.hop, "from completions to wakeups".to_owned()),
        (sum.queue, "waiting for a CPU".to_owned()),
        (sum.other, "blocked otherwise".to_owned()),
    ];
    let parts = parts.into_iter().filter(|(ns, _)| *ns > ZERO);
    parts
        .map(|(ns, what)| {
            time(format_args!("{} {what} ({})", human(ns), percent(ns, total)), ns, WAITS)
        })
        .collect()
}

/// The commits that the calls waited for, each once.
fn waited<'m>(facts: &Facts<'m>, calls: &[SyncCall]) -> BTreeMap<usize, &'m Commit> {
    let commits = &facts.model().commits;
    let numbers = calls.iter().flat_map(|call| &call.commits).map(|(number, _)| *number);
    numbers.filter_map(|number| commits.get(number).map(|c| (number, c))).collect()
}

/// Who was in the commits that the calls waited for, all together; `None` where handles were
/// not recorded (the table of commits then tells what can be inferred).
fn others(facts: &Facts<'_>, calls: &[SyncCall]) -> Option<Members> {
    let index = facts.parts.index;
    if !index.journals().handles_recorded {
        return None;
    }
    let mut all = Members::default();
    let mut sums = BTreeMap::new();
    for (number, _) in waited(facts, calls).into_iter().filter(|(_, c)| !c.fast) {
        let members = members(index, facts.number(), number, Nanos::ZERO);
        all.ours += members.ours;
        all.kernel += members.kernel;
        for (task, n) in members.others {
            *sums.entry(task).or_default() += n;
        }
    }
    all.others = sums.into_iter().collect();
    Some(all)
}

fn in_commits(facts: &Facts<'_>, members: Option<&Members>) -> Option<Evidence> {
    let members = members.filter(|m| m.theirs() > 0)?;
    let words = members.words(facts.parts.index, facts.parts.step.end);
    let theirs = members.theirs();
    let text = format!(
        "{theirs} of {} in those commits were of others: {words}",
        plural(members.ours + members.kernel + theirs, "handle")
    );
    Some(count(text, theirs, "jbd2_handle_start"))
}

/// Commits a second, by device.
fn rates(facts: &Facts<'_>) -> Vec<Evidence> {
    let step = facts.parts.step;
    let mut began: BTreeMap<(Dev, bool), u64> = BTreeMap::new();
    for (_, commit, _) in in_window(facts.model(), step.start, step.end) {
        if commit.start >= step.start {
            *began.entry((commit.dev, commit.fast)).or_default() += 1;
        }
    }
    let rates = began.into_iter().filter_map(|((dev, fast), n)| {
        let name = device_name(facts.model(), dev);
        let kind = if fast { "fast commit" } else { "commit" };
        let rate = per_second(n, facts.wall)?;
        let text = format!("{} on {name} in the step: {rate} a second", plural(n, kind));
        Some(count(text, n, "commits of all tasks"))
    });
    rates.collect()
}

fn recommendations(
    facts: &Facts<'_>,
    cause: Cause,
    call: &str,
    commit: Nanos,
    grouped: Option<(u64, u64)>,
    others: Option<&Members>,
) -> Vec<Recommendation> {
    let mut fixes = Vec::new();
    if let Some((many, left)) = grouped {
        let mut fix = advice(
            facts,
            cause,
            format!("batch: one fsync for all changes of {WINDOW_WORDS}"),
            "loses the changes since the last one on power failure",
        );
        let held = u128::from(facts.held(cause).0);
        let saved = held.saturating_mul(u128::from(many.saturating_sub(left)));
        let saved = saved.checked_div(u128::from(many)).unwrap_or(0);
        fix.saves = Some(Nanos(u64::try_from(saved).unwrap_or(u64::MAX)));
        fixes.push(fix);
    }
    fixes.extend(instead(facts, cause, call));
    if others.is_some_and(|m| m.theirs() > m.ours) {
        fixes.push(hint(
            "keep what must be durable on a file system of its own",
            "most of the commits was what others changed on the same file system",
        ));
    }
    if commit > ZERO {
        fixes.push(hint("ext4 fast_commit", "a feature set by mkfs or tune2fs, with data=ordered"));
    }
    fixes
}

/// What would do in place of the call that took the most time.
fn instead(facts: &Facts<'_>, cause: Cause, call: &str) -> Vec<Recommendation> {
    let sqlite = || {
        advice(
            facts,
            cause,
            "SQLite: WAL with synchronous=NORMAL",
            "where it is SQLite; loses the last commits on power failure",
        )
    };
    match call {
        "sync" | "syncfs" => vec![advice(
            facts,
            cause,
            "fsync of the files that must last, instead of sync",
            "sync and syncfs wait for what all programs wrote",
        )],
        "fdatasync" => vec![sqlite()],
        "msync" | "sync_file_range" => Vec::new(),
        _ if facts.parts.index.class(call) == SyscallClass::Write => vec![advice(
            facts,
            cause,
            "one fdatasync after the last write, instead of O_SYNC",
            "where what is written in between need not survive on its own",
        )],
        _ => vec![
            advice(
                facts,
                cause,
                "fdatasync instead of fsync",
                "where only the data, not times and the like, must survive; a changed size is still written",
            ),
            sqlite(),
        ],
    }
}
