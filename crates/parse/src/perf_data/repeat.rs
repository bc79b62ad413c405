//! A perf.data and its steps, written several times over, one after the other in time.

use std::io::{self, Write};

use rustc_hash::{FxHashMap, FxHashSet};

use super::attrs::TYPE_TRACEPOINT;
use super::cut::is_elsewhere;
use super::header::{Section, feature};
use super::layout::{SampleLayout, Trailer};
use super::record::{self, Raw, kind};
use super::redact::put;
use super::write::{self, Out};
use super::{PerfData, plan, sideband, tasks};
use crate::cursor::{Endian, i32_at, u64_at};
use crate::error::Error;
use crate::format::Slot;
use crate::steps_repeat::{self, Later};
use crate::units::{Nanos, Tid};
use crate::unpack::Unpacked;

/// Between two repetitions.
const GAP: u64 = 10_000_000;
/// The first argument of the `prctl` that marks a step, and the call's numbers on x86-64
/// and aarch64. Then follow the step that begins, and the step that ends.
const MARK: (u64, [u64; 2]) = (0x4147_5354, [157, 167]);

/// A perf.data that is written several times over, one after the other in time: to see
/// how an analysis grows with its input, without recording larger ones.
///
/// ```text
/// as it is:    |-- a --- b --|
/// three times: |-- a --- b --| gap |-- a' --- b' --| gap |-- a'' --- b'' --|
/// ```
/// Each repetition has its own tasks: ids of processes and threads are replaced wherever
/// records and payloads hold one. Threads of the kernel and pid 1 are the same throughout.
/// What perf says of the tasks that were there when it began stands at the begin of the
/// file, for all repetitions. Ids of steps are replaced in marks in the trace too.
/// Arguments and results of other system calls are not: a `clone` returns what it did. Nor
/// are files and sectors: a page that was read comes into the page cache again.
#[derive(Debug)]
pub struct Repeat<'a> {
    perf: PerfData<'a>,
    steps: &'a [u8],
    patches: Vec<Patch>,
    /// Tasks that each repetition has anew, and their number among these.
    own: FxHashMap<i32, u32>,
    /// The largest id of a task that occurs, and of a step.
    last_tid: i32,
    last_step: u64,
    /// From one repetition to the next.
    later: u64,
    /// Bytes of records: of the first repetition, and of each other one.
    first: u64,
    each: u64,
    /// The last record is no FINISHED_ROUND.
    round_missing: bool,
}

/// What changes in the samples of one attribute.
#[derive(Debug)]
struct Patch {
    tasks: Vec<Slot>,
    /// Number and arguments, of `sys_enter`.
    call: Option<(Slot, Slot)>,
    /// `agent_step_id`.
    step: Option<Slot>,
}

/// Which repetitions have a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    None,
    /// What perf says of itself and the machine: the first.
    First,
    /// What it says of a task that was there when it began: all, at the begin.
    Before,
    All,
}

impl<'a> Repeat<'a> {
    /// Opens a perf.data, with its steps.jsonl (empty for none).
    ///
    /// # Errors
    /// Where the input is no perf.data that [`crate::cut`] takes, has no formats of its
    /// tracepoints, or no record that tells its time; and where steps have times as text.
    pub fn of(unpacked: &'a Unpacked<'_>, steps: &'a [u8]) -> Result<Self, Error> {
        let unsupported = |what: &str| Error::Unsupported { what: what.to_owned() };
        let perf = PerfData::open(unpacked, None)?;
        if perf.head.endian == Endian::Big {
            return Err(unsupported(
                "this perf.data was recorded on a big-endian machine, and no such file can be \
                 repeated",
            ));
        }
        if perf.info.formats_missing {
            return Err(unsupported(
                "the recorder was killed, or the file's end is missing, and the formats of the \
                 tracepoints with it; where a payload holds a task is not known",
            ));
        }
        let last_step = steps_repeat::last_id(steps).map_err(|what| unsupported(&what))?;
        let formats = plan::formats(&perf.head);
        let patches = perf.head.attrs.iter().map(|attr| {
            let format = formats.get(&attr.config).filter(|_| attr.kind == TYPE_TRACEPOINT);
            Patch {
                tasks: format.map(|(system, f)| tasks::in_payload(system, f)).unwrap_or_default(),
                call: format
                    .filter(|(system, f)| *system == "raw_syscalls" && f.slot("args").is_some())
                    .and_then(|(_, f)| f.slot("id").zip(f.slot("args"))),
                step: format.and_then(|(_, f)| f.slot("agent_step_id")),
            }
        });
        let patches = patches.collect();
        let mut this = Self {
            perf,
            steps,
            patches,
            own: FxHashMap::default(),
            last_tid: 0,
            last_step,
            later: 0,
            first: 0,
            each: 0,
            round_missing: true,
        };
        this.survey().ok_or_else(|| unsupported("no record of this perf.data tells its time"))?;
        Ok(this)
    }

