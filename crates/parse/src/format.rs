//! Tracepoint `format` text to field layouts, and binary records read by them.

use nom::IResult;
use nom::Parser as _;
use nom::bytes::complete::{tag, take_till, take_until};
use nom::character::complete::{digit1, multispace0, space0};
use nom::combinator::{map_res, opt};
use nom::sequence::{delimited, preceded};

use crate::cursor::{u32_at, u64_at, until_nul, words_at};
use crate::fields::{Comm, CommBytes, Source, SwitchState};
use crate::print_fmt::StateTable;

/// One event's `format` file (`trace_events.c`, `f_show`), as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: u64,
    pub(crate) fields: Vec<FormatField<'a>>,
    pub(crate) print_fmt: &'a str,
}

/// One `field:` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormatField<'a> {
    pub(crate) name: &'a str,
    pub(crate) slot: Slot,
    /// An array of `char`, here or elsewhere in the record.
    pub(crate) is_string: bool,
}

/// Where one field of a binary record lies, and how to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) offset: usize,
    /// Bytes.
    pub(crate) size: usize,
    pub(crate) signed: bool,
    pub(crate) place: Place,
    /// Bytes of one element; the whole size where the field is no array.
    pub(crate) element: usize,
}

/// Whether the field holds its value or says where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The value itself.
    Here,
    /// `__data_loc`: low half offset from the record's start, high half length.
    DataLoc,
    /// `__rel_loc` (Linux 5.16): the same, from the end of the field itself.
    RelLoc,
}

impl Slot {
    /// The integer, sign-extended where the format says so.
    #[inline]
    pub(crate) fn int(&self, raw: &[u8]) -> Option<u64> {
        // How many bits of a word a field of so many bytes leaves; all where there is none.
        const ABOVE: [u32; 9] = [64, 56, 48, 64, 32, 64, 64, 64, 0];
        let above = *ABOVE.get(self.size)?;
        // Mostly a whole word is there: what lies behind the field is shifted out.
        let word = match u64_at(raw, self.offset) {
            Some(word) => word,
            None => self.last(raw)?,
        };
        let word = word.checked_shl(above)?;
        // The casts widen by the sign that the format tells.
        Some(if self.signed { (word as i64 >> above) as u64 } else { word >> above })
    }

    /// The bytes of a field at the end of a record, as the low bytes of a word.
    #[cold]
    fn last(&self, raw: &[u8]) -> Option<u64> {
        let field = raw.get(self.offset..self.offset.checked_add(self.size)?)?;
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(field) {
            *to = *from;
        }
        Some(u64::from_le_bytes(word))
    }

    /// The bytes that the field holds or points to, and where they lie in `raw`.
    pub(crate) fn range(&self, raw: &[u8]) -> Option<std::ops::Range<usize>> {
        let start = match self.place {
            // A flexible array (`char buf[]`, size 0) takes the rest of the record.
            Place::Here if self.size == 0 => return Some(self.offset..raw.len()),
            Place::Here => return Some(self.offset..self.offset.checked_add(self.size)?),
            Place::DataLoc => 0,
            Place::RelLoc => self.offset.checked_add(4)?,
        };
        let word = u32_at(raw, self.offset)?;
        let start = start.checked_add((word & 0xffff) as usize)?;
        Some(start..start.checked_add((word >> 16) as usize)?)
    }

    /// The string, up to its NUL.
    #[inline]
    pub(crate) fn text<'a>(&self, raw: &'a [u8]) -> Option<&'a [u8]> {
        raw.get(self.range(raw)?).map(until_nul)
    }

    /// The array of machine words, where the record holds it so.
    #[inline]
    fn six_words(&self, raw: &[u8]) -> Option<[u64; 6]> {
        if self.place != Place::Here || self.element != 8 || self.size < 48 {
            return None;
        }
        words_at(raw, self.offset)
    }

    /// The name of a task, where the record holds it so.
    #[inline]
    fn comm_bytes(&self, raw: &[u8]) -> Option<CommBytes> {
        if self.place != Place::Here || self.size != 16 {
            return None;
        }
        raw.get(self.offset..)?.first_chunk().copied().map(CommBytes)
    }

    #[inline]
    fn word(&self, raw: &[u8], index: usize) -> Option<u64> {
        let at = index.checked_mul(self.element)?;
        if self.place != Place::Here || at.checked_add(self.element)? > self.size {
            return None;
        }
        let element = Self { offset: self.offset.checked_add(at)?, size: self.element, ..*self };
        element.int(raw)
    }
}

