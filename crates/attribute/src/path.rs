//! The critical path of a step as data: segments, their entry stacks, their objects.

use std::ops::Range;

use agenttrace_model::parse::{Addr, BlockOp, Dev, Nanos};
use agenttrace_model::{Model, OpKind, ReclaimKind, TaskId, UringOp};
use rustc_hash::FxHashMap;

use crate::cause::{Cause, Resource};
use crate::cells::{CellId, CellKey, Cells};
use crate::detail::Words;

/// One stretch of a critical path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PathSegment {
    /// Start.
    pub start: Nanos,
    /// End; after `start`.
    pub end: Nanos,
    /// The task it is on.
    pub task: TaskId,
    /// The cause.
    pub cause: Cause,
    /// The resource.
    pub resource: Resource,
    /// For a run delay, the cause that the time would have had.
    pub under: Option<Cause>,
    /// Its entry stack.
    pub stack: StackId,
    /// Why it is not known, or doubtful.
    pub reason: Option<Reason>,
    /// Whether its state was inferred.
    pub inferred: bool,
}

/// Why a segment is unknown or doubtful.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// The recorder lost events.
    LostEvents,
    /// Before the task's first event.
    BeforeFirstEvent,
    /// The task left its CPU and no switch says how.
    NoSwitch,
    /// It was blocked and no waker was recorded.
    NoWaker,
    /// Woken from interrupt context by something that no event names.
    UnnamedInterrupt,
    /// Blocked in a way that no row of the table explains (stopped, traced, RCU, ...).
    Unexplained,
    /// The task was dead or not yet born.
    NotAlive,
    /// The chain of wakers was too long to follow.
    TooDeep,
}

impl Reason {
    /// The words in reports.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::LostEvents => "lost events",
            Self::BeforeFirstEvent => "before first event",
            Self::NoSwitch => "switch not recorded",
            Self::NoWaker => "no waker recorded",
            Self::UnnamedInterrupt => "woken from an interrupt that no event names",
            Self::Unexplained => "blocked, and no recorded event explains it",
            Self::NotAlive => "the task was not alive",
            Self::TooDeep => "chain of wakers too long",
        }
    }
}

/// One frame of an entry stack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Frame {
    /// A system call, by number.
    Syscall(i32),
    /// The path goes on in this task.
    Task(TaskId),
    /// A page fault: whether it slept for I/O, and its file (index in `Model::files`).
    Fault(bool, Option<u32>),
    /// Fork to the end of exec in a child.
    Spawn,
    /// The dynamic loader.
    Loader,
    /// An interpreter that looks for and reads what it needs to run a program.
    Startup,
    /// The teardown of an exiting task.
    Exit,
    /// A wait for a lock of the kernel.
    Lock(Addr),
    /// A journal commit on a device.
    Journal(Dev),
    /// A block request.
    Block(BlockOp, Dev),
    /// A device's interrupt, index in `Model::names`.
    Irq(u32),
    /// A soft interrupt, by vector.
    Softirq(u32),
    /// A request of io_uring.
    Uring(UringOp),
    /// The timer tick.
    Tick,
    /// Reclaim or compaction.
    Reclaim(ReclaimKind),
    /// A pause for dirty memory.
    DirtyPause,
    /// Waiting for other CPUs to flush their TLB.
    TlbWait,
    /// User mode of the task.
    User,
}

/// Index of an entry stack in [`Stacks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StackId(u32);

/// Entry stacks: each is the stack around it, and one frame more.
#[derive(Clone, Default, Debug)]
pub struct Stacks {
    /// The frames of all stacks, one stack after the other; few are deeper than ten.
    frames: Vec<Frame>,
    /// Where each begins and ends there.
    places: Vec<(u32, u32)>,
    ids: FxHashMap<(StackId, Frame), StackId>,
}

impl StackId {
    /// No frame.
    pub const EMPTY: Self = Self(u32::MAX);
}

impl Stacks {
    /// The stack with one more frame inside.
    pub fn push(&mut self, outer: StackId, frame: Frame) -> StackId {
        if let Some(known) = self.ids.get(&(outer, frame)) {
            return *known;
        }
        let from = self.frames.len();
        self.frames.extend_from_within(self.place(outer));
        self.frames.push(frame);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let id = StackId(number(self.places.len()));
        self.places.push((number(from), number(self.frames.len())));
        self.ids.insert((outer, frame), id);
        id
    }

    fn place(&self, stack: StackId) -> Range<usize> {
        let (from, to) = self.places.get(stack.0 as usize).copied().unwrap_or_default();
        from as usize..to as usize
    }

    /// The frames, outermost first.
    #[must_use]
    pub fn frames(&self, stack: StackId) -> &[Frame] {
        self.frames.get(self.place(stack)).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.places.clear();
        self.ids.clear();
    }
}

/// The critical path of one step.
#[derive(Clone, Default, Debug)]
pub struct StepPath {
    /// Tiles the window, in time order.
    pub segments: Vec<PathSegment>,
    /// The entry stacks of the segments.
    pub stacks: Stacks,
    /// The segments, summed.
    pub(crate) cells: Cells,
    /// Of each segment its cell.
    pub(crate) places: Vec<CellId>,
}

impl StepPath {
    /// Of segments of which events and estimates are not known.
    pub(crate) fn of_segments(segments: Vec<PathSegment>) -> Self {
        let mut cells = Cells::default();
        let places = segments.iter().map(|segment| cells.add(segment)).collect();
        Self { segments, cells, places, stacks: Stacks::default() }
    }

