//! The traced machine to the files of a context folder (docs/CONTEXT.md).
//!
//! It reads what it may and lists what it may not: no right is needed, and each tells more.

mod cgroups;
mod devices;
mod files;
mod machine;
mod topology;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use agenttrace_model::parse::context::{CONTEXT_FORM, escape_name, mountinfo};
use anyhow::{Context as _, Result};

/// What is asked of a snapshot.
pub(crate) struct Wanted<'a> {
    /// Folder to write to; made where it is not there.
    pub(crate) out: &'a Path,
    /// Folders whose files are named.
    pub(crate) trees: &'a [PathBuf],
    /// At most this many files are named.
    pub(crate) most_files: u64,
}

/// What a snapshot found, for people.
#[derive(Default)]
pub(crate) struct Summary {
    /// Lines to print.
    pub(crate) lines: Vec<String>,
    /// How many files and folders could not be read.
    pub(crate) unreadable: u64,
}

/// A folder of files being written.
pub(super) struct Folder<'a> {
    out: &'a Path,
    unreadable: BufWriter<File>,
    count: u64,
}

impl Folder<'_> {
    /// Begins a file with its form.
    pub(super) fn file(&self, name: &str) -> Result<BufWriter<File>> {
        let path = self.out.join(name);
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        writeln!(file, "# {CONTEXT_FORM} {name}")?;
        Ok(file)
    }

    /// Writes a whole file.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let mut file = self.file(name)?;
        file.write_all(text.as_bytes())?;
        file.flush().with_context(|| format!("cannot write {name}"))
    }

    /// Lists what could not be read, and why.
    pub(super) fn unreadable(&mut self, path: &Path, why: &dyn std::fmt::Display) -> Result<()> {
        use std::os::unix::ffi::OsStrExt as _;
        self.count += 1;
        let path = escape_name(path.as_os_str().as_bytes());
        let why = escape_name(why.to_string().as_bytes()).replace("\\040", " ");
        writeln!(self.unreadable, "{path} {why}")?;
        Ok(())
    }

    /// A small file of /proc or /sys; listed where it cannot be read. What is not there is
    /// not listed: machines differ.
    pub(super) fn read(&mut self, path: &Path) -> Result<Option<Vec<u8>>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                self.unreadable(path, &error)?;
                Ok(None)
            }
        }
    }
}

/// Writes the snapshot.
pub(crate) fn write(wanted: &Wanted<'_>) -> Result<Summary> {
    let out = wanted.out;
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    let path = out.join("unreadable");
    let unreadable =
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut folder = Folder { out, unreadable: BufWriter::new(unreadable), count: 0 };
    writeln!(folder.unreadable, "# {CONTEXT_FORM} unreadable")?;
    let mut summary = Summary::default();

    let mounts_text = folder.read(Path::new("/proc/self/mountinfo"))?.unwrap_or_default();
    let mounts = mountinfo(&mounts_text);
    folder.write("mounts", &String::from_utf8_lossy(&mounts_text))?;
    machine::write(&mut folder)?;
    summary.lines.push(devices::write(&mut folder)?);
    summary.lines.push(topology::write(&mut folder)?);
    summary.lines.push(cgroups::write(&mut folder, &mounts)?);
    summary.lines.push(machine::kallsyms(&mut folder)?);
    summary.lines.extend(files::write(&mut folder, &mounts, wanted)?);
    folder.unreadable.flush()?;
    summary.unreadable = folder.count;
    Ok(summary)
}

/// The first line of a small file, without its end.
pub(super) fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().trim().to_owned()
}
