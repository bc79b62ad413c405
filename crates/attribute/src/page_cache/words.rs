//! An eviction in words: who did it and how.

use agenttrace_model::TaskId;
use agenttrace_model::parse::Nanos;

use super::{Evicted, Eviction, Removal};
use crate::inclusive::Index;
use crate::path::file_name;

/// A step as sentences name it: `step 141 (scan_repo)`.
pub(crate) fn step(index: &Index<'_>, number: usize) -> String {
    match index.windows.steps.get(number) {
        Some(step) if step.tool.is_empty() => format!("step {}", step.id),
        Some(step) => format!("step {} ({})", step.id, step.tool),
        None => "a step".to_owned(),
    }
}

fn task(index: &Index<'_>, id: TaskId, at: Nanos) -> Option<String> {
    let task = index.model.tasks.get(id.0 as usize)?;
    let name = task.name_at(at).to_text();
    Some(if name.is_empty() { format!("tid {}", task.tid.0) } else { name })
}

/// Who did it, as seen from a step.
fn actor(index: &Index<'_>, eviction: &Eviction, at: Nanos, own: Option<usize>) -> Option<String> {
    match eviction.step {
        Some(number) if Some(number) == own => Some("this step itself".to_owned()),
        Some(number) => Some(step(index, number)),
        None => eviction.task.and_then(|id| task(index, id, at)),
    }
}

/// The words after "evicted by": `step 141 (scan_repo)`, `drop_caches of janitor`.
pub(crate) fn by(index: &Index<'_>, evicted: &Evicted, own: Option<usize>) -> String {
    let eviction = &evicted.eviction;
    let actor = actor(index, eviction, evicted.left, own);
    match eviction.how {
        Removal::Unknown | Removal::NotRecorded => "not recorded".to_owned(),
        Removal::Fadvise | Removal::DropCaches | Removal::Madvise => {
            let actor = actor.unwrap_or_else(|| "an unknown task".to_owned());
            format!("{} of {actor}", eviction.how.text())
        }
        Removal::Kswapd
        | Removal::Reclaim
        | Removal::CgroupReclaim
        | Removal::DirectReclaim
        | Removal::Invalidated
        | Removal::Truncated => actor.unwrap_or_else(|| eviction.how.text().to_owned()),
    }
}

/// How: `cgroup reclaim in read`.
pub(crate) fn how(index: &Index<'_>, eviction: &Eviction) -> String {
    let call = eviction.call.filter(|_| eviction.how.is_reclaim());
    let call = call.map_or_else(String::new, |nr| format!(" in {}", index.model.syscalls.name(nr)));
    format!("{}{call}", eviction.how.text())
}

/// All of it, for evidence: `evicted by step 141 (scan_repo): cgroup reclaim in read, reading
/// repo.pack`; `evicted by posix_fadvise of cleaner (tid 7)`.
pub(crate) fn in_full(index: &Index<'_>, evicted: &Evicted, own: Option<usize>) -> String {
    let eviction = &evicted.eviction;
    if matches!(eviction.how, Removal::Unknown | Removal::NotRecorded) {
        return "(how they left it was not recorded)".to_owned();
    }
    let mut words = format!("evicted by {}", by(index, evicted, own));
    if eviction.step.is_none()
        && let Some(task) = eviction.task.and_then(|id| index.model.tasks.get(id.0 as usize))
    {
        words.push_str(&format!(" (tid {})", task.tid.0));
    }
    if eviction.how.is_reclaim() {
        words.push_str(&format!(": {}", how(index, eviction)));
    }
    if let Some(file) = eviction.reading {
        words.push_str(&format!(", reading {}", file_name(index.model, file)));
    }
    words
}