/// The fields of one row of the table, resolved against one format.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Parallel to [`crate::events::Row::fields`].
    pub(crate) slots: Vec<Option<Slot>>,
    /// What `prev_state` means, for `sched_switch`.
    pub(crate) states: Option<StateTable>,
}

impl Layout {
    /// Resolves each field by the first of its names that the format has.
    pub(crate) fn new(format: &Format<'_>, fields: &[&[&str]]) -> Self {
        let slots =
            fields.iter().map(|names| names.iter().find_map(|name| format.slot(name))).collect();
        Self { slots, states: None }
    }
}

impl Format<'_> {
    /// How many bytes a record has; `None` where it holds data of variable length.
    pub(crate) fn fixed_size(&self) -> Option<usize> {
        let fixed = self.fields.iter().all(|f| f.slot.place == Place::Here && f.slot.size > 0);
        let ends = self.fields.iter().map(|f| f.slot.offset.saturating_add(f.slot.size));
        if fixed { ends.max() } else { None }
    }

    /// The field with this name.
    pub(crate) fn slot(&self, name: &str) -> Option<Slot> {
        self.fields.iter().find(|f| f.name == name).map(|f| f.slot)
    }
}

/// A binary record and the layout to read it by.
pub(crate) struct BinaryFields<'a, 's> {
    pub(crate) raw: &'a [u8],
    pub(crate) layout: &'s Layout,
}

impl BinaryFields<'_, '_> {
    #[inline]
    fn slot(&self, field: usize) -> Option<&Slot> {
        self.layout.slots.get(field)?.as_ref()
    }
}

impl<'a> Source<'a> for BinaryFields<'a, '_> {
    #[inline]
    fn int(&self, field: usize) -> Option<u64> {
        self.slot(field)?.int(self.raw)
    }
    #[inline]
    fn text(&self, field: usize) -> Option<&'a [u8]> {
        self.slot(field)?.text(self.raw)
    }
    #[inline]
    fn word(&self, field: usize, index: usize) -> Option<u64> {
        self.slot(field)?.word(self.raw, index)
    }
    #[inline]
    fn six_words(&self, field: usize) -> Option<[u64; 6]> {
        let slot = self.slot(field)?;
        slot.six_words(self.raw).or_else(|| {
            let mut words = [0; 6];
            for (index, word) in words.iter_mut().enumerate() {
                *word = slot.word(self.raw, index)?;
            }
            Some(words)
        })
    }
    #[inline]
    fn comm(&self, field: usize) -> Option<Comm> {
        let slot = self.slot(field)?;
        let whole = slot.comm_bytes(self.raw).map(|bytes| bytes.comm());
        whole.or_else(|| slot.text(self.raw).map(Comm::new))
    }
    #[inline]
    fn comm_bytes(&self, field: usize) -> Option<CommBytes> {
        self.slot(field)?.comm_bytes(self.raw).or_else(|| self.comm(field).map(CommBytes::from))
    }
    #[inline]
    fn switch_state(&self, field: usize) -> Option<SwitchState> {
        let bits = self.int(field)?;
        Some(self.layout.states.as_ref()?.state(bits))
    }
}

/// Parses a `format` file. `None` where it is not one.
pub(crate) fn parse(text: &str) -> Option<Format<'_>> {
    format(text).ok().map(|(_, format)| format)
}

fn number(input: &str) -> IResult<&str, usize> {
    map_res(digit1, str::parse).parse(input)
}

