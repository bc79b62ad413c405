//! Call chains to frames: marks of modes, words, and the lines of texts.

use crate::cursor::u64_at;
use crate::frame_lines;
use crate::stack::{Chain, ChainFrame, DeferredChain, Mode};

/// Words from here on are no addresses but marks (`enum perf_callchain_context` in
/// include/uapi/linux/perf_event.h): `PERF_CONTEXT_MAX`.
const FIRST_MARK: u64 = -4095_i64 as u64;
const KERNEL: u64 = -128_i64 as u64;
const USER: u64 = -512_i64 as u64;
/// From Linux 6.19; a cookie follows.
const USER_DEFERRED: u64 = -640_i64 as u64;

impl<'a> Chain<'a> {
    /// Its frames, innermost first. Marks are no frames.
    #[must_use]
    pub fn frames(&self) -> Frames<'a> {
        let none: &'a [u8] = &[];
        let (form, first, then) = match *self {
            Self::None => (Form::Words, none, none),
            Self::Words(words) => (Form::Words, words, none),
            Self::Script(lines) => (Form::Script, lines, none),
            Self::Ftrace { kernel, user } => (Form::Ftrace, kernel, user),
            Self::Trace { kernel, user } => (Form::Trace, kernel, user),
        };
        let mode = match form {
            Form::Words | Form::Script => Mode::Unknown,
            Form::Ftrace | Form::Trace => Mode::Kernel,
        };
        Frames { form, rest: first, then, mode }
    }

    /// Which deferred chain goes on where this one ends ([`DeferredChain::cookie`]).
    #[must_use]
    pub fn deferred(&self) -> Option<u64> {
        let Self::Words(words) = self else { return None };
        let mark = words.len().checked_sub(16)?;
        let cookie = u64_at(words, mark.checked_add(8)?)?;
        (u64_at(words, mark)? == USER_DEFERRED).then_some(cookie)
    }
}

impl<'a> DeferredChain<'a> {
    /// Its frames, innermost first.
    #[must_use]
    pub fn frames(&self) -> Frames<'a> {
        Chain::Words(self.words).frames()
    }
}

/// What the frames are made of.
#[derive(Clone, Copy, Debug)]
enum Form {
    Words,
    Script,
    Ftrace,
    Trace,
}

/// The frames of a chain, innermost first.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    form: Form,
    /// What of the chain is not done.
    rest: &'a [u8],
    /// The user part of an ftrace chain, while the kernel's is not done.
    then: &'a [u8],
    mode: Mode,
}

impl<'a> Iterator for Frames<'a> {
    type Item = ChainFrame<'a>;

    fn next(&mut self) -> Option<ChainFrame<'a>> {
        match self.form {
            Form::Words => self.marked(),
            Form::Script => loop {
                if let Some(frame) = frame_lines::script(self.line()?) {
                    return Some(frame);
                }
            },
            Form::Ftrace => loop {
                match self.word().or_else(|| self.turn()?.word())? {
                    // Ends a stack (`ULONG_MAX`), or fills what was kept for it.
                    0 | u64::MAX => {}
                    ip => return Some(ChainFrame { mode: self.mode, ip: Some(ip), named: None }),
                }
            },
            Form::Trace => loop {
                let line = self.line().or_else(|| self.turn()?.line())?;
                if let Some(frame) = frame_lines::trace(line, self.mode) {
                    return Some(frame);
                }
            },
        }
    }
}

impl<'a> Frames<'a> {
    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or(&[]);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Goes on to the user part; `None` where there is none.
    fn turn(&mut self) -> Option<&mut Self> {
        self.rest = std::mem::take(&mut self.then);
        self.mode = Mode::User;
        (!self.rest.is_empty()).then_some(self)
    }

    fn marked(&mut self) -> Option<ChainFrame<'a>> {
        loop {
            self.mode = match self.word()? {
                KERNEL => Mode::Kernel,
                USER => Mode::User,
                USER_DEFERRED => {
                    let _cookie = self.word()?;
                    Mode::User
                }
                FIRST_MARK.. => Mode::Other,
                ip => return Some(ChainFrame { mode: self.mode, ip: Some(ip), named: None }),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    fn shown(chain: Chain<'_>) -> Vec<(Mode, u64)> {
        chain.frames().map(|f| (f.mode, f.ip.unwrap())).collect()
    }

    #[test]
    fn marks_tell_the_mode_of_what_follows() {
        let mark = |n: i64| n as u64;
        let bytes =
            words(&[7, mark(-128), 1, 2, mark(-512), 3, mark(-2048), 4, mark(-32), 5, 1 << 63]);
        assert_eq!(
            shown(Chain::Words(&bytes)),
            [
                (Mode::Unknown, 7),
                (Mode::Kernel, 1),
                (Mode::Kernel, 2),
                (Mode::User, 3),
                (Mode::Other, 4),
                (Mode::Other, 5),
                (Mode::Other, 1 << 63),
            ]
        );
        // A word that is cut off is none.
        assert_eq!(shown(Chain::Words(&bytes[..15])), [(Mode::Unknown, 7)]);
        assert_eq!(Chain::Words(&bytes).deferred(), None);
    }

    #[test]
    fn a_deferred_chain_is_told_by_its_cookie() {
        let mark = |n: i64| n as u64;
        let bytes = words(&[mark(-128), 1, mark(-640), 0x1_0000_0007]);
        assert_eq!(Chain::Words(&bytes).deferred(), Some(0x1_0000_0007));
        assert_eq!(shown(Chain::Words(&bytes)), [(Mode::Kernel, 1)]);
        // The mark without its cookie.
        let bytes = words(&[mark(-128), 1, mark(-640)]);
        assert_eq!(Chain::Words(&bytes).deferred(), None);
        assert_eq!(shown(Chain::Words(&bytes)), [(Mode::Kernel, 1)]);
        let bytes = words(&[mark(-512), 3, 4]);
        let frames: Vec<_> = DeferredChain { cookie: 1, words: &bytes }.frames().collect();
        assert_eq!(frames.iter().map(|f| f.mode).collect::<Vec<_>>(), [Mode::User; 2]);
    }

    #[test]
    fn ftrace_ends_its_stacks() {
        let (kernel, user) = (words(&[1, 2, u64::MAX]), words(&[3, 0, 0]));
        let chain = Chain::Ftrace { kernel: &kernel, user: &user };
        assert_eq!(shown(chain), [(Mode::Kernel, 1), (Mode::Kernel, 2), (Mode::User, 3)]);
        let chain = Chain::Ftrace { kernel: &[], user: &user };
        assert_eq!(shown(chain), [(Mode::User, 3)]);
        assert_eq!(shown(Chain::None), []);
    }
}
