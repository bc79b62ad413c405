//! Print formats, as events declare them, to the fields of a payload.
//!
//! A pattern is literal text and fields: `{name}` a number, `{name:s}` text up to what
//! follows, `{name:CONV}` one of [`Conv`], `{}` and `{:s}` something that is passed
//! over, `{name=N}` a value that the text does not carry. What follows a pattern's
//! end is not looked at, so that additions of newer kernels do no harm.

use std::sync::LazyLock;

use super::values::{self, Conv, LineFields, Value};
use crate::events::{Row, TABLE};
use crate::print_fmt::StateTable;

/// A row's patterns, ready to match.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) row: &'static Row,
    patterns: Vec<Vec<Token>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token {
    Literal(&'static [u8]),
    /// Text up to the literal that follows.
    Text(Option<usize>),
    Number(Option<usize>, Conv),
    State(usize),
    Words,
    Bytes,
    Given(usize, u64),
}

/// Texts may be cut in several ways; more tries than this are a hostile line's.
const TRIES: u32 = 64;

/// All rows, once.
static PRINTED: LazyLock<Vec<Printed>> = LazyLock::new(|| {
    let rows = TABLE.iter().flat_map(|rows| rows.iter());
    rows.map(|row| {
        let patterns = row.prints.iter().filter_map(|print| compile(print, row)).collect();
        Printed { row, patterns }
    })
    .collect()
});

impl Printed {
    /// By the row's whole name, or by its second part alone, as ftrace has it.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        PRINTED.iter().find(|printed| {
            printed.row.name == name
                || printed.row.name.split_once(':').is_some_and(|(system, event)| {
                    event == name && !matches!(system, "record" | "software")
                })
        })
    }

    /// The fields of a payload: by the first pattern that fits, else by `key=value`,
    /// as raw output has it.
    #[inline]
    pub(super) fn fields<'a>(&self, payload: &'a [u8], states: &StateTable) -> LineFields<'a> {
        let mut fields = LineFields::default();
        let mut tries = TRIES;
        for pattern in &self.patterns {
            if matches(pattern, payload, states, &mut fields, &mut tries) {
                return fields;
            }
            fields = LineFields::default();
        }
        for (index, names) in self.row.fields.iter().enumerate() {
            if let Some(value) = names.iter().find_map(|name| keyed(payload, name.as_bytes())) {
                fields.set(index, Value::Text(value));
            }
        }
        fields
    }
}

fn compile(print: &'static str, row: &Row) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = print;
    while let Some((literal, tail)) = rest.split_once('{') {
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal.as_bytes()));
        }
        let (hole, tail) = tail.split_once('}')?;
        rest = tail;
        let field = |name: &str| row.fields.iter().position(|names| names.contains(&name));
        let optional =
            |name: &str| if name.is_empty() { Some(None) } else { Some(Some(field(name)?)) };
        if let Some((name, value)) = hole.split_once('=') {
            tokens.push(Token::Given(field(name)?, value.parse().ok()?));
            continue;
        }
        let (name, conv) = hole.split_once(':').unwrap_or((hole, ""));
        tokens.push(match conv {
            "s" => Token::Text(optional(name)?),
            "state" => Token::State(field(name)?),
            "words" => Token::Words,
            "bytes" => Token::Bytes,
            _ => Token::Number(optional(name)?, Conv::named(conv)?),
        });
    }
    if !rest.is_empty() {
        tokens.push(Token::Literal(rest.as_bytes()));
    }
    Some(tokens)
}

