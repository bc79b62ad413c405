//! /sys/dev/block and /proc/partitions to `devices`: names, sizes, settings of queues.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use agenttrace_model::parse::context::escape_name;
use anyhow::Result;

use super::{Folder, line};

/// Of /sys/block/NAME/queue (Documentation/ABI/stable/sysfs-block).
const SETTINGS: &[&str] = &[
    "scheduler",
    "rotational",
    "nr_requests",
    "write_cache",
    "fua",
    "nomerges",
    "rq_affinity",
    "read_ahead_kb",
    "max_sectors_kb",
    "logical_block_size",
    "wbt_lat_usec",
    "io_poll",
];

pub(super) fn write(folder: &mut Folder<'_>) -> Result<String> {
    let mut devices: BTreeMap<(u32, u32), String> = BTreeMap::new();
    if let Some(text) = folder.read(Path::new("/proc/partitions"))? {
        for row in String::from_utf8_lossy(&text).lines() {
            let words: Vec<&str> = row.split_whitespace().collect();
            if let [major, minor, _, name] = words[..]
                && let (Ok(major), Ok(minor)) = (major.parse(), minor.parse())
            {
                devices.insert((major, minor), escape_name(name.as_bytes()));
            }
        }
    }
    let sys = Path::new("/sys/dev/block");
    for entry in std::fs::read_dir(sys).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((major, minor)) = name.to_str().and_then(|n| n.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        if let Some(name) = target.file_name() {
            // The kernel writes `!` for a slash in a device's name.
            let name = name.to_string_lossy().replace('!', "/");
            devices.insert((major, minor), escape_name(name.as_bytes()));
        }
    }
    let mut text = String::new();
    for ((major, minor), name) in &devices {
        let _ = write!(text, "{major}:{minor} {name}");
        let device = sys.join(format!("{major}:{minor}"));
        // A partition lies in its disk's folder.
        let queue = [device.join("queue"), device.join("../queue")];
        let queue = queue.iter().find(|q| q.is_dir());
        if let Some(bytes) = folder.read(&device.join("size"))?
            && let Ok(sectors) = line(&bytes).parse::<u64>()
        {
            let _ = write!(text, " size_bytes={}", sectors.saturating_mul(512));
        }
        for setting in SETTINGS {
            let Some(bytes) = queue.map(|q| folder.read(&q.join(setting))).transpose()?.flatten()
            else {
                continue;
            };
            let value = chosen(&line(&bytes));
            let _ = write!(text, " {setting}={}", escape_name(value.as_bytes()));
        }
        if let Some(disk) = disk_of(&device) {
            let _ = write!(text, " disk={}", escape_name(disk.as_bytes()));
        }
        text.push('\n');
    }
    folder.write("devices", &text)?;
    Ok(format!("devices     {}", devices.len()))
}

/// `[none] mq-deadline`: the choice.
fn chosen(value: &str) -> String {
    let inside = value.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(value, |(chosen, _)| chosen).to_owned()
}

/// The disk that a partition is on.
fn disk_of(device: &Path) -> Option<String> {
    device.join("partition").is_file().then_some(())?;
    let real: PathBuf = std::fs::canonicalize(device).ok()?;
    Some(real.parent()?.file_name()?.to_string_lossy().into_owned())
}
