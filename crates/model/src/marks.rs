//! In-band step marks, as the kernel recorded them, and the texts that carry them.

use agenttrace_parse::{ClockId, Nanos, StepId};

use crate::task::TaskId;

/// One `prctl(0x41475354, ...)`, or one text written to `trace_marker`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawMark {
    /// Time of the call's entry, or of the text.
    pub time: Nanos,
    /// The task that called or wrote.
    pub task: TaskId,
    /// What it marks.
    pub edge: MarkEdge,
}

/// What an in-band mark says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MarkEdge {
    /// A step begins; a text may name its tool.
    Begin(StepId, Option<String>),
    /// The innermost open step of this task ends.
    EndInnermost,
    /// This step ends.
    End(StepId),
}

/// `agenttrace:C|<clock>|<ns>`: what another clock said at the moment of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceAnchor {
    /// The event's time, on the capture's clock.
    pub time: Nanos,
    /// The other clock.
    pub clock: ClockId,
    /// What it said.
    pub reading: Nanos,
}

/// A text that is meant for this program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum MarkText {
    Mark(MarkEdge),
    Anchor(ClockId, Nanos),
    /// It begins as one and cannot be read.
    Malformed,
}

const PREFIX: &[u8] = b"agenttrace:";

impl MarkText {
    /// `None`: a text of somebody else. Readers of some dialects leave the name of
    /// the function that wrote the text before it (`tracing_mark_write: ...`).
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let at = text.windows(PREFIX.len()).position(|window| window == PREFIX)?;
        let (before, rest) = text.split_at_checked(at)?;
        let before = before.trim_ascii();
        let function = before.strip_suffix(b":").unwrap_or(before);
        if before.len() == function.len() && !before.is_empty()
            || function.iter().any(|b| b.is_ascii_whitespace())
        {
            return None;
        }
        let rest = rest.strip_prefix(PREFIX)?;
        let end = rest.iter().rposition(|b| !matches!(b, 0 | b'\n' | b'\r' | b' ' | b'\t'));
        let rest = String::from_utf8_lossy(rest.get(..end.map_or(0, |e| e + 1))?);
        Some(Self::parse(&rest).unwrap_or(Self::Malformed))
    }

    fn parse(rest: &str) -> Option<Self> {
        let (kind, rest) = rest.split_once('|').unwrap_or((rest, ""));
        match kind {
            "B" => {
                let (id, tool) = match rest.split_once('|') {
                    Some((id, tool)) => (id, Some(tool.trim()).filter(|t| !t.is_empty())),
                    None => (rest, None),
                };
                Some(Self::Mark(MarkEdge::Begin(step_id(id)?, tool.map(str::to_owned))))
            }
            "E" => {
                let id = rest.split_once('|').map_or(rest, |(id, _)| id);
                Some(Self::Mark(match id.trim() {
                    "" => MarkEdge::EndInnermost,
                    id => MarkEdge::End(step_id(id)?),
                }))
            }
            "C" => {
                let (clock, reading) = rest.split_once('|')?;
                let clock = ClockId::from_name(clock.trim()).filter(|c| *c != ClockId::Local)?;
                Some(Self::Anchor(clock, Nanos(reading.trim().parse().ok()?)))
            }
            _ => None,
        }
    }
}

/// As in steps.jsonl: an integer from 1, or a name.
fn step_id(text: &str) -> Option<StepId> {
    let text = text.trim();
    match text.parse() {
        Ok(0) => None,
        // Only the form that is printed again the same: `007` is a name.
        Ok(number) if u64::to_string(&number) == text => Some(StepId::Number(number)),
        _ => (!text.is_empty()).then(|| StepId::Name(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(id: StepId, tool: Option<&str>) -> Option<MarkText> {
        Some(MarkText::Mark(MarkEdge::Begin(id, tool.map(str::to_owned))))
    }

    #[test]
    fn texts() {
        let name = |text: &str| StepId::Name(text.to_owned());
        let cases: [(&[u8], Option<MarkText>); 20] = [
            (b"agenttrace:B|7|grep", begin(StepId::Number(7), Some("grep"))),
            (b"agenttrace:B|7", begin(StepId::Number(7), None)),
            (b"agenttrace:B|7|\n", begin(StepId::Number(7), None)),
            (b"agenttrace:B|run 1|a|b c\n\0\0", begin(name("run 1"), Some("a|b c"))),
            (b"agenttrace:B|007|x", begin(name("007"), Some("x"))),
            (b"tracing_mark_write: agenttrace:B|7|x", begin(StepId::Number(7), Some("x"))),
            (
                b"0xffffffff81e0d2a4: agenttrace:E|7",
                Some(MarkText::Mark(MarkEdge::End(StepId::Number(7)))),
            ),
            (b"agenttrace:E", Some(MarkText::Mark(MarkEdge::EndInnermost))),
            (b"agenttrace:E|\n", Some(MarkText::Mark(MarkEdge::EndInnermost))),
            (b"agenttrace:E|s", Some(MarkText::Mark(MarkEdge::End(name("s"))))),
            (b"agenttrace:C|boottime|12", Some(MarkText::Anchor(ClockId::Boottime, Nanos(12)))),
            (b"agenttrace:C|local|12", Some(MarkText::Malformed)),
            (b"agenttrace:C|boottime|-1", Some(MarkText::Malformed)),
            (b"agenttrace:B|", Some(MarkText::Malformed)),
            (b"agenttrace:B|0|x", Some(MarkText::Malformed)),
            (b"agenttrace:X|1", Some(MarkText::Malformed)),
            (b"agenttrace:", Some(MarkText::Malformed)),
            // Somebody speaks of a mark.
            (b"will write agenttrace:B|1|x", None),
            (b"saw it: agenttrace:B|1|x", None),
            (b"B|7|grep", None),
        ];
        for (text, want) in cases {
            assert_eq!(MarkText::read(text), want, "{}", String::from_utf8_lossy(text));
        }
    }
}
