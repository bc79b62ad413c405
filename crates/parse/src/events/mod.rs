//! Typed events: the one list of tracepoints and records that the analysis knows.

mod block;
mod fault;
mod fs;
mod io_uring;
mod irq;
mod lock;
mod marker;
mod net;
mod page_cache;
mod reclaim;
mod record;
mod sched;
mod syscall;
mod tlb;

pub use block::*;
pub use fault::*;
pub use fs::*;
pub use io_uring::*;
pub use irq::*;
pub use lock::*;
pub use marker::*;
pub use net::*;
pub use page_cache::*;
pub use reclaim::*;
pub use record::*;
pub use sched::*;
pub use syscall::*;
pub use tlb::*;

use crate::units::{Cpu, Nanos, Pid, Tid};

/// One event of the capture. Plain and fixed in size; strings borrow from the input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event<'a> {
    /// Number of its record in the input, from 0, in the order of the file; of
    /// its line, in a text. `cut` chooses records by it.
    pub record: u64,
    /// When, on the capture's clock.
    pub time: Nanos,
    /// The CPU that wrote the record.
    pub cpu: Cpu,
    /// Process of the task that was on that CPU. -1 once it has exited.
    pub pid: Pid,
    /// The task that was on that CPU; often not the event's subject (EVENTS 0.5).
    pub tid: Tid,
    /// Whether that task itself, or an interrupt on top of it, wrote the event.
    pub context: Context,
    /// `agent_step_id`, where a patched kernel records it; 0 elsewhere.
    pub agent_step_id: u64,
    /// What happened.
    pub kind: Kind<'a>,
}

/// `common_flags` and `common_preempt_count` of the record (EVENTS 0.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Context {
    /// `common_flags`, when [`Context::known`].
    pub flags: u8,
    /// False where the format does not carry the flags: text without them,
    /// software events, sideband records.
    pub known: bool,
}

impl Context {
    /// In a task, nothing on top.
    pub const TASK: Self = Self { flags: 0, known: true };
    /// The format does not tell.
    pub const UNKNOWN: Self = Self { flags: 0, known: false };
    /// From `common_flags`.
    #[must_use]
    pub fn from_flags(flags: u8) -> Self {
        Self { flags, known: true }
    }
    /// In a hard interrupt (`TRACE_FLAG_HARDIRQ`) or NMI.
    #[must_use]
    pub fn hardirq(self) -> bool {
        self.flags & 0x48 != 0
    }
    /// In a soft interrupt (`TRACE_FLAG_SOFTIRQ`), hard interrupts on top of it included.
    #[must_use]
    pub fn softirq(self) -> bool {
        self.flags & 0x10 != 0
    }
    /// In any interrupt.
    #[must_use]
    pub fn interrupt(self) -> bool {
        self.flags & 0x58 != 0
    }
}

/// One row of [`TABLE`]: a tracepoint, or a record or software event under a
/// name of the same form.
#[derive(Debug)]
pub struct Row {
    /// `subsystem:event`, as the kernel writes it; `record:` for perf's own
    /// records, `software:` for its software events.
    pub name: &'static str,
    /// For each field the names it has had, the newest first.
    pub fields: &'static [&'static [&'static str]],
    /// How texts print the payload, the most frequent way first (`ftrace/pattern.rs`).
    pub(crate) prints: &'static [&'static str],
    pub(crate) decode: Decoders,
}

/// The generic decoder of a row, instantiated for each kind of source.
#[derive(Clone, Copy)]
pub(crate) struct Decoders {
    /// Into a place that is given: binary events come in millions, and moving one costs
    /// as much as decoding it.
    pub(crate) binary:
        for<'a, 's> fn(&'a [u8], &'s crate::format::Layout, &'s mut Kind<'a>) -> Option<()>,
    pub(crate) text: for<'a, 's> fn(&'s crate::events_text::TextFields<'a>) -> Option<Kind<'a>>,
    pub(crate) line: for<'a, 's> fn(&'s crate::ftrace::LineFields<'a>) -> Option<Kind<'a>>,
}

impl std::fmt::Debug for Decoders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoders")
    }
}