    /// How many times it must be written for a file of at least so many bytes.
    #[must_use]
    pub fn times_for(&self, bytes: u64) -> u32 {
        let more = bytes.saturating_sub(self.len(1)).div_ceil(self.each.max(1));
        u32::try_from(more.saturating_add(1)).unwrap_or(u32::MAX)
    }

    /// How much later each repetition is than the one before.
    #[must_use]
    pub fn later(&self) -> Nanos {
        Nanos(self.later)
    }

    /// The id that a task has in a repetition, counted from 0.
    #[must_use]
    pub fn tid(&self, repetition: u32, tid: Tid) -> Tid {
        Tid(self.map(repetition, tid.0))
    }

    /// Writes the perf.data.
    ///
    /// # Errors
    /// Where `out` cannot be written to, and where there are not enough ids for tasks.
    pub fn write(&self, times: u32, out: &mut dyn Write) -> io::Result<()> {
        let ids = u64::from(times.saturating_sub(1)).saturating_mul(self.own.len() as u64);
        if ids.saturating_add(self.last_tid as u64) > i32::MAX as u64 {
            return Err(io::Error::other("more tasks than there are ids for; repeat less often"));
        }
        let (mut begin, attrs) = Out::begin(&self.perf);
        let data = Section { offset: begin.position(), size: self.data_len(times) };
        let features = self.features(times);
        begin.header(attrs, data, &features);
        out.write_all(&begin.bytes)?;
        let mut buffer = Vec::new();
        let mut before_all = true;
        for repetition in 0..times {
            for raw in self.records() {
                let part = self.part(&raw);
                let written = match part {
                    Part::None => false,
                    Part::First | Part::Before => repetition == 0,
                    Part::All => true,
                };
                if part == Part::All && std::mem::take(&mut before_all) {
                    self.write_before(times, &mut buffer, out)?;
                }
                if written {
                    out.write_all(self.patched(repetition, &raw, &mut buffer))?;
                }
            }
            if self.round_missing {
                let mut round = Out { bytes: Vec::new() };
                round.round();
                out.write_all(&round.bytes)?;
            }
        }
        out.write_all(&write::end(data.offset.saturating_add(data.size), &features))
    }

    /// Writes the steps.
    ///
    /// # Errors
    /// Where `out` cannot be written to.
    pub fn write_steps(&self, times: u32, out: &mut dyn Write) -> io::Result<()> {
        for repetition in 0..times {
            let tid = |tid: i32| self.map(repetition, tid);
            let later = Later {
                repetition,
                nanos: self.later_by(repetition),
                ids: self.steps_by(repetition),
                tid: &tid,
            };
            steps_repeat::write(self.steps, &later, out)?;
        }
        Ok(())
    }

    /// What perf says of later repetitions' tasks, as if they were there from the begin.
    fn write_before(
        &self,
        times: u32,
        buffer: &mut Vec<u8>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let raws: Vec<Raw<'_>> = self.records().filter(|raw| self.is_own_before(raw)).collect();
        for repetition in 1..times {
            for raw in &raws {
                out.write_all(self.patched(repetition, raw, buffer))?;
            }
        }
        Ok(())
    }

    fn records(&self) -> impl Iterator<Item = Raw<'a>> + use<'a> {
        let data = self.perf.data;
        let mut position = 0;
        std::iter::from_fn(move || {
            let raw = record::at(data, position).ok()?;
            position = raw.next();
            Some(raw)
        })
    }

