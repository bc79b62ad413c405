//! Files by device and inode, their names from mappings, and each process's mappings.

use std::collections::BTreeMap;

use agenttrace_parse::{Dev, FileId, Pid};
use rustc_hash::FxHashMap;

use crate::names::NameSource;

/// A file that faults, page-cache events or mappings mention.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileInfo {
    /// Device and inode.
    pub id: FileId,
    /// Path, where a mapping told it.
    pub path: Option<String>,
    /// Who told the path.
    pub source: Option<NameSource>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    end: u64,
    file: Option<u32>,
}

/// All files, and who maps them where.
#[derive(Default, Debug)]
pub(crate) struct Files {
    pub(crate) list: Vec<FileInfo>,
    by_id: FxHashMap<FileId, u32>,
    maps: FxHashMap<Pid, BTreeMap<u64, Mapping>>,
}

impl Files {
    pub(crate) fn intern(&mut self, dev: Dev, ino: u64) -> u32 {
        let id = FileId { dev, ino };
        *self.by_id.entry(id).or_insert_with(|| {
            self.list.push(FileInfo { id, path: None, source: None });
            u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
        })
    }

    pub(crate) fn mapped(
        &mut self,
        pid: Pid,
        addr: u64,
        len: u64,
        dev: Dev,
        ino: u64,
        name: &[u8],
    ) {
        let file = (ino != 0 && name.first() == Some(&b'/')).then(|| {
            let file = self.intern(dev, ino);
            if let Some(info) = self.list.get_mut(file as usize)
                && info.path.is_none()
            {
                info.path = Some(String::from_utf8_lossy(name).into_owned());
                info.source = Some(NameSource::MmapRecord);
            }
            file
        });
        let map = self.maps.entry(pid).or_default();
        let end = addr.saturating_add(len);
        // What a new mapping covers is gone; of an older one that reaches into
        // it, the part below stays.
        if let Some((_, older)) = map.range_mut(..addr).next_back() {
            older.end = older.end.min(addr);
        }
        let covered: Vec<u64> = map.range(addr..end).map(|(start, _)| *start).collect();
        for start in covered {
            map.remove(&start);
        }
        map.insert(addr, Mapping { end, file });
    }

    pub(crate) fn at(&self, pid: Pid, address: u64) -> Option<u32> {
        let (_, mapping) = self.maps.get(&pid)?.range(..=address).next_back()?;
        if address < mapping.end { mapping.file } else { None }
    }

    pub(crate) fn forked(&mut self, parent: Pid, child: Pid) {
        if let Some(map) = self.maps.get(&parent).cloned() {
            self.maps.insert(child, map);
        }
    }

    pub(crate) fn gone(&mut self, pid: Pid) {
        self.maps.remove(&pid);
    }
}
