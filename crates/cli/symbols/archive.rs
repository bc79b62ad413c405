//! What `perf archive` wrote, a tar of files by build id, to files for the modules.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agenttrace_model::parse::{BuildId, Limits, plain_reader};
use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::input::{self, Bytes};

/// The files of an archive, unpacked to a temporary folder that goes with this value:
/// blazesym reads files by their path alone, and what is mapped takes no memory.
#[derive(Debug)]
pub(super) struct Archive {
    /// By the first bytes of the build id, as its digits; none are longer than 40.
    files: BTreeMap<String, Vec<PathBuf>>,
    /// Removed when this is dropped.
    folder: TempDir,
    /// Why it was not read to its end, where it was not.
    pub(super) cut: Option<String>,
}

impl Archive {
    /// Unpacks what an archive holds by build id: plain, or compressed with bzip2 (as
    /// `perf archive` does), gzip, zstd or xz.
    ///
    /// # Errors
    /// Where it cannot be opened, or the temporary folder cannot be made. Where its
    /// content is damaged, or more than the limits allow, the rest is left out.
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let bytes = input::open(path)?;
        let folder = tempfile::Builder::new()
            .prefix("agenttrace-")
            .tempdir()
            .context("cannot make a temporary folder for the archive's files")?;
        let mut files = BTreeMap::new();
        let most = limits.most(bytes.len() as u64);
        let cut = unpack(&bytes, most, folder.path(), &mut files)
            .err()
            .map(|error| format!("{}: {error}; what comes after is not used", path.display()));
        Ok(Self { files, folder, cut })
    }

    /// Where its files are while this lives.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The files with this build id, or at least with its digits in their path.
    pub(super) fn files(&self, id: &BuildId) -> &[PathBuf] {
        self.files.get(&key(&id.to_string())).map_or(&[], Vec::as_slice)
    }
}

/// perf before 5.9 pads build ids with zeros.
fn key(digits: &str) -> String {
    digits.trim_end_matches('0').to_owned()
}

fn unpack(
    bytes: &Bytes,
    most: u64,
    folder: &Path,
    files: &mut BTreeMap<String, Vec<PathBuf>>,
) -> io::Result<()> {
    let plain: Box<dyn Read + '_> = match &**bytes {
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::read::MultiBzDecoder::new(&**bytes)),
        other => plain_reader(other)?,
    };
    let mut archive = tar::Archive::new(Bounded { from: plain, left: most });
    for (number, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Some(digits) = build_id(&entry.path()?) else { continue };
        // The name is ours: a path from an archive is not to be trusted.
        let path = folder.join(number.to_string());
        let mut file = std::fs::File::create(&path)?;
        io::copy(&mut entry, &mut file)?;
        files.entry(key(&digits)).or_default().push(path);
    }
    Ok(())
}

/// A stream that fails where more than so many bytes come.
struct Bounded<'a> {
    from: Box<dyn Read + 'a>,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(to)?;
        self.left = self.left.checked_sub(got as u64).ok_or_else(|| {
            io::Error::other(
                "it expands to more than is allowed; where it is not hostile, give a higher \
                 --max-expanded",
            )
        })?;
        Ok(got)
    }
}

/// The build id that a path is of, as digits: `usr/lib/libc.so.6/ab12.../elf` (perf since
/// 4.6, where `.build-id/ab/12...` is a link to the folder), `.build-id/ab/12.../elf`,
/// `.build-id/ab/12...`, with or without `.debug`.
fn build_id(path: &Path) -> Option<String> {
    let parts: Vec<&OsStr> = path.iter().collect();
    let digits = |text: &str| BuildId::from_hex(text).is_some().then(|| text.to_lowercase());
    let pair = |high: &OsStr, low: &OsStr| {
        let (high, low) = (high.to_str()?, low.to_str()?);
        let low = low.strip_suffix(".debug").unwrap_or(low);
        if high.len() == 2 { digits(&format!("{high}{low}")) } else { None }
    };
    const CONTENT: [&str; 4] = ["elf", "vdso", "kallsyms", "debug"];
    match &parts[..] {
        [.., high, low, file] if CONTENT.iter().any(|name| file == name) => {
            let whole = || low.to_str().filter(|low| low.len() >= 16).and_then(digits);
            pair(high, low).or_else(whole)
        }
        [.., link, high, low] if *link == ".build-id" => pair(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_every_perf() {
        let id = "48dc540c8b76393804ca8088dbfa7d42911a9444";
        let rest = &id[2..];
        for path in [
            format!("usr/lib/libc.so.6/{id}/elf"),
            format!("./[kernel.kallsyms]/{id}/kallsyms"),
            format!("[vdso]/{id}/vdso"),
            format!(".build-id/48/{rest}/elf"),
            format!(".build-id/48/{rest}"),
            format!(".build-id/48/{rest}.debug"),
        ] {
            assert_eq!(build_id(Path::new(&path)).as_deref(), Some(id), "{path}");
        }
        for path in [format!("usr/lib/libc.so.6/{id}/probes"), "elf".into(), "a/b/elf".into()] {
            assert_eq!(build_id(Path::new(&path)), None, "{path}");
        }
    }
}