    /// Finds the tasks, times and sizes. `None` where there are no times.
    fn survey(&mut self) -> Option<()> {
        let mut seen = FxHashSet::default();
        let mut kernel: FxHashSet<i32> = [-1, 0, 1, 2].into_iter().collect();
        let (mut begin, mut end) = (u64::MAX, 0);
        for raw in self.records() {
            self.tasks_of(&raw, &mut |tid| {
                seen.insert(tid);
            });
            // Children of kthreadd: pid, ppid, tid.
            if raw.kind == kind::FORK && i32_at(raw.bytes, 12) == Some(2) {
                kernel.extend(i32_at(raw.bytes, 16));
            }
            if let Some(step) = self.mark_of(&raw) {
                self.last_step = self.last_step.max(step);
            }
            if let Some(time) = self.time_at(&raw).and_then(|at| u64_at(raw.bytes, at))
                && time > 0
            {
                (begin, end) = (begin.min(time), end.max(time));
            }
        }
        self.later = end.checked_sub(begin)?.saturating_add(GAP);
        self.last_tid = seen.iter().copied().max().unwrap_or(0);
        let mut own: Vec<i32> = seen.into_iter().filter(|tid| !kernel.contains(tid)).collect();
        own.sort_unstable();
        self.own = own.into_iter().zip(0..).collect();
        let (mut first, mut each) = (0_u64, 0_u64);
        let mut round_missing = true;
        for raw in self.records() {
            let len = raw.bytes.len() as u64;
            let part = self.part(&raw);
            if part != Part::None {
                first = first.saturating_add(len);
                round_missing = raw.kind != kind::FINISHED_ROUND;
            }
            if part == Part::All || self.is_own_before(&raw) {
                each = each.saturating_add(len);
            }
        }
        if round_missing {
            (first, each) = (first.saturating_add(8), each.saturating_add(8));
        }
        (self.first, self.each, self.round_missing) = (first, each, round_missing);
        Some(())
    }

    fn part(&self, raw: &Raw<'_>) -> Part {
        if is_elsewhere(raw) {
            return Part::None;
        }
        match raw.kind {
            kind::SAMPLE | kind::FINISHED_ROUND | kind::LOST_SAMPLES => Part::All,
            kind::USER.. => Part::First,
            _ => match self.time_at(raw).and_then(|at| u64_at(raw.bytes, at)) {
                Some(0) if tasks::in_body(raw.kind).is_empty() => Part::First,
                Some(0) => Part::Before,
                _ => Part::All,
            },
        }
    }

    /// Whether it is said at the begin, of a task that each repetition has anew.
    fn is_own_before(&self, raw: &Raw<'_>) -> bool {
        let tid = tasks::in_body(raw.kind).get(if raw.kind == kind::FORK { 2 } else { 1 });
        self.part(raw) == Part::Before
            && tid.and_then(|at| i32_at(raw.bytes, *at)).is_some_and(|t| self.own.contains_key(&t))
    }

    /// The layout of a sample and what changes in it.
    fn sample(&self, raw: &Raw<'_>) -> Option<(&SampleLayout, &Patch)> {
        let index = self.perf.attr_of(raw.bytes)?;
        Some((&self.perf.head.attrs.get(index)?.layout, self.patches.get(index)?))
    }

    fn trailer(&self, raw: &Raw<'_>) -> Trailer {
        let attr = self.perf.head.attrs.get(self.perf.attr_of_sideband(raw.bytes));
        attr.filter(|_| raw.kind < kind::USER).map(|a| a.layout.trailer).unwrap_or_default()
    }

    /// Where the time stands that orders the record.
    fn time_at(&self, raw: &Raw<'_>) -> Option<usize> {
        if raw.kind == kind::SAMPLE {
            return self.sample(raw)?.0.time;
        }
        let back = self.trailer(raw).time;
        let at = back.and_then(|back| raw.bytes.len().checked_sub(back));
        at.or_else(|| sideband::body_time_at(raw.kind))
    }

    /// Calls `each` with the place of each id of a task.
    fn task_places(&self, raw: &Raw<'_>, each: &mut dyn FnMut(usize)) {
        let pair = |at: Option<usize>| at.into_iter().flat_map(|at| [at, at.saturating_add(4)]);
        if raw.kind == kind::SAMPLE {
            let Some((layout, patch)) = self.sample(raw) else { return };
            pair(layout.tid).for_each(&mut *each);
            if let Some((payload, _)) = layout.tail.raw_range(raw.bytes) {
                patch.tasks.iter().for_each(|slot| each(payload.saturating_add(slot.offset)));
            }
        } else {
            let trailer = self.trailer(raw).tid.and_then(|b| raw.bytes.len().checked_sub(b));
            pair(trailer).for_each(&mut *each);
            tasks::in_body(raw.kind).iter().for_each(|at| each(*at));
        }
    }

    fn tasks_of(&self, raw: &Raw<'_>, each: &mut dyn FnMut(i32)) {
        self.task_places(raw, &mut |at| {
            if let Some(tid) = i32_at(raw.bytes, at) {
                each(tid);
            }
        });
    }

