//! The kernel's symbols: which kallsyms, vmlinux and module files are of the capture's
//! kernel and boot, and the names that they give.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use agenttrace_model::parse::stack::{StackEvent, StackRecord};
use agenttrace_model::parse::{BuildId, is_packed, plain_reader};
use agenttrace_model::stacks::elf::build_id;
use agenttrace_model::stacks::{Module, SymbolSource};

use super::elf::{Elf, build_id_of_notes};
use super::files::{Places, below};
use super::kallsyms::{self, Fit};
use crate::input::{self, Bytes};

/// The first address of the kernel, with the name of its symbol: `_text` or `_stext`.
/// perf records them with the kernel's mapping (`[kernel.kallsyms]_text`,
/// `perf_event__synthesize_kernel_mmap` in tools/perf/util/synthetic-events.c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reference(Option<(Vec<u8>, u64)>);

/// The name of the kernel's mapping, before the symbol's.
const KERNEL: &[u8] = b"[kernel.kallsyms]";

impl Reference {
    /// Looks for the kernel's mapping among records.
    pub(super) fn watch(&mut self, events: &[StackEvent<'_>]) {
        if self.0.is_some() {
            return;
        }
        self.0 = events.iter().find_map(|event| {
            let StackRecord::Mapping(mapping) = &event.what else { return None };
            let symbol = mapping.filename.strip_prefix(KERNEL).filter(|_| mapping.kernel)?;
            let told = !symbol.is_empty() && mapping.pgoff != 0;
            told.then(|| (symbol.to_vec(), mapping.pgoff))
        });
    }

    fn get(&self) -> Option<(&[u8], u64)> {
        self.0.as_ref().map(|(name, address)| (name.as_slice(), *address))
    }
}

/// What names the kernel's code.
#[derive(Debug, Default)]
pub(super) struct Kernel<'a> {
    kallsyms: Option<Text<'a>>,
    vmlinux: Option<Image>,
    /// Why there is none of them.
    pub(super) lacking: Option<SymbolSource>,
}

/// A kallsyms that fits.
#[derive(Debug)]
struct Text<'a> {
    bytes: Source<'a>,
    /// See [`kallsyms::names`].
    shift: u64,
    from: String,
}

/// Whose bytes they are.
#[derive(Debug)]
enum Source<'a> {
    Capture(&'a [u8]),
    File(Bytes),
}

impl Source<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Capture(bytes) => bytes,
            Self::File(bytes) => bytes,
        }
    }
}

/// A vmlinux that fits.
#[derive(Debug)]
struct Image {
    path: PathBuf,
    bytes: Bytes,
    /// Added to an address of the capture to get the image's.
    shift: u64,
}

/// What the user named.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given<'a> {
    pub(super) kallsyms: Option<&'a Path>,
    pub(super) vmlinux: Option<&'a Path>,
}

/// The most that a kallsyms file can be: a kernel with everything in it has 20 MB.
const LARGEST: u64 = 256 << 20;

impl<'a> Kernel<'a> {
    /// Looks for symbols of the kernel with this build id. A file that the user named and
    /// that cannot be read is an error; one that does not fit is told and left out.
    pub(super) fn find(
        places: &Places,
        given: Given<'_>,
        captured: Option<&'a [u8]>,
        id: Option<&BuildId>,
        reference: &Reference,
    ) -> anyhow::Result<Self> {
        let mut kernel = Self::default();
        let mut looked = Vec::new();
        if let Some(path) = given.vmlinux {
            kernel.vmlinux = image(places, path, id, reference)?;
            looked.push(path.display().to_string());
        }
        let mut wrong = None;
        if let Some(path) = given.kallsyms {
            let bytes = plain(path)?;
            looked.push(path.display().to_string());
            let fit = kallsyms::fit(&bytes, reference.get());
            match fit {
                Fit::Same | Fit::Untold => {
                    if fit == Fit::Untold {
                        places.note(format!(
                            "nothing tells whether {} is of the capture's kernel and boot: it is \
                             used because --kallsyms names it",
                            path.display()
                        ));
                    }
                    let from = path.display().to_string();
                    kernel.kallsyms = Some(Text { bytes: Source::File(bytes), shift: 0, from });
                }
                Fit::Moved(there, here) => {
                    let name = reference
                        .get()
                        .map_or(Cow::Borrowed(""), |(name, _)| String::from_utf8_lossy(name));
                    let text = format!(
                        "{} is of another boot or kernel: its {name} is at {there:#x}, the \
                         capture's at {here:#x}",
                        path.display()
                    );
                    places.note(format!("{text}; it is not used"));
                    wrong = Some(text);
                }
                Fit::Hidden => places.note(format!(
                    "{}: all its addresses are zero, as users other than root see them; copy \
                     /proc/kallsyms as root",
                    path.display()
                )),
                Fit::Other => places.note(format!(
                    "{} is not used: it has no lines as /proc/kallsyms has",
                    path.display()
                )),
            }
        }
        if kernel.kallsyms.is_none()
            && let Some(bytes) = captured
            && matches!(kallsyms::fit(bytes, reference.get()), Fit::Same | Fit::Untold)
        {
            let from = "the capture".to_owned();
            kernel.kallsyms = Some(Text { bytes: Source::Capture(bytes), shift: 0, from });
        }
        if kernel.kallsyms.is_none()
            && let Some(id) = id
        {
            kernel.kallsyms = same_build(places, id, reference, &mut looked);
        }
        if kernel.kallsyms.is_none() && kernel.vmlinux.is_none() {
            kernel.lacking = Some(match (wrong, id) {
                (Some(wrong), _) => SymbolSource::WrongBuild(wrong),
                (None, None) => SymbolSource::UnknownBuild,
                (None, Some(_)) => SymbolSource::NotFound(looked),
            });
        }
        Ok(kernel)
    }

