//! The cgroup hierarchies to `cgroups`: throttling, memory events, of version 2 and 1.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use agenttrace_model::parse::context::{Mount, escape_name};
use anyhow::Result;

use super::Folder;

/// At most this many cgroups of a hierarchy are read.
const MOST: usize = 20_000;

/// Files with a key and a number on each line, or a number alone
/// (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
const V2: &[&str] = &["cpu.stat", "memory.events"];
const V1_CPU: &[&str] = &["cpu.stat"];
const V1_MEMORY: &[&str] = &["memory.failcnt", "memory.oom_control"];

pub(super) fn write(folder: &mut Folder<'_>, mounts: &[Mount]) -> Result<String> {
    let mut file = folder.file("cgroups")?;
    let mut count = 0_u64;
    let mut left_out = 0_u64;
    let mut seen = Vec::new();
    for mount in mounts {
        let controller = |name: &str| mount.options.split(',').any(|option| option == name);
        let wanted = match mount.fstype.as_str() {
            "cgroup2" => V2,
            "cgroup" if controller("cpu") => V1_CPU,
            "cgroup" if controller("memory") => V1_MEMORY,
            _ => continue,
        };
        // A hierarchy may be mounted in several places.
        if seen.contains(&(mount.dev, wanted)) {
            continue;
        }
        seen.push((mount.dev, wanted));
        let root = PathBuf::from(&mount.point);
        let mut left = vec![root.clone()];
        let mut groups = 0;
        while let Some(group) = left.pop() {
            if groups == MOST {
                left_out = left_out.saturating_add(left.len() as u64 + 1);
                break;
            }
            groups += 1;
            let below = group.strip_prefix(&root).unwrap_or(&group).as_os_str().as_bytes();
            let name = format!("/{}", escape_name(below));
            for kind in wanted {
                let Some(bytes) = folder.read(&group.join(kind))? else { continue };
                for row in String::from_utf8_lossy(&bytes).lines() {
                    let (key, value) = row.rsplit_once(' ').unwrap_or(("", row));
                    if value.parse::<u64>().is_ok() {
                        let key = escape_name(key.as_bytes());
                        let space = if key.is_empty() { "" } else { " " };
                        writeln!(file, "{name} {kind}{space}{key} {value}")?;
                    }
                }
            }
            count += 1;
            match std::fs::read_dir(&group) {
                Ok(entries) => left.extend(
                    entries
                        .flatten()
                        .filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()))
                        .map(|e| e.path()),
                ),
                // It may have been removed meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => folder.unreadable(Path::new(&group), &error)?,
            }
        }
    }
    file.flush()?;
    let more = if left_out > 0 { format!(", {left_out} and more left out") } else { String::new() };
    Ok(format!("cgroups     {count}{more}"))
}
