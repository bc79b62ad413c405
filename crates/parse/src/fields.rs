//! A tracepoint's named fields, binary or text, behind one interface.

use std::borrow::Cow;
use std::fmt::Write;

use crate::units::{Cpu, Dev, Nanos, Pid, Tid};

/// Where the fields of one record are read from. Fields are known by their
/// position in [`crate::events::Row::fields`]; a reader resolves the names once.
pub(crate) trait Source<'a> {
    /// An integer field, sign-extended where its type is signed. `None` where
    /// this kernel's format has no such field, or the record is too short.
    fn int(&self, field: usize) -> Option<u64>;
    /// A string field without its terminating NUL.
    fn text(&self, field: usize) -> Option<&'a [u8]>;
    /// Element `index` of an array field of machine words.
    fn word(&self, field: usize, index: usize) -> Option<u64>;
    /// The first six of them.
    #[inline]
    fn six_words(&self, field: usize) -> Option<[u64; 6]> {
        let mut words = [0; 6];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.word(field, index)?;
        }
        Some(words)
    }
    /// A string field that holds a task's name.
    #[inline]
    fn comm(&self, field: usize) -> Option<Comm> {
        self.text(field).map(Comm::new)
    }
    /// The same as it was written.
    #[inline]
    fn comm_bytes(&self, field: usize) -> Option<CommBytes> {
        self.comm(field).map(CommBytes::from)
    }
    /// What `prev_state` of `sched_switch` means in this capture.
    fn switch_state(&self, field: usize) -> Option<SwitchState>;
}

/// A value that a field can be decoded to, and shown as text in `dump --stage events`.
pub(crate) trait Field<'a>: Sized {
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self>;
    fn write(&self, out: &mut String);
}

macro_rules! int_field {
    ($($t:ty => |$v:ident| $from:expr, |$s:ident| $fmt:literal $(, $arg:expr)?;)*) => {$(
        impl<'a> Field<'a> for $t {
            #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
                source.int(field).map(|$v| $from)
            }
            fn write(&self, out: &mut String) {
                let $s = self;
                let _ = write!(out, $fmt $(, $arg)?);
            }
        }
    )*};
}
// The casts keep the low bits: the value was widened from a field of that size.
int_field! {
    u64 => |v| v, |s| "{s}";
    i64 => |v| v as i64, |s| "{s}";
    u32 => |v| v as u32, |s| "{s}";
    i32 => |v| v as i32, |s| "{s}";
    bool => |v| v != 0, |s| "{}", u8::from(*s);
    Tid => |v| Tid(v as i32), |s| "{s}";
    Pid => |v| Pid(v as i32), |s| "{s}";
    Cpu => |v| Cpu(v as u32), |s| "{}", s.0;
    Nanos => |v| Nanos(v), |s| "{s}";
    Dev => |v| Dev(v as u32), |s| "{}", s.0;
    Addr => |v| Addr(v), |s| "{:#x}", s.0;
}

/// A kernel or user address, or another word best read in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Addr(pub u64);

/// A task's name as the kernel's `task->comm`: at most 15 bytes, any bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Comm([u8; 16]);

impl Comm {
    /// Takes up to 16 bytes, and stops at the first NUL.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut comm = [0; 16];
        for (to, from) in comm.iter_mut().zip(bytes.iter().take_while(|b| **b != 0)) {
            *to = *from;
        }
        Self(comm)
    }
    /// The same of all 16 bytes of `task->comm`.
    #[inline]
    pub(crate) fn of_task(bytes: &[u8; 16]) -> Self {
        // The lowest bit that is set here is the highest of the first byte that is 0.
        const ONES: u128 = u128::from_le_bytes([1; 16]);
        const HIGHEST: u128 = u128::from_le_bytes([0x80; 16]);
        let word = u128::from_le_bytes(*bytes);
        let zeros = word.wrapping_sub(ONES) & !word & HIGHEST;
        let bits = zeros.trailing_zeros() & !7;
        let name = u128::MAX.checked_shr(128_u32.saturating_sub(bits)).unwrap_or(0);
        Self((word & name).to_le_bytes())
    }
    /// The bytes before the first NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|b| *b == 0).next().unwrap_or(&[])
    }
    /// The name for people, with replacement characters where it is not UTF-8.
    /// Not escaped: each output format does that for itself.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
    /// The same as a text of its own.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.text().into_owned()
    }
    /// Whether there is a name at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

impl std::fmt::Debug for Comm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.to_text())
    }
}

impl<'a> Field<'a> for Comm {
    #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
        source.comm(field)
    }
    fn write(&self, out: &mut String) {
        quote(self.as_bytes(), out);
    }
}

