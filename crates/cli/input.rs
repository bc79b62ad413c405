//! Files, folders and standard input to bytes: the memory map, the only unsafe code.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use agenttrace_model::parse::{Error, Input, Limits, Unpacked};
use anyhow::{Context as _, Result};

/// The bytes of a file.
#[derive(Debug)]
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

/// The files of one capture.
pub(crate) struct Files {
    main: Bytes,
    parts: Vec<Bytes>,
}

impl Files {
    /// The file, standard input for `-`, or the files of a folder that
    /// `perf record --threads` made.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .context("cannot read standard input")?;
            return Ok(Self { main: Bytes::Owned(bytes), parts: Vec::new() });
        }
        if !path.is_dir() {
            return Ok(Self { main: open(path)?, parts: Vec::new() });
        }
        // tools/perf/util/data.c: `data` and `data.N`; before Linux 5.11 `header`.
        let names = ["data", "header"].map(|name| path.join(name));
        let main = names.iter().find(|name| name.exists()).with_context(|| {
            format!(
                "{} is a folder and no capture: `perf record --threads` writes files `data` and `data.N`",
                path.display()
            )
        })?;
        let main = open(main)?;
        let mut numbers = Vec::new();
        let entries = std::fs::read_dir(path);
        for entry in entries.with_context(|| format!("cannot list {}", path.display()))? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("data."));
            numbers.extend(number.and_then(|n| n.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        let parts = numbers.into_iter().map(|n| open(&path.join(format!("data.{n}"))));
        Ok(Self { main, parts: parts.collect::<Result<_>>()? })
    }

    /// Without compression.
    pub(crate) fn unpack(&self, limits: &Limits) -> Result<Unpacked<'_>, Error> {
        let parts = self.parts.iter().map(|part| &**part).collect();
        Unpacked::new(&Input { main: &self.main, parts }, limits)
    }
}

/// The `format` files of a copy of tracefs's `events` folder, by subsystem.
pub(crate) fn format_files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for system in folders(folder)? {
        let name = system.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for event in folders(&system)? {
            let path = event.join("format");
            if path.is_file() {
                let text = std::fs::read_to_string(&path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                texts.push((name.clone(), text));
            }
        }
    }
    anyhow::ensure!(
        !texts.is_empty(),
        "{} holds no SUBSYSTEM/EVENT/format files, as /sys/kernel/tracing/events does",
        folder.display()
    );
    Ok(texts)
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path);
    let mut found = Vec::new();
    for entry in entries.with_context(|| format!("cannot list {}", path.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Maps a file; reads it where it cannot be mapped (a pipe, an empty file).
pub(crate) fn open(path: &Path) -> Result<Bytes> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let meta = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    if meta.is_file()
        && meta.len() > 0
        && let Ok(map) = map(&file)
    {
        return Ok(Bytes::Mapped(map));
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Bytes::Owned(bytes))
}

/// Maps a file.
pub(crate) fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only and private to this process. Should
    // another process truncate the file meanwhile, reading beyond its end
    // ends this process by SIGBUS; captures are not written to while they
    // are read, and a temporary file has no name to open it by.
    #[expect(
        unsafe_code,
        reason = "a memory map is the only way to read a large file without copying it"
    )]
    unsafe {
        memmap2::Mmap::map(file)
    }
}
