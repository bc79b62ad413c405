//! Each stage's inner loop, alone: `cargo bench --bench stages`.
//!
//! A checked-in fixture is measured, or the capture and steps that `AGENTTRACE_BENCH` and
//! `AGENTTRACE_BENCH_STEPS` name. Each stage gets what the one before it made, all in
//! memory; so a large capture needs several times its size. `RAYON_NUM_THREADS=1` measures
//! one thread.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agenttrace_attribute::analyze::{self, Input};
use agenttrace_attribute::report::Report;
use agenttrace_attribute::walk;
use agenttrace_model::{Builder, MarkOptions, Marked, Model, Windows, claim_tasks, place_marks};
use agenttrace_parse::{
    Capture, CaptureInfo, Diagnostics, Event, ReadOptions, StepFile, Totals, Unpacked, read_steps,
};
use agenttrace_render::{FORMATS, Job, Style};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// A capture and what each stage made of it.
struct Stages {
    capture: Capture<'static>,
    totals: Totals,
    diagnostics: Diagnostics,
    batches: Vec<Vec<Event<'static>>>,
    steps: StepFile,
    model: Model,
    windows: Windows,
    report: Report,
}

impl Stages {
    fn info(&self) -> &CaptureInfo {
        self.capture.info()
    }

    fn build(&self) -> Model {
        let mut builder = Builder::new(self.info());
        self.batches.iter().for_each(|batch| builder.push(batch));
        builder.finish(self.steps.calibration).expect("no scratch file")
    }

    fn marked(&self) -> Marked {
        marked(&self.model, self.info(), &self.steps)
    }
}

fn marked(model: &Model, info: &CaptureInfo, steps: &StepFile) -> Marked {
    let options = MarkOptions { file: Some(steps), ..MarkOptions::default() };
    place_marks(model, info, &options).expect("the steps fit the capture")
}

/// Made once; what it borrows from stays until the end.
fn stages() -> &'static Stages {
    static STAGES: OnceLock<Stages> = OnceLock::new();
    STAGES.get_or_init(|| {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recorded/spawn_cost");
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let capture = named("AGENTTRACE_BENCH").unwrap_or_else(|| fixture.join("perf.data"));
        let steps = named("AGENTTRACE_BENCH_STEPS").unwrap_or_else(|| fixture.join("steps.jsonl"));
        let read =
            |path: &Path| std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let bytes: &'static [u8] = read(&capture).leak();
        let unpacked = Box::leak(Box::new(Unpacked::of(bytes).expect("the input unpacks")));
        let capture = Capture::open(unpacked, &ReadOptions::default()).expect("the input opens");
        let steps = read_steps(&read(&steps));
        let (mut batches, mut diagnostics) = (Vec::new(), Diagnostics::default());
        let totals = capture.read(&mut diagnostics, &mut |batch| batches.push(batch.to_vec()));
        let totals = totals.expect("the input reads");
        let mut builder = Builder::new(capture.info());
        batches.iter().for_each(|batch| builder.push(batch));
        let model = builder.finish(steps.calibration).expect("no scratch file");
        let windows = claim_tasks(&model, marked(&model, capture.info(), &steps));
        let input = Input::new(&model, &windows, capture.info(), &totals, &diagnostics);
        let report = analyze::report(&input);
        Stages { capture, totals, diagnostics, batches, steps, model, windows, report }
    })
}

fn steps_count() -> ItemsCount {
    ItemsCount::new(stages().windows.steps.len())
}

/// Records found, ordered and decoded: items are records.
#[divan::bench(sample_count = 10)]
fn read(bencher: Bencher<'_, '_>) {
    let stages = stages();
    bencher.counter(ItemsCount::new(stages.totals.records)).bench_local(|| {
        let totals = stages.capture.read(&mut Diagnostics::default(), &mut |batch| {
            black_box(batch);
        });
        totals.expect("the input reads").events
    });
}

/// Events to a model: items are events.
#[divan::bench(sample_count = 10)]
fn build(bencher: Bencher<'_, '_>) {
    let stages = stages();
    let events: usize = stages.batches.iter().map(Vec::len).sum();
    bencher.counter(ItemsCount::new(events)).bench_local(|| stages.build());
}

/// Who works for which step: items are steps.
#[divan::bench(sample_count = 10)]
fn claims(bencher: Bencher<'_, '_>) {
    let stages = stages();
    bencher
        .counter(steps_count())
        .with_inputs(|| stages.marked())
        .bench_local_values(|marked| claim_tasks(&stages.model, marked));
}

/// Critical paths alone: items are steps.
#[divan::bench(sample_count = 10)]
fn paths(bencher: Bencher<'_, '_>) {
    let stages = stages();
    bencher.counter(steps_count()).bench_local(|| walk(&stages.model, &stages.windows));
}

/// Critical paths, and all that is told of them: items are steps.
#[divan::bench(sample_count = 10)]
fn report(bencher: Bencher<'_, '_>) {
    let stages = stages();
    let (model, windows) = (&stages.model, &stages.windows);
    let input = Input::new(model, windows, stages.info(), &stages.totals, &stages.diagnostics);
    bencher.counter(steps_count()).bench_local(|| analyze::report(&input));
}

/// A report to JSON: bytes are those written.
#[divan::bench(sample_count = 10)]
fn json(bencher: Bencher<'_, '_>) {
    let stages = stages();
    let json = FORMATS.iter().find(|f| f.name() == "json").expect("there is JSON");
    let job = Job { report: &stages.report, step: None, style: Style::default(), out_hint: None };
    let write = || {
        let mut out = Vec::new();
        json.write(&job, &mut out).expect("memory takes it");
        out
    };
    bencher.counter(BytesCount::new(write().len())).bench_local(write);
}
