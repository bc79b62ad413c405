//! perf's own records: names, forks, exits, mappings, losses.

use agenttrace_parse::events::{Event, Record};
use agenttrace_parse::{Cpu, Dev, Nanos};

use super::Builder;
use crate::task::{State, UnknownReason};

impl Builder {
    #[inline(never)]
    pub(super) fn record(&mut self, event: &Event<'_>, record: &Record<'_>) {
        match record {
            Record::CommRecord(comm) => {
                if let Some(id) = self.lookup(comm.tid) {
                    // -1: the capture has the name and does not know the process.
                    let known = comm.pid.0 >= 0;
                    if known {
                        self.set_pid(id, comm.pid);
                    }
                    let task = self.task(id);
                    if task.names.is_empty() || event.time > Nanos::ZERO {
                        task.rename(event.time, comm.comm);
                    }
                    if known && task.is_thread.is_none() {
                        task.is_thread = Some(comm.pid.0 != comm.tid.0);
                    }
                }
            }
            Record::Fork(fork) => {
                let known = self.by_tid.get(&fork.tid).copied();
                // The tracepoints of this fork came first, where recorded.
                let id = match known {
                    Some(id)
                        if event.time == Nanos::ZERO
                            || self
                                .task(id)
                                .birth
                                .is_some_and(|b| event.time - b < Nanos(1_000_000_000)) =>
                    {
                        id
                    }
                    _ if event.time == Nanos::ZERO => self.add_task(
                        fork.tid,
                        Nanos::ZERO,
                        State::Unknown(UnknownReason::BeforeFirstEvent),
                    ),
                    _ => {
                        let id = self.add_task(fork.tid, event.time, State::New);
                        self.task(id).birth = Some(event.time);
                        id
                    }
                };
                let parent = self.lookup(fork.ptid);
                self.set_pid(id, fork.pid);
                let task = self.task(id);
                task.is_thread = Some(fork.pid == fork.ppid && fork.tid.0 != fork.pid.0);
                if task.parent.is_none() && parent != Some(id) {
                    task.parent = parent;
                }
            }
            // The switch to a dead state ends a task; this record adds nothing.
            Record::Exit(_) => {}
            Record::Mmap2(map) => {
                self.files.mapped(
                    map.pid,
                    map.addr.0,
                    map.len.0,
                    Dev::new(map.maj, map.min),
                    map.ino,
                    map.filename.0,
                );
            }
            Record::Lost(_) => self.lost(event.cpu, event.time),
            // A gap, like a loss.
            Record::Throttle(throttle) if throttle.begin => self.lost(event.cpu, event.time),
            Record::LostSamples(lost) => {
                self.model.lost_samples += lost.lost;
            }
            Record::Throttle(_) | Record::Namespaces(_) => {}
            Record::Switch(switch) => {
                // Only where sched_switch was not recorded does it tell anything new.
                if !self.model.captured.has("sched:sched_switch") {
                    self.context_switch(event, switch.out, switch.preempt);
                }
            }
        }
        if event.cpu != Cpu::NONE && event.time > Nanos::ZERO {
            self.seen(event);
        }
    }
}