    /// Empties it, for another path.
    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.places.clear();
        self.stacks.clear();
        self.cells.clear();
    }

    /// The segments of a cause, in time order.
    pub(crate) fn of(&self, cause: Cause) -> impl Iterator<Item = &PathSegment> {
        self.having(move |key| key.cause == cause)
    }

    /// The segments of the cells of which this holds, in time order.
    pub(crate) fn having(
        &self,
        wanted: impl Fn(&CellKey) -> bool,
    ) -> impl Iterator<Item = &PathSegment> {
        // Most paths have few kinds of time: the cells tell sooner which segments these are.
        let mut cells: Vec<bool> = Vec::new();
        if self.cells.iter().any(|cell| wanted(&cell.key)) {
            cells.extend(self.cells.iter().map(|cell| wanted(&cell.key)));
        }
        let segments = if cells.is_empty() { &[] } else { self.segments.as_slice() };
        let all = segments.iter().zip(&self.places);
        all.filter(move |(_, place)| place.of(&cells)).map(|(segment, _)| segment)
    }
}

/// A device's name where something tells it: a context, its journal's thread, its driver's
/// fixed number; else its number.
#[must_use]
pub fn device_name(model: &Model, dev: Dev) -> String {
    if let Some(info) = model.devices.get(&dev) {
        return info.name.clone();
    }
    // Fixed numbers: Documentation/admin-guide/devices.txt.
    match dev.major() {
        7 => return format!("loop{}", dev.minor()),
        1 => return format!("ram{}", dev.minor()),
        9 => return format!("md{}", dev.minor()),
        _ => {}
    }
    dev.to_string()
}

/// A file's name: the last part of its path, else device and inode.
#[must_use]
pub fn file_name(model: &Model, file: u32) -> String {
    model.files.get(file as usize).map_or_else(
        || "file".to_owned(),
        |info| match &info.path {
            Some(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
            None => info.id.to_string(),
        },
    )
}

/// A soft interrupt's name, as the kernel prints it.
#[must_use]
pub fn softirq_name(vec: u32) -> &'static str {
    match vec {
        0 => "HI",
        1 => "TIMER",
        2 => "NET_TX",
        3 => "NET_RX",
        4 => "BLOCK",
        5 => "IRQ_POLL",
        6 => "TASKLET",
        7 => "SCHED",
        8 => "HRTIMER",
        9 => "RCU",
        _ => "softirq",
    }
}

impl Frame {
    /// The frame of an interrupt; `None` for any other operation.
    pub(crate) fn of_interrupt(kind: OpKind) -> Option<Self> {
        if let OpKind::Irq(name) = kind {
            Some(Self::Irq(name))
        } else if let OpKind::Softirq(vec) = kind {
            Some(Self::Softirq(vec))
        } else {
            (kind == OpKind::LocalTimer).then_some(Self::Tick)
        }
    }

    /// The frame's words; the same for every format. `at` picks a task's name.
    #[must_use]
    pub fn text(self, model: &Model, at: Nanos) -> Words {
        match self {
            Self::Syscall(nr) => model.syscalls.name(nr),
            Self::Task(id) => {
                let task = model.task(id);
                let name = task.name_at(at).to_text();
                // Without names of functions there is nothing to tell of its work.
                let known = !model.kernel_names.is_empty();
                let work = || task.op_chain(task.op_at(at)).find_map(|(_, op)| op.work());
                match known.then(work).flatten().and_then(|at| model.kernel_name(at)) {
                    Some(function) => format!("{name} ({function})").into(),
                    None => name.into(),
                }
            }
            Self::Fault(io, file) => {
                let kind = if io { "major fault" } else { "page fault" };
                let file = file.map_or_else(|| "anon".to_owned(), |file| file_name(model, file));
                format!("{kind} {file}").into()
            }
            Self::Spawn => "spawn".into(),
            Self::Loader => "loader".into(),
            Self::Startup => "start-up".into(),
            Self::Exit => "exit".into(),
            Self::Lock(addr) => match model.kernel_name(addr) {
                Some(name) => format!("kernel lock {name}").into(),
                None => format!("kernel lock {:#x}", addr.0).into(),
            },
            Self::Journal(dev) => format!("journal commit {}", device_name(model, dev)).into(),
            Self::Block(op, dev) => {
                format!("block {} {}", op.name(), device_name(model, dev)).into()
            }
            Self::Irq(name) => {
                format!("irq {}", model.names.get(name as usize).map_or("?", String::as_str)).into()
            }
            Self::Softirq(vec) => format!("softirq {}", softirq_name(vec)).into(),
            Self::Uring(op) => format!("io_uring {}", op.name()).into(),
            Self::Tick => "timer tick".into(),
            Self::Reclaim(kind) => kind.name().into(),
            Self::DirtyPause => "balance_dirty_pages".into(),
            Self::TlbWait => "remote TLB flush".into(),
            Self::User => "user".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stack_gives_its_frames_the_outermost_first() {
        let mut stacks = Stacks::default();
        let call = stacks.push(StackId::EMPTY, Frame::Syscall(1));
        let fault = stacks.push(call, Frame::Fault(true, None));
        let user = stacks.push(StackId::EMPTY, Frame::User);
        assert_eq!(stacks.push(call, Frame::Fault(true, None)), fault);
        assert_eq!(stacks.frames(fault), [Frame::Syscall(1), Frame::Fault(true, None)]);
        assert_eq!(stacks.frames(call), [Frame::Syscall(1)]);
        assert_eq!(stacks.frames(user), [Frame::User]);
        assert_eq!(stacks.frames(StackId::EMPTY), []);
        stacks.clear();
        assert_eq!(stacks.frames(call), []);
        assert_eq!(stacks.push(StackId::EMPTY, Frame::Exit), call, "numbered from the first");
    }
}
