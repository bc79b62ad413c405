//! `sched_switch`'s print format to the meaning of `prev_state` (EVENTS 1.2).

use crate::fields::SwitchState;

/// What the bits of `prev_state` mean in one capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateTable {
    /// Bits that the letters are looked up in; none of them set: runnable.
    mask: u64,
    /// Bit (or combination) and letter, in the order of the format.
    letters: Vec<(u64, SwitchState)>,
    /// Set when the task was preempted in the kernel (`+`): runnable, whatever else.
    plus: u64,
}

impl StateTable {
    /// From the format's own print text; from the kernel's release where that
    /// cannot be read.
    pub(crate) fn new(print_fmt: &str, os_release: Option<&str>) -> Self {
        Self::parse(print_fmt).unwrap_or_else(|| {
            if os_release.and_then(version).is_some_and(|v| v < (4, 14)) {
                Self::before_4_14()
            } else {
                Self::since_4_14()
            }
        })
    }

    fn parse(print_fmt: &str) -> Option<Self> {
        let (_, call) = print_fmt.split_once("__print_flags(")?;
        let call = call.get(..closing(call)?)?;
        let (value, table) = call.split_once(',')?;
        let mask = value.split_once('&').map_or(Some(u64::MAX), |(_, mask)| constant(mask))?;
        let mut letters = Vec::new();
        for entry in table.split('{').skip(1) {
            let (entry, _) = entry.split_once('}')?;
            let (bits, letter) = entry.split_once(',')?;
            let letter = letter.trim().trim_matches('"').chars().next()?;
            letters.push((constant(bits)?, SwitchState::from_letter(letter)));
        }
        let plus = match print_fmt.rfind("? \"+\"").and_then(|at| print_fmt.get(..at)) {
            Some(before) => {
                let (_, clause) = before.rsplit_once("REC->prev_state &")?;
                constant(clause)?
            }
            None => 0,
        };
        (!letters.is_empty()).then_some(Self { mask, letters, plus })
    }

    fn since_4_14() -> Self {
        use SwitchState as S;
        Self {
            mask: 0xff,
            letters: vec![
                (1, S::Interruptible),
                (2, S::Uninterruptible),
                (4, S::Stopped),
                (8, S::Traced),
                (0x10, S::Dead),
                (0x20, S::Zombie),
                (0x40, S::Parked),
                (0x80, S::Idle),
            ],
            plus: 0x100,
        }
    }

    fn before_4_14() -> Self {
        use SwitchState as S;
        Self {
            mask: 0x3ff,
            letters: vec![
                (1, S::Interruptible),
                (2, S::Uninterruptible),
                (4, S::Stopped),
                (8, S::Traced),
                (0x10, S::Zombie),
                (0x20, S::Dead),
                (0x200, S::Parked),
            ],
            plus: 0x1000 | 0x800,
        }
    }

    /// The state that `prev_state` stands for.
    #[inline]
    pub(crate) fn state(&self, bits: u64) -> SwitchState {
        let masked = bits & self.mask;
        if masked == 0 || bits & self.plus != 0 {
            return SwitchState::Runnable;
        }
        self.letters
            .iter()
            .find(|(bit, _)| *bit != 0 && masked & bit == *bit)
            .map_or(SwitchState::Other, |(_, state)| *state)
    }
}

/// Major and minor of `6.18.1-arch`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Where the parenthesis closes that was open before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth = depth.checked_add(1)?,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The value of a C constant expression of `|`, `&`, `<<`, `>>`, `+`, `-`, `~`,
/// parentheses and integers, as the kernel's formats hold them.
pub(crate) fn constant(text: &str) -> Option<u64> {
    let mut parser = Constant { rest: text.trim_start(), depth: 0 };
    let value = parser.or()?;
    parser.rest.is_empty().then_some(value)
}

/// A recursive descent; each level is one precedence of C.
struct Constant<'a> {
    rest: &'a str,
    depth: u32,
}

