//! Build ids: what tells one build of a program or library from every other.

use std::fmt;

/// The content of an ELF file's `NT_GNU_BUILD_ID` note: up to 20 bytes, as perf keeps it
/// (`BUILD_ID_SIZE_MAX` in include/linux/buildid.h).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId {
    bytes: [u8; 20],
    len: u8,
}

impl BuildId {
    /// From its bytes. `None` where there are none, or more than 20, or all are zero.
    #[must_use]
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; 20];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        let len = u8::try_from(id.len()).ok()?;
        id.iter().any(|b| *b != 0).then_some(Self { bytes, len })
    }

    /// From 2 to 40 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) {
            return None;
        }
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let pairs = digits.chunks_exact(2).map(|pair| match pair {
            [high, low] => Some(digit(*high)?.wrapping_shl(4) | digit(*low)?),
            _ => None,
        });
        Self::new(&pairs.collect::<Option<Vec<u8>>>()?)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Whether both are of the same build: older perf writes 20 bytes whatever the length,
    /// so zeros at the end do not count.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

/// As perf and `file` print it: lower-case hexadecimal digits.
impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_both_ways() {
        let id = BuildId::from_hex("00ff1a").unwrap();
        assert_eq!(id.as_bytes(), [0, 0xff, 0x1a]);
        assert_eq!(id.to_string(), "00ff1a");
        assert_eq!(BuildId::from_hex("abc"), None);
        assert_eq!(BuildId::from_hex("zz"), None);
        assert_eq!(BuildId::from_hex("0000"), None);
        assert_eq!(BuildId::new(&[1; 21]), None);
    }

    #[test]
    fn zeros_at_the_end_do_not_count() {
        let short = BuildId::new(&[1, 2]).unwrap();
        let long = BuildId::new(&[1, 2, 0, 0]).unwrap();
        assert!(short.same(&long));
        assert!(!short.same(&BuildId::new(&[1, 3]).unwrap()));
    }
}