/// A task's name in an event of a kind that comes often, with what lies behind its NUL: most
/// of these names are never looked at.
#[derive(Clone, Copy, Default)]
pub struct CommBytes(pub [u8; 16]);

impl CommBytes {
    /// The name.
    #[must_use]
    pub fn comm(&self) -> Comm {
        Comm::of_task(&self.0)
    }
}

impl From<Comm> for CommBytes {
    fn from(comm: Comm) -> Self {
        Self(comm.0)
    }
}

impl PartialEq for CommBytes {
    fn eq(&self, other: &Self) -> bool {
        self.comm() == other.comm()
    }
}

impl std::fmt::Debug for CommBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.comm().fmt(f)
    }
}

impl<'a> Field<'a> for CommBytes {
    #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
        source.comm_bytes(field)
    }
    fn write(&self, out: &mut String) {
        self.comm().write(out);
    }
}

/// A string that is borrowed from the capture: a path, a device's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<'a>(pub &'a [u8]);

impl Text<'_> {
    /// The string for people, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }
}

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.to_text())
    }
}

impl<'a> Field<'a> for Text<'a> {
    #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
        source.text(field).map(Text)
    }
    fn write(&self, out: &mut String) {
        quote(self.0, out);
    }
}

/// The six argument words of a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Args(pub [u64; 6]);

impl<'a> Field<'a> for Args {
    #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
        source.six_words(field).map(Self)
    }
    fn write(&self, out: &mut String) {
        for (index, arg) in self.0.iter().enumerate() {
            let _ = write!(out, "{}{arg:x}", if index == 0 { "" } else { "," });
        }
    }
}

/// An IPv6 address, as its bytes on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ip6(pub [u8; 16]);

impl<'a> Field<'a> for Ip6 {
    #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(source.word(field, index)?).ok()?;
        }
        Some(Self(bytes))
    }
    fn write(&self, out: &mut String) {
        for (index, byte) in self.0.iter().enumerate() {
            let _ = write!(out, "{}{byte:x}", if index == 0 { "" } else { "," });
        }
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
        Some(T::read(source, field))
    }
    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push('-'),
        }
    }
}

/// In what state `sched_switch` says that a task left its CPU, the same for
/// every kernel version (EVENTS 1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SwitchState {
    /// `R` or `R+`: still runnable; preempted or yielded.
    Runnable,
    /// `S`.
    Interruptible,
    /// `D`, killable and frozen waits included.
    Uninterruptible,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by a tracer.
    Traced,
    /// `I`: an idle kernel thread.
    Idle,
    /// `P`: parked.
    Parked,
    /// `Z`: exited, not yet reaped.
    Zombie,
    /// `X`: gone.
    Dead,
    /// Bits that this kernel's format does not name.
    Other,
}

impl SwitchState {
    /// The kernel's letter; `?` for [`SwitchState::Other`].
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Runnable => 'R',
            Self::Interruptible => 'S',
            Self::Uninterruptible => 'D',
            Self::Stopped => 'T',
            Self::Traced => 't',
            Self::Idle => 'I',
            Self::Parked => 'P',
            Self::Zombie => 'Z',
            Self::Dead => 'X',
            Self::Other => '?',
        }
    }
    /// The state that a kernel letter stands for.
    #[must_use]
    pub fn from_letter(letter: char) -> Self {
        match letter {
            'R' => Self::Runnable,
            'S' => Self::Interruptible,
            'D' | 'K' => Self::Uninterruptible,
            'T' => Self::Stopped,
            't' => Self::Traced,
            'I' => Self::Idle,
            'P' => Self::Parked,
            'Z' => Self::Zombie,
            'X' => Self::Dead,
            _ => Self::Other,
        }
    }
    /// Whether the task will never run again (unless an exec revives its id).
    #[must_use]
    pub fn is_dead(self) -> bool {
        matches!(self, Self::Zombie | Self::Dead)
    }
}

impl<'a> Field<'a> for SwitchState {
    #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
        source.switch_state(field)
    }
    fn write(&self, out: &mut String) {
        out.push(self.letter());
    }
}

/// What a block request does, from the `rwbs` letters (EVENTS 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rwbs {
    /// The operation letter.
    pub op: BlockOp,
    /// `F` before the operation: a cache flush comes first.
    pub preflush: bool,
    /// `F` after the operation: forced unit access.
    pub fua: bool,
    /// `A`: readahead. Somebody may wait for it all the same.
    pub readahead: bool,
    /// `S`: synchronous.
    pub sync: bool,
    /// `M`: metadata.
    pub meta: bool,
}

