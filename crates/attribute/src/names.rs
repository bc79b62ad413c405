//! Where names come from, and how to get those that are missing, as sentences of the report.

use std::collections::BTreeSet;

use agenttrace_model::Model;
use agenttrace_model::parse::Dev;

use crate::report::StepReport;
use crate::stats::plural;

/// Settings of a device's queue that tell how to read its times.
const SETTINGS: [&str; 4] = ["scheduler", "rotational", "nr_requests", "write_cache"];

/// Counts of cgroups that tell of a limit that was met.
const LIMITS: &[&str] = &[
    "cpu.stat nr_throttled",
    "memory.events high",
    "memory.events max",
    "memory.events oom_kill",
    "memory.failcnt",
    "memory.oom_control oom_kill",
];

/// At most this many devices, and cgroups, are told of.
const MOST: usize = 8;

/// Notes of the report on names: the devices that a context describes, limits that cgroups
/// met, and files that have no name.
pub(crate) fn notes(model: &Model, steps: &[StepReport], data_mmaps: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if model.machine.is_some() {
        let used: BTreeSet<Dev> = model.requests.iter().map(|r| r.dev).collect();
        notes.extend(used.iter().filter_map(|dev| device(model, *dev)).take(MOST));
        let met = model.cgroups.iter().filter(|c| c.value > 0 && LIMITS.contains(&c.key.as_str()));
        notes.extend(met.take(MOST).map(|c| {
            format!("context: cgroup {}: {} is {} since it was made", c.cgroup, c.key, c.value)
        }));
    }
    let unnamed: BTreeSet<(Dev, u64)> = steps
        .iter()
        .filter_map(|step| step.inclusive.faults.as_ref())
        .flat_map(|faults| &faults.files)
        .filter(|file| file.path.is_none())
        .map(|file| (file.dev, file.ino))
        .collect();
    if !unnamed.is_empty() && model.machine.is_none() {
        let record = if data_mmaps { "" } else { "record with -d (data mappings), or " };
        notes.push(format!(
            "no name, only device and inode, for {} with page faults: {record}run `agenttrace context --out DIR --tree PATH` \
             on the traced machine and pass --context DIR",
            plural(unnamed.len() as u64, "file")
        ));
    }
    notes
}

fn device(model: &Model, dev: Dev) -> Option<String> {
    let info = model.devices.get(&dev)?;
    let mut words: Vec<String> = SETTINGS
        .iter()
        .filter_map(|key| info.settings.iter().find(|(k, _)| k == key))
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    words.extend(model.filesystem(dev).map(|kind| format!("filesystem {kind}")));
    let words = if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) };
    Some(format!("{}: device {dev} is {}{words}", info.source.text(), info.name))
}
