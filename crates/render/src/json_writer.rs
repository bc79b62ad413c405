//! JSON to a writer, piece by piece, so that a report of any size needs no tree in memory.

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

/// A comma and a new line, as deep as a report gets.
const LINE: &[u8] = b",\n            ";

/// Needs no escape in a string.
fn plain(text: &str) -> bool {
    // Without a way out on the first that does, many are looked at side by side.
    let plain = |b: u8| matches!(b, b' '..=b'~') & (b != b'"') & (b != b'\\');
    text.bytes().fold(true, |all, byte| all & plain(byte))
}

/// Writes one JSON value. Closing is [`JsonWriter::end`]; a value follows each
/// [`JsonWriter::key`] or [`JsonWriter::item`].
pub(crate) struct JsonWriter<'a, W: Write> {
    out: &'a mut W,
    open: Vec<Level>,
    /// How many of these have a line for each item.
    deep: usize,
}

impl<'a, W: Write> JsonWriter<'a, W> {
    pub(crate) fn new(out: &'a mut W) -> Self {
        Self { out, open: Vec::new(), deep: 0 }
    }

    /// A writer of a part: the objects and arrays that these bytes close are open around it,
    /// the outermost first, each with a line for each item. `first` tells that the innermost
    /// is empty so far.
    pub(crate) fn inside(out: &'a mut W, around: &[u8], first: bool) -> Self {
        let level = |(i, close): (usize, &u8)| Level {
            empty: first && i + 1 == around.len(),
            lines: true,
            close: *close,
        };
        let mut open = Vec::with_capacity(DEEPEST);
        open.extend(around.iter().enumerate().map(level));
        Self { out, open, deep: around.len() }
    }

