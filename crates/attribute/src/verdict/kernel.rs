//! The capture's kernel release to conditions of recommendations.

use super::Facts;
use crate::record_command::parse_release;

/// The condition that a fix needs this release, in words; `None` where the capture's
/// kernel is known to be older, so that the fix does not hold.
pub(crate) fn since(facts: &Facts<'_>, major: u32, minor: u32) -> Option<String> {
    let release = facts.parts.info.os_release.as_deref();
    let words = format!("Linux {major}.{minor} and later");
    match release.and_then(|release| Some((release, parse_release(release)?))) {
        Some((_, known)) if known < (major, minor) => None,
        Some((_, (a, b))) => Some(format!("{words}; the capture's is {a}.{b}")),
        None => Some(words),
    }
}
