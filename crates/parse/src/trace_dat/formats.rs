//! Format texts of a trace.dat to plans for the event types that occur in it.

use super::sections::Sections;
use super::stacks::StackForm;
use super::survey::Seen;
use crate::capture::{CaptureInfo, EventType};
use crate::cursor::Cursor;
use crate::fields::Comm;
use crate::format::{self, Format, FormatField, Place, Slot};
use crate::tracepoint::{Around, Tracepoint};
use crate::units::Tid;

/// The format texts, and where an event has the number of its type.
#[derive(Debug)]
pub(crate) struct Texts<'a> {
    list: Vec<(&'a str, &'a str)>,
    pub(crate) type_of: Slot,
}

#[cfg(test)]
impl<'a> Texts<'a> {
    /// System and text of each.
    pub(crate) fn list(&self) -> &[(&'a str, &'a str)] {
        &self.list
    }
}

/// Every format text, ftrace's own first.
pub(crate) fn collect<'a>(bytes: &'a [u8], sections: &'a Sections) -> Texts<'a> {
    let mut list = Vec::new();
    let _ = files("ftrace", &mut Cursor::new(sections.ftrace.of(bytes)), &mut list);
    let _ = systems(&mut Cursor::new(sections.events.of(bytes)), &mut list);
    let common = |(_, text): &(&str, &str)| format::parse(text)?.slot("common_type");
    let type_of = list.iter().find_map(common).unwrap_or(Slot {
        offset: 0,
        size: 2,
        signed: false,
        place: Place::Here,
        element: 2,
    });
    Texts { list, type_of }
}

/// A `u32` count, then that many texts with a `u64` size.
fn files<'a>(
    system: &'a str,
    cursor: &mut Cursor<'a>,
    list: &mut Vec<(&'a str, &'a str)>,
) -> Option<()> {
    for _ in 0..cursor.u32()? {
        let size = cursor.u64()?;
        if let Ok(text) = std::str::from_utf8(cursor.bytes_u64(size)?) {
            list.push((system, text));
        }
    }
    Some(())
}

/// A `u32` count of systems; for each its name, and its texts as above.
fn systems<'a>(cursor: &mut Cursor<'a>, list: &mut Vec<(&'a str, &'a str)>) -> Option<()> {
    for _ in 0..cursor.u32()? {
        let system = std::str::from_utf8(cursor.c_str()?).unwrap_or("");
        files(system, cursor, list)?;
    }
    Some(())
}

/// The plans of the event types that occur, by their number.
#[derive(Debug)]
pub(crate) struct Types {
    type_of: Slot,
    /// For each number the index in `plans`, and 1 more; 0 for none.
    by_number: Vec<u32>,
    plans: Vec<Tracepoint>,
    /// Parallel to `plans`: of the events that are stacks.
    stacks: Vec<Option<StackForm>>,
}

impl Types {
    /// Adds the types to `info`, in the order of the file. Of two formats of one number
    /// the first counts.
    pub(crate) fn new(texts: &Texts<'_>, seen: &Seen, info: &mut CaptureInfo) -> Self {
        let mut types = Self {
            type_of: texts.type_of,
            by_number: vec![0; Seen::NUMBERS],
            plans: Vec::new(),
            stacks: Vec::new(),
        };
        let mut found = Vec::new();
        for (system, text) in &texts.list {
            if let Some(number) = number(text).filter(|number| seen.has(*number))
                && let Some(slot) = types.by_number.get_mut(number)
                && *slot == 0
                && let Some(format) = format::parse(text)
            {
                found.push((format!("{system}:{}", format.name), format));
                *slot = u32::try_from(found.len()).unwrap_or(0);
            }
        }
        let around = Around {
            raw_syscalls: found.iter().any(|(name, _)| name == "raw_syscalls:sys_enter"),
            os_release: info.os_release.as_deref(),
        };
        types.plans = found.iter().map(|(name, format)| plan(name, format, around)).collect();
        types.stacks = found.iter().map(|(name, format)| StackForm::new(name, format)).collect();
        info.event_types = found
            .iter()
            .zip(&types.plans)
            .map(|((name, _), plan)| EventType {
                name: name.clone(),
                known: plan.known(),
                every: true,
            })
            .collect();
        types
    }

    /// The index in [`CaptureInfo::event_types`] of a payload's type, and its plan.
    #[inline]
    pub(crate) fn of(&self, payload: &[u8]) -> Option<(usize, &Tracepoint)> {
        let number = usize::try_from(self.type_of.int(payload)?).ok()?;
        let index = (*self.by_number.get(number)? as usize).checked_sub(1)?;
        Some((index, self.plans.get(index)?))
    }

    /// Whether an event type is a stack, by its index, and where its addresses are.
    pub(crate) fn stack(&self, index: usize) -> Option<StackForm> {
        self.stacks.get(index).copied().flatten()
    }

    /// Whether any is.
    pub(crate) fn has_stacks(&self) -> bool {
        self.stacks.iter().any(Option::is_some)
    }
}

fn plan(name: &str, format: &Format<'_>, around: Around<'_>) -> Tracepoint {
    // What is written to `trace_marker_raw` begins with a number that the writer chose
    // (`struct raw_data_entry`). A mark written there has its first letters in it.
    if name == "ftrace:raw_data"
        && let Some(id) = format.slot("id")
    {
        let mut format = format.clone();
        format.fields.retain(|field| field.name != "buf");
        let slot = Slot { size: 0, element: 0, ..id };
        format.fields.push(FormatField { name: "buf", slot, is_string: true });
        return Tracepoint::new("ftrace:print", &format, around);
    }
    Tracepoint::new(name, format, around)
}

/// The number behind `ID: `.
fn number(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("\nID: ")?;
    rest.lines().next()?.trim().parse().ok()
}

/// `saved_cmdlines`: lines of `tid name`. A task whose name was overwritten is `<...>`.
pub(crate) fn names(text: &[u8]) -> Vec<(Tid, Comm)> {
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let space = memchr::memchr(b' ', line)?;
            let (tid, name) = (line.get(..space)?, line.get(space.checked_add(1)?..)?);
            let tid = Tid(std::str::from_utf8(tid).ok()?.parse().ok()?);
            (tid.is_task() && !name.is_empty() && name != b"<...>").then(|| (tid, Comm::new(name)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_names_with_spaces_and_without() {
        let names = names(b"12 my - odd> n\n0 <idle>\n13 <...>\nx y\n14 \n15 sh\n\0");
        let shown: Vec<_> = names.iter().map(|(tid, comm)| (tid.0, comm.to_text())).collect();
        assert_eq!(shown, [(12, "my - odd> n".to_owned()), (15, "sh".to_owned())]);
    }

    #[test]
    fn numbers_of_formats() {
        assert_eq!(number("name: print\nID: 5\nformat:\n"), Some(5));
        assert_eq!(number("name: print\nID: x\n"), None);
    }
}
