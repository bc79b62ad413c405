//! Who ran on each CPU, in the order in which a capture tells: 8 bytes each.
//!
//! ```text
//! CPU 0    (task 3, its state 17)  (task 9, its state 4)  (task 3, its state 20)  ...
//! ```
//! The states themselves are with their tasks, and may be corrected after they were noted here.

use agenttrace_parse::Cpu;
use bytemuck::{Pod, Zeroable};

use crate::scratch::{Rows, Spill};
use crate::task::TaskId;

/// The states in which tasks ran, by CPU.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// By the number of the CPU.
    cpus: Vec<Rows<Row>>,
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Row {
    task: u32,
    state: u32,
}

/// No machine has more CPUs; a larger number in a record is damage.
pub(crate) const MAX_CPUS: usize = 8192;

impl Runs {
    /// All CPUs up to the last on which a task ran.
    pub fn cpus(&self) -> impl Iterator<Item = Cpu> + '_ {
        (0..).map(Cpu).take(self.cpus.len())
    }

    /// Where tasks ran on a CPU: which task, and the place of the state in [`Task::states`]. Mostly
    /// in time order. Where a state was corrected later it is another one now, and one may be
    /// told of twice.
    ///
    /// [`Task::states`]: crate::Task::states
    pub fn on(&self, cpu: Cpu) -> impl ExactSizeIterator<Item = (TaskId, usize)> + '_ {
        let rows = self.cpus.get(cpu.0 as usize).map(Rows::settled).unwrap_or_default();
        rows.iter().map(|row| (TaskId(row.task), row.state as usize))
    }

    /// A task runs, in the state with this place.
    #[inline]
    pub(crate) fn push(&mut self, cpu: Cpu, task: TaskId, state: usize) {
        let row = Row { task: task.0, state: u32::try_from(state).unwrap_or(u32::MAX) };
        match self.cpus.get_mut(cpu.0 as usize) {
            Some(rows) => rows.push(row),
            None => self.push_first(cpu, row),
        }
    }

    #[cold]
    fn push_first(&mut self, cpu: Cpu, row: Row) {
        let index = cpu.0 as usize;
        if index < MAX_CPUS {
            self.cpus.resize_with(index, Rows::default);
            self.cpus.push(vec![row].into());
        }
    }

    /// The rows, to be moved.
    pub(crate) fn rows(&mut self) -> impl Iterator<Item = &mut dyn Spill> {
        self.cpus.iter_mut().map(|rows| -> &mut dyn Spill { rows })
    }
}
