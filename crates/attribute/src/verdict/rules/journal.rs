//! Waiting for the journal outside durability operations.
//!
//! # What it detects
//! Waits that the journal's thread ended, in calls that did not ask for durability:
//! a rename or write that needs a transaction while one is being committed.
//! # Evidence
//! The device of the journal, the call that waited; the commit: who asked for it, who was
//! in it, whose handle it waited for while the transaction was locked.
//! # Why it matters
//! The wait is caused by somebody's fsync, perhaps another program's.
//! # When it is wrong
//! Without jbd2 events the wait is known by its waker only. Who asked for the commit is
//! the task that woke the journal's thread before it: others may have asked for the same.
//! # References
//! fs/jbd2/transaction.c `start_this_handle`; fs/jbd2/commit.c.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::Commit;
use agenttrace_model::parse::Nanos;

use crate::cause::Cause;
use crate::journal::{Asked, asked, last_holder, members};
use crate::mechanism::commits::asked_words;
use crate::page_cache::step;
use crate::path::Frame;
use crate::stats::{human, plural};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, hint, shares, time};

pub(crate) struct Journal;

impl Rule for Journal {
    fn id(&self) -> &'static str {
        "journal"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Journal]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "waits for a journal commit"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let call = facts.call(cause).map(|(name, _)| name);
        let device =
            facts.device(cause).map_or_else(String::new, |(name, _)| format!(" on {name}"));
        let commits = waited(facts);
        let mut evidence = shares(facts, cause);
        let mut asker = None;
        let (mut sync, mut own) = (false, false);
        for (number, commit, ns) in commits.iter().take(3) {
            let by = asked(facts.model(), commit);
            sync |= matches!(by, Asked::Task { sync: true, .. });
            own |= self::own(facts, by);
            let who = who(facts, by);
            let name =
                commit.transaction.map_or_else(String::new, |t| format!(" of transaction {t}"));
            let text = match &who {
                Some(who) => format!("{} for the commit{name} that {who} asked for", human(*ns)),
                None => format!("{} for the commit{name}", human(*ns)),
            };
            evidence.push(time(text, *ns, "jbd2 on the critical path"));
            asker = asker.or(who);
            evidence.extend(held_up(facts, *number, commit));
        }
        let waits = commits.len() as u64;
        let mut title = match (call, waits) {
            (Some(call), 0 | 1) => format!("{call} waited for a journal commit{device}"),
            (Some(call), _) => {
                format!("{call} waited for {} of the journal{device}", plural(waits, "commit"))
            }
            (None, _) => format!("waits for a journal commit{device}"),
        };
        title.push_str(&format!(": {}", human(facts.own(cause))));
        if let Some(asker) = asker {
            title.push_str(&format!(", asked for by {asker}"));
        }
        let condition = if sync {
            "the commits were asked for by a sync"
        } else {
            "they may be another program's"
        };
        let mut recommendations =
            vec![advice(facts, cause, "batch the fsyncs that start the commits", condition)];
        if own {
            let fix = advice(
                facts,
                cause,
                "do without a synchronous directory (chattr +D, mount -o dirsync or sync)",
                "this step's own calls asked for commits without a sync; a change that no sync follows can be lost on power failure",
            );
            recommendations.insert(0, fix);
        }
        recommendations.extend([
            hint(
                "keep what is synced often and what is renamed often on different file systems",
                "where they need not be on the same",
            ),
            hint("ext4 fast_commit", "a feature set by mkfs or tune2fs, with data=ordered"),
        ]);
        Finding { title, evidence, recommendations, doubts: Vec::new() }
    }
}

/// The commits under way while the path waited for the journal, the longest wait first.
fn waited<'m>(facts: &Facts<'m>) -> Vec<(usize, &'m Commit, Nanos)> {
    let (index, path) = (facts.parts.index, facts.parts.path);
    let mut sums: BTreeMap<usize, Nanos> = BTreeMap::new();
    for segment in path.of(Cause::Journal) {
        let frames = path.stacks.frames(segment.stack);
        let dev =
            frames.iter().find_map(|f| if let Frame::Journal(dev) = f { Some(*dev) } else { None });
        for journal in index.journals().committers(dev) {
            let commits =
                index.journals().commits(facts.model(), journal, segment.start, segment.end);
            for (number, commit) in commits.filter(|(_, c)| !c.fast) {
                let end = commit.end.unwrap_or(Nanos::MAX).min(segment.end);
                *sums.entry(number).or_default() += end - commit.start.max(segment.start);
            }
        }
    }
    let commits = &facts.model().commits;
    let found =
        sums.into_iter().filter_map(|(number, ns)| commits.get(number).map(|c| (number, c, ns)));
    let mut found: Vec<(usize, &Commit, Nanos)> = found.filter(|(.., ns)| *ns > ZERO).collect();
    found.sort_by_key(|(_, commit, ns)| (Reverse(*ns), commit.start));
    found
}

/// Whether a call of this step that is no sync asked: the directory or file is synchronous.
fn own(facts: &Facts<'_>, by: Asked) -> bool {
    let Asked::Task { task, time, call: Some(_), sync: false } = by else { return false };
    facts.number().is_some_and(|own| facts.parts.index.windows.works_for(task, time, own))
}

/// Who asked, as this step sees it.
fn who(facts: &Facts<'_>, by: Asked) -> Option<String> {
    let index = facts.parts.index;
    if let Asked::Task { task, time, call, .. } = by
        && let Some(number) = index.windows.claim_at(task, time)
    {
        let whose = if facts.number().is_some_and(|own| index.windows.within(number, own)) {
            "this step".to_owned()
        } else {
            step(index, number)
        };
        let call = call.map(|nr| format!("{} of ", facts.model().syscalls.name(nr)));
        return Some(format!("{}{whose}", call.unwrap_or_default()));
    }
    asked_words(index, by)
}

/// What a commit waited for, and who was in it.
fn held_up(facts: &Facts<'_>, number: usize, commit: &Commit) -> Vec<crate::report::Evidence> {
    let index = facts.parts.index;
    let mut evidence = Vec::new();
    let at = facts.parts.step.end;
    if let Some(handle) = last_holder(index, commit)
        && let (Some(from), Some(end)) = (commit.locking, handle.end)
    {
        let text = format!(
            "{} of it until {} was done with its part of the transaction",
            human(end - from),
            index.model.task(handle.task).name_at(at).to_text()
        );
        evidence.push(time(text, end - from, "jbd2_handle_stats"));
    }
    if index.journals().handles_recorded {
        let members = members(index, facts.number(), number, Nanos::ZERO);
        if members.theirs() > 0 {
            let text = format!("in that commit: {}", members.words(index, at));
            evidence.push(count(text, members.theirs(), "jbd2_handle_start"));
        }
    }
    evidence
}
