//! The comments at a text's beginning to what the capture says of itself.

use super::dialect::Dialect;
use super::line::line_at;
use crate::capture::{CaptureInfo, ClockId};
use crate::units::Nanos;

/// How far the comments can reach.
const LOOK: usize = 1 << 16;

/// Reads them: `#P:2` and `cpus=2`, and what `perf script --header` prints
/// (`perf_header__fprintf_info`, tools/perf/util/header.c). Whether the recorder was
/// told to record all CPUs, where that is said.
pub(super) fn read(bytes: &[u8], dialect: Dialect, info: &mut CaptureInfo) -> Option<bool> {
    let first = bytes.get(..LOOK).unwrap_or(bytes);
    let (mut at, mut all) = (0, None);
    while at < first.len() {
        let (text, next) = line_at(first, at);
        at = next;
        let text = String::from_utf8_lossy(text);
        let text = text.trim_end();
        let cpus = match dialect {
            Dialect::Trace => text.split_once("#P:").map(|(_, n)| n),
            Dialect::TraceCmd => text.strip_prefix("cpus="),
            Dialect::PerfScript => text.strip_prefix("# nrcpus online : "),
            Dialect::TracePipe => None,
        };
        if let Some(cpus) = cpus.and_then(leading) {
            info.cpus_online = u32::try_from(cpus).ok();
        }
        if dialect == Dialect::PerfScript
            && let Some(comment) = text.strip_prefix("# ")
        {
            all = perf(comment, info).or(all);
        }
        // Comments within the events are of the kernel's own.
        if !text.starts_with('#') && !text.is_empty() && !text.starts_with("cpus=") {
            break;
        }
    }
    all
}

fn leading(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn perf(comment: &str, info: &mut CaptureInfo) -> Option<bool> {
    let (key, value) = comment.split_once(':')?;
    let value = value.trim();
    let text = || Some(value.to_owned()).filter(|v| !v.is_empty());
    match key.trim() {
        "hostname" => info.hostname = text(),
        "os release" => info.os_release = text(),
        "perf version" => info.recorder = text(),
        "arch" => info.arch = text(),
        "cmdline" => {
            info.command_line = value.split(' ').map(str::to_owned).collect();
            return Some(system_wide(&info.command_line));
        }
        "clockid" => {
            // `monotonic (1)`
            let number = value.split_once('(').and_then(|(_, n)| leading(n));
            info.clock.id = number.and_then(ClockId::from_posix);
        }
        "reference time" => info.clock.wall = reference(value).or(info.clock.wall),
        _ => {}
    }
    None
}

/// Whether `perf record` was called with `-a`, alone or among other letters.
fn system_wide(command: &[String]) -> bool {
    let options = command.iter().skip_while(|word| *word != "record").skip(1);
    options.take_while(|word| *word != "--").any(|word| {
        word == "--all-cpus"
            || word.strip_prefix('-').is_some_and(|letters| {
                letters.starts_with('a') && letters.chars().all(|c| c.is_ascii_alphabetic())
            })
    })
}

/// `2026-11-25 15:48:07.288741 = 1795621687.288741 (TOD) = 1888.364470596 (monotonic)`:
/// one moment on the event clock and on the wall clock.
fn reference(value: &str) -> Option<(Nanos, Nanos)> {
    let mut parts = value.split(" = ").skip(1);
    let mut time = || {
        let (seconds, fraction) = parts.next()?.split(' ').next()?.split_once('.')?;
        let digits = fraction.get(..9).unwrap_or(fraction);
        let scale = 10_u64.checked_pow(9_u32.checked_sub(u32::try_from(digits.len()).ok()?)?)?;
        let fraction = digits.parse::<u64>().ok()?.checked_mul(scale)?;
        let seconds = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
        seconds.checked_add(fraction).map(Nanos)
    };
    let (wall, event) = (time()?, time()?);
    Some((event, wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perf_says() {
        let mut info = CaptureInfo::default();
        let text = "# ========\n# captured on    : x\n# hostname : box\n# os release : 6.1.2\n\
             # arch : x86_64\n# nrcpus online : 4\n\
             # cmdline : /usr/bin/perf record -a -c 1 -o f -- sh -a\n\
             # clockid: monotonic (1)\n\
             # reference time: 2026-11-25 15:48:07.288741 = 1795621687.288741 (TOD) = 1888.364470596 (monotonic)\n\
             #\n x 1 [000] 1.0: a: b\n# arch : later\n";
        let all = read(text.as_bytes(), Dialect::PerfScript, &mut info);
        assert_eq!(all, Some(true));
        assert_eq!(info.clock.id, Some(ClockId::Monotonic));
        let wall = (Nanos(1_888_364_470_596), Nanos(1_795_621_687_288_741_000));
        assert_eq!(info.clock.wall, Some(wall));
        assert_eq!(info.hostname.as_deref(), Some("box"));
        assert_eq!((info.cpus_online, info.arch.as_deref()), (Some(4), Some("x86_64")));
        assert!(!system_wide(&["perf".into(), "record".into(), "--".into(), "-a".into()]));
    }
}