/// Defines the events of one subsystem: the structs, their enum, their rows and
/// their text. `= "a" | "b"` lists a field's names, the newest kernel's first;
/// `prints "a" | "b"` the ways in which texts print the payload.
macro_rules! tracepoints {
    (
        $(#[$gm:meta])*
        $group:ident $(<$gl:lifetime>)? in $lt:lifetime {
            $(
                $(#[$em:meta])*
                $name:literal $event:ident $(<$el:lifetime>)? $(prints $($print:literal)|+)? {
                    $( $(#[$fm:meta])* $field:ident: $ty:ty = $($key:literal)|+ ),* $(,)?
                }
            )*
        }
    ) => {
        $(
            $(#[$em])*
            #[doc = concat!("\n\nThe kernel's `", $name, "`.")]
            #[derive(Clone, Copy, PartialEq, Debug)]
            pub struct $event $(<$el>)? {
                $( $(#[$fm])* pub $field: $ty, )*
            }

            impl<$lt> $event $(<$el>)? {
                #[allow(unused_assignments, unused_mut, unused_variables, reason = "events may have no field")]
                #[inline]
                fn decode(source: &impl $crate::fields::Source<$lt>) -> Option<Self> {
                    let mut index = 0;
                    $(
                        let $field = <$ty as $crate::fields::Field<$lt>>::read(source, index)?;
                        index += 1;
                    )*
                    Some(Self { $($field),* })
                }
            }
        )*

        $(#[$gm])*
        #[derive(Clone, Copy, PartialEq, Debug)]
        #[allow(missing_docs, reason = "each variant holds the struct of its name, which is documented")]
        pub enum $group $(<$gl>)? {
            $( $event($event $(<$el>)?), )*
        }

        impl<$lt> $group $(<$gl>)? {
            pub(crate) const ROWS: &'static [$crate::events::Row] = &[
                $( $crate::events::Row {
                    name: $name,
                    fields: &[$( &[$($key),+] ),*],
                    prints: &[$( $($print),+ )?],
                    decode: {
                        fn binary<$lt>(
                            raw: &$lt [u8],
                            layout: &$crate::format::Layout,
                            kind: &mut $crate::events::Kind<$lt>,
                        ) -> Option<()> {
                            let source = $crate::format::BinaryFields { raw, layout };
                            *kind = $crate::events::Kind::$group($group::$event($event::decode(&source)?));
                            Some(())
                        }
                        fn text<$lt>(source: &$crate::events_text::TextFields<$lt>) -> Option<$crate::events::Kind<$lt>> {
                            $event::decode(source).map(|e| $crate::events::Kind::$group($group::$event(e)))
                        }
                        fn line<$lt>(source: &$crate::ftrace::LineFields<$lt>) -> Option<$crate::events::Kind<$lt>> {
                            $event::decode(source).map(|e| $crate::events::Kind::$group($group::$event(e)))
                        }
                        $crate::events::Decoders { binary, text, line }
                    },
                }, )*
            ];

            /// Appends the event's name and fields, as `dump --stage events` shows them.
            #[allow(unused_variables, reason = "events may have no field")]
            pub(crate) fn write(&self, out: &mut String) {
                use $crate::fields::Field as _;
                match self {
                    $( Self::$event($event { $($field),* }) => {
                        out.push_str($name);
                        $(
                            out.push(' ');
                            out.push_str([$($key),+][0]);
                            out.push('=');
                            $field.write(out);
                        )*
                    } )*
                }
            }

            /// The event's name, `subsystem:event`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$event(_) => $name, )*
                }
            }
        }
    };
}
pub(crate) use tracepoints;

macro_rules! kinds {
    ($( $(#[$m:meta])* $group:ident $(<$gl:lifetime>)? ),* $(,)?) => {
        /// What happened: one enum for each subsystem.
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub enum Kind<'a> {
            $( $(#[$m])* $group($group $(<$gl>)?), )*
        }

        impl<'a> Kind<'a> {
            pub(crate) fn write(&self, out: &mut String) {
                match self { $( Self::$group(event) => event.write(out), )* }
            }

            /// The event's name, `subsystem:event`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $( Self::$group(event) => event.name(), )* }
            }
        }

        /// Every event that the analysis knows, by subsystem.
        pub static TABLE: &[&[Row]] = &[ $( $group::ROWS, )* ];
    };
}

kinds! {
    /// Task states, wakeups, lifecycle.
    Sched<'a>,
    /// perf's own records: names, forks, mappings, losses.
    Record<'a>,
    /// System call entry and exit.
    Syscall,
    /// Page faults and what they fetch.
    Fault,
    /// Page-cache fill and eviction.
    PageCache,
    /// Block I/O.
    Block,
    /// Filesystem syncs and journal commits.
    Fs,
    /// Lock contention.
    Lock,
    /// Reclaim, compaction, dirty throttling.
    Reclaim<'a>,
    /// Interrupts, timers, deferred work.
    Irq<'a>,
    /// Sockets and packets.
    Net<'a>,
    /// TLB flushes and the interrupts between CPUs.
    Tlb,
    /// io_uring.
    IoUring,
    /// Marks that userspace wrote.
    Marker<'a>,
}

/// The row with this name.
#[must_use]
pub fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().flat_map(|rows| rows.iter()).find(|row| row.name == name)
}
