//! Rules that turn a step's sums into sentences: what made it slow, how sure, what to do.

/// A sentence as [`sentence`] makes it.
macro_rules! sentence {
    ($($text:tt)*) => {
        $crate::verdict::sentence(format_args!($($text)*))
    };
}

mod facts;
mod fidelity;
mod kernel;
mod rules;
mod stacks;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::fmt::{Display, Write};
use std::sync::LazyLock;

use agenttrace_model::parse::Nanos;

use crate::cause::Cause;
use crate::detail::Words;
use crate::mechanism::holes_within;
use crate::record_command::record_command;
use crate::report::{Confidence, Coverage, CoverageStatus, Evidence, Recommendation, Verdict};
use crate::stats::{human, percent, ratio};

pub(crate) use facts::{Cell, Facts, Parts, cells, named};
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
pub(crate) type Takes<'f> = Box<dyn Fn(&Cell<'_>) -> bool + 'f>;

/// What a rule says of one step.
#[derive(Default)]
pub(crate) struct Finding {
    pub(crate) title: String,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) recommendations: Vec<Recommendation>,
    /// Reasons why the rule itself is not sure.
    pub(crate) doubts: Vec<Words>,
}

/// All rules, the special ones first.
pub(crate) const RULES: &[&dyn Rule] = rules::ALL;

/// The general rule of a cause; asked for in each step, so looked for once.
fn rule(cause: Cause) -> Option<&'static dyn Rule> {
    static GENERAL: LazyLock<Vec<Option<&dyn Rule>>> = LazyLock::new(|| {
        let of = |cause| RULES.iter().find(|r| !r.special() && r.causes().contains(cause));
        Cause::ALL.iter().map(|cause| of(cause).copied()).collect()
    });
    GENERAL.get(cause as usize).copied().flatten()
}

/// What a verdict can be about: a rule, and its part of the path.
struct Topic<'c> {
    rule: &'static dyn Rule,
    /// The cause; of a special rule the one that most of its part has.
    cause: Cause,
    ns: Nanos,
    /// What a special rule takes; of a general one that is told by the cause.
    taken: Vec<&'c Cell<'c>>,
}

impl<'c> Topic<'c> {
    /// Its part of the path; `rest` is what no special rule takes.
    fn cells(&self, rest: &[&'c Cell<'c>]) -> Vec<&'c Cell<'c>> {
        if self.rule.special() {
            return self.taken.clone();
        }
        let of = |c: &&&Cell<'_>| c.cause == self.cause || c.under == Some(self.cause);
        rest.iter().filter(of).copied().collect()
    }

    fn name(&self) -> &'static str {
        if self.rule.special() { self.rule.id() } else { self.cause.name() }
    }
}

/// The path in topics: what special rules take, then the rest by cause; the largest first,
/// at least one. And that rest.
fn topics<'c>(facts: Facts<'c>, rules: &[&'static dyn Rule]) -> (Vec<Topic<'c>>, Facts<'c>) {
    let mut rest = facts;
    let mut topics: Vec<Topic<'c>> = Vec::new();
    for rule in rules.iter().copied().take_while(|rule| rule.special()) {
        let Some(takes) = rule.takes(&rest) else { continue };
        let (taken, others): (Vec<&Cell<'_>>, Vec<&Cell<'_>>) =
            rest.cells.iter().partition(|c| takes(c));
        drop(takes);
        let sums = sums(taken.iter().copied());
        let largest = sums.clone().max_by_key(|(cause, ns)| (*ns, Reverse(*cause)));
        if let Some((cause, _)) = largest {
            let ns = sums.map(|(_, ns)| ns).sum();
            topics.push(Topic { rule, cause, ns, taken });
            rest.cells = others;
        }
    }
    // Run delay of a cause belongs to the view, for evidence, and not to its time.
    let by_cause = sums(rest.cells.iter().copied()).filter(|(_, ns)| *ns > ZERO);
    let topic = |(cause, ns)| Some(Topic { rule: rule(cause)?, cause, ns, taken: Vec::new() });
    topics.extend(by_cause.filter_map(topic));
    if topics.is_empty() {
        topics.extend(topic((Cause::ALL[0], ZERO)));
    }
    // Stable: special rules before causes, causes in their order.
    topics.sort_by_key(|topic| Reverse(topic.ns));
    (topics, rest)
}