    /// A writer at the same place of the document, to other bytes.
    pub(crate) fn beside<'b, V: Write>(&self, out: &'b mut V) -> JsonWriter<'b, V> {
        JsonWriter { out, open: self.open.clone(), deep: self.deep }
    }

    /// Some items of the innermost object or array, as a writer at the same place made them.
    pub(crate) fn items(&mut self, text: &[u8]) -> io::Result<()> {
        if let Some(level) = self.open.last_mut() {
            level.empty &= text.is_empty();
        }
        self.out.write_all(text)
    }

    /// Ends the document with a newline.
    pub(crate) fn finish(self) -> io::Result<()> {
        debug_assert!(self.open.is_empty(), "every object and array is closed");
        self.out.write_all(b"\n")
    }

    fn open(&mut self, lines: bool, open: u8, close: u8) -> io::Result<&mut Self> {
        self.out.write_all(&[open])?;
        self.open.push(Level { empty: true, lines, close });
        self.deep += usize::from(lines);
        Ok(self)
    }

    /// Opens an object; with `lines`, one key a line.
    pub(crate) fn object(&mut self, lines: bool) -> io::Result<&mut Self> {
        self.open(lines, b'{', b'}')
    }

    /// Opens an array; with `lines`, one item a line.
    pub(crate) fn array(&mut self, lines: bool) -> io::Result<&mut Self> {
        self.open(lines, b'[', b']')
    }

    /// Closes the innermost object or array.
    pub(crate) fn end(&mut self) -> io::Result<&mut Self> {
        if let Some(level) = self.open.pop() {
            self.deep -= usize::from(level.lines);
            if level.lines && !level.empty {
                self.new_line(true)?;
            }
            self.out.write_all(&[level.close])?;
        }
        Ok(self)
    }

    /// A new line, after a comma where it is not the first of its object or array.
    fn new_line(&mut self, first: bool) -> io::Result<()> {
        let (from, to) = (usize::from(first), self.deep + 2);
        if let Some(line) = LINE.get(from..to) {
            return self.out.write_all(line);
        }
        self.out.write_all(LINE.get(from..).unwrap_or_default())?;
        (LINE.len()..to).try_for_each(|_| self.out.write_all(b" "))
    }

    /// Begins the next item of an array.
    pub(crate) fn item(&mut self) -> io::Result<&mut Self> {
        if let Some(level) = self.open.last_mut() {
            let (first, lines) = (level.empty, level.lines);
            level.empty = false;
            if lines {
                self.new_line(first)?;
            } else if !first {
                self.out.write_all(b",")?;
            }
        }
        Ok(self)
    }

    /// Begins the next member of an object. A key of ours needs no escape. Nearly all are
    /// known here, and then stored without a copy.
    #[inline(always)]
    pub(crate) fn key(&mut self, key: &'static str) -> io::Result<&mut Self> {
        debug_assert!(plain(key), "{key}");
        self.item()?;
        self.out.write_all(b"\"")?;
        self.out.write_all(key.as_bytes())?;
        self.out.write_all(b"\":")?;
        Ok(self)
    }

    /// The same with a key that an input gave.
    pub(crate) fn key_of_input(&mut self, key: &str) -> io::Result<&mut Self> {
        self.item()?.text(key)?;
        self.out.write_all(b":")?;
        Ok(self)
    }

    pub(crate) fn null(&mut self) -> io::Result<()> {
        self.out.write_all(b"null")
    }

    pub(crate) fn bool(&mut self, value: bool) -> io::Result<()> {
        self.out.write_all(if value { "true" } else { "false" }.as_bytes())
    }

    pub(crate) fn number(&mut self, value: u64) -> io::Result<()> {
        self.out.write_all(itoa::Buffer::new().format(value).as_bytes())
    }

    pub(crate) fn signed(&mut self, value: i64) -> io::Result<()> {
        self.out.write_all(itoa::Buffer::new().format(value).as_bytes())
    }

    pub(crate) fn number_or_null(&mut self, value: Option<u64>) -> io::Result<()> {
        match value {
            Some(value) => self.number(value),
            None => self.null(),
        }
    }

    /// A number with at most six decimals.
    pub(crate) fn share(&mut self, value: f64) -> io::Result<()> {
        if !value.is_finite() {
            return self.null();
        }
        let text = format!("{value:.6}");
        let text = text.trim_end_matches('0');
        // A float stays one: `1.0`.
        let zero = if text.ends_with('.') { "0" } else { "" };
        write!(self.out, "{text}{zero}")
    }

    pub(crate) fn text_or_null(&mut self, value: Option<&str>) -> io::Result<()> {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// A string. What a terminal would act on is written as `\u` escapes, so
    /// that the document may be shown as it is and still holds the exact text.
    pub(crate) fn text(&mut self, value: &str) -> io::Result<()> {
        self.out.write_all(b"\"")?;
        // Nearly all texts hold nothing that needs an escape.
        if plain(value) {
            self.out.write_all(value.as_bytes())?;
            return self.out.write_all(b"\"");
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
            self.out.write_all(&value.as_bytes()[written..i])?;
            written = i + c.len_utf8();
            if short.is_empty() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(self.out, "\\u{unit:04x}")?;
                }
            } else {
                self.out.write_all(short.as_bytes())?;
            }
        }
        self.out.write_all(&value.as_bytes()[written..])?;
        self.out.write_all(b"\"")
    }

    /// JSON text of unknown origin: as it is if it is JSON, else as a string.
    pub(crate) fn json_text(&mut self, text: &str) -> io::Result<()> {
        match serde_json::from_str::<Value>(text) {
            Ok(value) => self.value(&value),
            Err(_) => self.text(text),
        }
    }

    fn value(&mut self, value: &Value) -> io::Result<()> {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Number(number) => write!(self.out, "{number}"),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.array(false)?;
                for item in items {
                    self.item()?.value(item)?;
                }
                self.end().map(|_| ())
            }
            Value::Object(members) => {
                self.object(false)?;
                for (key, value) in members {
                    self.key_of_input(key)?.value(value)?;
                }
                self.end().map(|_| ())
            }
        }
    }
}
