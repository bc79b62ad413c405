//! `agenttrace cut`: a small perf.data with just some steps, and its steps.jsonl.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use agenttrace_model::parse::events::Record;
use agenttrace_model::parse::{Diagnostics, Event, Kind, Pid, Redactor, StepId, Tid, cut};
use agenttrace_model::{Model, Selection, Windows};
use anyhow::{Context as _, Result, anyhow, bail};

use crate::args::CutArgs;
use crate::input::Files;
use crate::{output, pipeline};

pub(crate) fn run(args: &CutArgs) -> Result<ExitCode> {
    pipeline::use_threads(args.capture.threads)?;
    let path = &args.capture.read.path;
    let files = Files::open(path)?;
    let unpacked = pipeline::unpack(&files, &args.capture.read)?;
    let capture = pipeline::open(&unpacked, &args.capture.read)?;
    let (loaded, placed) = pipeline::load_placed(&capture, &args.capture)?;
    if loaded.info.format != "perf.data" {
        bail!("{}: only perf.data can be cut", path.display());
    }
    let windows = &placed.windows;
    let mut steps = Vec::new();
    for id in &args.steps {
        let wanted = pipeline::step_id(id);
        let found = windows.steps.iter().position(|s| s.id == wanted);
        steps.push(
            found.ok_or_else(|| anyhow!("no step {id} among the {} steps", windows.steps.len()))?,
        );
    }
    let mut selection = Selection::new(&loaded.model, windows, &steps);
    // Records that the reader knows by type are chosen by what they say; the
    // others (build ids, ids of events) describe the whole file, and stay out.
    let mut keep: Vec<bool> = Vec::new();
    let mut names = Names::new(&loaded.model, windows, args.keep_stacks);
    let mut diagnostics = Diagnostics::default();
    capture
        .read(&mut diagnostics, &mut |batch| {
            for event in batch {
                names.seen(event);
                if selection.keeps(event) {
                    mark(&mut keep, event.record);
                }
            }
        })
        .map_err(|e| anyhow!("{}: {e}", path.display()))?;
    // Samples that are no events but have a stack, and where code was mapped.
    if capture.has_stacks() {
        capture
            .read_stacks(&mut Diagnostics::default(), &mut |batch| {
                let wanted = batch.iter().filter(|event| selection.keeps_stack(event));
                wanted.for_each(|event| mark(&mut keep, event.record));
            })
            .map_err(|e| anyhow!("{}: {e}", path.display()))?;
    }
    let keeps = |record: u64| usize::try_from(record).is_ok_and(|r| keep.get(r) == Some(&true));
    let redactor: Option<&mut dyn Redactor> = if args.redact { Some(&mut names) } else { None };
    let small = cut(&unpacked, &keeps, redactor).map_err(|e| anyhow!("{}: {e}", path.display()))?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    output::write(&args.out.join("perf.data"), &small)?;
    output::write(
        &args.out.join("steps.jsonl"),
        steps_file(&loaded.model, &placed, &steps)?.as_bytes(),
    )?;
    output::say(format_args!(
        "{} of {} bytes, {} of {} records, {} steps",
        small.len(),
        loaded.info.bytes,
        keep.iter().filter(|k| **k).count(),
        loaded.totals.records,
        steps.len()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Notes a record as kept.
fn mark(keep: &mut Vec<bool>, record: u64) {
    let record = usize::try_from(record).unwrap_or(usize::MAX);
    if keep.len() <= record {
        keep.resize(record.saturating_add(1), false);
    }
    if let Some(slot) = keep.get_mut(record) {
        *slot = true;
    }
}

/// The chosen steps, on the capture's own clock, with what the whole capture told.
fn steps_file(model: &Model, placed: &pipeline::Placed, steps: &[usize]) -> Result<String> {
    let calibration = model.calibration;
    let mut head = serde_json::json!({
        "schema": "agenttrace.steps/1",
        "clock": "trace",
        "cut": {
            "exit_cost_ns": calibration.exit_cost.0,
            "fault_cost_ns": calibration.fault_cost.0,
            "fault_reach_ns": calibration.fault_reach.0,
        },
    });
    let file = placed.file.as_ref();
    if let (Some(session), Some(head)) =
        (file.and_then(|f| f.session.as_ref()), head.as_object_mut())
    {
        head.insert("session".to_owned(), session.as_str().into());
    }
    let mut text = format!("{head}\n");
    for index in steps {
        let step = placed.windows.steps.get(*index).context("a step that is not there")?;
        let root = model.task(step.root);
        let mut line = serde_json::Map::new();
        line.insert(
            "step_id".to_owned(),
            match &step.id {
                StepId::Number(n) => (*n).into(),
                StepId::Name(name) => name.as_str().into(),
            },
        );
        line.insert("tool".to_owned(), step.tool.as_str().into());
        line.insert("pid".to_owned(), root.pid.0.into());
        line.insert("tid".to_owned(), root.tid.0.into());
        line.insert("start_ns".to_owned(), step.start.0.into());
        line.insert("end_ns".to_owned(), step.end.0.into());
        if let Some(parent) =
            step.parent.filter(|p| steps.contains(p)).and_then(|p| placed.windows.steps.get(p))
        {
            let id = match &parent.id {
                StepId::Number(n) => (*n).into(),
                StepId::Name(name) => name.as_str().into(),
            };
            line.insert("parent".to_owned(), id);
        }
        for (key, value) in &step.extra {
            line.insert(key.clone(), serde_json::from_str(value)?);
        }
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    Ok(text)
}

/// Stable placeholders for names outside the steps' process trees.
struct Names {
    /// Processes and threads whose names stay: the tree's and the kernel's.
    known: BTreeMap<i32, bool>,
    /// Paths that the tree itself maps: no secret of another's.
    own: BTreeSet<Vec<u8>>,
    tasks: BTreeMap<i32, usize>,
    paths: BTreeMap<Vec<u8>, usize>,
    /// Tasks whose registers and stacks stay.
    stacks: BTreeSet<i32>,
}

impl Names {
    fn new(model: &Model, windows: &Windows, keep_stacks: bool) -> Self {
        let mut known = BTreeMap::new();
        let mut stacks = BTreeSet::new();
        for (id, task) in model.task_ids() {
            let kernel = task.tid.0 == 0
                || task.tid.0 == 2
                || task.parent.is_some_and(|p| model.task(p).tid.0 == 2)
                || (task.parent.is_none()
                    && task.names.iter().all(|(_, c)| c.to_text().starts_with("kworker/")));
            let stays = kernel || windows.is_in_tree(id);
            let entry = known.entry(task.tid.0).or_insert(stays);
            *entry |= stays;
            if keep_stacks && windows.is_in_tree(id) {
                stacks.insert(task.tid.0);
            }
        }
        known.insert(0, true);
        Self { known, own: BTreeSet::new(), tasks: BTreeMap::new(), paths: BTreeMap::new(), stacks }
    }

    fn seen(&mut self, event: &Event<'_>) {
        if let Kind::Record(Record::Mmap2(map)) = &event.kind
            && self.stays(map.pid.0)
        {
            self.own.insert(map.filename.0.to_vec());
        }
    }

    fn stays(&self, id: i32) -> bool {
        self.known.get(&id).copied().unwrap_or(false)
    }
}

impl Redactor for Names {
    fn comm(&mut self, _pid: Pid, tid: Tid, _comm: &[u8]) -> Option<Vec<u8>> {
        if self.stays(tid.0) {
            return None;
        }
        let next = self.tasks.len() + 1;
        let number = *self.tasks.entry(tid.0).or_insert(next);
        Some(format!("other-{number}").into_bytes())
    }

    fn path(&mut self, pid: Pid, path: &[u8]) -> Option<Vec<u8>> {
        // Anonymous mappings name nothing.
        if self.stays(pid.0)
            || self.own.contains(path)
            || path.starts_with(b"[")
            || path.starts_with(b"//anon")
        {
            return None;
        }
        let next = self.paths.len() + 1;
        let number = *self.paths.entry(path.to_vec()).or_insert(next);
        Some(format!("/other/{number}").into_bytes())
    }

    fn keeps_stack(&mut self, _pid: Pid, tid: Tid) -> bool {
        self.stacks.contains(&tid.0)
    }
}
