//! What the capture, and a context made on the traced machine, tell of names.

use std::collections::BTreeMap;

use agenttrace_parse::context::{BlockDevice, CgroupCount, Machine, Mount};
use agenttrace_parse::{Addr, Dev};

use crate::model::Model;

/// Where a name comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NameSource {
    /// A mapping that the recorder wrote down (`PERF_RECORD_MMAP2`).
    MmapRecord,
    /// The name of the journal's thread: `jbd2/vda1-8` commits what is on vda1.
    JournalThread,
    /// A folder that `agenttrace context` wrote.
    Context,
}

impl NameSource {
    /// The words in reports.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::MmapRecord => "mmap record",
            Self::JournalThread => "journal thread",
            Self::Context => "context",
        }
    }
}

/// What is known of a block device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceInfo {
    /// Its name: `vda1`.
    pub name: String,
    /// Who told it.
    pub source: NameSource,
    /// Settings of its queue, by their names in sysfs; empty without a context.
    pub settings: Vec<(String, String)>,
}

/// What a context adds to a model, ready to be used.
#[derive(Clone, Default, Debug)]
pub struct Context {
    /// The machine that it was made on.
    pub machine: Machine,
    /// Block devices.
    pub devices: Vec<BlockDevice>,
    /// Mounted filesystems.
    pub mounts: Vec<Mount>,
    /// What cgroups counted.
    pub cgroups: Vec<CgroupCount>,
    /// Paths of files of [`Model::files`], by their index there.
    pub paths: BTreeMap<u32, String>,
}

impl Model {
    /// Takes over the names of a context. A file keeps the path that a mapping told; a
    /// device takes the context's.
    pub fn apply_context(&mut self, context: Context) {
        for (file, path) in context.paths {
            if let Some(info) = self.files.get_mut(file as usize)
                && info.path.is_none()
            {
                info.path = Some(path);
                info.source = Some(NameSource::Context);
            }
        }
        for device in context.devices {
            let BlockDevice { dev, name, settings } = device;
            self.devices.insert(dev, DeviceInfo { name, source: NameSource::Context, settings });
        }
        self.mounts = context.mounts;
        self.cgroups = context.cgroups;
        self.machine = Some(context.machine);
    }

    /// The type of the filesystem with this number, where the context tells: `ext4`.
    #[must_use]
    pub fn filesystem(&self, dev: Dev) -> Option<&str> {
        self.mounts.iter().find(|mount| mount.dev == dev).map(|mount| mount.fstype.as_str())
    }

    /// The kernel's function, or variable, at exactly this address, where a kallsyms tells.
    #[must_use]
    pub fn kernel_name(&self, at: Addr) -> Option<&str> {
        self.kernel_names.get(&at).map(String::as_str)
    }

    /// Names that the capture itself tells of devices: threads of journals are called after
    /// the partition that they commit (`fs/jbd2/journal.c`, jbd2_journal_init_inode), and
    /// bios are remapped from partitions to their disks.
    pub(crate) fn name_devices(&mut self, disk_of: &BTreeMap<Dev, Dev>) {
        let mut found: BTreeMap<Dev, String> = BTreeMap::new();
        for task in &self.tasks {
            let Some(name) =
                task.names.iter().find_map(|(_, comm)| journal_device(comm.as_bytes()))
            else {
                continue;
            };
            if let Some(dev) = task.ops.iter().find_map(|op| op.commit()) {
                found.entry(dev).or_insert(name);
            }
        }
        for (part, disk) in disk_of {
            if let Some(name) = found.get(part).and_then(|name| disk_name(name)) {
                found.entry(*disk).or_insert(name);
            }
        }
        for (dev, name) in found {
            let source = NameSource::JournalThread;
            self.devices.insert(dev, DeviceInfo { name, source, settings: Vec::new() });
        }
    }
}

/// `jbd2/vda1-8`: the device before the last dash. A name of 15 bytes may be cut off, and
/// then has no inode after it.
fn journal_device(comm: &[u8]) -> Option<String> {
    let rest = std::str::from_utf8(comm).ok()?.strip_prefix("jbd2/")?;
    let (device, inode) = rest.rsplit_once('-')?;
    let whole = !inode.is_empty() && inode.bytes().all(|b| b.is_ascii_digit());
    let cut = comm.len() >= 15 && inode.is_empty();
    let sane = !device.is_empty() && device.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    // `jbd2/dm-1234567` was cut before its inode.
    ((whole || cut) && sane && !matches!(device, "dm" | "md")).then(|| device.to_owned())
}

/// The disk of a partition's name: `vda1` is on vda, `nvme0n1p2` on nvme0n1
/// (block/partitions/core.c: a `p` in between after a digit).
fn disk_name(partition: &str) -> Option<String> {
    let disk = partition.trim_end_matches(|c: char| c.is_ascii_digit());
    if disk.len() == partition.len() {
        return None;
    }
    match disk.strip_suffix('p') {
        Some(numbered) if numbered.ends_with(|c: char| c.is_ascii_digit()) => {
            Some(numbered.to_owned())
        }
        _ => (!disk.is_empty()).then(|| disk.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_threads_name_their_device() {
        let device = |comm: &str| journal_device(comm.as_bytes());
        assert_eq!(device("jbd2/vda1-8").as_deref(), Some("vda1"));
        assert_eq!(device("jbd2/dm-0-8").as_deref(), Some("dm-0"));
        assert_eq!(device("jbd2/nvme0n1p2-").as_deref(), Some("nvme0n1p2"));
        for other in ["jbd2/nvme10n1p2", "jbd2/dm-1234567", "jbd2/-8", "jbd2/a;b-8", "kworker/0:1"]
        {
            assert_eq!(device(other), None, "{other}");
        }
    }

    #[test]
    fn disks_of_partitions() {
        let names = ["vda1", "nvme0n1p2", "mmcblk0p10", "loop0p1"].map(disk_name);
        let disks = ["vda", "nvme0n1", "mmcblk0", "loop0"].map(|d| Some(d.to_owned()));
        assert_eq!(names, disks);
        assert_eq!(disk_name("vda"), None);
    }
}
