//! JSON to memory, handed on piece by piece, so that a report of any size needs no tree.

use std::io::{self, Write};

use serde_json::Value;

use crate::escape::hostile;

/// An object or array that is open.
#[derive(Clone, Copy)]
struct Level {
    /// Nothing written inside yet.
    empty: bool,
    /// One item or key a line.
    lines: bool,
    close: u8,
}

/// A report is hardly nested deeper.
const DEEPEST: usize = 12;

/// A comma, a new line, and blanks; the same without a comma.
const LINE: &[u8; 16] = b",\n              ";
const FIRST_LINE: &[u8; 16] = b"\n               ";

/// Needs no escape in a string.
fn plain(text: &str) -> bool {
    let plain = |b: u8| matches!(b, b' '..=b'~') & (b != b'"') & (b != b'\\');
    // Without a way out on the first that is not, they are looked at side by side.
    let all = |bytes: &[u8; 16]| bytes.iter().fold(true, |all, byte| all & plain(*byte));
    let bytes = text.as_bytes();
    match bytes.last_chunk() {
        // What is left over is looked at with what is before it.
        Some(last) => all(last) && bytes.as_chunks().0.iter().all(all),
        None => bytes.iter().all(|byte| plain(*byte)),
    }
}

const MILLION: u64 = 1_000_000;

/// How many millionths a number is, rounded as `{:.6}` does it. `None` where it is negative or
/// large.
fn millionths(value: f64) -> Option<u64> {
    // It is a mantissa of 53 bits, over two to the power of `places`.
    let (bits, exponent) = (value.to_bits(), value.to_bits() >> 52);
    let (hidden, biased) = if exponent == 0 { (0, 1) } else { (1 << 52, exponent) };
    let places = 1075_u64.checked_sub(biased).filter(|places| *places > 0)?;
    let scaled = u128::from(hidden | (bits & ((1 << 52) - 1))) * u128::from(MILLION);
    // Of more than 74 places nothing is left.
    let places = places.min(100);
    let (whole, rest) = (scaled >> places, scaled & ((1 << places) - 1));
    let half = 1 << (places - 1);
    let up = rest > half || (rest == half && whole % 2 == 1);
    u64::try_from(whole + u128::from(up)).ok()
}

/// Writes one JSON value. Closing is [`JsonWriter::end`]; a value follows each
/// [`JsonWriter::key`] or [`JsonWriter::item`].
pub(crate) struct JsonWriter<'a> {
    out: &'a mut Vec<u8>,
    open: Vec<Level>,
    /// How many of these have a line for each item.
    deep: usize,
}

