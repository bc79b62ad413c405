//! Rules that turn a step's sums into sentences: what made it slow, how sure, what to do.

mod facts;
mod fidelity;
mod kernel;
mod rules;
mod stacks;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;

use crate::cause::Cause;
use crate::mechanism::holes_within;
use crate::report::{Confidence, CoverageStatus, Evidence, Recommendation, Verdict};
use crate::stats::{human, percent, ratio};

pub(crate) use facts::{Cell, Facts, Parts, cells};
pub(crate) use fidelity::short;
pub(crate) use kernel::since;
pub(crate) use stacks::{lock_caller, tops};

/// One rule: it speaks for the steps in which its causes took much time.
///
/// Two kinds. A *general* rule speaks for whole causes; each cause has exactly one. A
/// *special* rule stands before them in [`RULES`] and takes parts of the path that belong
/// together, whatever their causes: the start of an interpreter, the sleeps of a polling
/// loop. What it takes, no later rule speaks for.
pub(crate) trait Rule: Sync {
    /// Stable id of its verdicts.
    fn id(&self) -> &'static str;
    /// The causes it speaks for. Of a special rule: those that its parts can have.
    fn causes(&self) -> &'static [Cause];
    /// A special rule: which parts of this step's path it takes; `None`: it has nothing to say.
    /// General rules keep this default.
    fn takes<'f>(&self, _: &'f Facts<'_>) -> Option<Takes<'f>> {
        None
    }
    /// Whether it is special.
    fn special(&self) -> bool {
        false
    }
    /// What goes wrong, in a few words that are the same for every step.
    fn failure_mode(&self, cause: Cause) -> &'static str;
    /// What it has to say of a step in which the cause took time.
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding;
}

/// Whether a special rule takes a part of a path.
pub(crate) type Takes<'f> = Box<dyn Fn(&Cell) -> bool + 'f>;

/// What a rule says of one step.
#[derive(Default)]
pub(crate) struct Finding {
    pub(crate) title: String,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) recommendations: Vec<Recommendation>,
    /// Reasons why the rule itself is not sure.
    pub(crate) doubts: Vec<String>,
}

/// All rules, the special ones first.
pub(crate) const RULES: &[&dyn Rule] = rules::ALL;

fn rule(cause: Cause) -> Option<&'static dyn Rule> {
    RULES.iter().copied().find(|rule| !rule.special() && rule.causes().contains(&cause))
}

/// What a verdict can be about: a rule, and its part of the path.
struct Topic<'c> {
    rule: &'static dyn Rule,
    /// The cause; of a special rule the one that most of its part has.
    cause: Cause,
    ns: Nanos,
    cells: Vec<&'c Cell>,
}

impl Topic<'_> {
    fn name(&self) -> &'static str {
        if self.rule.special() { self.rule.id() } else { self.cause.name() }
    }
}

/// The path in topics: what special rules take, then the rest by cause; the largest first.
fn topics<'c>(facts: &Facts<'c>) -> Vec<Topic<'c>> {
    let mut rest = facts.cells.clone();
    let mut topics: Vec<Topic<'c>> = Vec::new();
    for rule in RULES.iter().copied().filter(|rule| rule.special()) {
        let view = facts.only(rest.clone());
        let Some(takes) = rule.takes(&view) else { continue };
        let (cells, others): (Vec<&Cell>, Vec<&Cell>) = rest.iter().partition(|c| takes(c));
        let mut sums: BTreeMap<Cause, Nanos> = BTreeMap::new();
        for cell in &cells {
            *sums.entry(cell.cause).or_default() += cell.ns;
        }
        let largest = sums.iter().max_by_key(|(cause, ns)| (**ns, Reverse(**cause)));
        if let Some((cause, _)) = largest {
            topics.push(Topic { rule, cause: *cause, ns: sums.values().copied().sum(), cells });
            rest = others;
        }
    }
    for cause in Cause::ALL {
        let Some(rule) = rule(cause) else { continue };
        // Its run delay belongs to the view, for evidence, and not to its time.
        let of = |c: &&Cell| c.cause == cause || c.under == Some(cause);
        let cells: Vec<&Cell> = rest.iter().copied().filter(of).collect();
        let ns = cells.iter().filter(|c| c.cause == cause).map(|c| c.ns).sum();
        topics.push(Topic { rule, cause, ns, cells });
    }
    // Stable: special rules before causes, causes in their order.
    topics.sort_by_key(|topic| Reverse(topic.ns));
    topics
}

