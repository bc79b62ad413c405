//! One line a record, CPU by CPU as in the file, for `dump --stage records`.

use std::fmt::Write as _;

use super::TraceDat;
use super::pages::{self, Missed, Pages, Step};

impl TraceDat<'_> {
    /// Number, byte offset, type, size, time, CPU, thread and event. What was compressed
    /// stands, with all its records, at the offset where the compressed data begin.
    pub(crate) fn dump_records(&self, line: &mut dyn FnMut(&str)) {
        let mut text = String::new();
        for (number, (tid, comm)) in self.names.iter().enumerate() {
            text.clear();
            let _ = write!(text, "{number} 0 NAME {} {tid} ", comm.as_bytes().len());
            crate::fields::quote(comm.as_bytes(), &mut text);
            line(&text);
        }
        for stream in &self.streams {
            let mut number = stream.base;
            if stream.lost_before > 0 {
                let lost = stream.lost_before;
                line(&format!("{number} {} LOST 0 cpu={} lost={lost}", stream.offset, stream.cpu));
                number = number.saturating_add(1);
            }
            for step in Pages::new(stream.data, stream.layout) {
                text.clear();
                match step {
                    Step::Event { at, time } => {
                        let _ = write!(text, "{number} {} EVENT", stream.offset_of(at));
                        self.describe(stream, at, time, &mut text);
                        number = number.saturating_add(1);
                    }
                    Step::Missed { missed, time } => {
                        let time = self.times.apply(stream.cpu.0, time);
                        let _ = write!(
                            text,
                            "{number} {} LOST 0 time={time} cpu={} lost=",
                            stream.offset, stream.cpu
                        );
                        match missed {
                            Missed::Count(lost) => {
                                let _ = write!(text, "{lost}");
                            }
                            Missed::Unknown => text.push('?'),
                        }
                        number = number.saturating_add(1);
                    }
                    Step::Bad { at } => {
                        let _ = write!(
                            text,
                            "# byte {}: the rest of this sub-buffer contradicts itself",
                            stream.offset_of(at)
                        );
                    }
                }
                line(&text);
            }
            if stream.dropped > 0 {
                let lost = stream.dropped;
                line(&format!(
                    "{number} {} DROPPED 0 cpu={} lost={lost}",
                    stream.offset, stream.cpu
                ));
            }
        }
    }

    fn describe(&self, stream: &super::Stream<'_>, at: usize, time: u64, text: &mut String) {
        let payload = pages::payload(stream.data, at).unwrap_or(&[]);
        let time = self.times.apply(stream.cpu.0, time);
        let _ = write!(text, " {} time={time} cpu={}", payload.len(), stream.cpu);
        let Some((event_type, plan)) = self.types.of(payload) else {
            text.push_str(" unknown type");
            return;
        };
        if let Some(tid) = plan.tid(payload) {
            let _ = write!(text, " {tid}");
        }
        if let Some(event_type) = self.info.event_types.get(event_type) {
            let _ = write!(text, " {}", event_type.name);
        }
        if !stream.buffer.is_empty() {
            text.push_str(" buffer=");
            crate::fields::quote(stream.buffer.as_bytes(), text);
        }
    }
}