/// The operation of a block request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum BlockOp {
    /// `R`
    Read,
    /// `W`
    Write,
    /// `F`: an empty cache flush.
    Flush,
    /// `D` and `DE`.
    Discard,
    /// `N`, zone operations, and what is not known.
    #[default]
    Other,
}

impl BlockOp {
    /// The word used in reports: `read`, `write`, `flush`, `discard`, `other`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::Other => "other",
        }
    }
}

impl Rwbs {
    /// Reads the letters of `blk_fill_rwbs` (kernel/trace/blktrace.c).
    #[must_use]
    pub fn parse(letters: &[u8]) -> Self {
        let mut rwbs = Self::default();
        let (preflush, rest) = match letters {
            // `FF`, or a lone `F`, is the flush operation itself.
            [b'F', rest @ ..] if rest.first().is_some_and(|b| *b != b'F') => (true, rest),
            _ => (false, letters),
        };
        rwbs.preflush = preflush;
        let mut rest = rest.iter();
        rwbs.op = match rest.next() {
            Some(b'R') => BlockOp::Read,
            Some(b'W') => BlockOp::Write,
            Some(b'F') => BlockOp::Flush,
            Some(b'D') => BlockOp::Discard,
            _ => BlockOp::Other,
        };
        for letter in rest {
            match letter {
                b'F' => rwbs.fua = true,
                b'A' => rwbs.readahead = true,
                b'S' => rwbs.sync = true,
                b'M' => rwbs.meta = true,
                _ => {}
            }
        }
        rwbs
    }
}

impl<'a> Field<'a> for Rwbs {
    #[inline]
    fn read(source: &impl Source<'a>, field: usize) -> Option<Self> {
        source.text(field).map(Self::parse)
    }
    fn write(&self, out: &mut String) {
        if self.preflush {
            out.push('F');
        }
        out.push(match self.op {
            BlockOp::Read => 'R',
            BlockOp::Write => 'W',
            BlockOp::Flush => 'F',
            BlockOp::Discard => 'D',
            BlockOp::Other => 'N',
        });
        for (set, letter) in
            [(self.fua, 'F'), (self.readahead, 'A'), (self.sync, 'S'), (self.meta, 'M')]
        {
            if set {
                out.push(letter);
            }
        }
    }
}

/// Writes bytes as a double-quoted string that [`unquote`] reads back: printable
/// ASCII as it is, the rest (and `"` and `\`) as `\xNN`.
pub(crate) fn quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'"' && *byte != b'\\' => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
}

/// The inverse of [`quote`], without the quotes. `None` for a broken escape.
pub(crate) fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'\\' {
            let hex = tail.strip_prefix(b"x")?.get(..2)?;
            out.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = tail.get(3..)?;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_s_name_ends_at_its_first_nul() {
        for len in 0..=16 {
            let mut bytes: [u8; 16] = std::array::from_fn(|i| [b'a', 0xff, 1, 0x80][i % 4]);
            if let Some(end) = bytes.get_mut(len) {
                *end = 0;
            }
            let name = Comm::of_task(&bytes);
            assert_eq!(name, Comm::new(&bytes), "{len}");
            assert_eq!(name.as_bytes().len(), len);
        }
        // Behind a NUL, 1 borrows from nobody.
        let behind = *b"a\0\x01\x01\0bcdefghijkl";
        assert_eq!(Comm::of_task(&behind), Comm::new(b"a"));
        // Nor is what lies there of a name that was kept as it was written.
        assert_eq!(CommBytes(behind).comm(), Comm::new(b"a"));
        assert_eq!(CommBytes(behind), CommBytes(*b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
        assert_ne!(CommBytes(behind), CommBytes(*b"ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    }

    #[test]
    fn rwbs_letters_by_position() {
        let show = |letters: &str| {
            let mut out = String::new();
            Rwbs::parse(letters.as_bytes()).write(&mut out);
            out
        };
        for letters in ["RA", "WS", "WSM", "FWS", "FWFSM", "R", "W", "F"] {
            assert_eq!(show(letters), letters);
        }
        // The flush that a journal commit sends down: operation F, flag F (FUA).
        let flush = Rwbs::parse(b"FF");
        assert_eq!((flush.op, flush.preflush, flush.fua), (BlockOp::Flush, false, true));
    }

    #[test]
    fn quoted_text_reads_back() {
        let hostile = b"a \"b\" \\ \x1b[31m <script> \xff";
        let mut quoted = String::new();
        quote(hostile, &mut quoted);
        assert_eq!(quoted, r#""a \x22b\x22 \x5c \x1b[31m <script> \xff""#);
        let inner = quoted.as_bytes().get(1..quoted.len() - 1).unwrap();
        assert_eq!(unquote(inner).unwrap(), hostile);
        assert_eq!(unquote(b"\\x4"), None);
    }
}
