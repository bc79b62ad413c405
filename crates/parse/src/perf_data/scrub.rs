//! Tracepoint payloads to payloads without what only lies there by accident.
//!
//! The kernel writes records into a buffer that it does not clear: between fields, and
//! behind the end of strings, lie bytes of earlier records. The registers that
//! `sys_enter` records as arguments hold, beyond the arguments that a call has,
//! whatever the program left in them, pieces of strings included.

use crate::cursor::{u64_at, until_nul};
use crate::format::{Format, Place, Slot};

/// What of one event's payload is really its own.
#[derive(Debug)]
pub(crate) struct Scrub {
    /// Each field, and whether it is a string.
    fields: Vec<(Slot, bool)>,
    /// Of `raw_syscalls:sys_enter`: number and arguments.
    call: Option<(Slot, Slot)>,
    /// Whether the numbers of system calls are those of x86-64.
    x86_64: bool,
}

impl Scrub {
    pub(crate) fn new(system: &str, format: &Format<'_>, arch: Option<&str>) -> Self {
        let call = (system == "raw_syscalls" && format.name == "sys_enter")
            .then(|| format.slot("id").zip(format.slot("args")))
            .flatten();
        let fields = format.fields.iter().map(|f| (f.slot, f.is_string)).collect();
        Self { fields, call, x86_64: arch == Some("x86_64") }
    }

    /// The payload with zeros in all other places.
    pub(crate) fn clean(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; payload.len()];
        let mut copy = |range: std::ops::Range<usize>, is_string: bool| {
            let Some(bytes) = payload.get(range.clone()) else { return };
            let bytes = if is_string { until_nul(bytes) } else { bytes };
            super::redact::put(&mut out, range.start, bytes);
        };
        for (slot, is_string) in &self.fields {
            let here = slot.offset..slot.offset.saturating_add(slot.size);
            copy(here, *is_string && slot.place == Place::Here);
            if slot.place != Place::Here
                && let Some(range) = slot.range(payload)
            {
                copy(range, *is_string);
            }
        }
        if let Some((id, args)) = &self.call {
            let count = id.int(payload).filter(|_| self.x86_64).map_or(6, arguments);
            for index in 0..6_usize {
                let at = args.offset.saturating_add(index.saturating_mul(8));
                let word = u64_at(payload, at).unwrap_or(0);
                if index >= count || is_text(word) {
                    super::redact::put(&mut out, at, &[0; 8]);
                }
            }
        }
        out
    }
}

/// Whether a register holds seven or eight letters: no number, flag or address of a
/// 64-bit system looks so.
fn is_text(word: u64) -> bool {
    let bytes = word.to_le_bytes();
    let text = until_nul(&bytes);
    text.len() >= 7 && text.iter().all(|b| (b' '..=b'~').contains(b))
}

/// How many arguments a system call of x86-64 has; 6 where that is not known. From
/// the formats of `syscalls:sys_enter_*` of Linux 6.18.
fn arguments(number: u64) -> usize {
    const COUNTS: &[u8] = b"\
        33312223363214403443321505333333120221304333663323\
        23345550031421334124533211223211221221232233312221\
        14030110020002222333311112224322236122232322311122\
        21003265212101252214221366666466666603555444333222\
        21633621533661665310443421122241443266354155236554\
        53203244345343453433651236436646321442442132155455\
        25453214236656345332635133666421564666666666666666\
        66666666666666666666666666666666666666666666666666\
        66666666666666666666666642643525332234345654342125\
        4";
    let digit = usize::try_from(number).ok().and_then(|n| COUNTS.get(n));
    digit.map_or(6, |digit| usize::from(digit.saturating_sub(b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;

    #[test]
    fn gaps_and_the_rest_of_strings_are_cleared() {
        let text = "name: x\nID: 1\nformat:\n\
            \tfield:int reason;\toffset:0;\tsize:4;\tsigned:1;\n\
            \tfield:char comm[8];\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:__data_loc char[] path;\toffset:16;\tsize:4;\tsigned:0;\n";
        let scrub = Scrub::new("tlb", &format::parse(text).unwrap(), None);
        let payload = b"\x03\0\0\0bashsh\0crets\x18\0\x06\0----/a\0bc\0left";
        assert_eq!(
            scrub.clean(payload),
            b"\x03\0\0\0\0\0\0\0sh\0\0\0\0\0\0\x18\0\x06\0\0\0\0\0/a\0\0\0\0\0\0\0\0"
        );
    }

    #[test]
    fn arguments_that_a_call_does_not_have() {
        // read, mmap, rt_sigaction, prctl, openat, futex, clone3, one that is not known.
        let counts = [0, 9, 13, 157, 257, 202, 435, 5000].map(arguments);
        assert_eq!(counts, [3, 6, 4, 5, 4, 6, 2, 6]);
        assert!(is_text(u64::from_le_bytes(*b"n/agent\0")));
        // The magic of in-band marks, an address, a negative error.
        for word in [0x4147_5354, 0x7ffc_5651_4143, -13_i64 as u64, 0] {
            assert!(!is_text(word), "{word:#x}");
        }
    }
}
