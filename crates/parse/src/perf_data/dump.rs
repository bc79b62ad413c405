//! One line a record, in the order of the file, for `dump --stage records`.

use std::fmt::Write as _;

use super::PerfData;
use super::record::{self, Raw, Stop, kind};
use crate::cursor::{i32_at, u32_at, u64_at};
use crate::error::Error;

impl PerfData<'_> {
    pub(crate) fn dump_records(&self, line: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let mut position = 0;
        let mut number = 0_u64;
        let mut text = String::new();
        loop {
            text.clear();
            let raw = match record::at(self.data, position) {
                Ok(raw) => raw,
                Err(Stop::End) => return Ok(()),
                Err(stop) => {
                    let what = match stop {
                        Stop::BadSize => "a record smaller than its header",
                        Stop::Truncated | Stop::End => "the data end within a record",
                    };
                    let _ = write!(text, "# byte {}: {what}", self.offset(position));
                    line(&text);
                    return Ok(());
                }
            };
            position = raw.next();
            let offset = self.offset(raw.offset);
            let _ =
                write!(text, "{number} {offset} {} {}", record::name(raw.kind), raw.bytes.len());
            number = number.saturating_add(1);
            self.describe(&raw, &mut text);
            line(&text);
        }
    }

    fn describe(&self, raw: &Raw<'_>, text: &mut String) {
        if raw.kind >= kind::USER {
            return;
        }
        let bytes = raw.bytes;
        let (time, cpu, tid, name) = if raw.kind == kind::SAMPLE {
            let Some(index) = self.attr_of(bytes) else {
                text.push_str(" unknown id");
                return;
            };
            let layout = self.head.attrs.get(index).map(|a| &a.layout);
            let event_type = self.plans.get(index).and_then(|p| p.event_type);
            let name =
                event_type.and_then(|t| self.info.event_types.get(t)).map(|t| t.name.as_str());
            (
                layout.and_then(|l| l.time),
                layout.and_then(|l| l.cpu),
                layout.and_then(|l| l.tid),
                name,
            )
        } else {
            let attr = self.head.attrs.get(self.attr_of_sideband(bytes));
            let trailer = attr.map(|a| a.layout.trailer).unwrap_or_default();
            let at = |back: Option<usize>| bytes.len().checked_sub(back?);
            (at(trailer.time), at(trailer.cpu), at(trailer.tid), None)
        };
        if let Some(time) = time.and_then(|at| u64_at(bytes, at)) {
            let _ = write!(text, " time={time}");
        }
        if let Some(cpu) = cpu.and_then(|at| u32_at(bytes, at)) {
            let _ = write!(text, " cpu={cpu}");
        }
        let word = |plus: usize| i32_at(bytes, tid?.saturating_add(plus));
        if let (Some(pid), Some(tid)) = (word(0), word(4)) {
            let _ = write!(text, " {pid}/{tid}");
        }
        if let Some(name) = name {
            let _ = write!(text, " {name}");
        }
    }
}
