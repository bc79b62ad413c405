//! Mappings and open files of processes, and trees of folders, to `files`: device and
//! inode to path, by the kernel's own device numbers.
//!
//! `stat(2)` is no help for those: btrfs gives each subvolume a device of its own, and
//! overlayfs one that its files' pages do not have. Mountinfo tells the superblock's.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use agenttrace_model::parse::Dev;
use agenttrace_model::parse::context::{Mount, escape_name, unescape_name};
use anyhow::{Context as _, Result};

use super::{Folder, Wanted};

/// Filesystems without files of their own, where a walk would only wake the kernel.
const UNREAL: &[&str] = &[
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "tracefs",
    "debugfs",
    "devpts",
    "securityfs",
    "bpf",
    "configfs",
    "pstore",
    "devtmpfs",
    "mqueue",
    "fusectl",
    "binfmt_misc",
    "autofs",
    "selinuxfs",
    "efivarfs",
    "nsfs",
    "rpc_pipefs",
];

/// Names written so far.
struct Names {
    file: BufWriter<File>,
    /// Of mappings and open files: trees are too large to remember.
    seen: HashSet<(Dev, u64)>,
    files: u64,
    folders: u64,
    left_out: bool,
    most: u64,
}

pub(super) fn write(
    folder: &mut Folder<'_>,
    mounts: &[Mount],
    wanted: &Wanted<'_>,
) -> Result<Vec<String>> {
    let mut names = Names {
        file: folder.file("files")?,
        seen: HashSet::new(),
        files: 0,
        folders: 0,
        left_out: false,
        most: wanted.most_files,
    };
    let table = MountTable::new(mounts);
    let mut processes = 0_u64;
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        processes += 1;
        let process = PathBuf::from(format!("/proc/{pid}"));
        mapped(folder, &process.join("maps"), &mut names)?;
        opened(folder, &process, &table, &mut names)?;
    }
    let mut lines =
        vec![format!("files       {} mapped or open in {processes} processes", names.files)];
    for tree in wanted.trees {
        let root = std::fs::canonicalize(tree)
            .with_context(|| format!("--tree {}: no such folder", tree.display()))?;
        let before = (names.files, names.folders);
        walk(folder, root, &table, &mut names)?;
        let (files, folders) = (names.files - before.0, names.folders - before.1);
        let path = escape_name(tree.as_os_str().as_bytes());
        lines.push(format!("            {files} in {folders} folders of {path}"));
    }
    if names.left_out {
        lines.push(format!(
            "            others were left out: at most {} are named (--most-files)",
            names.most
        ));
    }
    names.file.flush()?;
    Ok(lines)
}

impl Names {
    fn path(&mut self, dev: Dev, ino: u64, path: &[u8]) -> Result<()> {
        if self.files >= self.most {
            self.left_out = true;
        } else if self.seen.insert((dev, ino)) {
            self.files += 1;
            writeln!(self.file, "p {dev} {ino} {}", escape_name(path))?;
        }
        Ok(())
    }
}

/// The files of /proc/PID/maps (proc_pid_maps(5)): it names the superblock's device.
fn mapped(folder: &mut Folder<'_>, path: &Path, names: &mut Names) -> Result<()> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        // The process ended meanwhile: ENOENT, ESRCH.
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return folder.unreadable(path, &error),
    };
    for line in text.split(|b| *b == b'\n') {
        if let Some((dev, ino, path)) = mapping(line) {
            names.path(dev, ino, &unescape_name(path))?;
        }
    }
    Ok(())
}

fn gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(3)
}

/// Device, inode and path of `START-END PERMS OFFSET MAJOR:MINOR INODE   PATH`.
fn mapping(line: &[u8]) -> Option<(Dev, u64, &[u8])> {
    let mut words = line.split(|b| *b == b' ');
    let (major, minor) = std::str::from_utf8(words.nth(3)?).ok()?.split_once(':')?;
    let dev = Dev::new(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let ino: u64 = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let slash = memchr::memchr(b'/', line)?;
    (ino != 0).then(|| Some((dev, ino, line.get(slash..)?)))?
}

/// What is open: the links of /proc/PID/fd.
fn opened(
    folder: &mut Folder<'_>,
    process: &Path,
    table: &MountTable<'_>,
    names: &mut Names,
) -> Result<()> {
    let fds = process.join("fd");
    let entries = match std::fs::read_dir(&fds) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return folder.unreadable(&fds, &error),
    };
    for entry in entries.flatten() {
        // Through the link: the file itself, wherever its path leads now.
        let (Ok(meta), Ok(path)) =
            (std::fs::metadata(entry.path()), std::fs::read_link(entry.path()))
        else {
            continue;
        };
        if meta.is_file() && path.is_absolute() {
            let dev = table.of_stat(meta.dev(), &path);
            names.path(dev, meta.ino(), path.as_os_str().as_bytes())?;
        }
    }
    Ok(())
}

