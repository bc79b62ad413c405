//! Modules to the files that hold them: where is looked, and when a file is believed.
//!
//! A file counts only where its build id is the module's. Where the capture knows no
//! build id of a module, a file is taken from the folder that the user named (`--symfs`)
//! alone, with a note: not from the path itself, not even with the same inode, for a file
//! that was written again in place keeps that.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use agenttrace_model::parse::{BuildId, Limits};
use agenttrace_model::stacks::elf::ElfFile;
use agenttrace_model::stacks::{Module, ModuleKind, SymbolSource};

use super::archive::Archive;
use super::elf::Elf;
use crate::input::{self, Bytes};

/// Where files are looked for.
#[derive(Debug)]
pub(super) struct Places {
    /// `--symfs`.
    pub(super) symfs: Option<PathBuf>,
    /// perf's build-id cache.
    pub(super) cache: Option<PathBuf>,
    /// What `perf archive` wrote.
    pub(super) archive: Option<PathBuf>,
    /// `--modules`.
    pub(super) modules: Option<PathBuf>,
    pub(super) limits: Limits,
    unpacked: OnceLock<Option<Archive>>,
    /// In the order of their words: threads come to them in any order.
    notes: Mutex<BTreeSet<String>>,
}

/// A file that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// What the user knows it by: the archive, for a file that was unpacked from it.
    pub(super) shown: String,
    pub(super) bytes: Bytes,
}

/// The files of one module.
#[derive(Debug, Default)]
pub(super) struct ModuleFiles {
    /// With its code.
    pub(super) code: Option<Found>,
    /// With more symbols or debug information than that.
    pub(super) symbols: Option<Found>,
    /// Files that are of another build, or of none.
    wrong: Vec<String>,
    /// Where was looked.
    looked: Vec<String>,
}

/// How much a file tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rich {
    Nothing,
    Symbols,
    Debug,
}

/// Debug information of a distribution's packages.
const DEBUG: &str = "/usr/lib/debug";

impl Places {
    pub(super) fn new(
        symfs: Option<PathBuf>,
        cache: Option<PathBuf>,
        archive: Option<PathBuf>,
        modules: Option<PathBuf>,
        limits: Limits,
    ) -> Self {
        let (unpacked, notes) = (OnceLock::new(), Mutex::default());
        Self { symfs, cache, archive, modules, limits, unpacked, notes }
    }

    /// Something that the user must know.
    pub(super) fn note(&self, text: String) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.insert(text);
        }
    }

    /// All notes so far.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.lock().map(|notes| notes.iter().cloned().collect()).unwrap_or_default()
    }

    /// What the user knows a file by.
    pub(super) fn shown(&self, path: &Path) -> String {
        let unpacked = self.unpacked.get().and_then(Option::as_ref);
        let archived = unpacked.is_some_and(|archive| path.starts_with(archive.folder()));
        let path = self.archive.as_deref().filter(|_| archived).unwrap_or(path);
        path.display().to_string()
    }

    /// The files in the archive with this build id. It is unpacked when first asked.
    pub(super) fn archived(&self, id: &BuildId) -> &[PathBuf] {
        let archive = self.unpacked.get_or_init(|| {
            let path = self.archive.as_ref()?;
            let archive = Archive::open(path, &self.limits);
            let archive = archive.map_err(|error| self.note(format!("{error:#}"))).ok()?;
            if let Some(cut) = &archive.cut {
                self.note(cut.clone());
            }
            Some(archive)
        });
        archive.as_ref().map_or(&[], |archive| archive.files(id))
    }

    /// Looks for a module of user space.
    pub(super) fn find(&self, module: &Module) -> ModuleFiles {
        let mut hunt = Hunt { places: self, module, files: ModuleFiles::default(), rich: None };
        hunt.everywhere();
        hunt.files
    }

    /// Folders in which blazesym finds what debug information refers to by build id.
    pub(super) fn debug_folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        if let Some(symfs) = &self.symfs {
            folders.extend([symfs.clone(), symfs.join("usr/lib/debug")]);
        }
        folders.push(PathBuf::from(DEBUG));
        folders
    }

    /// The places of one build in a folder's `.build-id`.
    pub(super) fn by_build_id(folder: &Path, id: &BuildId, names: &[&str]) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for digits in digits(id) {
            let Some((high, low)) = digits.split_at_checked(2) else { continue };
            let base = folder.join(".build-id").join(high);
            paths.extend(names.iter().map(|name| base.join(format!("{low}{name}"))));
        }
        paths
    }
}

/// The ways to write a build id: as it is, and padded with zeros to 20 bytes or not, as
/// perf before 5.9 has all.
fn digits(id: &BuildId) -> Vec<String> {
    let given = id.to_string();
    let mut short = given.trim_end_matches('0').to_owned();
    if !short.len().is_multiple_of(2) {
        short.push('0');
    }
    let mut all = vec![given.clone(), format!("{given:0<40}"), format!("{short:0<32}"), short];
    let mut seen = BTreeSet::new();
    all.retain(|digits| seen.insert(digits.clone()));
    all
}

/// A module's path below a folder; `None` where it would lead out of it.
pub(super) fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut to = folder.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => to.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(to)
}

impl ModuleFiles {
    /// Why there is no file.
    pub(super) fn lacking(&self, module: &Module) -> SymbolSource {
        if let Some(found) = self.symbols.as_ref().or(self.code.as_ref()) {
            SymbolSource::NoSymbols(found.shown.clone())
        } else if let Some(wrong) = self.wrong.first() {
            SymbolSource::WrongBuild(wrong.clone())
        } else if module.build_id.is_none() {
            SymbolSource::UnknownBuild
        } else {
            SymbolSource::NotFound(self.looked.clone())
        }
    }
}

