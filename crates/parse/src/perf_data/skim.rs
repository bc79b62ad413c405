//! The beginning of a capture of which only a later part is wanted: samples to pass over.
//!
//! ```text
//! enter read | page_fault_user minor-faults | exit read         passed over, all four
//! enter read | sched_switch ...                                 kept: it slept, and who woke it matters
//! ```
//! Records of one CPU lie in the file as they came (order.rs), so whether something else happened
//! in a call is known at its entry.

use super::PerfData;
use super::layout::Found;
use super::plan::{Action, Plan};
use crate::cursor::u64_at;
use crate::source::Skim;

/// So many faults may lie in a call that is passed over.
const FAULTS: usize = 32;

/// Kernel-internal restart codes (include/linux/errno.h): the call goes on in the next one.
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;

/// What the samples of an attribute are. Places are bytes from the record's start.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// `raw_syscalls:sys_enter`: where its number begins.
    Enter(usize),
    /// `raw_syscalls:sys_exit`: where its number and its result begin.
    Exit(usize, usize),
    /// A fault, or its completion.
    Fault,
    Other,
}

/// Samples that are passed over, from one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) records: u64,
    pub(super) bytes: usize,
}

/// Tells which samples can be passed over.
#[derive(Debug)]
pub(super) struct Skimmer<'p> {
    skim: &'p Skim,
    /// By attribute.
    roles: Vec<Role>,
}

impl PerfData<'_> {
    /// Whether samples begin alike, and carry no number of a step: where they do, a call may be
    /// all that tells of the step.
    pub(crate) fn skims(&self) -> bool {
        let tells_steps = |plan: &Plan| match &plan.action {
            Action::Tracepoint(tracepoint) => tracepoint.tells_steps(),
            Action::MinorFault | Action::MajorFault | Action::Unknown => false,
        };
        self.words.is_some() && !self.plans.iter().any(tells_steps)
    }
}

impl<'p> Skimmer<'p> {
    /// `None` where nothing can be passed over.
    pub(super) fn new(perf: &PerfData<'_>, skim: &'p Skim) -> Option<Self> {
        perf.skims().then(|| Self { skim, roles: perf.plans.iter().map(Role::of).collect() })
    }

    /// What can be passed over from the sample on that `data` begin with.
    #[inline]
    pub(super) fn passes(&self, perf: &PerfData<'_>, found: &Found, data: &[u8]) -> Option<Passed> {
        if found.time >= self.skim.before.0 {
            return None;
        }
        match self.role(perf, found)? {
            Role::Enter(number) => self.call(perf, found, number, data),
            Role::Fault => Some(Passed { records: 1, bytes: found.front.size.into() }),
            Role::Exit(..) | Role::Other => None,
        }
    }

    fn role(&self, perf: &PerfData<'_>, found: &Found) -> Option<Role> {
        self.roles.get(perf.ids.get(found.id)?).copied()
    }

    /// A call in which there was nothing but faults.
    fn call(
        &self,
        perf: &PerfData<'_>,
        enter: &Found,
        number: usize,
        data: &[u8],
    ) -> Option<Passed> {
        let number = word(enter, data, number)?;
        let passing = usize::try_from(number).ok().and_then(|nr| self.skim.calls.get(nr));
        if passing != Some(&true) {
            return None;
        }
        let mut passed = Passed { records: 1, bytes: enter.front.size.into() };
        for _ in 0..=FAULTS {
            let rest = data.get(passed.bytes..)?;
            let found = perf.words?.read(rest)?;
            let follows = (found.front.task, found.front.cpu)
                == (enter.front.task, enter.front.cpu)
                && found.time >= enter.time
                && found.time < self.skim.before.0;
            if !follows {
                return None;
            }
            passed.records = passed.records.saturating_add(1);
            passed.bytes = passed.bytes.saturating_add(found.front.size.into());
            match self.role(perf, &found)? {
                Role::Fault => {}
                Role::Exit(of, ret) => {
                    let ret = word(&found, rest, ret)?.cast_signed();
                    let ends = word(&found, rest, of)? == number && !RESTARTS.contains(&ret);
                    return ends.then_some(passed);
                }
                Role::Enter(_) | Role::Other => return None,
            }
        }
        None
    }
}

/// A word of the sample that `data` begin with.
#[inline]
fn word(found: &Found, data: &[u8], at: usize) -> Option<u64> {
    u64_at(data.get(..found.front.size.into())?, at)
}

impl Role {
    fn of(plan: &Plan) -> Self {
        let tracepoint = match &plan.action {
            Action::Tracepoint(tracepoint) => tracepoint,
            Action::MinorFault | Action::MajorFault => return Self::Fault,
            Action::Unknown => return Self::Other,
        };
        if tracepoint.is_fault() {
            return Self::Fault;
        }
        // Behind stacks the payload lies anywhere: such calls are all looked at.
        let Some(payload) = plan.layout.tail.payload() else { return Self::Other };
        let place = |at: usize| payload.saturating_add(at);
        match tracepoint.call() {
            Some((number, None)) => Self::Enter(place(number)),
            Some((number, Some(ret))) => Self::Exit(place(number), place(ret)),
            None => Self::Other,
        }
    }
}