    /// Where names come from.
    pub(super) fn from(&self) -> Option<String> {
        let image = self.vmlinux.as_ref().map(|image| image.path.display().to_string());
        let text = self.kallsyms.as_ref().map(|text| text.from.clone());
        let both: Vec<String> = image.into_iter().chain(text).collect();
        (!both.is_empty()).then(|| both.join(" and "))
    }

    /// The names of the functions at these addresses, which must be sorted.
    pub(super) fn names(&self, wanted: &[u64]) -> Vec<Option<&[u8]>> {
        let mut names = match &self.kallsyms {
            Some(text) => kallsyms::names(text.bytes.bytes(), wanted, text.shift),
            None => vec![None; wanted.len()],
        };
        if let Some(image) = &self.vmlinux
            && let Some(elf) = Elf::new(&image.bytes)
        {
            let mut shifted: Vec<u64> = wanted.iter().map(|a| image.address(*a)).collect();
            shifted.sort_unstable();
            let found = elf.find(&shifted, None);
            for (name, address) in names.iter_mut().zip(wanted) {
                let index = shifted.binary_search(&image.address(*address));
                let entry = index.ok().and_then(|index| found.get(index).copied().flatten());
                *name = entry.map(|entry| entry.name).or(*name);
            }
        }
        names
    }

    /// The file with debug information of the kernel, and what to add to an address of the
    /// capture to get one of it.
    pub(super) fn image(&self) -> Option<(&Path, &[u8], u64)> {
        self.vmlinux.as_ref().map(|image| (image.path.as_path(), &*image.bytes, image.shift))
    }
}

impl Image {
    fn address(&self, address: u64) -> u64 {
        address.wrapping_add(self.shift)
    }
}

/// A vmlinux that the user named, where it fits.
fn image(
    places: &Places,
    path: &Path,
    id: Option<&BuildId>,
    reference: &Reference,
) -> anyhow::Result<Option<Image>> {
    let bytes = input::open(path)?;
    let Some(elf) = Elf::new(&bytes) else {
        places.note(format!(
            "{} is not used: it is no ELF file (a vmlinuz is packed: take the vmlinux of the \
             kernel's debug package)",
            path.display()
        ));
        return Ok(None);
    };
    let told = match (id, build_id(&bytes)) {
        (Some(wanted), Some(found)) if !wanted.same(&found) => {
            places.note(format!(
                "{} is not used: it is build {found}, the capture's kernel {wanted}",
                path.display()
            ));
            return Ok(None);
        }
        (wanted, found) => wanted.is_some() && found.is_some(),
    };
    // Where the kernel was put when it started (KASLR).
    let there = reference.get().map(|(name, here)| (elf.address_of(name), name, here));
    let shift = match there {
        Some((Some(there), _, here)) => there.wrapping_sub(here),
        Some((None, name, _)) => {
            places.note(format!(
                "{} is not used: it has no symbol {}, so where the kernel was loaded is not known",
                path.display(),
                String::from_utf8_lossy(name)
            ));
            return Ok(None);
        }
        None => 0,
    };
    if !told {
        places.note(format!(
            "nothing tells whether {} is the capture's kernel: it is used because --vmlinux names it",
            path.display()
        ));
    }
    Ok(Some(Image { path: path.to_owned(), bytes, shift }))
}

