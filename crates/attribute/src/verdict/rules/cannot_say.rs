//! What the capture does not tell.
//!
//! # What it detects
//! Time of the critical path that no recorded event explains.
//! # Evidence
//! The reasons, with their time.
//! # Why it matters
//! A guess would send people the wrong way: better another recording.
//! # When it is wrong
//! Never: it claims nothing.
//! # References
//! tools/perf/Documentation/perf-record.txt (lost records); docs/FORMATS.md.

use crate::cause::Cause;
use crate::stats::{human, percent};
use crate::verdict::{Facts, Finding, Rule, hint, shares, time};

pub(crate) struct CannotSay;

impl Rule for CannotSay {
    fn id(&self) -> &'static str {
        "cannot_say"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Unknown]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "the capture does not tell"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let own = facts.own(cause);
        let reasons = facts.top(cause, |cell| cell.reason);
        for (reason, ns) in reasons.iter().take(4) {
            evidence.push(time(
                format_args!("{}: {}", reason.text(), human(*ns)),
                *ns,
                "critical path",
            ));
        }
        let why = match (facts.parts.broken, reasons.first()) {
            (Some(_), _) => "internal error: the path does not add up".to_owned(),
            (None, Some((reason, _))) => reason.text().to_owned(),
            (None, None) => "no recorded event explains it".to_owned(),
        };
        let mut recommendations = Vec::new();
        if facts.lost() || facts.lost_somewhere() {
            recommendations.push(hint(
                "record again with larger buffers (perf record -m 8M)",
                "the recorder lost events",
            ));
        } else {
            recommendations.push(hint(
                "record again as `agenttrace check` advises",
                "shows which events are missing",
            ));
        }
        Finding {
            title: sentence!(
                "cannot say: {} of the step ({}) is not explained: {why}",
                percent(own, facts.wall),
                human(own)
            ),
            evidence,
            recommendations,
            doubts: Vec::new(),
        }
    }
}