impl<'a> JsonWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, open: Vec::new(), deep: 0 }
    }

    /// A writer of a part: the objects and arrays that these bytes close are open around it,
    /// the outermost first, each with a line for each item. `first` tells that the innermost
    /// is empty so far.
    pub(crate) fn inside(out: &'a mut Vec<u8>, around: &[u8], first: bool) -> Self {
        let level = |(i, close): (usize, &u8)| Level {
            empty: first && i + 1 == around.len(),
            lines: true,
            close: *close,
        };
        let mut open = Vec::with_capacity(DEEPEST);
        open.extend(around.iter().enumerate().map(level));
        Self { out, open, deep: around.len() }
    }

    /// A writer of further items at the same place of the document, to other bytes.
    pub(crate) fn beside<'b>(&self, out: &'b mut Vec<u8>) -> JsonWriter<'b> {
        let mut open = self.open.clone();
        if let Some(level) = open.last_mut() {
            level.empty = false;
        }
        JsonWriter { out, open, deep: self.deep }
    }

    /// Some items of the innermost object or array, as [`JsonWriter::beside`] made them.
    pub(crate) fn items(&mut self, text: &[u8]) {
        let mut comma = 0;
        if let Some(level) = self.open.last_mut() {
            comma = usize::from(level.empty && !text.is_empty());
            level.empty &= text.is_empty();
        }
        self.out.extend_from_slice(text.get(comma..).unwrap_or_default());
    }

    /// A part of a value, as it is.
    pub(crate) fn raw(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    /// Hands on what is written so far.
    pub(crate) fn hand_on(&mut self, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        to.write_all(self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Hands on what is written so far, then items of the innermost object or array.
    pub(crate) fn hand_on_items(
        &mut self,
        text: &[u8],
        to: &mut (impl Write + ?Sized),
    ) -> io::Result<()> {
        self.hand_on(to)?;
        if let Some(level) = self.open.last_mut() {
            level.empty &= text.is_empty();
        }
        to.write_all(text)
    }

    /// Ends the document with a newline, and hands it on.
    pub(crate) fn finish(mut self, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        debug_assert!(self.open.is_empty(), "every object and array is closed");
        self.raw(b"\n");
        self.hand_on(to)
    }

    fn open(&mut self, lines: bool, open: u8, close: u8) -> &mut Self {
        self.out.push(open);
        self.open.push(Level { empty: true, lines, close });
        self.deep += usize::from(lines);
        self
    }

    /// Opens an object; with `lines`, one key a line.
    pub(crate) fn object(&mut self, lines: bool) -> &mut Self {
        self.open(lines, b'{', b'}')
    }

    /// Opens an array; with `lines`, one item a line.
    pub(crate) fn array(&mut self, lines: bool) -> &mut Self {
        self.open(lines, b'[', b']')
    }

    /// Closes the innermost object or array.
    pub(crate) fn end(&mut self) -> &mut Self {
        if let Some(level) = self.open.pop() {
            self.deep -= usize::from(level.lines);
            if level.lines && !level.empty {
                self.new_line(true);
            }
            self.out.push(level.close);
        }
        self
    }

    /// A new line, after a comma where it is not the first of its object or array.
    fn new_line(&mut self, first: bool) {
        let end = self.out.len() + self.deep + 2 - usize::from(first);
        // Longer than nearly all are, and cut: a copy of known length takes no call.
        self.out.extend_from_slice(if first { FIRST_LINE } else { LINE });
        self.out.resize(end, b' ');
    }

    /// Begins the next item of an array.
    #[inline]
    pub(crate) fn item(&mut self) -> &mut Self {
        if let Some(level) = self.open.last_mut() {
            let (first, lines) = (level.empty, level.lines);
            level.empty = false;
            if lines {
                self.new_line(first);
            } else if !first {
                self.out.push(b',');
            }
        }
        self
    }

    /// Begins the next member of an object. A key of ours needs no escape. Nearly all are
    /// known here, and then stored without a copy.
    #[inline(always)]
    pub(crate) fn key(&mut self, key: &'static str) -> &mut Self {
        debug_assert!(plain(key), "{key}");
        self.item();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self
    }

    /// The same with a key that an input gave.
    pub(crate) fn key_of_input(&mut self, key: &str) -> &mut Self {
        self.item().text(key);
        self.out.push(b':');
        self
    }

    pub(crate) fn null(&mut self) {
        self.raw(b"null");
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    #[inline]
    pub(crate) fn number(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(digit @ 0..=9) => self.out.push(b'0' + digit),
            Ok(_) | Err(_) => self.raw(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    pub(crate) fn signed(&mut self, value: i64) {
        self.raw(itoa::Buffer::new().format(value).as_bytes());
    }

    pub(crate) fn number_or_null(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.number(value),
            None => self.null(),
        }
    }

    /// A number with at most six decimals.
    pub(crate) fn share(&mut self, value: f64) {
        if !value.is_finite() {
            return self.null();
        }
        let Some(value) = millionths(value) else {
            let text = format!("{value:.6}");
            let text = text.trim_end_matches('0');
            self.raw(text.as_bytes());
            return self.raw(if text.ends_with('.') { b"0" } else { b"" });
        };
        self.number(value / MILLION);
        let (mut decimals, mut rest) = (*b".000000", value % MILLION);
        for digit in decimals.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        let shortest = decimals.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
        // A float stays one: `1.0`.
        self.raw(decimals.get(..=shortest.max(1)).unwrap_or_default());
    }

    pub(crate) fn text_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// A string. What a terminal would act on is written as `\u` escapes, so
    /// that the document may be shown as it is and still holds the exact text.
    pub(crate) fn text(&mut self, value: &str) {
        self.out.push(b'"');
        // Nearly all texts hold nothing that needs an escape.
        if plain(value) {
            self.raw(value.as_bytes());
            return self.out.push(b'"');
        }
        let mut written = 0;
        for (i, c) in value.char_indices() {
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                c if hostile(c) => "",
                _ => continue,
            };
            self.raw(&value.as_bytes()[written..i]);
            written = i + c.len_utf8();
            if short.is_empty() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    self.raw(format!("\\u{unit:04x}").as_bytes());
                }
            } else {
                self.raw(short.as_bytes());
            }
        }
        self.raw(&value.as_bytes()[written..]);
        self.out.push(b'"');
    }

    /// JSON text of unknown origin: as it is if it is JSON, else as a string.
    pub(crate) fn json_text(&mut self, text: &str) {
        match serde_json::from_str::<Value>(text) {
            Ok(value) => self.value(&value),
            Err(_) => self.text(text),
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Number(number) => self.raw(number.to_string().as_bytes()),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.array(false);
                for item in items {
                    self.item().value(item);
                }
                self.end();
            }
            Value::Object(members) => {
                self.object(false);
                for (key, value) in members {
                    self.key_of_input(key).value(value);
                }
                self.end();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut JsonWriter<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut JsonWriter::new(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shares_have_six_decimals_at_most() {
        let of = |value| written(|j| j.share(value));
        let values = [0.0, 1.0, 0.25, 0.123_456_7, 2.000_000_4, 19.999_999_9, 1e-7, 1e17, -1.5];
        let texts = [
            "0.0",
            "1.0",
            "0.25",
            "0.123457",
            "2.0",
            "20.0",
            "0.0",
            "100000000000000000.0",
            "-1.5",
        ];
        assert_eq!(values.map(of), texts);
        assert_eq!([f64::NAN, f64::INFINITY, -0.0].map(of), ["null", "null", "-0.0"]);
    }

    #[test]
    fn millionths_are_those_of_the_library() {
        let mut values = vec![f64::MIN_POSITIVE, f64::from_bits(1), 4e12, 5e-7, 1.5e-6, 2.5e-6];
        // Halves of a millionth that a float can hold: both neighbours are as far.
        values.extend((1..400).map(|n| f64::from(n) / 128.0));
        values.extend((1..3000_u32).map(|n| f64::from(n) / f64::from(n % 91 + 7) / 3.0));
        values.extend((1..3000_u32).map(|n| f64::from(n).powi(-2)));
        for value in values {
            let number = millionths(value).unwrap();
            let text = format!("{}.{:06}", number / MILLION, number % MILLION);
            assert_eq!(text, format!("{value:.6}"), "{value:e}");
        }
        assert_eq!((millionths(-1.0), millionths(-0.0), millionths(1e19)), (None, None, None));
    }

    #[test]
    fn one_character_anywhere_needs_an_escape() {
        for length in [1, 7, 15, 16, 17, 31, 32, 33, 40] {
            let text = "a ~!#[]b".repeat(5);
            assert!(plain(&text[..length]));
            for place in 0..length {
                for hostile in ["\"", "\\", "\u{1f}", "\u{7f}", "\u{e9}"] {
                    let mut text = text[..length].to_owned();
                    text.replace_range(place..=place, hostile);
                    assert!(!plain(&text), "{text:?}");
                }
            }
        }
        assert!(plain(""));
    }

    #[test]
    fn lines_are_as_deep_as_what_is_open() {
        let deep = |levels: usize| {
            written(|j| {
                for _ in 0..levels {
                    j.item().array(true);
                }
                j.item().number(1);
                for _ in 0..levels {
                    j.end();
                }
            })
        };
        assert_eq!(deep(2), "[\n [\n  1\n ]\n]");
        let inner = deep(20);
        let line = inner.lines().find(|line| line.ends_with('1')).unwrap();
        assert_eq!(line, format!("{}1", " ".repeat(20)));
    }

    #[test]
    fn items_that_were_made_beside_join() {
        let mut made = Vec::new();
        let text = written(|j| {
            j.object(true);
            j.key("a").number(9);
            j.end();
        });
        assert_eq!(text, "{\n \"a\":9\n}");
        let mut out = Vec::new();
        let mut j = JsonWriter::new(&mut out);
        j.array(true);
        j.beside(&mut made).item().number(10);
        j.items(&made);
        j.items(b"");
        j.items(&made);
        j.end();
        assert_eq!(String::from_utf8(out).unwrap(), "[\n 10,\n 10\n]");
    }
}