fn matches<'a>(
    pattern: &[Token],
    mut text: &'a [u8],
    states: &StateTable,
    fields: &mut LineFields<'a>,
    tries: &mut u32,
) -> bool {
    let mut tokens = pattern.iter();
    while let Some(token) = tokens.next() {
        let taken = match token {
            Token::Literal(literal) => match text.strip_prefix(*literal) {
                Some(rest) => {
                    text = rest;
                    continue;
                }
                None => return false,
            },
            Token::Given(field, value) => {
                fields.set(*field, Value::Int(*value));
                continue;
            }
            Token::Text(field) => {
                return text_then(*field, tokens.as_slice(), text, states, fields, tries);
            }
            Token::Number(field, conv) => conv.read(text).map(|(value, n)| {
                if let Some(field) = field {
                    fields.set(*field, Value::Int(value));
                }
                n
            }),
            Token::State(field) => values::state(text, states).map(|(state, n)| {
                fields.set(*field, Value::State(state));
                n
            }),
            Token::Words | Token::Bytes => {
                let read = if *token == Token::Words { values::words } else { values::bytes };
                read(text).map(|(words, n)| {
                    fields.words = words;
                    n
                })
            }
        };
        match taken.and_then(|n| text.get(n..)) {
            Some(rest) => text = rest,
            None => return false,
        }
    }
    true
}

/// Text up to the next literal. The text may hold that literal itself: the first
/// place after which everything else fits is the end.
fn text_then<'a>(
    field: Option<usize>,
    rest: &[Token],
    text: &'a [u8],
    states: &StateTable,
    fields: &mut LineFields<'a>,
    tries: &mut u32,
) -> bool {
    let Some((Token::Literal(literal), after)) = rest.split_first() else {
        if let Some(field) = field {
            fields.set(field, Value::Text(before_columns(text)));
        }
        return true;
    };
    let Some(first) = literal.first() else { return false };
    let mut from = 0_usize;
    while let Some(found) = text.get(from..).and_then(|t| memchr::memchr(*first, t)) {
        let at = from.saturating_add(found);
        from = at.saturating_add(1);
        let (Some(value), Some(tail)) = (text.get(..at), text.get(at..)) else { return false };
        let Some(tail) = tail.strip_prefix(*literal) else { continue };
        match tries.checked_sub(1) {
            Some(left) => *tries = left,
            None => return false,
        }
        if matches(after, tail, states, fields, tries) {
            if let Some(field) = field {
                fields.set(field, Value::Text(value));
            }
            return true;
        }
    }
    false
}

/// A last text, without what `perf script` appends (addresses, symbols).
fn before_columns(text: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(text, b"  ").unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// The value after `key=`, up to a blank.
fn keyed<'a>(payload: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    for at in memchr::memmem::find_iter(payload, key) {
        let before = at.checked_sub(1).and_then(|at| payload.get(at));
        let after = payload.get(at.checked_add(key.len())?..)?;
        if let (None | Some(b' ' | b','), Some(value)) = (before, after.strip_prefix(b"=")) {
            let end = memchr::memchr(b' ', value).unwrap_or(value.len());
            return value.get(..end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Source as _;

    #[test]
    fn every_declared_pattern_is_one() {
        for printed in PRINTED.iter() {
            let row = printed.row;
            assert_eq!(printed.patterns.len(), row.prints.len(), "{}", row.name);
            assert!(row.fields.len() <= values::FIELDS, "{}", row.name);
            // Only perf's own records have none.
            let none = row.name.starts_with("record:")
                || row.name.starts_with("software:")
                || row.name.starts_with("ftrace:");
            assert_eq!(row.prints.is_empty(), none, "{}", row.name);
        }
    }

    #[test]
    fn names_by_what_follows_them() {
        let states = StateTable::new("", None);
        let waking = Printed::find("sched_waking").unwrap();
        let fields = waking.fields(b"comm=a pid=x pid=7 prio=120 target_cpu=001", &states);
        assert_eq!(fields.text(0), Some(&b"a pid=x"[..]));
        assert_eq!((fields.int(1), fields.int(2)), (Some(7), Some(1)));
        // A line made to be cut in many ways ends soon, without fields.
        let hostile = b"comm="
            .iter()
            .chain(b" pid=1 prio=".repeat(100_000).iter())
            .copied()
            .collect::<Vec<_>>();
        assert_eq!(waking.fields(&hostile, &states).int(2), None);
    }
}