/// The failure mode of a cause that no verdict of the session is about.
pub(crate) fn general_failure_mode(cause: Cause) -> &'static str {
    rule(cause).map_or("", |rule| rule.failure_mode(cause))
}

/// The verdicts on a step, the largest cause's first; further ones for causes of
/// at least a tenth of the wall time. At least one.
pub(crate) fn verdicts(facts: &Facts<'_>) -> Vec<Verdict> {
    let topics = topics(facts);
    let second = topics.get(1).map_or(("", ZERO), |topic| (topic.name(), topic.ns));
    let mut verdicts: Vec<Verdict> = Vec::new();
    for Topic { rule, cause, ns, cells } in topics {
        let first = verdicts.is_empty();
        if !first && ns.0.saturating_mul(10) < facts.wall.0.max(1) {
            break;
        }
        let view = &facts.only(cells);
        let mut finding = rule.find(view, cause);
        if first {
            finding.doubts.extend(stolen(view));
        }
        finding.evidence.extend(stacks::evidence(view, cause));
        if let Some(op) = view.uring(cause) {
            finding.title.push_str(&format!(", through io_uring (opcode {})", op.name()));
        }
        if first {
            finding.evidence.extend(facts.parts.relative.clone());
        }
        let rival = first.then_some(second);
        let (confidence, reasons) = confidence(view, cause, ns, rival, finding.doubts);
        let held = if !rule.special() && cause.is_kernel() { view.held(cause) } else { ns };
        verdicts.push(Verdict {
            id: rule.id(),
            title: finding.title,
            failure_mode: rule.failure_mode(cause).to_owned(),
            cause,
            ns: held,
            share: ratio(held, facts.wall),
            confidence,
            reasons,
            evidence: finding.evidence,
            recommendations: finding.recommendations,
        });
    }
    verdicts
}

/// The suspicion that a hypervisor had the step's CPUs for a hundredth of it or more.
fn stolen(facts: &Facts<'_>) -> Option<String> {
    let holes = holes_within(facts.parts.index, facts.parts.work);
    let total: Nanos = holes.iter().map(|hole| hole.to - hole.from).sum();
    (total.0.saturating_mul(100) >= facts.wall.0.max(1)).then(|| {
        format!(
            "suspected: the hypervisor had the CPU for up to {} (a running task, no tick, no event)",
            human(total)
        )
    })
}

