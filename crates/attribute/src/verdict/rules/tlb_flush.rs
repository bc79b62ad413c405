//! Waiting for other CPUs to flush their TLB.
//!
//! # What it detects
//! Time of the critical path from sending a flush to other CPUs until the last of them is
//! done. Local flushes are counted, and never blamed.
//! # Evidence
//! `tlb:tlb_flush` of the sender (`TLB_REMOTE_SEND_IPI`), the calls that it queued
//! (`csd_queue_cpu`), their ends on the other CPUs (`csd_function_exit`), and the tasks that
//! these interrupted.
//! # Why it matters
//! A thread that unmaps or protects memory stops until every CPU on which its process runs
//! has answered an interrupt; on a virtual machine the host delivers that.
//! # When it is wrong
//! Without the calls' events a flush is counted, and has no time. Memory that the kernel
//! takes away for others (reclaim, compaction, migration) is flushed too: that time is
//! with its own cause.
//! # References
//! arch/x86/mm/tlb.c (`native_flush_tlb_multi`, `enum tlb_flush_reason`); kernel/smp.c
//! (`smp_call_function_many_cond`).

use std::cmp::Reverse;

use agenttrace_model::parse::Nanos;

use crate::cause::Cause;
use crate::mechanism::tlb::{Flushes, flushes};
use crate::stats::{human, plural, stats, thousands};
use crate::verdict::{Facts, Finding, Rule, advice, count, shares, time};

pub(crate) struct TlbFlush;

impl Rule for TlbFlush {
    fn id(&self) -> &'static str {
        "tlb_flush"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::TlbFlush]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "unmapping waits for other CPUs"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let all = flushes(facts.parts.index, facts.parts.work);
        let own = facts.own(cause);
        let mut title = format!("remote TLB flush: waited {}", human(own));
        let mut evidence = shares(facts, cause);
        let mut calls: Vec<_> = all.calls.iter().filter(|(_, call)| call.sent > 0).collect();
        calls.sort_by_key(|(_, call)| Reverse(call.waits.iter().copied().sum::<Nanos>()));
        if let Some((within, call)) = calls.first() {
            title = format!(
                "remote TLB flush: {} waited {}, {} in all",
                within.name(facts.model()),
                plural(call.sent, "time"),
                human(own)
            );
        }
        title.push_str(&whom(facts, &all));
        for (within, call) in calls.iter().take(3) {
            let waits = stats(&mut call.waits.clone());
            evidence.push(count(
                format_args!(
                    "{} waited {} for other CPUs: p50 {}, p99 {}",
                    within.name(facts.model()),
                    plural(call.sent, "time"),
                    human(waits.p50),
                    human(waits.p99)
                ),
                call.sent,
                "tlb_flush, csd_queue_cpu, csd_function_exit",
            ));
        }
        let mut targets: Vec<_> = all.targets.iter().collect();
        targets.sort_by_key(|(_, target)| Reverse(target.waited));
        for ((cpu, task), target) in targets.into_iter().take(3) {
            let on =
                task.map_or_else(|| "no task".to_owned(), |task| facts.name_tid(task).to_string());
            evidence.push(time(
                format_args!(
                    "CPU {cpu}, with {on}, was the last to be done {}: {}",
                    plural(target.flushes, "time"),
                    human(target.waited)
                ),
                target.waited,
                "csd_function_exit",
            ));
        }
        evidence.push(count(
            format_args!("{} on the own CPU, not counted as waiting", thousands(all.local())),
            all.local(),
            "tlb_flush",
        ));
        // By the flags of the CPU alone: the kernel uses PCID with PTI and without.
        let flag = |name| facts.model().machine.as_ref().and_then(|m| m.has_flag(name));
        if let Some(pcid) = flag("pcid") {
            let have = if pcid { "have" } else { "lack" };
            let text = format!(
                "the CPUs {have} PCID, by their flags: it spares flushes on task switches, none on other CPUs"
            );
            evidence.push(count(text, u64::from(pcid), "context"));
        }
        let mut finding = Finding {
            title,
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "fewer munmap, mprotect and MADV_DONTNEED: keep buffers and use them again",
                    "where the memory is the program's own",
                ),
                advice(
                    facts,
                    cause,
                    "fewer CPUs for the process's threads, or its work in a process of its own",
                    "where the other threads need not run beside the step",
                ),
                advice(
                    facts,
                    cause,
                    "broadcast invalidation, which needs no interrupt",
                    "AMD CPUs with INVLPGB, Linux 6.15 and later",
                ),
            ],
            doubts: Vec::new(),
        };
        if flag("invlpgb") == Some(false) {
            finding.recommendations.retain(|advice| !advice.condition.contains("INVLPGB"));
        }
        finding
    }
}

/// The CPU that most of the waiting was for, and who ran there.
fn whom(facts: &Facts<'_>, all: &Flushes) -> String {
    let first = all.targets.iter().max_by_key(|(key, target)| (target.waited, Reverse(*key)));
    first.map_or_else(String::new, |((cpu, task), _)| match task {
        Some(task) => format!(", for {} on CPU {cpu}", facts.name_tid(*task)),
        None => format!(", for CPU {cpu}"),
    })
}