/// The time of cells by cause, in the order of causes.
fn sums<'c>(
    cells: impl Iterator<Item = &'c Cell<'c>>,
) -> impl Iterator<Item = (Cause, Nanos)> + Clone {
    let mut sums = [None; Cause::ALL.len()];
    for cell in cells {
        if let Some(sum) = sums.get_mut(cell.cause as usize) {
            *sum.get_or_insert(ZERO) += cell.ns;
        }
    }
    Cause::ALL.into_iter().zip(sums).filter_map(|(cause, ns)| Some((cause, ns?)))
}

/// The failure mode of a cause that no verdict of the session is about.
pub(crate) fn general_failure_mode(cause: Cause) -> &'static str {
    rule(cause).map_or("", |rule| rule.failure_mode(cause))
}

/// The verdicts on a step, the largest cause's first; further ones for causes of
/// at least a tenth of the wall time. At least one.
pub(crate) fn verdicts(facts: Facts<'_>) -> Vec<Verdict> {
    let (topics, rest) = topics(facts, RULES);
    let second = topics.get(1).map_or(("", ZERO), |topic| (topic.name(), topic.ns));
    let large = |topic: &&Topic<'_>| topic.ns.0.saturating_mul(10) >= rest.wall.0.max(1);
    let told = 1 + topics.iter().skip(1).take_while(large).count();
    // There are ten thousands of them, kept until the end: in no more memory than they need.
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(told);
    for topic in topics.into_iter().take(told) {
        let Topic { rule, cause, ns, .. } = topic;
        let first = verdicts.is_empty();
        let special = rule.special();
        let view = &rest.only(topic.cells(&rest.cells));
        let mut finding = rule.find(view, cause);
        if first {
            finding.doubts.extend(stolen(view));
        }
        finding.evidence.extend(stacks::evidence(view, cause));
        if let Some(op) = view.uring(cause) {
            finding.title.push_str(&format!(", through io_uring (opcode {})", op.name()));
        }
        let rival = first.then_some(second);
        let (confidence, mut reasons) = confidence(view, cause, ns, rival, finding.doubts);
        if confidence == Confidence::CannotSay && cause != Cause::Unknown {
            finding.title = format!("cannot say; as far as recorded, {}", finding.title);
            finding.recommendations = vec![again(view, cause)];
        }
        let sums = sums(view.cells.iter().filter(|c| special || c.cause == cause).copied());
        let mut causes = Vec::with_capacity(sums.clone().count());
        causes.extend(sums);
        let held = if !special && cause.is_kernel() { view.held(cause) } else { ns };
        reasons.shrink_to_fit();
        finding.evidence.shrink_to_fit();
        finding.recommendations.shrink_to_fit();
        verdicts.push(Verdict {
            id: rule.id(),
            title: finding.title,
            failure_mode: rule.failure_mode(cause),
            cause,
            causes,
            ns: held,
            share: ratio(held, rest.wall),
            confidence,
            reasons,
            evidence: finding.evidence,
            recommendations: finding.recommendations,
        });
    }
    verdicts
}

/// The suspicion that a hypervisor had the step's CPUs for a hundredth of it or more.
fn stolen(facts: &Facts<'_>) -> Option<Words> {
    let holes = holes_within(facts.parts.index, facts.parts.work);
    let total: Nanos = holes.iter().map(|hole| hole.to - hole.from).sum();
    (total.0.saturating_mul(100) >= facts.wall.0.max(1)).then(|| {
        format!(
            "suspected: the hypervisor had the CPU for up to {} (a running task, no tick, no event)",
            human(total)
        )
        .into()
    })
}

/// How sure a verdict is, with its reasons: what the capture does not tell, and how far
/// it is ahead of what else it could be about.
fn confidence(
    facts: &Facts<'_>,
    cause: Cause,
    ns: Nanos,
    rival: Option<(&str, Nanos)>,
    doubts: Vec<Words>,
) -> (Confidence, Vec<Words>) {
    let mut sure = Sure { level: Confidence::High, reasons: Vec::new(), wall: facts.wall };
    if let Some(why) = facts.parts.broken {
        sure.lower(Confidence::CannotSay, format!("internal error: {why}"));
    }
    known(&mut sure, facts, cause);
    estimated(&mut sure, facts, ns);
    covered(&mut sure, facts, cause, ns);
    if let Some((other, other_ns)) = rival {
        ahead(&mut sure, facts, ns, other, other_ns);
    }
    for (to, why) in fidelity::doubts(facts, cause) {
        sure.lower(to, why);
    }
    recording(&mut sure, facts, ns);
    for doubt in doubts {
        sure.lower(Confidence::Medium, doubt);
    }
    if sure.level == Confidence::High {
        sure.reasons.push("every needed event captured, none lost in the window".into());
    }
    (sure.level, sure.reasons)
}

