//! Texts that userspace wrote into the trace: step marks, and what other clocks said.

use agenttrace_parse::Problem;
use agenttrace_parse::events::{Event, Marker};

use super::Builder;
use crate::marks::{MarkText, RawMark, TraceAnchor};
use crate::task::TaskId;

/// So much of a text that cannot be read is shown.
const SHOWN: usize = 80;

impl Builder {
    #[inline(never)]
    pub(super) fn marker(
        &mut self,
        event: &Event<'_>,
        current: Option<TaskId>,
        marker: &Marker<'_>,
    ) {
        let Marker::Print(print) = marker;
        let time = event.time;
        match (MarkText::read(print.buf.0), current) {
            (None, _) => return,
            (Some(MarkText::Mark(edge)), Some(task)) => self.mark(RawMark { time, task, edge }),
            (Some(MarkText::Anchor(clock, reading)), _) => {
                self.model.anchors.push(TraceAnchor { time, clock, reading });
            }
            // A mark of no task is none.
            (Some(MarkText::Malformed | MarkText::Mark(_)), _) => {
                self.count(Problem::BadMark, event.cpu, time);
                let text = || print.buf.to_text().chars().take(SHOWN).collect();
                self.model.bad_mark.get_or_insert_with(|| (time, text()));
            }
        }
        // The call that wrote it is no work of the step.
        if let Some(task) = current {
            let live = self.live(task);
            if let Some(call) = live.call_at().and_then(|at| live.stack.get(at).copied()) {
                live.ops.edit_call(call, |call| call.mark = true);
            }
        }
    }
}