fn format(input: &str) -> IResult<&str, Format<'_>> {
    let (input, name) =
        delimited(tag("name: "), take_till(|c| c == '\n'), multispace0).parse(input)?;
    let (input, id) =
        delimited(tag("ID: "), map_res(digit1, str::parse), multispace0).parse(input)?;
    let (mut input, _) = (tag("format:"), multispace0).parse(input)?;
    let mut fields = Vec::new();
    while let Ok((rest, found)) = field(input) {
        fields.extend(found);
        input = rest;
    }
    let (rest, print_fmt) =
        opt(preceded((take_until("print fmt: "), tag("print fmt: ")), take_till(|c| c == '\n')))
            .parse(input)?;
    Ok((rest, Format { name: name.trim(), id, fields, print_fmt: print_fmt.unwrap_or("") }))
}

/// `field:char comm[16]; offset:8; size:16; signed:0;`; `None` inside for a
/// declaration that cannot be read.
fn field(input: &str) -> IResult<&str, Option<FormatField<'_>>> {
    let (input, declaration) =
        delimited(tag("field:"), take_till(|c| c == ';' || c == '\n'), tag(";")).parse(input)?;
    let (input, offset) = delimited((space0, tag("offset:")), number, tag(";")).parse(input)?;
    let (input, size) = delimited((space0, tag("size:")), number, tag(";")).parse(input)?;
    // Kernels before 2.6.32 do not say; later ones write 0 or 1.
    let (input, signed) =
        opt(delimited((space0, tag("signed:")), number, tag(";"))).parse(input)?;
    let (input, _) = (take_till(|c| c == '\n'), multispace0).parse(input)?;
    let found = declared(declaration, offset, size, signed.is_some_and(|s| s != 0));
    Ok((input, found))
}

