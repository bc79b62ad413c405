//! Files to bytes: the memory map, the only unsafe code.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The bytes of a capture.
pub(crate) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Maps a file; reads it where it cannot be mapped (a pipe, an empty file).
pub(crate) fn open(path: &Path) -> Result<Bytes> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let meta = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(
        !meta.is_dir(),
        "{} is a folder: captures of `perf record --threads` are not read; record without --threads",
        path.display()
    );
    if meta.is_file() && meta.len() > 0 {
        // SAFETY: the map is read-only and private to this process. Should
        // another process truncate the file meanwhile, reading beyond its end
        // ends this process by SIGBUS; captures are not written to while they
        // are read.
        #[expect(
            unsafe_code,
            reason = "a memory map is the only way to read a large capture without copying it"
        )]
        let map = unsafe { memmap2::Mmap::map(&file) };
        if let Ok(map) = map {
            return Ok(Bytes::Mapped(map));
        }
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Bytes::Owned(bytes))
}
