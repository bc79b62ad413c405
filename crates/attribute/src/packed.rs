//! Numbers packed into bytes, 7 bits in each, the lowest first.

use std::slice;

/// The bit that says that more bytes follow.
const MORE: u8 = 0x80;

/// Adds a number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= u64::from(MORE) {
        // The lowest 7 bits fit.
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | MORE);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Takes the next number; `None` at the end.
#[inline]
pub(crate) fn take(parts: &mut slice::Iter<'_, u8>) -> Option<u64> {
    let first = *parts.next()?;
    let mut number = u64::from(first & !MORE);
    let (mut more, mut shift) = (first & MORE != 0, 7);
    while more {
        let byte = *parts.next()?;
        number |= u64::from(byte & !MORE).checked_shl(shift).unwrap_or(0);
        (more, shift) = (byte & MORE != 0, shift + 7);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_a_byte_for_each_7_bits() {
        let numbers = [0, 127, 128, 16_383, 16_384, u64::MAX];
        let mut bytes = Vec::new();
        for number in numbers {
            put(&mut bytes, number);
        }
        assert_eq!(bytes.len(), 1 + 1 + 2 + 2 + 3 + 10);
        assert_eq!(bytes[..4], [0, 0x7f, 0x80, 0x01]);
        let mut parts = bytes.iter();
        let back: Vec<u64> = std::iter::from_fn(|| take(&mut parts)).collect();
        assert_eq!(back, numbers);
    }
}
