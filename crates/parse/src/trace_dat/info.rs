//! Options of a trace.dat to the facts of the capture: machine, recorder, clock.

use super::sections::Sections;
use crate::capture::{CaptureInfo, Clock, ClockId};
use crate::error::Error;
use crate::source::ReadOptions;
use crate::units::Nanos;

/// Fills in everything but the event types.
///
/// # Errors
/// Where buffers were recorded by different clocks.
pub(crate) fn read(sections: &Sections, options: &ReadOptions) -> Result<CaptureInfo, Error> {
    let facts = &sections.facts;
    let clock = clock_name(sections)?;
    // `sysname nodename release machine`; the release has no spaces, nor has a node.
    let mut uname = facts.uname.split(' ').filter(|word| !word.is_empty()).skip(1);
    let mut word = || uname.next().map(str::to_owned);
    let (hostname, os_release, arch) = (word(), word(), word());
    let times = &facts.times;
    // Times that were mapped are those of another clock than the kernel's.
    let id = options.trace_clock.or_else(|| ClockId::from_ftrace(&clock).filter(|_| times.plain()));
    // With `--date` the times are those of the day already.
    let wall = times.dated.then(|| u64::try_from(times.offset()).ok()).flatten();
    Ok(CaptureInfo {
        format: "trace.dat",
        ticks: matches!(clock.as_str(), "counter" | "uptime" | "x86-tsc" | "ppc-tb")
            && times.plain()
            && options.trace_clock.is_none(),
        hostname,
        os_release,
        arch,
        recorder: (!facts.version.is_empty()).then(|| format!("trace-cmd {}", facts.version)),
        cpus_online: facts.cpu_count,
        clock: Clock { id, wall: wall.map(|at| (Nanos(at), Nanos(at))) },
        // trace-cmd records all tasks, unless a filter was set that no option tells.
        system_wide: true,
        buffers: sections
            .buffers
            .iter()
            .filter(|buffer| !buffer.name.is_empty())
            .map(|buffer| buffer.name.clone())
            .collect(),
        ..CaptureInfo::default()
    })
}

/// The clock that all buffers with data have in common.
fn clock_name(sections: &Sections) -> Result<String, Error> {
    let mut clock = String::new();
    for buffer in sections.buffers.iter().filter(|buffer| !buffer.cpus.is_empty()) {
        let of = match buffer.clock.as_str() {
            "" => sections.facts.clock.as_str(),
            word => word,
        };
        if !clock.is_empty() && clock != of {
            return Err(Error::Unsupported {
                what: format!(
                    "the buffers of this trace.dat were recorded by different clocks ({} and {}), \
                     so their events cannot be put in order; record all with the same `-C CLOCK`",
                    clock.escape_default(),
                    of.escape_default()
                ),
            });
        }
        of.clone_into(&mut clock);
    }
    Ok(clock)
}
