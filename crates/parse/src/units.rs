//! Numbers with a unit: nanoseconds, task ids, CPUs, devices, files.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A point in time on the capture's clock, or a length of time, in nanoseconds.
///
/// Subtraction saturates at zero: records that the kernel wrote slightly out of
/// order must never make time run backwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Zero: the clock's origin, or no time at all.
    pub const ZERO: Self = Self(0);
    /// The largest time there is; used for "never".
    pub const MAX: Self = Self(u64::MAX);
}

impl Add for Nanos {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Sub for Nanos {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl std::iter::Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A process: the id of its thread group, as the kernel's root namespace sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Pid(pub i32);

/// A thread, as the kernel's root namespace sees it (`task->pid`). 0 is the idle
/// task of whichever CPU; -1 is what perf writes once a task has exited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Tid(pub i32);

impl Tid {
    /// The idle task; there is one for each CPU.
    pub const IDLE: Self = Self(0);
    /// Whether this is a real task: neither idle nor unknown.
    #[must_use]
    pub fn is_task(self) -> bool {
        self.0 > 0
    }
}

/// A logical CPU, counted from 0. [`Cpu::NONE`] where the capture does not tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Cpu(pub u32);

impl Cpu {
    /// The CPU is not known.
    pub const NONE: Self = Self(u32::MAX);
}

/// A block device as the kernel numbers it inside: `major << 20 | minor`
/// (`include/linux/kdev_t.h`), which is not what `stat(2)` returns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Dev(pub u32);

impl Dev {
    /// From the separate numbers that `PERF_RECORD_MMAP2` carries.
    #[must_use]
    pub fn new(major: u32, minor: u32) -> Self {
        Self(major << 20 | (minor & 0xf_ffff))
    }
    /// The driver's number.
    #[must_use]
    pub fn major(self) -> u32 {
        self.0 >> 20
    }
    /// The device's number below its driver.
    #[must_use]
    pub fn minor(self) -> u32 {
        self.0 & 0xf_ffff
    }
}

impl fmt::Display for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major(), self.minor())
    }
}

/// A file: inode number on a device. Inode numbers are used again after unlink.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct FileId {
    /// Device (superblock) of the file.
    pub dev: Dev,
    /// Inode number.
    pub ino: u64,
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ino {}", self.dev, self.ino)
    }
}

macro_rules! display_inner {
    ($($t:ty),*) => {$(
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    )*};
}
display_inner!(Pid, Tid);

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE { f.write_str("-") } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_device_numbers_are_not_those_of_stat() {
        // 0x0fe0_0001 is 254:1 inside the kernel.
        assert_eq!(Dev(0x0fe0_0001).to_string(), "254:1");
        assert_eq!(Dev::new(254, 1), Dev(0x0fe0_0001));
    }

    #[test]
    fn time_never_runs_backwards() {
        assert_eq!(Nanos(3) - Nanos(5), Nanos::ZERO);
    }
}
