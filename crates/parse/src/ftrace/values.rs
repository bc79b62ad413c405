//! The fields of one line, and the conversions that print formats ask for.

use super::head::decimal;
use super::symbols::{self, BOOL, COMPACTION, FAMILY, LOCK, SYNC, Symbols, TCP, URING};
use crate::fields::{Source, SwitchState};
use crate::print_fmt::StateTable;

/// No row has more fields.
pub(crate) const FIELDS: usize = 10;

/// One field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Value<'a> {
    #[default]
    None,
    Int(u64),
    Text(&'a [u8]),
    State(SwitchState),
}

/// The fields of one line, in the order of the row.
#[derive(Debug, Default)]
pub(crate) struct LineFields<'a> {
    values: [Value<'a>; FIELDS],
    /// An array of machine words; no row has more than one.
    pub(super) words: [u64; 6],
}

impl<'a> LineFields<'a> {
    #[inline]
    pub(super) fn set(&mut self, field: usize, value: Value<'a>) {
        if let Some(slot) = self.values.get_mut(field) {
            *slot = value;
        }
    }
    #[inline]
    fn value(&self, field: usize) -> Value<'a> {
        self.values.get(field).copied().unwrap_or_default()
    }
}

impl<'a> Source<'a> for LineFields<'a> {
    #[inline]
    fn int(&self, field: usize) -> Option<u64> {
        match self.value(field) {
            Value::Int(value) => Some(value),
            Value::Text(text) => whole(auto(text), text),
            Value::None | Value::State(_) => None,
        }
    }
    #[inline]
    fn text(&self, field: usize) -> Option<&'a [u8]> {
        match self.value(field) {
            Value::Text(text) => Some(text),
            Value::None | Value::Int(_) | Value::State(_) => None,
        }
    }
    #[inline]
    fn word(&self, _field: usize, index: usize) -> Option<u64> {
        self.words.get(index).copied()
    }
    #[inline]
    fn switch_state(&self, field: usize) -> Option<SwitchState> {
        match self.value(field) {
            Value::State(state) => Some(state),
            Value::None | Value::Int(_) | Value::Text(_) => None,
        }
    }
}

/// How a field is printed. Each reads from the front of the text and gives the
/// value and how many bytes it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Conv {
    /// Decimal, signed or not, or `0x` hexadecimal.
    Auto,
    /// Hexadecimal, with or without `0x`.
    Hex,
    /// An address, a hashed pointer, `(nil)`, or the name of what is there, whose
    /// address is then not told (0).
    Sym,
    /// `major,minor`, `major:minor`, or the kernel's own number.
    Dev,
    /// Bytes, for a field that counts pages. Of the last byte of a range too.
    Page,
    /// A name of a table, or the number.
    Symbol(Symbols),
    /// Names joined by `|`, or the number.
    Flags(Symbols),
    /// io_uring's operation.
    Uring,
    /// `127.0.0.1`, kept in the order of the wire.
    Ip,
}

impl Conv {
    /// By the word in a pattern.
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "" => Self::Auto,
            "x" => Self::Hex,
            "sym" => Self::Sym,
            "dev" => Self::Dev,
            "page" => Self::Page,
            "bool" => Self::Symbol(BOOL),
            "sync" => Self::Symbol(SYNC),
            "tcp" => Self::Symbol(TCP),
            "family" => Self::Symbol(FAMILY),
            "compaction" => Self::Symbol(COMPACTION),
            "lock" => Self::Flags(LOCK),
            "uring" => Self::Uring,
            "ip" => Self::Ip,
            _ => return None,
        })
    }

    #[inline]
    pub(super) fn read(self, text: &[u8]) -> Option<(u64, usize)> {
        match self {
            Self::Auto => auto(text),
            Self::Hex => hex_with_prefix(text),
            Self::Sym => sym(text),
            Self::Dev => dev(text),
            Self::Page => auto(text).map(|(bytes, n)| (bytes >> 12, n)),
            Self::Symbol(table) => {
                let word = word(text);
                let value = symbols::number(table, word).or_else(|| whole(auto(word), word));
                Some((value?, word.len()))
            }
            Self::Flags(table) => {
                let word = word(text);
                let mut bits = 0;
                for part in word.split(|b| *b == b'|').filter(|part| !part.is_empty()) {
                    bits |= symbols::number(table, part).or_else(|| whole(auto(part), part))?;
                }
                Some((bits, word.len()))
            }
            Self::Uring => {
                let word = word(text);
                let known = URING.iter().position(|name| *name == word).map(|op| op as u64);
                // An operation newer than the table.
                let value = known.or_else(|| whole(auto(word), word)).unwrap_or(u32::MAX.into());
                (!word.is_empty()).then_some((value, word.len()))
            }
            Self::Ip => {
                let word = word(text);
                let mut parts = word.split(|b| *b == b'.').map(decimal);
                let mut bytes = [0; 4];
                for byte in &mut bytes {
                    *byte = u8::try_from(parts.next()??).ok()?;
                }
                Some((u32::from_le_bytes(bytes).into(), word.len()))
            }
        }
    }
}

