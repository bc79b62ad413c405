//! High-resolution timers that fired.

use agenttrace_parse::{Addr, Cpu, Nanos};

/// A high-resolution timer fired (`hrtimer_expire_entry`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerFire {
    /// When.
    pub time: Nanos,
    /// On which CPU.
    pub cpu: Cpu,
    /// Which timer: the address of the kernel's object, hashed in texts; the same
    /// object has the same value.
    pub timer: Addr,
}
