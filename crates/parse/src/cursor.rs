//! Bounds-checked reads: out of range is `None`, never a panic.
//!
//! The free functions are little-endian, for records, which come in millions; what is
//! big-endian is turned round before. [`Cursor`] reads headers in either order.

/// The order of a number's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Endian {
    #[default]
    Little,
    Big,
}

impl Endian {
    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
    pub(crate) fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// The `u16` at byte `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

/// The `u32` at byte `at`.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// The `i32` at byte `at`.
#[inline]
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|b| i32::from_le_bytes(*b))
}

/// The `u64` at byte `at`.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

/// The six `u64` from byte `at` on.
#[inline]
pub(crate) fn words_at(bytes: &[u8], at: usize) -> Option<[u64; 6]> {
    let bytes: &[u8; 48] = bytes.get(at..)?.first_chunk()?;
    let mut words = [0; 6];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(words)
}

/// Bytes `at..at + len` of a file, where both are as hostile as a file can be.
pub(crate) fn slice_at(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(at).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(start..end)
}

/// The bytes before the first NUL, or all of them.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    match memchr::memchr(0, bytes) {
        Some(end) => bytes.get(..end).unwrap_or(bytes),
        None => bytes,
    }
}

/// Reads one value after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    endian: Endian,
}

impl<'a> Cursor<'a> {
    /// Little-endian.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::with(bytes, Endian::Little)
    }
    pub(crate) fn with(bytes: &'a [u8], endian: Endian) -> Self {
        Self { rest: bytes, endian }
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.first_chunk().copied()
    }
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }
    /// A run of bytes whose length comes from the file.
    pub(crate) fn bytes_u64(&mut self, len: u64) -> Option<&'a [u8]> {
        self.bytes(usize::try_from(len).ok()?)
    }
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(|b| self.endian.u16(b))
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(|b| self.endian.u32(b))
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(|b| self.endian.u64(b))
    }
    /// A NUL-terminated string, without the NUL.
    pub(crate) fn c_str(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.rest)?;
        let text = self.bytes(end)?;
        self.bytes(1)?;
        Some(text)
    }
    /// perf's header string: a `u32` length, then that many bytes, padded with NULs
    /// (`do_write_string` in tools/perf/util/header.c).
    pub(crate) fn perf_string(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes_u64(len.into()).map(until_nul)
    }
    /// All that is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
    pub(crate) fn endian(&self) -> Endian {
        self.endian
    }
    /// Bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_is_none() {
        let bytes = [1, 0, 0, 0, 2];
        assert_eq!(u32_at(&bytes, 0), Some(1));
        assert_eq!(u32_at(&bytes, 2), None);
        assert_eq!(u64_at(&bytes, usize::MAX), None);
        assert_eq!(slice_at(&bytes, u64::MAX, u64::MAX), None);
        assert_eq!(slice_at(&bytes, 4, 1), Some(&[2][..]));
        assert_eq!(Cursor::with(&bytes, Endian::Big).u32(), Some(1 << 24));
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(cursor.u32(), Some(1));
        assert_eq!(cursor.u32(), None);
        assert_eq!(cursor.u8(), Some(2));
    }

    #[test]
    fn perf_strings_are_padded() {
        let mut cursor = Cursor::new(b"\x04\0\0\0vm\0\0\xff\xff\xff\xff");
        assert_eq!(cursor.perf_string(), Some(&b"vm"[..]));
        assert_eq!(cursor.perf_string(), None);
    }
}