/// Up to what ends a word in print formats.
fn word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| matches!(b, b' ' | b',' | b')' | b']'));
    text.get(..end.unwrap_or(text.len())).unwrap_or(text)
}

/// The value, where it is all that there is.
pub(super) fn whole(read: Option<(u64, usize)>, text: &[u8]) -> Option<u64> {
    read.filter(|(_, n)| *n == text.len()).map(|(value, _)| value)
}

#[inline]
pub(super) fn auto(text: &[u8]) -> Option<(u64, usize)> {
    match text {
        [b'0', b'x', digits @ ..] => hex(digits).and_then(|(v, n)| Some((v, n.checked_add(2)?))),
        [b'-', digits @ ..] => {
            let (value, n) = digits_of(digits)?;
            Some((value.wrapping_neg(), n.checked_add(1)?))
        }
        _ => digits_of(text),
    }
}

#[inline]
fn digits_of(text: &[u8]) -> Option<(u64, usize)> {
    let (mut value, mut n) = (0_u64, 0_usize);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
        n = n.saturating_add(1);
    }
    (n > 0).then_some((value, n))
}

/// At most 16 digits.
#[inline]
pub(super) fn hex(text: &[u8]) -> Option<(u64, usize)> {
    let (mut value, mut n) = (0_u64, 0_usize);
    for byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte.wrapping_sub(b'0'),
            b'a'..=b'f' => byte.wrapping_sub(b'a' - 10),
            b'A'..=b'F' => byte.wrapping_sub(b'A' - 10),
            _ => break,
        };
        value = value << 4 | u64::from(digit);
        n = n.saturating_add(1);
    }
    (1..=16).contains(&n).then_some((value, n))
}

pub(super) fn hex_with_prefix(text: &[u8]) -> Option<(u64, usize)> {
    match text.strip_prefix(b"0x") {
        Some(digits) => hex(digits).and_then(|(v, n)| Some((v, n.checked_add(2)?))),
        None => hex(text),
    }
}

fn sym(text: &[u8]) -> Option<(u64, usize)> {
    if text.first() == Some(&b'(') {
        let end = memchr::memchr(b')', text)?;
        return Some((0, end.checked_add(1)?));
    }
    let end = text.iter().position(|b| matches!(b, b' ' | b',' | b')' | b':'));
    let word = text.get(..end.unwrap_or(text.len()))?;
    // Pointers without `0x` are padded to their full width: no name looks so.
    let pointer = word.starts_with(b"0x") || word.len() == 16 || word.len() == 8;
    let value = whole(hex_with_prefix(word), word).filter(|_| pointer).unwrap_or(0);
    (!word.is_empty()).then_some((value, word.len()))
}