/// How sure a verdict is, with its reasons.
fn confidence(
    facts: &Facts<'_>,
    cause: Cause,
    ns: Nanos,
    rival: Option<(&str, Nanos)>,
    doubts: Vec<String>,
) -> (Confidence, Vec<String>) {
    let mut level = Confidence::High;
    let mut reasons = Vec::new();
    let mut lower = |to: Confidence, why: String| {
        level = level.min(to);
        reasons.push(why);
    };
    let wall = facts.wall;
    let at_least = |part: Nanos, per_mille: u64| {
        part > Nanos::ZERO && part.0.saturating_mul(1000) >= wall.0.saturating_mul(per_mille)
    };
    if let Some(why) = facts.parts.broken {
        lower(Confidence::CannotSay, format!("internal error: {why}"));
    }
    let unknown = facts.parts.unknown;
    let share =
        || format!("{} of the step ({}) is not known", percent(unknown, wall), human(unknown));
    if at_least(unknown, 500) || cause == Cause::Unknown {
        lower(Confidence::CannotSay, share());
    } else if at_least(unknown, 200) {
        lower(Confidence::Low, share());
    } else if at_least(unknown, 20) {
        lower(Confidence::Medium, share());
    }
    if facts.lost() {
        let low = at_least(unknown, 100);
        let to = if low { Confidence::Low } else { Confidence::Medium };
        lower(to, "the recorder lost events within the window".to_owned());
    } else if facts.lost_somewhere() {
        lower(Confidence::Medium, "the recorder lost events; when is not known".to_owned());
    }
    let inferred = facts.parts.inferred;
    if at_least(inferred, 1) {
        // A state that was inferred is mostly proved by the events after it: who
        // enters a call was running. When it began is what is doubtful.
        lower(
            Confidence::Medium,
            format!(
                "states of {} ({}) are inferred from later events",
                percent(inferred, wall),
                human(inferred)
            ),
        );
    }
    if matches!(cause, Cause::MajorFault | Cause::MinorFault)
        && facts.inclusive().faults.as_ref().is_some_and(|f| f.estimated)
    {
        lower(Confidence::Medium, "ends of page faults are estimated".to_owned());
    }
    if let Some(coverage) = facts.coverage(cause) {
        let to = match coverage.status {
            CoverageStatus::Observed => Confidence::High,
            CoverageStatus::Partial => Confidence::Medium,
            CoverageStatus::NotCaptured => Confidence::Low,
        };
        let why = if coverage.missing.is_empty() {
            "the capture is not system-wide".to_owned()
        } else {
            format!("not captured: {}", coverage.missing.join(", "))
        };
        lower(to, why);
    }
    if let Some((other, other_ns)) = rival
        && ns > Nanos::ZERO
        && other_ns.0.saturating_mul(10) >= ns.0.saturating_mul(9)
    {
        let why = format!("{other} is close behind with {}", human(other_ns));
        lower(Confidence::Medium, why);
    }
    for (to, why) in fidelity::doubts(facts, cause) {
        lower(to, why);
    }
    for doubt in doubts {
        lower(Confidence::Medium, doubt);
    }
    if level == Confidence::High {
        reasons.push("every needed event captured, none lost in the window".to_owned());
    }
    (level, reasons)
}

/// No time at all.
pub(crate) const ZERO: Nanos = Nanos::ZERO;

/// Evidence: a number of nanoseconds.
pub(crate) fn time(text: String, value: Nanos, source: &'static str) -> Evidence {
    Evidence { text, value: value.0, unit: "ns", source }
}

/// Evidence: a count.
pub(crate) fn count(text: String, value: u64, source: &'static str) -> Evidence {
    Evidence { text, value, unit: "count", source }
}

/// A recommendation that saves at most what the path holds for a cause.
pub(crate) fn advice(
    facts: &Facts<'_>,
    cause: Cause,
    text: &str,
    condition: &str,
) -> Recommendation {
    Recommendation {
        text: text.to_owned(),
        condition: condition.to_owned(),
        saves: Some(facts.held(cause)),
    }
}

/// A recommendation of which the path does not tell what it saves.
pub(crate) fn hint(text: &str, condition: &str) -> Recommendation {
    Recommendation { text: text.to_owned(), condition: condition.to_owned(), saves: None }
}

/// Evidence that every verdict has: the cause's time, and its run delay.
pub(crate) fn shares(facts: &Facts<'_>, cause: Cause) -> Vec<Evidence> {
    let own = facts.own(cause);
    let mut evidence = vec![time(
        format!(
            "{} of {} on the critical path ({})",
            human(own),
            human(facts.wall),
            percent(own, facts.wall)
        ),
        own,
        "critical path",
    )];
    let delay = facts.delay(cause);
    if delay > Nanos::ZERO {
        evidence.push(time(
            format!("{} more waiting for a CPU meanwhile", human(delay)),
            delay,
            "critical path",
        ));
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_exactly_one_general_rule() {
        for cause in Cause::ALL {
            let general = |r: &&&dyn Rule| !r.special() && r.causes().contains(&cause);
            let rules = RULES.iter().filter(general).count();
            assert_eq!(rules, 1, "{}", cause.name());
            assert!(!general_failure_mode(cause).is_empty());
        }
    }
}
