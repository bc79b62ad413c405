//! One tracepoint's format to a plan, decided once; binary payloads to events by it.

use crate::cursor::{u64_at, words_at};
use crate::events::{
    Context, Event, Kind, RawCall, Row, SysEnter, SysExit, Syscall, begins_fault, row,
};
use crate::fields::Args;
use crate::format::{Format, Layout, Place, Slot};
use crate::print_fmt::StateTable;

/// What to do with the payloads of one tracepoint, whatever container they are in.
#[derive(Debug)]
pub(crate) struct Tracepoint {
    action: Action,
    /// Where the byte of `common_flags` is.
    flags: Option<usize>,
    /// `common_pid`.
    common_pid: Option<Slot>,
    /// `agent_step_id`.
    step_id: Option<Slot>,
}

/// How a payload becomes an event.
#[derive(Debug)]
enum Action {
    /// By a row of the table.
    Row(&'static Row, Layout),
    /// `raw_syscalls:sys_enter`, of which a capture may have a third: where the words of its
    /// number and of its arguments begin.
    RawEnter(usize, usize),
    /// `raw_syscalls:sys_exit`: where the words of its number and of its result begin.
    RawExit(usize, usize),
    /// `syscalls:sys_enter_X`: number, then the arguments in order.
    SysEnter(Slot, Vec<Slot>),
    /// `syscalls:sys_exit_X`: number and result.
    SysExit(Slot, Slot),
    /// The analysis does not use it.
    Unknown,
}

/// What the plans of one capture have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around<'a> {
    /// Whether `raw_syscalls` were recorded: `syscalls:sys_*` then tell nothing new.
    pub(crate) raw_syscalls: bool,
    /// Kernel release, for where a format does not tell what `prev_state` means.
    pub(crate) os_release: Option<&'a str>,
}

impl Tracepoint {
    /// `name` is `subsystem:event`.
    pub(crate) fn new(name: &str, format: &Format<'_>, around: Around<'_>) -> Self {
        Self {
            action: action(name, format, around),
            flags: format.slot("common_flags").filter(|s| s.size == 1).map(|s| s.offset),
            common_pid: format.slot("common_pid"),
            step_id: format.slot("agent_step_id"),
        }
    }

    /// Whether the analysis uses it.
    pub(crate) fn known(&self) -> bool {
        !matches!(self.action, Action::Unknown)
    }

    /// Of `raw_syscalls`, where their fields are words: whether it is an entry, where the number
    /// begins, and where the arguments or the result do.
    pub(crate) fn call(&self) -> Option<(RawCall, usize, usize)> {
        match self.action {
            Action::RawEnter(id, args) => Some((RawCall::Enter, id, args)),
            Action::RawExit(id, ret) => Some((RawCall::Exit, id, ret)),
            Action::Row(..) | Action::SysEnter(..) | Action::SysExit(..) | Action::Unknown => None,
        }
    }

    /// Whether it is the entry of a page fault.
    pub(crate) fn is_fault(&self) -> bool {
        match self.action {
            Action::Row(row, _) => begins_fault(row.name),
            Action::RawEnter(..)
            | Action::RawExit(..)
            | Action::SysEnter(..)
            | Action::SysExit(..)
            | Action::Unknown => false,
        }
    }

    /// Whether its payloads carry the number of a step.
    pub(crate) fn tells_steps(&self) -> bool {
        self.step_id.is_some()
    }

    /// The task that wrote the payload.
    #[inline]
    pub(crate) fn tid(&self, payload: &[u8]) -> Option<i32> {
        self.common_pid.and_then(|s| s.int(payload)).map(|tid| tid as i32)
    }