/// A file without compression; plain ones stay mapped.
fn plain(path: &Path) -> anyhow::Result<Bytes> {
    use std::io::Read as _;
    let bytes = input::open(path)?;
    if !is_packed(&bytes) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    plain_reader(&bytes)?.take(LARGEST).read_to_end(&mut text)?;
    Ok(Bytes::Owned(text))
}

/// A kallsyms of the kernel with this build id: in --symfs, the build-id cache, the
/// archive, or of the kernel that runs here. Where that was another boot, the kernel is at
/// another address, and its modules are left out.
fn same_build(
    places: &Places,
    id: &BuildId,
    reference: &Reference,
    looked: &mut Vec<String>,
) -> Option<Text<'static>> {
    let mut paths = Vec::new();
    for folder in places.symfs.iter().chain(&places.cache) {
        looked.push(folder.display().to_string());
        paths.extend(Places::by_build_id(folder, id, &["/kallsyms"]));
    }
    let usable = |bytes: Bytes, from: String| {
        let shift = match kallsyms::fit(&bytes, reference.get()) {
            Fit::Same => 0,
            Fit::Moved(there, here) => there.wrapping_sub(here),
            // Kernels of one build lie elsewhere on every machine, at every boot.
            Fit::Untold | Fit::Hidden | Fit::Other => return None,
        };
        Some(Text { bytes: Source::File(bytes), shift, from })
    };
    let read = |path: &Path| {
        let bytes = path.is_file().then(|| plain(path).ok()).flatten()?;
        usable(bytes, path.display().to_string())
    };
    if let Some(found) = paths.iter().find_map(|path| read(path)) {
        return Some(found);
    }
    if let Some(archive) = &places.archive {
        looked.push(archive.display().to_string());
        if let Some(mut found) = places.archived(id).iter().find_map(|path| read(path)) {
            found.from = archive.display().to_string();
            return Some(found);
        }
    }
    looked.push("this machine's kernel".to_owned());
    let notes = std::fs::read("/sys/kernel/notes").ok()?;
    if !build_id_of_notes(&notes)?.same(id) {
        return None;
    }
    let own = Path::new("/proc/kallsyms");
    usable(input::open(own).ok()?, "this machine's kernel, which is the same build".to_owned())
}

/// The bytes of the file of a kernel module, plain, where it fits: by build id below
/// `--modules`, --symfs, the cache and the archive, or at its own path.
pub(super) fn module_file(places: &Places, module: &Module) -> Option<(String, Bytes)> {
    let id = module.build_id.as_ref()?;
    let mut paths = Vec::new();
    if let Some(folder) = &places.modules {
        paths.extend(in_folder(folder, &name(&module.path)));
    }
    for folder in places.symfs.iter().chain(&places.cache) {
        paths.extend(Places::by_build_id(folder, id, &["/elf", "", ".debug"]));
    }
    let path = module.path.starts_with('/');
    paths.extend(places.symfs.iter().filter(|_| path).filter_map(|f| below(f, &module.path)));
    if path {
        paths.push(PathBuf::from(&module.path));
    }
    let fits = |path: &PathBuf| {
        let bytes = path.is_file().then(|| plain(path).ok()).flatten()?;
        let found = build_id(&bytes);
        found.is_some_and(|found| found.same(id)).then(|| (places.shown(path), bytes))
    };
    paths.iter().find_map(fits).or_else(|| places.archived(id).iter().find_map(fits))
}

/// `[ext4]` and `/lib/modules/6.1.0/kernel/fs/ext4/ext4.ko.xz` are both `ext4`; in names
/// `-` and `_` are the same.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).trim_matches(['[', ']']).replace('-', "_")
}

/// The files of a module below a folder, sorted. Links are not followed, so that the walk
/// ends.
fn in_folder(folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let file = entry.file_name();
            let file = file.to_string_lossy();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if file.contains(".ko") && name(&file) == wanted {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules() {
        assert_eq!(name("/lib/modules/6.1.0/kernel/net/nf-tables.ko.xz"), "nf_tables");
        assert_eq!(name("[nf_tables]"), "nf_tables");
    }
}
