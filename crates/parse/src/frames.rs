//! Call chains to frames: marks of modes, words, and the lines of texts.

use crate::cursor::u64_at;
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
        Frames { chain: *self, at: 0, mode: Mode::Unknown }
    }

    /// Which deferred chain goes on where this one ends ([`DeferredChain::cookie`]).
    #[must_use]
    pub fn deferred(&self) -> Option<u64> {
        let Self::Words(words) = self else { return None };
        let before = words.len().checked_sub(16)?;
        (u64_at(words, before)? == USER_DEFERRED).then(|| u64_at(words, before.checked_add(8)?))?
    }
}

impl<'a> DeferredChain<'a> {
    /// Its frames, innermost first.
    #[must_use]
    pub fn frames(&self) -> Frames<'a> {
        Chain::Words(self.words).frames()
    }
}

/// The frames of a chain, innermost first.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    chain: Chain<'a>,
    /// Bytes of the chain that are done.
    at: usize,
    mode: Mode,
}

impl<'a> Iterator for Frames<'a> {
    type Item = ChainFrame<'a>;

    fn next(&mut self) -> Option<ChainFrame<'a>> {
        match self.chain {
            Chain::Words(words) => self.word(words),
            Chain::None | Chain::Script(_) | Chain::Kernel(_) | Chain::Trace(_) => None,
        }
    }
}

impl<'a> Frames<'a> {
    fn word(&mut self, words: &'a [u8]) -> Option<ChainFrame<'a>> {
        loop {
            let word = u64_at(words, self.at)?;
            self.at = self.at.checked_add(8)?;
            self.mode = match word {
                KERNEL => Mode::Kernel,
                USER => Mode::User,
                USER_DEFERRED => {
                    self.at = self.at.checked_add(8)?;
                    Mode::User
                }
                FIRST_MARK.. => Mode::Other,
                ip => return Some(ChainFrame { mode: self.mode, ip: Some(ip), named: None }),
            };
        }
    }
}
