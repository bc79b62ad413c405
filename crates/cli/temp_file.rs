//! The temporary file of a large model: nameless, and made when the first rows go there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agenttrace_model::ScratchFile;

use crate::input;

/// Large temporary files, by the Filesystem Hierarchy Standard; `/tmp` may be memory.
const DIR: &str = "/var/tmp";

/// Events of which all rows stay in memory: of about 1 GB, 200 MB of rows.
const IN_MEMORY: usize = 10_000_000;

/// The same for a capture that surely has more: what is given back to the allocator then is
/// not given back to the system, so better little is ever taken.
const OF_LARGE: usize = 2_000_000;

/// More than [`IN_MEMORY`] events are in so many bytes.
const LARGE: u64 = 1_500_000_000;

/// How many events' rows stay in memory, of a capture of so many bytes.
pub(crate) fn in_memory(bytes: u64) -> usize {
    if bytes > LARGE { OF_LARGE } else { IN_MEMORY }
}

/// A file without a name, which is gone when the program ends, however it ends.
pub(crate) struct TempFile {
    dir: PathBuf,
    file: OnceLock<File>,
}

impl TempFile {
    /// In a folder; else in the one that TMPDIR names, or `/var/tmp`.
    pub(crate) fn new(dir: Option<&Path>) -> Self {
        let dir = dir.map(Path::to_path_buf);
        let dir = dir.or_else(|| std::env::var_os("TMPDIR").map(PathBuf::from));
        Self { dir: dir.unwrap_or_else(|| DIR.into()), file: OnceLock::new() }
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = tempfile::tempfile_in(&self.dir).map_err(|e| {
            io::Error::new(e.kind(), format!("cannot make a file in {}: {e}", self.dir.display()))
        })?;
        Ok(self.file.get_or_init(|| file))
    }
}

impl ScratchFile for TempFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file()?.read_exact_at(bytes, offset)
    }

    fn map(&self) -> io::Result<&'static [u8]> {
        // The model lasts nearly as long as the program, which ends without taking it apart.
        Ok(Box::leak(Box::new(input::map(self.file()?)?)))
    }
}