impl Constant<'_> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }
    fn or(&mut self) -> Option<u64> {
        let mut value = self.and()?;
        while self.eat("|") {
            value |= self.and()?;
        }
        Some(value)
    }
    fn and(&mut self) -> Option<u64> {
        let mut value = self.shift()?;
        while self.eat("&") {
            value &= self.shift()?;
        }
        Some(value)
    }
    fn shift(&mut self) -> Option<u64> {
        let mut value = self.sum()?;
        loop {
            if self.eat("<<") {
                value = value.checked_shl(u32::try_from(self.sum()?).ok()?)?;
            } else if self.eat(">>") {
                value = value.checked_shr(u32::try_from(self.sum()?).ok()?)?;
            } else {
                return Some(value);
            }
        }
    }
    fn sum(&mut self) -> Option<u64> {
        let mut value = self.atom()?;
        loop {
            if self.eat("+") {
                value = value.wrapping_add(self.atom()?);
            } else if self.eat("-") {
                value = value.wrapping_sub(self.atom()?);
            } else {
                return Some(value);
            }
        }
    }
    fn atom(&mut self) -> Option<u64> {
        // Hostile formats nest as deep as they are long.
        self.depth = self.depth.checked_add(1).filter(|d| *d < 64)?;
        let value = if self.eat("~") {
            !self.atom()?
        } else if self.eat("(") {
            let value = self.or()?;
            self.eat(")").then_some(value)?
        } else {
            self.integer()?
        };
        self.depth = self.depth.saturating_sub(1);
        Some(value)
    }
    fn integer(&mut self) -> Option<u64> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        let digits = word.trim_end_matches(['u', 'U', 'l', 'L']);
        let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None if digits.len() > 1 && digits.starts_with('0') => {
                u64::from_str_radix(digits, 8).ok()?
            }
            None => digits.parse().ok()?,
        };
        self.rest = rest.trim_start();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX_6_18: &str = "\"prev_state=%s%s\", (REC->prev_state & ((((0x00000000 | 0x00000001 | 0x00000002 | 0x00000004 | 0x00000008 | 0x00000010 | 0x00000020 | 0x00000040) + 1) << 1) - 1)) ? __print_flags(REC->prev_state & ((((0x00000000 | 0x00000001 | 0x00000002 | 0x00000004 | 0x00000008 | 0x00000010 | 0x00000020 | 0x00000040) + 1) << 1) - 1), \"|\", { 0x00000001, \"S\" }, { 0x00000002, \"D\" }, { 0x00000004, \"T\" }, { 0x00000008, \"t\" }, { 0x00000010, \"X\" }, { 0x00000020, \"Z\" }, { 0x00000040, \"P\" }, { 0x00000080, \"I\" }) : \"R\", REC->prev_state & (((0x00000000 | 0x00000001 | 0x00000002 | 0x00000004 | 0x00000008 | 0x00000010 | 0x00000020 | 0x00000040) + 1) << 1) ? \"+\" : \"\", REC->next_comm";
    const LINUX_4_4: &str = "\"prev_state=%s%s\", REC->prev_state & (2048-1) ? __print_flags(REC->prev_state & (2048-1), \"|\", { 1, \"S\"} , { 2, \"D\" }, { 4, \"T\" }, { 8, \"t\" }, { 16, \"Z\" }, { 32, \"X\" }, { 64, \"x\" }, { 128, \"K\"}, { 256, \"W\" }, { 512, \"P\" }, { 1024, \"N\" }) : \"R\", REC->prev_state & 2048 ? \"+\" : \"\"";

    #[test]
    fn constants_of_c() {
        for (text, value) in [
            ("((0x0|0x1|0x2)+1)<<1", 8),
            (" 2048-1", 2047),
            ("1 << 4 | 3", 19),
            ("~0 & 0xff", 0xff),
            ("(0x80UL >> 1)", 0x40),
            ("010", 8),
        ] {
            assert_eq!(constant(text), Some(value), "{text}");
        }
        for text in ["", "REC->x", "1 << 64", "(1", "1)", "9x"] {
            assert_eq!(constant(text), None, "{text}");
        }
        assert_eq!(constant(&"(".repeat(100_000)), None);
    }

    #[test]
    fn states_of_linux_6_18() {
        let table = StateTable::new(LINUX_6_18, None);
        assert_eq!((table.mask, table.plus), (0xff, 0x100));
        assert_eq!(table, StateTable::since_4_14());
        let letters: String = [0, 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x400]
            .map(|b| table.state(b).letter())
            .iter()
            .collect();
        assert_eq!(letters, "RSDTtXZPIRR");
    }

    #[test]
    fn states_of_linux_4_4() {
        let table = StateTable::new(LINUX_4_4, None);
        let letters: String = [0, 1, 2, 16, 32, 128 | 2, 2048, 2048 | 1]
            .map(|b| table.state(b).letter())
            .iter()
            .collect();
        assert_eq!(letters, "RSDZXDRR");
        assert_eq!(table.state(64), SwitchState::Other);
    }

    #[test]
    fn release_where_the_format_is_unreadable() {
        assert_eq!(StateTable::new("\"nothing\"", Some("4.9.3")).state(16), SwitchState::Zombie);
        assert_eq!(StateTable::new("\"nothing\"", Some("5.10.0")).state(16), SwitchState::Dead);
    }
}