fn dev(text: &[u8]) -> Option<(u64, usize)> {
    let (major, n) = digits_of(text)?;
    match text.get(n..)? {
        [b',' | b':', rest @ ..] => {
            let (minor, m) = digits_of(rest)?;
            let (major, minor) = (u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
            let dev = crate::units::Dev::new(major & 0xfff, minor);
            Some((dev.0.into(), n.checked_add(m)?.checked_add(1)?))
        }
        _ => Some((major, n)),
    }
}

/// `S`, `R+`, `D|K`, or the number, whose meaning the table tells.
pub(super) fn state(text: &[u8], table: &StateTable) -> Option<(SwitchState, usize)> {
    if let Some((bits, n)) = auto(text) {
        return Some((table.state(bits), n));
    }
    let n = text.iter().take_while(|b| b.is_ascii_alphabetic() || b"|+?".contains(b)).count();
    let letters = text.get(..n)?;
    let first = *letters.first()?;
    // `+`: preempted in the kernel, runnable whatever it was about to do.
    let state = if letters.contains(&b'+') {
        SwitchState::Runnable
    } else {
        SwitchState::from_letter(char::from(first))
    };
    Some((state, n))
}

/// Six words in hexadecimal, `3, 5598309b51b0, ...`.
pub(super) fn words(text: &[u8]) -> Option<([u64; 6], usize)> {
    let (mut words, mut at) = ([0; 6], 0_usize);
    for (index, slot) in words.iter_mut().enumerate() {
        if index > 0 {
            let rest = text.get(at..)?.strip_prefix(b", ")?;
            at = text.len().checked_sub(rest.len())?;
        }
        let (value, n) = hex_with_prefix(text.get(at..)?)?;
        *slot = value;
        at = at.checked_add(n)?;
    }
    Some((words, at))
}

/// Forty-eight bytes in hexadecimal, `03, 00, ...`: six words, the lowest byte first.
pub(super) fn bytes(text: &[u8]) -> Option<([u64; 6], usize)> {
    let mut words = [0_u64; 6];
    let mut at = 0_usize;
    for index in 0..48_usize {
        if index > 0 {
            let rest = text.get(at..)?.strip_prefix(b", ")?;
            at = text.len().checked_sub(rest.len())?;
        }
        let (byte, n) = hex(text.get(at..)?)?;
        if n != 2 {
            return None;
        }
        let shift = u32::try_from(index % 8).ok()?.checked_mul(8)?;
        *words.get_mut(index / 8)? |= byte.checked_shl(shift)?;
        at = at.checked_add(n)?;
    }
    Some((words, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions() {
        let read = |conv: &str, text: &str| Conv::named(conv).unwrap().read(text.as_bytes());
        for (conv, text, expected) in [
            ("", "-29 x", Some((-29_i64 as u64, 3))),
            ("", "0x6", Some((6, 3))),
            ("", "001]", Some((1, 3))),
            ("", "x", None),
            ("", "99999999999999999999", None),
            ("x", "2f37e ", Some((0x2f37e, 5))),
            ("x", "0x2f,", Some((0x2f, 4))),
            ("sym", "0x7fd8dc97f000 ", Some((0x7fd8_dc97_f000, 14))),
            ("sym", "00000000b1a3aad6: f", Some((0xb1a3_aad6, 16))),
            ("sym", "__put_user_4+0x0/0x10 ", Some((0, 21))),
            ("sym", "(nil)", Some((0, 5))),
            ("sym", "add", Some((0, 3))),
            ("dev", "254,1 ", Some((254 << 20 | 1, 5))),
            ("dev", "7:0 ", Some((7 << 20, 3))),
            ("dev", "266338304 ", Some((254 << 20, 9))),
            ("page", "47050752-", Some((11487, 8))),
            ("lock", "SPIN|READ)", Some((3, 9))),
            ("lock", ")", Some((0, 0))),
            ("lock", "PERCPU|0x40)", Some((0x50, 11))),
            ("tcp", "TCP_LISTEN", Some((10, 10))),
            ("family", "AF_INET6 ", Some((10, 8))),
            ("bool", "true", Some((1, 4))),
            ("uring", "READ,", Some((22, 4))),
            ("ip", "127.0.0.1 ", Some((0x0100_007f, 9))),
            ("ip", "127.0.0.300 ", None),
        ] {
            assert_eq!(read(conv, text), expected, "{conv} {text}");
        }
    }

    #[test]
    fn states_in_letters_and_numbers() {
        let table = StateTable::new("", Some("6.1"));
        let read = |text: &str| state(text.as_bytes(), &table).map(|(s, n)| (s.letter(), n));
        for (text, expected) in [
            ("S ==>", ('S', 1)),
            ("R+ ==>", ('R', 2)),
            ("D|K ==>", ('D', 3)),
            ("X", ('X', 1)),
            ("2 next", ('D', 1)),
            ("0 next", ('R', 1)),
            ("0x20 next", ('Z', 4)),
            ("256", ('R', 3)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        assert_eq!(read(""), None);
    }

    #[test]
    fn arrays() {
        assert_eq!(words(b"3, 55b68a7a7a50, 20, 0, 0, ffffffffffffffff)").unwrap().0[5], u64::MAX);
        assert_eq!(words(b"3, 5, 20, 0, 0)"), None);
        let text = "9c, ff, ff, ff, 00, 00, 00, 00, ".to_owned() + &"00, ".repeat(39) + "01]";
        let (words, n) = bytes(text.as_bytes()).unwrap();
        assert_eq!((words[0], words[5], n), (0xffff_ff9c, 1 << 56, text.len() - 1));
    }
}
