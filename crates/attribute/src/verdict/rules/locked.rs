//! What all rules on locks say of the holders.

use crate::locks::{Act, Holder, Wait, total};
use crate::mechanism::locks::act_name;
use crate::report::Evidence;
use crate::stats::{human, percentile, plural};
use crate::verdict::{Facts, count, time};
use agenttrace_model::parse::Nanos;

/// What the main holder did, for a title: `of it 18.9 ms in fsync`. `all` is what the
/// title tells of the waits in all.
pub(super) fn did(facts: &Facts<'_>, holder: &Holder, all: Nanos) -> String {
    let index = facts.parts.index;
    let held = holder.held(index);
    let part = |ns: Nanos| {
        // What is missing is the way there and back.
        let whole = ns.0.saturating_mul(20) >= all.0.saturating_mul(19);
        if whole { "all of it".to_owned() } else { format!("of it {}", human(ns)) }
    };
    if holder.starved(index) {
        let behind = holder
            .rival(index)
            .map_or_else(String::new, |rival| format!(", behind {}", facts.name_tid(rival)));
        return format!("{} waiting for a CPU{behind}", part(held.runnable));
    }
    match held.act() {
        None => "which is not known to have done anything".to_owned(),
        Some((Act::Computing, ns)) => format!("{} computing", part(ns)),
        Some((act @ (Act::Call(_) | Act::Fault), ns)) => {
            format!("{} in {}", part(ns), act_name(facts.model(), act))
        }
    }
}

/// The waits and their holders, as evidence.
pub(super) fn evidence(
    facts: &Facts<'_>,
    waits: &[Wait],
    holders: &[Holder],
    source: &'static str,
) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let mut times: Vec<Nanos> = waits.iter().map(Wait::duration).collect();
    times.sort_unstable();
    evidence.push(count(
        format_args!(
            "{} on the path, {} in all, p50 {}, p99 {}",
            plural(waits.len() as u64, "wait"),
            human(total(waits)),
            human(percentile(&times, 50)),
            human(percentile(&times, 99))
        ),
        waits.len() as u64,
        source,
    ));
    for holder in holders.iter().take(3) {
        let held = holder.held(facts.parts.index);
        let name = facts.name_tid(holder.task);
        evidence.push(time(
            format_args!(
                "{name} held it for {}: ran {}, runnable {}, blocked {}",
                human(holder.total),
                human(held.ran),
                human(held.runnable),
                human(held.blocked)
            ),
            holder.total,
            "sched_waking at the wait's end, and that task's states",
        ));
        let mut acts: Vec<(Act, Nanos)> = held.acts.iter().map(|(a, ns)| (*a, *ns)).collect();
        acts.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        let texts = acts
            .iter()
            .take(3)
            .map(|(act, ns)| format!("{} {}", act_name(facts.model(), *act), human(*ns)));
        if let Some((_, most)) = acts.first() {
            let texts: Vec<String> = texts.collect();
            evidence.push(time(
                format_args!("{name} meanwhile: {}", texts.join(", ")),
                *most,
                "raw_syscalls of the holder",
            ));
        }
    }
    evidence
}