fn declared(
    declaration: &str,
    offset: usize,
    size: usize,
    signed: bool,
) -> Option<FormatField<'_>> {
    let (place, rest) = if let Some(rest) = declaration.strip_prefix("__data_loc ") {
        (Place::DataLoc, rest)
    } else if let Some(rest) = declaration.strip_prefix("__rel_loc ") {
        (Place::RelLoc, rest)
    } else {
        (Place::Here, declaration)
    };
    let rest = rest.trim();
    let (before, count) = match rest.strip_suffix(']').and_then(|r| r.rsplit_once('[')) {
        // `args[6]`; the count may be a constant of the kernel's, then unknown.
        Some((before, count)) => (before, count.trim().parse::<usize>().ok()),
        None => (rest, None),
    };
    let name = before.rsplit([' ', '*', '\t']).next().filter(|n| !n.is_empty())?;
    let element = match count {
        Some(count) if count > 0 && place == Place::Here => size.checked_div(count)?,
        _ => size,
    };
    let elsewhere_or_array = place != Place::Here || before.len() < rest.len();
    let is_string = rest.starts_with("char") && !rest.contains('*') && elsewhere_or_array;
    Some(FormatField { name, slot: Slot { offset, size, signed, place, element }, is_string })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXEC: &str = "name: sched_process_exec\nID: 365\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;\n\
        \tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;\n\
        \tfield:__rel_loc char[] late;\toffset:64;\tsize:4;\tsigned:0;\n\
        \tfield:const char * ptr;\toffset:68;\tsize:8;\tsigned:0;\n\n\
        print fmt: \"filename=%s\", __get_str(filename)\n";

    #[test]
    fn every_kind_of_field() {
        let format = parse(EXEC).unwrap();
        assert_eq!((format.name, format.id), ("sched_process_exec", 365));
        assert_eq!(format.print_fmt, "\"filename=%s\", __get_str(filename)");
        let names: Vec<_> = format.fields.iter().map(|f| f.name).collect();
        assert_eq!(names, ["common_type", "common_pid", "filename", "pid", "args", "late", "ptr"]);
        let args = format.slot("args").unwrap();
        assert_eq!((args.offset, args.size, args.element), (16, 48, 8));
        assert_eq!(format.slot("filename").unwrap().place, Place::DataLoc);
        assert_eq!(format.slot("late").unwrap().place, Place::RelLoc);
        let strings: Vec<_> =
            format.fields.iter().filter(|f| f.is_string).map(|f| f.name).collect();
        assert_eq!(strings, ["filename", "late"]);
    }

    #[test]
    fn integers_of_every_size_in_the_midst_and_at_the_end() {
        let raw = [0x81, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0x80, 0xff, 0xff, 0xff];
        let int = |offset, size, signed| {
            Slot { offset, size, signed, place: Place::Here, element: size }.int(&raw)
        };
        assert_eq!(int(0, 1, false), Some(0x81));
        assert_eq!(int(0, 1, true), Some(-0x7f_i64 as u64));
        assert_eq!(int(0, 2, false), Some(0xf281));
        assert_eq!(int(0, 4, false), Some(0xf4f3_f281));
        assert_eq!(int(0, 4, true), Some(0xffff_ffff_f4f3_f281));
        assert_eq!(int(0, 8, true), Some(0xf8f7_f6f5_f4f3_f281));
        // No whole word is there.
        assert_eq!(int(8, 4, true), Some(-128_i64 as u64));
        assert_eq!(int(8, 4, false), Some(0xffff_ff80));
        assert_eq!(int(10, 2, false), Some(0xffff));
        assert_eq!(int(11, 1, true), Some(u64::MAX));
        // Nor is the field.
        assert_eq!([int(9, 4, false), int(11, 2, false), int(12, 1, false)], [None; 3]);
        assert_eq!([int(5, 8, false), int(usize::MAX, 1, false)], [None; 2]);
        assert_eq!([int(0, 0, false), int(0, 3, false), int(0, 16, false)], [None; 3]);
    }

    #[test]
    fn words_and_names() {
        let slot = |offset, size, element| {
            let place = Place::Here;
            Some(Slot { offset, size, signed: false, place, element })
        };
        let slots =
            vec![slot(0, 48, 8), slot(0, 24, 4), slot(8, 48, 8), slot(0, 16, 16), slot(3, 8, 8)];
        let layout = Layout { slots, states: None };
        let mut raw: Vec<u8> = (1..=50).collect();
        raw[10] = 0;
        let fields = BinaryFields { raw: &raw, layout: &layout };
        assert_eq!(fields.six_words(0).map(|w| w[5]), Some(0x302f_2e2d_2c2b_2a29));
        // Six of four bytes: the words of a 32-bit kernel.
        assert_eq!(fields.six_words(1).map(|w| w[5]), Some(0x1817_1615));
        assert_eq!(fields.six_words(2), None);
        assert_eq!(fields.comm(3), Some(Comm::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])));
        assert_eq!(fields.comm(4), Some(Comm::new(&[4, 5, 6, 7, 8, 9, 10])));
        assert_eq!(fields.comm(5), None);
    }

    #[test]
    fn values_by_layout() {
        let format = parse(EXEC).unwrap();
        let layout = Layout::new(
            &format,
            &[&["filename"], &["nope", "pid"], &["args"], &["late"], &["gone"]],
        );
        let mut raw = vec![0; 88];
        raw[8..12].copy_from_slice(&(76_u32 | 8 << 16).to_le_bytes());
        raw[12..16].copy_from_slice(&(-3_i32).to_le_bytes());
        raw[24..32].copy_from_slice(&7_u64.to_le_bytes());
        raw[64..68].copy_from_slice(&(16_u32 | 4 << 16).to_le_bytes());
        raw[76..84].copy_from_slice(b"/bin/sh\0");
        raw[84..88].copy_from_slice(b"abc\0");
        let fields = BinaryFields { raw: &raw, layout: &layout };
        assert_eq!(fields.text(0), Some(&b"/bin/sh"[..]));
        assert_eq!(fields.int(1).map(|v| v as i64), Some(-3));
        assert_eq!(fields.word(2, 1), Some(7));
        assert_eq!(fields.word(2, 6), None);
        assert_eq!(fields.text(3), Some(&b"abc"[..]));
        assert_eq!(fields.int(4), None);
        let short = BinaryFields { raw: &raw[..80], layout: &layout };
        assert_eq!(short.text(0), None);
    }
}
