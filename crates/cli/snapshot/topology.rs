//! /sys/devices/system to `topology`, in the form of `lscpu -p=CPU,CORE,SOCKET,NODE,CACHE`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::{Folder, line};

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";

/// Numbers things from 0 in the order in which they are first seen, as lscpu does.
#[derive(Default)]
struct Numbers(BTreeMap<String, usize>);

impl Numbers {
    fn of(&mut self, key: String) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert(next)
    }
}

pub(super) fn write(folder: &mut Folder<'_>) -> Result<String> {
    let cpus = numbered(Path::new(CPUS), "cpu");
    let mut node_of: BTreeMap<u32, u32> = BTreeMap::new();
    for node in numbered(Path::new(NODES), "node") {
        let list = Path::new(NODES).join(format!("node{node}/cpulist"));
        if let Some(bytes) = folder.read(&list)? {
            node_of.extend(cpu_list(&line(&bytes)).into_iter().map(|cpu| (cpu, node)));
        }
    }
    let (mut cores, mut sockets) = (Numbers::default(), Numbers::default());
    let mut caches: BTreeMap<String, Numbers> = BTreeMap::new();
    // The line up to its caches, and the number of each cache.
    let mut rows: Vec<(String, BTreeMap<String, usize>)> = Vec::new();
    for cpu in &cpus {
        let base = Path::new(CPUS).join(format!("cpu{cpu}"));
        let mut tell = |name: &str| -> Result<Option<String>> {
            Ok(folder.read(&base.join("topology").join(name))?.map(|b| line(&b)))
        };
        // An offline CPU has no topology.
        let (Some(core), Some(socket)) = (tell("core_id")?, tell("physical_package_id")?) else {
            continue;
        };
        let core = cores.of(format!("{socket}/{core}"));
        let socket = sockets.of(socket);
        let node = node_of.get(cpu).map(ToString::to_string).unwrap_or_default();
        let mut own = BTreeMap::new();
        for index in numbered(&base.join("cache"), "index") {
            let cache = base.join(format!("cache/index{index}"));
            let mut tell = |name: &str| -> Result<String> {
                Ok(folder.read(&cache.join(name))?.map(|b| line(&b)).unwrap_or_default())
            };
            let (level, kind) = (tell("level")?, tell("type")?);
            let shared = tell("shared_cpu_list")?;
            let suffix = match kind.as_str() {
                "Data" => "d",
                "Instruction" => "i",
                _ => "",
            };
            if level.is_empty() || shared.is_empty() {
                continue;
            }
            let name = format!("L{level}{suffix}");
            let number = caches.entry(name.clone()).or_default().of(shared);
            own.insert(name, number);
        }
        rows.push((format!("{cpu},{core},{socket},{node}"), own));
    }
    let names: Vec<&str> = caches.keys().map(String::as_str).collect();
    let mut text = format!("# CPU,Core,Socket,Node,{}\n", names.join(":"));
    for (seat, own) in &rows {
        let own: Vec<String> = names
            .iter()
            .map(|name| own.get(*name).map(ToString::to_string).unwrap_or_default())
            .collect();
        let _ = writeln!(text, "{seat},{}", own.join(":"));
    }
    folder.write("topology", &text)?;
    Ok(format!(
        "topology    {} CPUs, {} cores, {} sockets",
        rows.len(),
        cores.0.len(),
        sockets.0.len()
    ))
}

/// The numbers of the entries `prefixN` of a folder, in their order.
fn numbered(folder: &Path, prefix: &str) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|e| e.file_name().to_str()?.strip_prefix(prefix)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// `0-3,8`.
fn cpu_list(text: &str) -> Vec<u32> {
    let part = |part: &str| -> Option<std::ops::RangeInclusive<u32>> {
        let (from, to) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        // No machine has more CPUs.
        (to < 65_536).then_some(from..=to)
    };
    text.split(',').filter_map(part).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpu_list("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(cpu_list(""), Vec::<u32>::new());
        assert_eq!(cpu_list("5"), [5]);
    }
}
