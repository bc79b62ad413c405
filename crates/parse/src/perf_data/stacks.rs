//! One record to what it tells of stacks: the second pass over a perf.data.

use super::PerfData;
use super::decode::Told;
use super::layout::SampleLayout;
use super::order::{Entry, Pass, Walk};
use super::record::{self, Raw, kind};
use super::sideband::{self, MMAP_BUILD_ID};
use super::tail::{Parts, Tail};
use crate::build_id::BuildId;
use crate::capture::Totals;
use crate::cursor::{u16_at, u64_at};
use crate::diagnostics::{Diagnostics, Problem};
use crate::events::Record;
use crate::fields::Addr;
use crate::stack::{
    Branches, Chain, DeferredChain, KernelSymbol, Mapping, Mode, Sample, StackEvent, StackRecord,
    UserMemory,
};
use crate::stream::{self, Course, Stats};
use crate::units::{Cpu, Nanos};

/// `PERF_RECORD_MISC_MMAP_DATA`: not executable.
const MISC_MMAP_DATA: u16 = 1 << 13;
/// `PROT_EXEC` of mmap(2).
const PROT_EXEC: u32 = 4;
/// `PERF_RECORD_KSYMBOL_FLAGS_UNREGISTER`.
const KSYMBOL_GONE: u16 = 1;
/// `PERF_SAMPLE_REGS_ABI_32`.
const ABI_32: u64 = 1;

/// Reads the stacks of an opened capture.
#[derive(Debug)]
pub(crate) struct Stacks<'p, 'a>(pub(crate) &'p PerfData<'a>);

/// Whether a type of perf's own records matters here.
#[inline]
pub(crate) fn known(kind: u32) -> bool {
    matches!(
        kind,
        kind::MMAP
            | kind::COMM
            | kind::EXIT
            | kind::FORK
            | kind::MMAP2
            | kind::KSYMBOL
            | kind::CALLCHAIN_DEFERRED
    )
}

impl<'a> Stacks<'_, 'a> {
    /// Delivers all of them.
    pub(crate) fn read(
        &self,
        course: &Course,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[StackEvent<'a>]),
    ) -> Totals {
        let walk = Walk::new(self.0, stream::BATCH, Pass::Stacks);
        let run = |entries: &[Entry], stats: &mut _, items: &mut Vec<_>| {
            items.extend(self.0.ahead(entries).filter_map(|entry| self.item(entry, stats)));
        };
        stream::read_runs(&self.0.info, walk, run, course, diagnostics, sink)
    }

    #[inline]
    fn item(&self, entry: &Entry, stats: &mut Stats) -> Option<StackEvent<'a>> {
        let raw = record::at(self.0.data, entry.offset).ok()?;
        if raw.kind == kind::SAMPLE {
            self.sample(&raw, entry, stats)
        } else {
            self.sideband(&raw, entry, stats)
        }
    }
}

impl<'a> PerfData<'a> {
    /// Whether any attribute asks for stacks.
    pub(crate) fn has_stacks(&self) -> bool {
        self.head.attrs.iter().any(|attr| attr.layout.tail.has_stacks())
    }
}

impl<'a> Stacks<'_, 'a> {
    fn sample(&self, raw: &Raw<'a>, entry: &Entry, stats: &mut Stats) -> Option<StackEvent<'a>> {
        let bytes = raw.bytes;
        let Some(front) = self.0.front(bytes) else {
            self.0.problem(stats, Problem::UnknownSampleId, Cpu::NONE, 1, entry);
            return None;
        };
        let plan = self.0.plans.get(usize::from(front.attr))?;
        let event_type = plan.event_type?;
        let mut event = front.blank(entry);
        let parts = plan.layout.tail.parts(bytes, crate::cursor::Endian::Little);
        let layout = &plan.layout;
        let told = PerfData::told(plan, bytes, &mut event);
        let kind = match told {
            Told::Kind => Some(event.kind),
            Told::Nothing => None,
            Told::Broken => return self.broken(stats, event.cpu, entry),
        };
        if !parts.whole {
            return self.broken(stats, event.cpu, entry);
        }
        let word = |at: Option<usize>| at.and_then(|at| u64_at(bytes, at));
        let sample = Sample {
            event_type,
            period: word(layout.period).unwrap_or(1),
            mode: Mode::of_misc(raw.misc),
            ip: word(layout.ip).map(Addr),
            addr: word(layout.addr).map(Addr),
            kind,
            chain: chain(bytes, &parts),
            user: user(bytes, layout, &parts),
            branches: branches(bytes, &layout.tail, &parts),
        };
        let what = StackRecord::Sample(sample);
        let (time, record) = (event.time, event.record);
        Some(StackEvent { record, time, cpu: event.cpu, pid: event.pid, tid: event.tid, what })
    }

    fn sideband(&self, raw: &Raw<'a>, entry: &Entry, stats: &mut Stats) -> Option<StackEvent<'a>> {
        let trailer = self.0.head.attrs.get(self.0.attr_of_sideband(raw.bytes))?.layout.trailer;
        let (cpu, pid, tid) = PerfData::writer(raw, trailer);
        let what = match raw.kind {
            // A guest's kernel is not this machine's.
            kind::MMAP | kind::MMAP2 if Mode::of_misc(raw.misc) == Mode::Other => return None,
            kind::MMAP | kind::MMAP2 => mapping(raw, trailer.size).map(StackRecord::Mapping),
            kind::KSYMBOL => kernel_symbol(raw, trailer.size).map(StackRecord::KernelSymbol),
            kind::CALLCHAIN_DEFERRED => deferred(raw).map(StackRecord::Deferred),
            _ => match sideband::decode(raw, trailer.size) {
                Some(Record::CommRecord(comm)) => Some(StackRecord::Comm(comm)),
                Some(Record::Fork(fork)) => Some(StackRecord::Fork(fork)),
                Some(Record::Exit(exit)) => Some(StackRecord::Exit(exit)),
                Some(
                    Record::Mmap2(_)
                    | Record::Lost(_)
                    | Record::LostSamples(_)
                    | Record::Switch(_)
                    | Record::Namespaces(_)
                    | Record::Throttle(_),
                )
                | None => None,
            },
        };
        let Some(what) = what else {
            self.0.problem(stats, Problem::BadRecord, cpu, 1, entry);
            return None;
        };
        Some(StackEvent { record: entry.record, time: Nanos(entry.time), cpu, pid, tid, what })
    }

    #[cold]
    fn broken(&self, stats: &mut Stats, cpu: Cpu, entry: &Entry) -> Option<StackEvent<'a>> {
        self.0.problem(stats, Problem::BadSample, cpu, 1, entry);
        None
    }
}