    /// Decodes a payload: fills in what happened, in place, and what its common fields
    /// tell. `None` where the payload is too short, or nothing is known of it.
    // Inlined in all readers: left alone, the compiler makes it a call.
    #[inline(always)]
    pub(crate) fn decode<'a>(&self, payload: &'a [u8], event: &mut Event<'a>) -> Option<()> {
        if let Some(flags) = self.flags.and_then(|at| payload.get(at)) {
            event.context = Context::from_flags(*flags);
        }
        if event.tid.0 == -1 {
            // perf cannot number a task any more that has exited; the tracepoint can.
            if let Some(tid) = self.tid(payload) {
                event.tid.0 = tid;
            }
        }
        if let Some(step) = self.step_id.and_then(|s| s.int(payload)) {
            event.agent_step_id = step;
        }
        match &self.action {
            Action::Row(row, layout) => (row.decode.binary)(payload, layout, &mut event.kind),
            Action::RawEnter(id, args) => {
                let args = Args(words_at(payload, *args)?);
                let enter = SysEnter { id: u64_at(payload, *id)? as i64, args };
                event.kind = Kind::Syscall(Syscall::SysEnter(enter));
                Some(())
            }
            Action::RawExit(id, ret) => {
                let (id, ret) = (u64_at(payload, *id)? as i64, u64_at(payload, *ret)? as i64);
                event.kind = Kind::Syscall(Syscall::SysExit(SysExit { id, ret }));
                Some(())
            }
            Action::SysEnter(..) | Action::SysExit(..) | Action::Unknown => {
                event.kind = self.syscall(payload)?;
                Some(())
            }
        }
    }

    /// What one of `syscalls:sys_*` tells. Apart, so that the way of all others is short.
    #[inline(never)]
    fn syscall<'a>(&self, payload: &'a [u8]) -> Option<Kind<'a>> {
        let syscall = match &self.action {
            Action::SysEnter(nr, slots) => {
                let mut args = [0; 6];
                for (arg, slot) in args.iter_mut().zip(slots) {
                    *arg = slot.int(payload)?;
                }
                let id = nr.int(payload)? as i64;
                Syscall::SysEnter(SysEnter { id, args: Args(args) })
            }
            Action::SysExit(nr, ret) => {
                let (id, ret) = (nr.int(payload)? as i64, ret.int(payload)? as i64);
                Syscall::SysExit(SysExit { id, ret })
            }
            Action::Row(..) | Action::RawEnter(..) | Action::RawExit(..) | Action::Unknown => {
                return None;
            }
        };
        Some(Kind::Syscall(syscall))
    }
}

fn action(name: &str, format: &Format<'_>, around: Around<'_>) -> Action {
    if let Some(row) = row(name) {
        let mut layout = Layout::new(format, row.fields);
        if let Some(raw) = raw_syscall(name, &layout) {
            return raw;
        }
        if format.slot("prev_state").is_some() {
            layout.states = Some(StateTable::new(format.print_fmt, around.os_release));
        }
        return Action::Row(row, layout);
    }
    let number = || format.slot("__syscall_nr").or_else(|| format.slot("nr"));
    if !around.raw_syscalls && name.starts_with("syscalls:sys_enter_") {
        let after = number().map(|nr| {
            // Newer kernels add the strings that arguments point to.
            let args = format.fields.iter().map(|f| f.slot).filter(|s| s.place == Place::Here);
            (nr, args.filter(|s| s.offset > nr.offset).take(6).collect())
        });
        return after.map_or(Action::Unknown, |(nr, args)| Action::SysEnter(nr, args));
    }
    if !around.raw_syscalls
        && name.starts_with("syscalls:sys_exit_")
        && let (Some(nr), Some(ret)) = (number(), format.slot("ret"))
    {
        return Action::SysExit(nr, ret);
    }
    Action::Unknown
}

/// The short way for `raw_syscalls`, where their fields are words, as on machines of 64 bits.
fn raw_syscall(name: &str, layout: &Layout) -> Option<Action> {
    let word = |field: usize, size: usize| {
        let slot = layout.slots.get(field).copied().flatten()?;
        let words = slot.place == Place::Here && slot.element == 8 && slot.size >= size;
        words.then_some(slot.offset)
    };
    match RawCall::named(name)? {
        RawCall::Enter => Some(Action::RawEnter(word(0, 8)?, word(1, 48)?)),
        RawCall::Exit => Some(Action::RawExit(word(0, 8)?, word(1, 8)?)),
    }
}