struct Hunt<'a> {
    places: &'a Places,
    module: &'a Module,
    files: ModuleFiles,
    /// How much the richest file so far tells.
    rich: Option<Rich>,
}

impl Hunt<'_> {
    fn everywhere(&mut self) {
        let module = self.module;
        if let Some(symfs) = self.places.symfs.clone() {
            self.look(format!("--symfs {}", symfs.display()));
            if let Some(id) = &module.build_id {
                self.all(Places::by_build_id(&symfs, id, &["", "/elf", "/vdso", ".debug"]));
            }
            let name = Path::new(&module.path).file_name();
            let path = below(&symfs, &module.path);
            self.all(path.into_iter().chain(name.map(|name| symfs.join(name))));
            self.separate(&symfs);
        }
        if let Some(cache) = self.places.cache.clone() {
            self.look(format!("the build-id cache {}", cache.display()));
            if let Some(id) = &module.build_id {
                self.all(Places::by_build_id(&cache, id, &["/elf", "/vdso", "/debug", ""]));
            }
        }
        if let (ModuleKind::File, Some(_)) = (module.kind, &module.build_id) {
            self.look(module.path.clone());
            self.all([PathBuf::from(&module.path)]);
        }
        self.separate(Path::new("/"));
        // Last, for all of it must be unpacked: what is there is the same build.
        if let (Some(archive), Some(id)) = (&self.places.archive, &module.build_id)
            && (self.files.code.is_none() || self.rich < Some(Rich::Symbols))
        {
            self.look(archive.display().to_string());
            self.all(self.places.archived(id).to_vec());
        }
    }

    /// Separate debug information below a root: by build id, and by the name that the
    /// code's file gives.
    fn separate(&mut self, root: &Path) {
        let Some(id) = &self.module.build_id else { return };
        let Some(folder) = below(root, DEBUG) else { return };
        self.all(Places::by_build_id(&folder, id, &[".debug"]));
        let code = self.files.code.as_ref().and_then(|found| Elf::new(&found.bytes));
        let Some(link) = code.and_then(|elf| elf.debug_link()).map(OsStr::from_bytes) else {
            return;
        };
        // A name, not a path.
        if Path::new(link).file_name() != Some(link) {
            return;
        }
        let Some(own) = Path::new(&self.module.path).parent().and_then(Path::to_str) else {
            return;
        };
        let places = [below(root, own), below(&folder, own)].into_iter().flatten();
        let paths: Vec<PathBuf> =
            places.flat_map(|dir| [dir.join(link), dir.join(".debug").join(link)]).collect();
        self.all(paths);
    }

    fn look(&mut self, place: String) {
        self.files.looked.push(place);
    }

    fn all(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        for path in paths {
            if self.files.code.is_some() && self.rich == Some(Rich::Debug) {
                return;
            }
            self.one(path);
        }
    }

    fn one(&mut self, path: PathBuf) {
        if !path.is_file() {
            return;
        }
        let Ok(bytes) = input::open(&path) else { return };
        let Some(elf) = ElfFile::parse(&bytes) else { return };
        let shown = self.places.shown(&path);
        match (&self.module.build_id, &elf.build_id) {
            (Some(wanted), Some(id)) if wanted.same(id) => {}
            (Some(wanted), Some(id)) => {
                let text = format!("{shown} is build {id}, not {wanted}");
                return self.files.wrong.push(text);
            }
            (Some(wanted), None) => {
                let text = format!("{shown} has no build id, not {wanted}");
                return self.files.wrong.push(text);
            }
            // Only --symfs is searched then: see the top of this file.
            (None, _) => self.places.note(format!(
                "the capture has no build id of {}: {} is taken for it, because --symfs names it",
                self.module.path,
                path.display()
            )),
        }
        let rich = match (elf.has_symbols, elf.has_debug_info) {
            (_, true) => Rich::Debug,
            (true, false) => Rich::Symbols,
            (false, false) => Rich::Nothing,
        };
        let code = self.files.code.is_none() && Elf::new(&bytes).is_some_and(|e| e.has_code());
        if code {
            self.files.code = Some(Found { path, shown, bytes });
            if self.rich < Some(rich) {
                self.files.symbols = None;
                self.rich = Some(rich);
            }
        } else if self.rich < Some(rich) {
            self.files.symbols = Some(Found { path, shown, bytes });
            self.rich = Some(rich);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_folder() {
        let folder = Path::new("/sym");
        assert_eq!(below(folder, "/usr/lib/./a.so"), Some(PathBuf::from("/sym/usr/lib/a.so")));
        assert_eq!(below(folder, "/usr/../../etc/passwd"), None);
        assert_eq!(below(folder, "a b"), Some(PathBuf::from("/sym/a b")));
    }

    #[test]
    fn build_ids_of_every_length() {
        let id = BuildId::from_hex("0123456789abcdef").unwrap();
        let padded = format!("23456789abcdef{}", "0".repeat(24));
        let all: Vec<PathBuf> = Places::by_build_id(Path::new("/c"), &id, &["/elf"]);
        assert!(all.contains(&PathBuf::from("/c/.build-id/01/23456789abcdef/elf")), "{all:?}");
        assert!(all.contains(&PathBuf::from(format!("/c/.build-id/01/{padded}/elf"))), "{all:?}");
        let long = BuildId::from_hex(&format!("0123456789abcdef{}", "0".repeat(24))).unwrap();
        let all = Places::by_build_id(Path::new("/c"), &long, &[""]);
        assert!(all.contains(&PathBuf::from("/c/.build-id/01/23456789abcdef")), "{all:?}");
    }
}
