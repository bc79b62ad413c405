//! /proc to `machine`, `meminfo` and `kallsyms`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use agenttrace_model::parse::context::escape_name;
use anyhow::Result;

use super::{Folder, line};

pub(super) fn write(folder: &mut Folder<'_>) -> Result<()> {
    let mut text = String::new();
    for (key, path) in [
        ("hostname", "/proc/sys/kernel/hostname"),
        ("release", "/proc/sys/kernel/osrelease"),
        ("version", "/proc/sys/kernel/version"),
        ("boot_id", "/proc/sys/kernel/random/boot_id"),
    ] {
        if let Some(bytes) = folder.read(Path::new(path))? {
            let _ = writeln!(text, "{key} {}", escape_name(line(&bytes).as_bytes()));
        }
    }
    let arch = folder.read(Path::new("/proc/sys/kernel/arch"))?;
    let arch = arch.map_or_else(|| std::env::consts::ARCH.to_owned(), |bytes| line(&bytes));
    let _ = writeln!(text, "arch {}", escape_name(arch.as_bytes()));
    if let Some(stat) = folder.read(Path::new("/proc/stat"))? {
        let stat = String::from_utf8_lossy(&stat);
        if let Some(seconds) = stat.lines().find_map(|l| l.strip_prefix("btime ")) {
            let _ = writeln!(text, "boot_s {}", seconds.trim());
        }
    }
    if let Some(info) = folder.read(Path::new("/proc/cpuinfo"))? {
        let info = String::from_utf8_lossy(&info);
        let value = |wanted: &[&str]| {
            info.lines().find_map(|l| {
                let (key, value) = l.split_once(':')?;
                wanted.contains(&key.trim()).then(|| value.trim().to_owned())
            })
        };
        if let Some(model) = value(&["model name", "Processor"]) {
            let _ = writeln!(text, "cpu_model {}", escape_name(model.as_bytes()));
        }
        // x86; ARM.
        if let Some(flags) = value(&["flags", "Features"]) {
            let flags: Vec<String> =
                flags.split_whitespace().map(|flag| escape_name(flag.as_bytes())).collect();
            let _ = writeln!(text, "cpu_flags {}", flags.join(" "));
        }
    }
    folder.write("machine", &text)?;
    let meminfo = folder.read(Path::new("/proc/meminfo"))?.unwrap_or_default();
    folder.write("meminfo", &String::from_utf8_lossy(&meminfo))
}

/// Without the right to see addresses, the kernel shows zeros; such a text helps nobody.
pub(super) fn kallsyms(folder: &mut Folder<'_>) -> Result<String> {
    let path = Path::new("/proc/kallsyms");
    let Some(text) = folder.read(path)? else {
        return Ok("kallsyms    none".to_owned());
    };
    let hidden = text
        .split(|b| *b == b'\n')
        .all(|l| l.iter().take_while(|b| **b != b' ').all(|b| *b == b'0'));
    if hidden {
        folder.unreadable(path, &"addresses are hidden: needs root, or kernel.kptr_restrict=0")?;
        // One of an earlier run would be of another time.
        let _ = std::fs::remove_file(folder.out.join("kallsyms"));
        return Ok("kallsyms    hidden (root, or kernel.kptr_restrict=0, shows them)".to_owned());
    }
    let mut file = folder.file("kallsyms")?;
    file.write_all(&text)?;
    file.flush()?;
    Ok(format!("kallsyms    {} symbols", memchr::memchr_iter(b'\n', &text).count()))
}