/// A confidence in the making.
struct Sure {
    level: Confidence,
    reasons: Vec<Words>,
    wall: Nanos,
}

impl Sure {
    fn lower(&mut self, to: Confidence, why: impl Into<Words>) {
        self.level = self.level.min(to);
        self.reasons.push(why.into());
    }
    /// Whether a part of the step is at least so much of it.
    fn at_least(&self, part: Nanos, per_mille: u64) -> bool {
        part > Nanos::ZERO && part.0.saturating_mul(1000) >= self.wall.0.saturating_mul(per_mille)
    }
}

/// What of the step's time is not known: unexplained, lost, inferred, outside the capture.
fn known(sure: &mut Sure, facts: &Facts<'_>, cause: Cause) {
    let unknown = facts.parts.unknown;
    let share = || {
        format!("{} of the step ({}) is not known", percent(unknown, facts.wall), human(unknown))
    };
    if sure.at_least(unknown, 500) || cause == Cause::Unknown {
        sure.lower(Confidence::CannotSay, share());
    } else if sure.at_least(unknown, 200) {
        sure.lower(Confidence::Low, share());
    } else if sure.at_least(unknown, 20) {
        sure.lower(Confidence::Medium, share());
    }
    if facts.lost() {
        let low = sure.at_least(unknown, 100);
        let to = if low { Confidence::Low } else { Confidence::Medium };
        sure.lower(to, "the recorder lost events within the window");
    } else if facts.lost_somewhere() {
        sure.lower(Confidence::Medium, "the recorder lost events; when is not known");
    }
    let inferred = facts.parts.inferred;
    if sure.at_least(inferred, 1) {
        // A state that was inferred is mostly proved by the events after it: who
        // enters a call was running. When it began is what is doubtful.
        sure.lower(
            Confidence::Medium,
            format!(
                "states of {} ({}) are inferred from later events",
                percent(inferred, facts.wall),
                human(inferred)
            ),
        );
    }
    let unnamed = facts.cells.iter().filter(|c| c.cause != Cause::Unknown && c.reason.is_some());
    let unnamed: Nanos = unnamed.map(|c| c.ns).sum();
    if sure.at_least(unnamed, 50) {
        let why = format!("what ended waits of {} was not recorded", human(unnamed));
        sure.lower(Confidence::Medium, why);
    }
    if facts.parts.step.clipped.is_some() {
        sure.lower(Confidence::Medium, "a part of the step lies outside the capture");
    }
}

/// Ends of calls and faults that were not recorded, where they are much of the part.
fn estimated(sure: &mut Sure, facts: &Facts<'_>, ns: Nanos) {
    let part: Nanos = facts.cells.iter().map(|cell| cell.estimated).sum();
    if part > Nanos::ZERO && part.0.saturating_mul(ESTIMATED) >= ns.0 {
        let what = if facts.parts.inclusive.faults.as_ref().is_some_and(|f| f.estimated) {
            "ends of page faults"
        } else {
            "ends of calls"
        };
        sure.lower(
            Confidence::Medium,
            format!("{what} are estimated, for {} of it", percent(part, ns)),
        );
    }
}

/// What the capture can show of the causes of which the part is made.
fn covered(sure: &mut Sure, facts: &Facts<'_>, cause: Cause, ns: Nanos) {
    let seen = |c: &&Coverage| c.status == CoverageStatus::Observed;
    for coverage in facts.parts.coverage.iter().filter(|c| !seen(c)) {
        // Its run delay belongs to the view for evidence alone.
        let matters = coverage.cause == cause
            || (coverage.cause != Cause::RunDelay
                && facts.own(coverage.cause).0.saturating_mul(COVERED) >= ns.0.max(1));
        if !matters {
            continue;
        }
        let to = match coverage.status {
            CoverageStatus::Observed => Confidence::High,
            CoverageStatus::Partial => Confidence::Medium,
            // By the signs of a lock: rows and rules that need no event of it.
            CoverageStatus::NotCaptured if coverage.cause == Cause::KernelLock => Confidence::Low,
            // Time was charged to it for want of what would show otherwise.
            CoverageStatus::NotCaptured => Confidence::CannotSay,
        };
        let why = if coverage.missing.is_empty() {
            Words::Borrowed("the capture is not system-wide")
        } else {
            format!("not captured: {}", coverage.missing.join(", ")).into()
        };
        if !sure.reasons.contains(&why) {
            sure.lower(to, why);
        }
    }
}

