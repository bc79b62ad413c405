//! The beginning of a capture of which only a later part is wanted: samples to pass over.
//!
//! ```text
//! enter read | page_fault_user minor-faults | exit read         passed over, all four
//! enter read | sched_switch ...                                 kept: it slept, and who woke it matters
//! openat = 3 | fstat 3 | read 3 | close 3                       passed over, if all four could be
//! openat = 3 | fstat 3 | sched_switch ...                       openat kept: somebody may use its fd
//! ```
//! Records of one CPU lie in the file as they came (order.rs), so whether something else happened
//! in a call is known at its entry.

use super::PerfData;
use super::layout::Found;
use super::plan::{Action, Plan};
use crate::cursor::u64_at;
use crate::events::RawCall;
use crate::source::{Leaves, Skim};

/// So many faults may lie in a call that is passed over.
const FAULTS: usize = 32;

/// So many calls and faults may lie between an fd's opening and its end.
const CALLS: usize = 64;

/// So many fds may be open at a time meanwhile.
const FDS: usize = 4;

/// Kernel-internal restart codes (include/linux/errno.h): the call goes on in the next one.
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;

/// What the samples of an attribute are. Places are bytes from the record's start.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// `raw_syscalls:sys_enter`: where its number and its arguments begin.
    Enter(usize, usize),
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

/// A call in which there was nothing but faults.
#[derive(Clone, Copy, Debug)]
struct Call {
    number: u64,
    ret: i64,
    passed: Passed,
}

/// Fds that were opened and not yet closed.
#[derive(Default)]
struct Fds {
    open: [i64; FDS],
    count: usize,
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
            Role::Enter(number, args) => self.run(perf, found, (number, args), data),
            Role::Fault => Some(Passed::one(found)),
            Role::Exit(..) | Role::Other => None,
        }
    }

    fn role(&self, perf: &PerfData<'_>, found: &Found) -> Option<Role> {
        self.roles.get(perf.ids.get(found.id)?).copied()
    }

    fn leaves(&self, call: u64) -> Leaves {
        let leaves = usize::try_from(call).ok().and_then(|nr| self.skim.calls.get(nr));
        leaves.copied().unwrap_or(Leaves::More)
    }

    /// The sample behind those that were passed over, if it is the same task's on the same CPU,
    /// and before the border.
    fn next<'d>(
        &self,
        perf: &PerfData<'_>,
        first: &Found,
        data: &'d [u8],
        passed: &Passed,
    ) -> Option<(Found, &'d [u8])> {
        let rest = data.get(passed.bytes..)?;
        let found = perf.words?.read(rest)?;
        let follows = (found.front.task, found.front.cpu) == (first.front.task, first.front.cpu)
            && found.time >= first.time
            && found.time < self.skim.before.0;
        follows.then_some((found, rest))
    }

    /// A call in which there was nothing but faults.
    fn call(&self, perf: &PerfData<'_>, enter: &Found, number: usize, data: &[u8]) -> Option<Call> {
        let number = word(enter, data, number)?;
        let mut passed = Passed::one(enter);
        for _ in 0..=FAULTS {
            let (found, rest) = self.next(perf, enter, data, &passed)?;
            passed.add(&Passed::one(&found));
            match self.role(perf, &found)? {
                Role::Fault => {}
                Role::Exit(of, ret) => {
                    let ret = word(&found, rest, ret)?.cast_signed();
                    let ends = word(&found, rest, of)? == number && !RESTARTS.contains(&ret);
                    return ends.then_some(Call { number, ret, passed });
                }
                Role::Enter(..) | Role::Other => return None,
            }
        }
        None
    }

    /// Calls in which there was nothing but faults, to the first after which no fd is open that
    /// was opened meanwhile; nearly always one call.
    fn run(
        &self,
        perf: &PerfData<'_>,
        first: &Found,
        places: (usize, usize),
        data: &[u8],
    ) -> Option<Passed> {
        let mut fds = Fds::default();
        let mut passed = self.step(perf, first, places, data, &mut fds)?;
        for _ in 0..CALLS {
            if fds.count == 0 {
                return Some(passed);
            }
            let (found, rest) = self.next(perf, first, data, &passed)?;
            let more = match self.role(perf, &found)? {
                Role::Fault => Passed::one(&found),
                Role::Enter(number, args) => {
                    self.step(perf, &found, (number, args), rest, &mut fds)?
                }
                Role::Exit(..) | Role::Other => return None,
            };
            passed.add(&more);
        }
        None
    }

    /// One of these calls, and what it does with fds.
    fn step(
        &self,
        perf: &PerfData<'_>,
        enter: &Found,
        (number, args): (usize, usize),
        data: &[u8],
        fds: &mut Fds,
    ) -> Option<Passed> {
        let Call { number, ret, passed } = self.call(perf, enter, number, data)?;
        let argument = |n: usize| word(enter, data, args.checked_add(n.checked_mul(8)?)?);
        match self.leaves(number) {
            Leaves::Nothing => {}
            Leaves::Fd { flags, unless } => {
                if argument(flags)? & unless != 0 {
                    return None;
                }
                if ret >= 0 {
                    fds.add(ret)?;
                }
            }
            Leaves::Closed => fds.remove(argument(0)?.cast_signed()).filter(|()| ret == 0)?,
            Leaves::More => return None,
        }
        Some(passed)
    }
}

impl Passed {
    fn one(sample: &Found) -> Self {
        Self { records: 1, bytes: sample.front.size.into() }
    }

    fn add(&mut self, more: &Self) {
        self.records = self.records.saturating_add(more.records);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

impl Fds {
    /// `None` where there are too many.
    fn add(&mut self, fd: i64) -> Option<()> {
        *self.open.get_mut(self.count)? = fd;
        self.count = self.count.saturating_add(1);
        Some(())
    }

    /// `None` where it was not opened meanwhile.
    fn remove(&mut self, fd: i64) -> Option<()> {
        let open = self.open.get_mut(..self.count)?;
        let at = open.iter().position(|other| *other == fd)?;
        self.count = open.len().checked_sub(1)?;
        open.swap(at, self.count);
        Some(())
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
            Some((RawCall::Enter, number, args)) => Self::Enter(place(number), place(args)),
            Some((RawCall::Exit, number, ret)) => Self::Exit(place(number), place(ret)),
            None => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_fds_are_open_at_a_time_and_those_alone_are_closed() {
        let mut fds = Fds::default();
        for fd in [3, 4, 5, 6] {
            assert_eq!(fds.add(fd), Some(()));
        }
        assert_eq!(fds.add(7), None);
        assert_eq!((fds.remove(7), fds.remove(4), fds.remove(4)), (None, Some(()), None));
        assert_eq!(fds.add(8), Some(()));
        for fd in [6, 8, 3, 5] {
            assert_eq!((fds.remove(fd), fds.remove(fd)), (Some(()), None), "{fd}");
        }
        assert_eq!(fds.count, 0);
    }
}
