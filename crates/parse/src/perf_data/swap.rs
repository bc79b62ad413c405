//! Big-endian records to little-endian ones, in place.

use super::attrs::{Attr, IdTable, TYPE_TRACEPOINT};
use super::header::Head;
use super::plan;
use super::record::kind;
use super::sideband::MMAP_BUILD_ID;
use crate::cursor::{Endian, u16_at, u64_at};
use crate::format::{Format, Place, Slot};

/// How to turn round the records of one capture: as far as they are read.
pub(crate) struct Swap<'h> {
    attrs: &'h [Attr<'h>],
    ids: &'h IdTable,
    /// For each attribute the numbers in its payload.
    payloads: Vec<Vec<Slot>>,
}

impl<'h> Swap<'h> {
    pub(crate) fn new(head: &'h Head<'_>, ids: &'h IdTable) -> Self {
        let formats = plan::formats(head);
        let payloads = head.attrs.iter().map(|attr| {
            let format = formats.get(&attr.config).filter(|_| attr.kind == TYPE_TRACEPOINT);
            format.map(|(_, format)| numbers(format)).unwrap_or_default()
        });
        Self { attrs: &head.attrs, ids, payloads: payloads.collect() }
    }

    /// A whole record, its header included.
    pub(crate) fn record(&self, record: &mut [u8]) {
        flip(record, 0, 4);
        flip(record, 4, 2);
        flip(record, 6, 2);
        let kind = u64_at(record, 0).map_or(0, |word| word as u32);
        let misc = u16_at(record, 4).unwrap_or(0);
        // include/uapi/linux/perf_event.h, `enum perf_event_type`.
        let (halves, words): (&[usize], &[usize]) = match kind {
            kind::SAMPLE => return self.sample(record),
            kind::MMAP => (&[8, 12], &[16, 24, 32]),
            kind::MMAP2 if misc & MMAP_BUILD_ID != 0 => (&[8, 12, 64, 68], &[16, 24, 32]),
            kind::MMAP2 => (&[8, 12, 40, 44, 64, 68], &[16, 24, 32, 48, 56]),
            kind::LOST => (&[], &[8, 16]),
            kind::LOST_SAMPLES => (&[], &[8]),
            kind::COMM => (&[8, 12], &[]),
            kind::FORK | kind::EXIT => (&[8, 12, 16, 20], &[24]),
            kind::THROTTLE | kind::UNTHROTTLE => (&[], &[8, 16, 24]),
            kind::SWITCH => (&[], &[]),
            kind::SWITCH_CPU_WIDE => (&[8, 12], &[]),
            kind::NAMESPACES => (&[8, 12], &[16]),
            kind::KSYMBOL => (&[16], &[8]),
            kind::CALLCHAIN_DEFERRED => (&[], &[8, 16]),
            // perf's own, without a trailer.
            kind::HEADER_BUILD_ID => return flip(record, 8, 4),
            _ => return,
        };
        // Before the body is turned: the trailer tells whose it is.
        self.trailer(record);
        halves.iter().for_each(|at| flip(record, *at, 4));
        words.iter().for_each(|at| flip(record, *at, 8));
        // Words whose number is told; the trailer behind them is turned already.
        let count = |at: usize| u64_at(record, at).and_then(|n| usize::try_from(n).ok());
        let counted = match kind {
            // (dev, ino) for each namespace.
            kind::NAMESPACES => count(16).unwrap_or(0).min(16).saturating_mul(2),
            kind::CALLCHAIN_DEFERRED => count(16).unwrap_or(0).min(record.len() / 8),
            _ => 0,
        };
        (0..counted).for_each(|word| flip(record, word.saturating_mul(8).saturating_add(24), 8));
        if kind == kind::KSYMBOL {
            [20, 22].into_iter().for_each(|at| flip(record, at, 2));
        }
    }

    fn trailer(&self, record: &mut [u8]) {
        let len = record.len();
        let back = |back: Option<usize>| len.checked_sub(back?);
        let first = self.attrs.first().and_then(|a| a.layout.trailer.id);
        let id = back(first).and_then(|at| big_u64(record, at));
        let attr = id.and_then(|id| self.ids.get(id)).unwrap_or(0);
        let Some(trailer) = self.attrs.get(attr).map(|a| a.layout.trailer) else { return };
        let places = [(trailer.id, 8), (trailer.time, 8), (trailer.cpu, 4), (trailer.tid, 4)];
        let places = places.map(|(place, size)| (back(place), size));
        for (at, size) in places {
            if let Some(at) = at {
                flip(record, at, size);
            }
        }
        if let Some(tid) = back(trailer.tid) {
            flip(record, tid.saturating_add(4), 4);
        }
    }

    fn sample(&self, record: &mut [u8]) {
        // Without ids all samples are the first attribute's.
        let at = self.attrs.first().and_then(|a| a.layout.id);
        let id = at.and_then(|at| big_u64(record, at));
        let index = if self.attrs.len() > 1 { id.and_then(|id| self.ids.get(id)) } else { Some(0) };
        let Some(index) = index else {
            // It is counted as unknown by the id, which must be the same then.
            if let Some(at) = at {
                flip(record, at, 8);
            }
            return;
        };
        let Some(layout) = self.attrs.get(index).map(|a| &a.layout) else { return };
        let parts = layout.tail.parts(record, Endian::Big);
        for at in
            [layout.id, layout.ip, layout.time, layout.addr, layout.period].into_iter().flatten()
        {
            flip(record, at, 8);
        }
        for at in [layout.tid, layout.cpu].into_iter().flatten() {
            flip(record, at, 4);
            flip(record, at.saturating_add(4), 4);
        }
        parts.numbers(|at, size| flip(record, at, size));
        let Some(raw) = parts.raw else { return };
        let Some(payload) = record.get_mut(raw) else { return };
        for slot in self.payloads.get(index).into_iter().flatten() {
            let elements = slot.size.checked_div(slot.element).unwrap_or(0);
            for element in 0..elements {
                let at = element.saturating_mul(slot.element).saturating_add(slot.offset);
                flip(payload, at, slot.element);
            }
        }
    }
}

/// The fields of a format that hold numbers, or the place of a string.
fn numbers(format: &Format<'_>) -> Vec<Slot> {
    let numbers = format.fields.iter().filter(|f| f.slot.place != Place::Here || !f.is_string);
    numbers.map(|f| f.slot).filter(|slot| matches!(slot.element, 2 | 4 | 8)).collect()
}

/// Turns the bytes of one number round; nothing where it reaches beyond the end.
fn flip(bytes: &mut [u8], at: usize, size: usize) {
    if let Some(number) = at.checked_add(size).and_then(|end| bytes.get_mut(at..end)) {
        number.reverse();
    }
}

fn big_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_be_bytes(*b))
}