/// How far the first verdict is ahead of the second: what is not sure must not change
/// their order.
fn ahead(sure: &mut Sure, facts: &Facts<'_>, ns: Nanos, other: &str, other_ns: Nanos) {
    let lead = ns - other_ns;
    if ns > Nanos::ZERO && other_ns.0.saturating_mul(10) >= ns.0.saturating_mul(9) {
        sure.lower(Confidence::Medium, format!("{other} is close behind with {}", human(other_ns)));
    }
    let unknown = facts.parts.unknown;
    if other_ns > Nanos::ZERO && unknown > Nanos::ZERO && unknown >= lead {
        sure.lower(
            Confidence::Low,
            format!("what is not known ({}) could put {other} first", human(unknown)),
        );
    }
}

/// A verdict on what may be recording itself.
fn recording(sure: &mut Sure, facts: &Facts<'_>, ns: Nanos) {
    let Some(cost) = facts.tracing().filter(|cost| *cost > Nanos::ZERO) else { return };
    let why = || format!("recording itself took about {} of it", percent(cost.min(ns), ns));
    if cost.0.saturating_mul(2) >= ns.0 {
        sure.lower(Confidence::Low, why());
    } else if cost.0.saturating_mul(3) >= ns.0 {
        sure.lower(Confidence::Medium, why());
    }
}

/// Estimated ends matter from a tenth of the part on.
const ESTIMATED: u64 = 10;
/// A cause belongs to what a verdict is about from a fifth of it on.
const COVERED: u64 = 5;

/// No time at all.
pub(crate) const ZERO: Nanos = Nanos::ZERO;

/// Evidence: a number of nanoseconds.
pub(crate) fn time(text: impl Display, value: Nanos, source: &'static str) -> Evidence {
    Evidence { text: sentence(text), value: value.0, unit: "ns", source }
}

/// Evidence: a count.
pub(crate) fn count(text: impl Display, value: u64, source: &'static str) -> Evidence {
    Evidence { text: sentence(text), value, unit: "count", source }
}

/// A text that takes no more memory than it needs: there are many, kept until the end.
fn sentence(text: impl Display) -> String {
    thread_local! {
        /// Where texts grow before their length is known.
        static DRAFT: RefCell<String> = const { RefCell::new(String::new()) };
    }
    let mut draft = DRAFT.take();
    draft.clear();
    // Memory takes whatever is written to it.
    let _ = write!(draft, "{text}");
    let text = draft.as_str().to_owned();
    DRAFT.set(draft);
    text
}

/// A recommendation that saves at most what the path holds for a cause.
pub(crate) fn advice(
    facts: &Facts<'_>,
    cause: Cause,
    text: impl Into<Words>,
    condition: impl Into<Words>,
) -> Recommendation {
    Recommendation {
        text: text.into(),
        condition: condition.into(),
        saves: Some(facts.held(cause)),
    }
}

/// The advice to record what a verdict on a cause lacks.
pub(crate) fn again(facts: &Facts<'_>, cause: Cause) -> Recommendation {
    let lacks = facts.coverage(cause).map(|c| c.missing.as_slice()).unwrap_or_default();
    let command = record_command(facts.parts.info);
    if lacks.is_empty() {
        return hint(format!("record again: {command}"), "with all events that the analysis uses");
    }
    hint(format!("record also {}: {command}", lacks.join(", ")), "where the kernel has them")
}

/// A recommendation of which the path does not tell what it saves.
pub(crate) fn hint(text: impl Into<Words>, condition: impl Into<Words>) -> Recommendation {
    Recommendation { text: text.into(), condition: condition.into(), saves: None }
}

/// Evidence that every verdict has: the cause's time, and its run delay.
pub(crate) fn shares(facts: &Facts<'_>, cause: Cause) -> Vec<Evidence> {
    let own = facts.own(cause);
    // Rules add a few.
    let mut evidence = Vec::with_capacity(8);
    evidence.push(time(
        format_args!(
            "{} of {} on the critical path ({})",
            human(own),
            human(facts.wall),
            percent(own, facts.wall)
        ),
        own,
        "critical path",
    ));
    let delay = facts.delay(cause);
    if delay > Nanos::ZERO {
        evidence.push(time(
            format_args!("{} more waiting for a CPU meanwhile", human(delay)),
            delay,
            "critical path",
        ));
    }
    evidence
}

#[cfg(test)]
mod topics_tests;

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