    /// Calls `each` with the place of each id of a step: what a mark begins and ends, and
    /// what the kernel notes.
    fn step_places(&self, raw: &Raw<'_>, each: &mut dyn FnMut(usize)) {
        let sample = if raw.kind == kind::SAMPLE { self.sample(raw) } else { None };
        let Some((layout, patch)) = sample.filter(|(_, p)| p.call.or(p.step.zip(p.step)).is_some())
        else {
            return;
        };
        let Some((payload, _)) = layout.tail.raw_range(raw.bytes) else { return };
        if let Some(slot) = patch.step.filter(|slot| slot.size == 8) {
            each(payload.saturating_add(slot.offset));
        }
        let Some((id, args)) = patch.call else { return };
        let id = u64_at(raw.bytes, payload.saturating_add(id.offset));
        let args = payload.saturating_add(args.offset);
        if id.is_some_and(|id| MARK.1.contains(&id)) && u64_at(raw.bytes, args) == Some(MARK.0) {
            each(args.saturating_add(8));
            each(args.saturating_add(16));
        }
    }

    /// The largest id of a step that a record holds.
    fn mark_of(&self, raw: &Raw<'_>) -> Option<u64> {
        let mut most = None;
        self.step_places(raw, &mut |at| most = most.max(u64_at(raw.bytes, at)));
        most
    }

    fn later_by(&self, repetition: u32) -> u64 {
        self.later.saturating_mul(repetition.into())
    }

    fn steps_by(&self, repetition: u32) -> u64 {
        self.last_step.saturating_mul(repetition.into())
    }

    fn map(&self, repetition: u32, tid: i32) -> i32 {
        let Some(before) = repetition.checked_sub(1) else { return tid };
        let Some(number) = self.own.get(&tid) else { return tid };
        let count = u32::try_from(self.own.len()).unwrap_or(u32::MAX);
        let new = before.saturating_mul(count).saturating_add(*number).saturating_add(1);
        i32::try_from(new).unwrap_or(i32::MAX).saturating_add(self.last_tid)
    }

    /// A record of a repetition.
    fn patched<'b>(&self, repetition: u32, raw: &Raw<'b>, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        if repetition == 0 {
            return raw.bytes;
        }
        buffer.clear();
        buffer.extend_from_slice(raw.bytes);
        self.task_places(raw, &mut |at| {
            if let Some(tid) = i32_at(raw.bytes, at) {
                put(buffer, at, &self.map(repetition, tid).to_le_bytes());
            }
        });
        self.step_places(raw, &mut |at| {
            // 0 is no step.
            if let Some(id) = u64_at(raw.bytes, at).filter(|id| *id > 0) {
                put(buffer, at, &id.saturating_add(self.steps_by(repetition)).to_le_bytes());
            }
        });
        // The one that orders it, and in some bodies another.
        let order = self.time_at(raw);
        let body = sideband::body_time_at(raw.kind).filter(|at| order != Some(*at));
        for at in order.into_iter().chain(body) {
            // 0: made up by perf.
            if let Some(time) = u64_at(raw.bytes, at).filter(|time| *time > 0) {
                put(buffer, at, &time.saturating_add(self.later_by(repetition)).to_le_bytes());
            }
        }
        buffer
    }

    fn data_len(&self, times: u32) -> u64 {
        let more = u64::from(times.saturating_sub(1)).saturating_mul(self.each);
        if times == 0 { 0 } else { self.first.saturating_add(more) }
    }

    /// Bytes of the whole file.
    fn len(&self, times: u32) -> u64 {
        let begin = Out::begin(&self.perf).0.position();
        let end = write::end(0, &self.features(times)).len() as u64;
        begin.saturating_add(self.data_len(times)).saturating_add(end)
    }

    /// The features, as they are but for the times that they tell; without those that
    /// speak of a form that the new file does not have.
    fn features(&self, times: u32) -> Vec<(u32, Vec<u8>)> {
        let gone = [feature::AUXTRACE, feature::DIR_FORMAT, feature::COMPRESSED];
        let kept = self.perf.head.features.iter().filter(|(bit, _)| !gone.contains(bit));
        let mut features: Vec<(u32, Vec<u8>)> =
            kept.map(|(bit, body)| (*bit, body.to_vec())).collect();
        for (bit, body) in &mut features {
            // The times of the first sample and of the last.
            if *bit == feature::SAMPLE_TIME
                && let Some(last) = u64_at(body, 8)
            {
                let last = last.saturating_add(self.later_by(times.saturating_sub(1)));
                put(body, 8, &last.to_le_bytes());
            }
        }
        // In a pipe they come in any order, and may come again.
        features.sort_by_key(|(bit, _)| *bit);
        features.dedup_by_key(|(bit, _)| *bit);
        features
    }
}
