//! Bounds-checked little-endian reads: out of range is `None`, never a panic.

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
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
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
        self.bytes(2).and_then(|b| u16_at(b, 0))
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4).and_then(|b| u32_at(b, 0))
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes(8).and_then(|b| u64_at(b, 0))
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
