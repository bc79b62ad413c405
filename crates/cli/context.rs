//! A context folder (`--context`) to names in the model, where it is of the traced machine.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agenttrace_model::parse::context::{
    ContextError, Machine, read_cgroups, read_devices, read_files, read_machine, read_mounts,
};
use agenttrace_model::parse::{Addr, CaptureInfo, ClockId, FileId, Topology};
use agenttrace_model::{Context, Model, OpKind};
use anyhow::{Context as _, Result, anyhow};

use crate::input::{self, Bytes};
use crate::symbols;

/// Starts of the machine that differ by more are two boots.
const SAME_BOOT_S: u64 = 10;

/// A context folder that has been opened.
pub(crate) struct ContextFolder<'a> {
    dir: &'a Path,
    machine: Machine,
    /// The context is of another machine: nothing of it is used.
    other_machine: bool,
    /// What the user must know of it.
    pub(crate) notes: Vec<String>,
}

impl<'a> ContextFolder<'a> {
    /// Opens it, and compares its machine with the capture's.
    pub(crate) fn open(dir: &'a Path, info: &CaptureInfo) -> Result<Self> {
        let path = dir.join("machine");
        let text = std::fs::read(&path).with_context(|| {
            format!("--context {}: no folder that `agenttrace context` wrote", dir.display())
        })?;
        let machine = read_machine(&text).map_err(|e| wrong(dir, &e))?;
        let mut folder = Self { dir, machine, other_machine: false, notes: Vec::new() };
        folder.compare(info);
        Ok(folder)
    }

    /// A stale context is said, and not used where its names would be another machine's.
    fn compare(&mut self, info: &CaptureInfo) {
        let at = self.dir.display();
        if let (Some(here), Some(there)) = (&info.hostname, &self.machine.hostname)
            && here != there
        {
            self.other_machine = true;
            self.notes.push(format!(
                "the context in {at} is of machine {there} and the capture of {here}: it is not used; where it is the same \
                 machine under another name, change `hostname` in its file `machine`"
            ));
            return;
        }
        if let (Some(here), Some(there)) = (&info.os_release, &self.machine.release)
            && here != there
        {
            self.notes.push(format!(
                "the context in {at} was made under Linux {there} and the capture under {here}: inodes and devices may have \
                 changed in between, and its kallsyms is not used"
            ));
        } else if let (Some(here), Some(there)) = (began(info), self.machine.boot_s)
            && here.abs_diff(there) > SAME_BOOT_S
        {
            self.notes.push(format!(
                "the context in {at} was made in another boot than the capture, or the machine slept in between: devices may \
                 have other numbers"
            ));
        }
    }

    /// Where the CPUs sit, for a capture that does not tell.
    pub(crate) fn topology(&self, info: &CaptureInfo) -> Result<Option<Topology>> {
        let path = self.dir.join("topology");
        if self.other_machine || !info.topology.is_empty() || !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let topology =
            Topology::read_lscpu(&text).map_err(|e| anyhow!("{} {e}", path.display()))?;
        Ok(Some(topology).filter(|t| !t.is_empty()))
    }

    /// Names what the model has no name for.
    pub(crate) fn apply(&mut self, info: &CaptureInfo, model: &mut Model) -> Result<()> {
        if self.other_machine {
            return Ok(());
        }
        let mut context = Context { machine: self.machine.clone(), ..Context::default() };
        if let Some(text) = self.file("devices")? {
            context.devices = read_devices(&text).map_err(|e| wrong(self.dir, &e))?;
        }
        if let Some(text) = self.file("mounts")? {
            context.mounts = read_mounts(&text).map_err(|e| wrong(self.dir, &e))?;
        }
        if let Some(text) = self.file("cgroups")? {
            context.cgroups = read_cgroups(&text).map_err(|e| wrong(self.dir, &e))?;
        }
        if let Some(text) = self.file("files")? {
            let unnamed: BTreeMap<FileId, u32> = (0_u32..)
                .zip(&model.files)
                .filter(|(_, info)| info.path.is_none())
                .map(|(index, info)| (info.id, index))
                .collect();
            let paths = RefCell::new(BTreeMap::new());
            // A file with several names is called by the first.
            let wanted = |id: FileId| {
                unnamed.get(&id).is_some_and(|index| !paths.borrow().contains_key(index))
            };
            let known = read_files(&text, &wanted, &mut |id, path| {
                if let Some(index) = unnamed.get(&id) {
                    paths.borrow_mut().insert(*index, path);
                }
            })
            .map_err(|e| wrong(self.dir, &e))?;
            context.paths = paths.into_inner();
            self.notes.push(format!(
                "context: {} of {} files that the capture does not name are among the {known} of {}",
                context.paths.len(),
                unnamed.len(),
                self.dir.display()
            ));
        }
        model.apply_context(context);
        if let Some(path) = self.kallsyms(info) {
            let text = input::open(&path)?;
            self.notes.extend(name_kernel(model, &text, &path));
        }
        Ok(())
    }

    /// Its kallsyms, where it is of the capture's kernel.
    pub(crate) fn kallsyms(&self, info: &CaptureInfo) -> Option<PathBuf> {
        let path = self.dir.join("kallsyms");
        let same = !self.other_machine && info.os_release == self.machine.release;
        (same && path.is_file()).then_some(path)
    }

    fn file(&self, name: &str) -> Result<Option<Bytes>> {
        let path = self.dir.join(name);
        if path.is_file() { input::open(&path).map(Some) } else { Ok(None) }
    }
}

/// When the capture's machine started, in seconds since 1970, where its clock tells.
fn began(info: &CaptureInfo) -> Option<u64> {
    let (event, wall) = info.clock.wall?;
    let since_boot = matches!(info.clock.id, Some(ClockId::Monotonic | ClockId::Boottime));
    since_boot.then(|| (wall - event).0 / 1_000_000_000)
}

fn wrong(dir: &Path, error: &ContextError) -> anyhow::Error {
    anyhow!("--context {}: {error}", dir.display())
}

/// Names the functions of work items, and locks that are variables. Functions begin exactly
/// at a symbol; where most do not, the text is of another boot.
fn name_kernel(model: &mut Model, text: &[u8], path: &Path) -> Option<String> {
    let (mut functions, mut locks) = (Vec::new(), Vec::new());
    for op in model.tasks.iter().flat_map(|task| &task.ops) {
        if let OpKind::Work(function) = op.kind {
            functions.push(function.0);
        } else if let OpKind::Lock { addr, .. } = op.kind {
            locks.push(addr.0);
        }
    }
    functions.sort_unstable();
    functions.dedup();
    locks.sort_unstable();
    locks.dedup();
    let named = symbols::starts(text, &functions);
    let hits = named.iter().flatten().count();
    if !functions.is_empty() && hits * 2 < functions.len() {
        return Some(format!(
            "{} is of another boot: {hits} of the {} functions that kworkers ran begin at a symbol of it; it names nothing",
            path.display(),
            functions.len()
        ));
    }
    // Without a function nothing proves that the text is of this boot.
    let locks = if functions.is_empty() { Vec::new() } else { locks };
    let of_locks = symbols::starts(text, &locks);
    let all = functions.iter().chain(&locks).zip(named.iter().chain(&of_locks));
    for (address, name) in all {
        if let Some(name) = name {
            let name = String::from_utf8_lossy(name).into_owned();
            model.kernel_names.insert(Addr(*address), name);
        }
    }
    None
}