/// Every regular file below a folder. Links are not followed; `readdir` tells the inodes,
/// so that no file is looked at but those of overlays and mount points.
fn walk(
    folder: &mut Folder<'_>,
    root: PathBuf,
    table: &MountTable<'_>,
    names: &mut Names,
) -> Result<()> {
    let mut left = vec![root];
    while let Some(path) = left.pop() {
        let mount = table.of_path(&path);
        if mount.is_some_and(|m| UNREAL.contains(&m.fstype.as_str())) {
            continue;
        }
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if gone(&error) => continue,
            Err(error) => {
                folder.unreadable(&path, &error)?;
                continue;
            }
        };
        names.folders += 1;
        let dev = mount.map_or_else(|| stat_dev(&path), |m| m.dev);
        let layers = mount.map(Layers::of).unwrap_or_default();
        let mut named = false;
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                left.push(entry.path());
                continue;
            }
            if !kind.is_file() {
                continue;
            }
            if names.files >= names.most {
                names.left_out = true;
                return Ok(());
            }
            let below = layers.real(&entry.path(), table);
            let over = || {
                let path = entry.path();
                let mount = table.points.get(path.as_path())?;
                Some((mount.dev, std::fs::metadata(&path).ok()?.ino()))
            };
            if let Some((dev, ino)) = below.or_else(over) {
                let path = escape_name(entry.path().as_os_str().as_bytes());
                writeln!(names.file, "p {dev} {ino} {path}")?;
            } else {
                if !named {
                    writeln!(names.file, "d {dev} {}", escape_name(path.as_os_str().as_bytes()))?;
                    named = true;
                }
                let name = escape_name(entry.file_name().as_bytes());
                writeln!(names.file, "f {} {name}", entry.ino())?;
            }
            names.files += 1;
        }
    }
    Ok(())
}

fn stat_dev(path: &Path) -> Dev {
    std::fs::metadata(path).map_or_else(|_| Dev::default(), |meta| kernel_dev(meta.dev()))
}

/// What `stat(2)` gives as glibc packs it (sysmacros.h), in the kernel's form.
fn kernel_dev(dev: u64) -> Dev {
    let major = ((dev >> 8) & 0xfff) | ((dev >> 32) & 0xffff_f000);
    let minor = (dev & 0xff) | ((dev >> 12) & 0xffff_ff00);
    Dev::new(u32::try_from(major).unwrap_or(0), u32::try_from(minor).unwrap_or(0))
}

/// The mounts by their place.
struct MountTable<'a> {
    points: HashMap<&'a Path, &'a Mount>,
}

impl<'a> MountTable<'a> {
    fn new(mounts: &'a [Mount]) -> Self {
        // Of several at one place the last is on top.
        Self { points: mounts.iter().map(|m| (Path::new(&m.point), m)).collect() }
    }

    /// The mount that a path lies in.
    fn of_path(&self, path: &Path) -> Option<&'a Mount> {
        path.ancestors().find_map(|above| self.points.get(above).copied())
    }

    /// The kernel's device of a file of which `stat(2)` was asked: another one for btrfs and
    /// overlayfs.
    fn of_stat(&self, dev: u64, path: &Path) -> Dev {
        match self.of_path(path) {
            Some(mount) if mount.fstype == "btrfs" => mount.dev,
            _ => kernel_dev(dev),
        }
    }
}

/// The folders below an overlay, the upper first: a file's pages, and so the device and
/// inode in events, are those of the layer that holds it (fs/overlayfs/file.c).
#[derive(Default)]
struct Layers {
    point: PathBuf,
    layers: Vec<PathBuf>,
}

impl Layers {
    fn of(mount: &Mount) -> Self {
        if mount.fstype != "overlay" {
            return Self::default();
        }
        let option = |key: &str| {
            let value = mount.options.split(',').find_map(|o| o.strip_prefix(key));
            value.map(|v| v.split(':').map(PathBuf::from).collect::<Vec<_>>()).unwrap_or_default()
        };
        let mut layers = option("upperdir=");
        layers.extend(option("lowerdir="));
        // Inside a container they are out of sight.
        layers.retain(|layer| layer.is_dir());
        Self { point: PathBuf::from(&mount.point), layers }
    }

    fn real(&self, path: &Path, table: &MountTable<'_>) -> Option<(Dev, u64)> {
        if self.layers.is_empty() {
            return None;
        }
        let below = path.strip_prefix(&self.point).ok()?;
        self.layers.iter().find_map(|layer| {
            let real = layer.join(below);
            let meta = std::fs::symlink_metadata(&real).ok().filter(std::fs::Metadata::is_file)?;
            Some((table.of_stat(meta.dev(), &real), meta.ino()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line = b"7f1-7f2 r-xp 00028000 fe:01 996057                     /usr/lib/a b.so";
        assert_eq!(mapping(line), Some((Dev::new(254, 1), 996_057, &b"/usr/lib/a b.so"[..])));
        assert_eq!(mapping(b"7f1-7f2 rw-p 00000000 00:00 0       [heap]"), None);
        assert_eq!(mapping(b"7f1-7f2 rw-p 00000000 00:00 0 "), None);
        assert_eq!(mapping(b""), None);
    }

    #[test]
    fn device_numbers_of_stat_and_of_the_kernel() {
        // 254:1, and a minor number above 255.
        assert_eq!(kernel_dev(0xfe01), Dev::new(254, 1));
        assert_eq!(kernel_dev(0x0010_0802), Dev::new(8, 258));
    }

    #[test]
    fn the_innermost_mount_holds_a_path() {
        let mount = |point: &str, fstype: &str, minor| Mount {
            dev: Dev::new(254, minor),
            point: point.to_owned(),
            fstype: fstype.to_owned(),
            ..Mount::default()
        };
        let mounts = [mount("/", "ext4", 1), mount("/srv", "btrfs", 2), mount("/srv", "xfs", 3)];
        let table = MountTable::new(&mounts);
        let dev = |path: &str| table.of_path(Path::new(path)).map(|m| m.dev.minor());
        assert_eq!((dev("/srv/a/b"), dev("/srv2/a"), dev("/")), (Some(3), Some(1), Some(1)));
    }
}