impl Mode {
    /// From the `misc` of a record's header (`PERF_RECORD_MISC_CPUMODE_MASK`).
    pub(crate) fn of_misc(misc: u16) -> Self {
        match misc & 7 {
            0 => Self::Unknown,
            1 => Self::Kernel,
            2 => Self::User,
            _ => Self::Other,
        }
    }
}

fn chain<'a>(record: &'a [u8], parts: &Parts) -> Chain<'a> {
    let words = parts.chain.clone().and_then(|range| record.get(range));
    words.filter(|w| !w.is_empty()).map_or(Chain::None, Chain::Words)
}

/// Nothing where the task was in the kernel for itself, or had gone: no registers then.
fn user<'a>(record: &'a [u8], layout: &SampleLayout, parts: &Parts) -> Option<UserMemory<'a>> {
    let regs = parts.user.as_ref().filter(|regs| regs.abi != 0)?;
    let stack = parts.stack.as_ref();
    let bytes = stack.and_then(|s| record.get(s.bytes.clone())?.get(..s.real));
    Some(UserMemory {
        bits32: regs.abi == ABI_32,
        mask: layout.tail.user_mask(),
        regs: record.get(regs.regs.clone())?,
        stack: bytes.unwrap_or(&[]),
        // The size of a record is 16 bits wide, so it may be less than was asked for.
        asked: stack.and_then(|s| u32::try_from(s.bytes.len()).ok()).unwrap_or(0),
    })
}

fn branches<'a>(record: &'a [u8], tail: &Tail, parts: &Parts) -> Branches<'a> {
    let bytes = parts.branches.clone().and_then(|range| record.get(range)).unwrap_or(&[]);
    Branches { bytes, call_stack: tail.is_call_stack() }
}

fn mapping<'a>(raw: &Raw<'a>, trailer: usize) -> Option<Mapping<'a>> {
    let map = match sideband::decode(raw, trailer)? {
        Record::Mmap2(map) => map,
        Record::CommRecord(_)
        | Record::Fork(_)
        | Record::Exit(_)
        | Record::Lost(_)
        | Record::LostSamples(_)
        | Record::Switch(_)
        | Record::Namespaces(_)
        | Record::Throttle(_) => return None,
    };
    let kernel = Mode::of_misc(raw.misc) == Mode::Kernel;
    let with_prot = raw.kind == kind::MMAP2;
    // u8 size, 3 bytes reserved, then up to 20 bytes (from Linux 5.12).
    let build_id = (with_prot && raw.misc & MMAP_BUILD_ID != 0).then(|| {
        let size = usize::from(*raw.bytes.get(40)?);
        BuildId::new(raw.bytes.get(44..64)?.get(..size)?)
    });
    // perf gives what it makes up for the kernel no protection.
    let exec = match with_prot && !kernel {
        true => raw.u32(64)? & PROT_EXEC != 0,
        false => raw.misc & MISC_MMAP_DATA == 0,
    };
    Some(Mapping {
        pid: map.pid,
        tid: map.tid,
        addr: map.addr,
        len: map.len.0,
        pgoff: map.pgoff.0,
        dev: (map.maj, map.min),
        ino: map.ino,
        build_id: build_id.flatten(),
        exec,
        kernel,
        filename: map.filename.0,
    })
}

/// u64 address, u32 length, u16 type, u16 flags, name.
fn kernel_symbol<'a>(raw: &Raw<'a>, trailer: usize) -> Option<KernelSymbol<'a>> {
    Some(KernelSymbol {
        addr: raw.u64(8)?,
        len: raw.u32(16)?,
        gone: u16_at(raw.bytes, 22)? & KSYMBOL_GONE != 0,
        name: sideband::string(raw, trailer)?,
    })
}

/// u64 cookie, u64 number of words, the words.
fn deferred<'a>(raw: &Raw<'a>) -> Option<DeferredChain<'a>> {
    let len = usize::try_from(raw.u64(16)?).ok()?.checked_mul(8)?;
    Some(DeferredChain { cookie: raw.u64(8)?, words: raw.bytes.get(24..)?.get(..len)? })
}
