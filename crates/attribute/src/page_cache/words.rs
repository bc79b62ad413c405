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
    let name = if name.is_empty() { "an unnamed task" } else { name.as_str() };
    Some(format!("{name} (tid {})", task.tid.0))
}

/// Who did it, as seen from a step.
fn actor(index: &Index<'_>, eviction: &Eviction, at: Nanos, own: Option<usize>) -> Option<String> {
    match eviction.step {
        Some(number) if Some(number) == own => Some("this step itself".to_owned()),
        Some(number) => Some(step(index, number)),
        None => eviction.task.and_then(|id| task(index, id, at)),
    }
}

/// The words after "evicted by": `step 141 (scan_repo)`, `drop_caches of janitor (tid 7)`.
pub(crate) fn by(index: &Index<'_>, evicted: &Evicted, own: Option<usize>) -> String {
    let eviction = &evicted.eviction;
    let actor = actor(index, eviction, evicted.left, own);
    match (eviction.how, actor) {
        (Removal::Fadvise | Removal::DropCaches | Removal::Madvise, Some(actor)) => {
            format!("{} of {actor}", eviction.how.text())
        }
        (Removal::Unknown | Removal::NotRecorded, _) | (_, None) => match eviction.how {
            Removal::Kswapd => "kswapd".to_owned(),
            Removal::Unknown
            | Removal::NotRecorded
            | Removal::Reclaim
            | Removal::CgroupReclaim
            | Removal::DirectReclaim
            | Removal::DropCaches
            | Removal::Fadvise
            | Removal::Madvise
            | Removal::Invalidated
            | Removal::Truncated => "something that was not recorded".to_owned(),
        },
        (_, Some(actor)) => actor,
    }
}

/// How: `cgroup reclaim in read, reading repo.pack`.
pub(crate) fn how(index: &Index<'_>, eviction: &Eviction) -> String {
    let mut words = eviction.how.text().to_owned();
    if let Some(nr) = eviction.call.filter(|_| eviction.how.is_reclaim()) {
        words.push_str(&format!(" in {}", index.model.syscalls.name(nr)));
    }
    if let Some(file) = eviction.reading {
        words.push_str(&format!(", reading {}", file_name(index.model, file)));
    }
    words
}
