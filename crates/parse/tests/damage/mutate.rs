//! Bytes changed in a way that looks random and is the same in every run.

/// xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }
}

pub(crate) fn flip(bytes: &mut [u8], random: &mut Random) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Numbers that sizes, counts and offsets go wrong with.
const EXTREME: [u64; 10] =
    [0, 1, 7, 8, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX];

/// One to four changes: a bit, a number, a cut, a run left out, doubled, or taken
/// from another input.
pub(crate) fn mutate(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        let run = at..(at + 1 + random.below(64)).min(out.len());
        match random.below(8) {
            0..3 => flip(&mut out, random),
            3 => {
                let value = EXTREME[random.below(EXTREME.len())];
                let size = 1 << random.below(4);
                let number =
                    if random.below(4) == 0 { value.to_be_bytes() } else { value.to_le_bytes() };
                let number =
                    if random.below(4) == 0 { &number[8 - size..] } else { &number[..size] };
                for (to, from) in out.iter_mut().skip(at).zip(number) {
                    *to = *from;
                }
            }
            4 => out.truncate(at),
            5 if !run.is_empty() => drop(out.drain(run)),
            6 if !run.is_empty() => {
                let copy = out[run].to_vec();
                out.splice(at..at, copy);
            }
            _ => {
                let from = random.below(other.len() + 1);
                let until = (from + random.below(256)).min(other.len());
                out.splice(at..at, other[from..until].iter().copied());
            }
        }
    }
    out
}
