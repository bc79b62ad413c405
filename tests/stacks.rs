//! Stacks of recorded captures against what perf makes of them, and against what the
//! workload is known to do.
//!
//! `fixtures/stacks/NAME/script.txt.zst` is what `perf script` printed for the capture
//! beside it. Chains are compared frame by frame, by address; names as folded stacks, with
//! inferno's own collapsing of perf's text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agenttrace_model::parse::stack::Mode;
use agenttrace_model::stacks::{ModuleId, ModuleKind, Short, StackBuilder, Stacks};
use inferno::collapse::{Collapse as _, perf};

use agenttrace_parse::{Capture, Diagnostics, ReadOptions, Unpacked};

use crate::accuracy;
use crate::support::{CARRIED, entries, fixtures, root, run};

/// At least so many DWARF samples have the chain that perf gives, of a hundred.
const SAME_CHAINS: usize = 95;

/// At most so many DWARF samples are kept.
const DWARF_SAMPLES: usize = 150;

/// What perf is asked to print of a sample.
const FIELDS: &str = "comm,tid,time,event,ip,sym,dso";

/// A capture with what perf prints for it.
#[derive(Debug)]
struct Case {
    capture: PathBuf,
    /// What `perf script` printed.
    text: String,
    /// The folder below which files are at their paths.
    symfs: PathBuf,
    /// A build-id cache.
    buildid: PathBuf,
    /// Whether perf gives the addresses of calls, where others give those that calls
    /// return to: it does where it unwinds DWARF.
    of_call: bool,
}

impl Case {
    fn kept(name: &str) -> Self {
        let folder = root().join("fixtures/stacks").join(name);
        let path = folder.join("script.txt.zst");
        let packed = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let text = zstd::decode_all(packed.as_slice()).expect("perf's text unpacks");
        Self {
            capture: folder.join("perf.data.xz"),
            text: String::from_utf8(text).expect("perf's text is UTF-8"),
            symfs: folder.join("symfs"),
            buildid: folder.join("buildid"),
            of_call: name == "dwarf",
        }
    }

    /// A capture of this machine, as the perf of this machine reads it now.
    fn live(capture: &Path) -> Self {
        let output = Command::new("perf")
            .args(["script", "--ns", "--no-inline", "-F", FIELDS, "-i"])
            .arg(capture)
            .stdin(Stdio::null())
            .output()
            .expect("perf starts");
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        Self {
            capture: capture.to_owned(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            symfs: PathBuf::from("/"),
            buildid: home.join(".debug"),
            of_call: true,
        }
    }
}

// ---- what perf says -------------------------------------------------------------

/// One sample of perf's text.
#[derive(Debug)]
struct Told {
    tid: i32,
    time: u64,
    event: String,
    frames: Vec<ToldFrame>,
}

/// `    ffffffff816cf36a link_path_walk ([kernel.kallsyms])`
#[derive(Debug)]
struct ToldFrame {
    ip: u64,
    module: String,
}

/// Reads `perf script --ns -F` with [`FIELDS`]. A single frame stands in
/// the sample's own line where no chain was recorded; such samples are left out.
fn told(text: &str) -> Vec<Told> {
    let mut samples: Vec<Told> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if line.is_empty() {
            open = false;
        } else if line.starts_with('\t') {
            assert!(open, "a frame of no sample: {line}");
            let frame = told_frame(line).unwrap_or_else(|| panic!("no frame: {line}"));
            samples.last_mut().expect("a sample is open").frames.push(frame);
        } else {
            let sample = told_sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
            open = sample.is_some();
            samples.extend(sample);
        }
    }
    samples
}

/// `  stacks   748 12285.214165123: cpu-clock/freq=997/: `; `Some(None)` where a frame
/// follows in the line.
fn told_sample(line: &str) -> Option<Option<Told>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| {
        word.strip_suffix(':')
            .and_then(|word| word.split_once('.'))
            .is_some_and(|(s, ns)| s.parse::<u64>().is_ok() && ns.len() == 9)
    })?;
    let (seconds, nanos) = words.get(at)?.trim_end_matches(':').split_once('.')?;
    let time = seconds.parse::<u64>().ok()? * 1_000_000_000 + nanos.parse::<u64>().ok()?;
    let tid = words.get(at.checked_sub(1)?)?.parse().ok()?;
    let event = words.get(at + 1)?.trim_end_matches(':').to_owned();
    if words.len() > at + 2 {
        return Some(None);
    }
    Some(Some(Told { tid, time, event, frames: Vec::new() }))
}

fn told_frame(line: &str) -> Option<ToldFrame> {
    let (ip, rest) = line.trim_start().split_once(' ')?;
    let (_, module) = rest.rsplit_once('(')?;
    let module = module.strip_suffix(')')?.to_owned();
    Some(ToldFrame { ip: u64::from_str_radix(ip, 16).ok()?, module })
}

// ---- what we say ----------------------------------------------------------------

/// The stacks of a fixture, unwound with the files that it carries.
fn ours(case: &Case) -> Stacks {
    let bytes =
        std::fs::read(&case.capture).unwrap_or_else(|e| panic!("{}: {e}", case.capture.display()));
    let input = Unpacked::of(&bytes).expect("the capture unpacks");
    let capture = Capture::open(&input, &ReadOptions::default()).expect("the capture opens");
    let mut builder = StackBuilder::new(capture.info(), capture.listed_modules());
    capture
        .read_stacks(&mut Diagnostics::default(), &mut |events| builder.push(events, &|_| true))
        .expect("the capture reads");
    // By path, so that nothing of how the program finds files takes part.
    let carried: Vec<Option<Vec<u8>>> = builder
        .modules()
        .iter()
        .map(|module| match module.kind {
            ModuleKind::File | ModuleKind::Deleted => {
                let path = module.path.trim_start_matches('/');
                std::fs::read(case.symfs.join(path)).ok()
            }
            ModuleKind::Vdso => vdso(case),
            ModuleKind::Kernel
            | ModuleKind::KernelModule
            | ModuleKind::KernelSymbol
            | ModuleKind::Jit
            | ModuleKind::Named => None,
        })
        .collect();
    builder.finish(&|id: ModuleId| carried.get(id.0 as usize)?.as_deref())
}

/// The only `vdso` of the build-id cache.
fn vdso(case: &Case) -> Option<Vec<u8>> {
    let ids = entries(&case.buildid.join(".build-id"));
    let files = ids.iter().flat_map(|id| entries(id)).map(|dir| dir.join("vdso"));
    files.filter_map(|file| std::fs::read(file).ok()).next()
}

/// A frame as both sides have it: its module's name, and its address in it.
type Place = (String, u64);

fn base_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn our_places(stacks: &Stacks, sample: usize, of_call: bool) -> Vec<Place> {
    let chain = stacks.samples.get(sample).and_then(|s| s.chain);
    stacks
        .frames_of(chain)
        .filter_map(|id| stacks.frame(id))
        .map(|frame| {
            let module = frame.module.and_then(|m| stacks.module(m));
            // perf names code that was made at run time after the map's file, and gives
            // addresses within it; the kernel's as they are.
            let name = match module.map(|m| (m.kind, m.path.as_str(), m.pid)) {
                Some((ModuleKind::Jit, _, Some(pid))) => format!("perf-{}.map", pid.0),
                Some((ModuleKind::Kernel | ModuleKind::KernelModule, _, _)) => "kernel".to_owned(),
                Some((_, path, _)) => base_name(path),
                None => "[unknown]".to_owned(),
            };
            let back = u64::from(of_call && frame.caller && frame.mode == Mode::User);
            (name, frame.address - back)
        })
        .collect()
}

/// Without what perf shows as frames and is none: the address 0, and -1 where it could
/// not read where a call returns to.
fn their_places(told: &Told) -> Vec<Place> {
    let place = |frame: &ToldFrame| {
        let name = match frame.module.as_str() {
            "[kernel.kallsyms]" => "kernel".to_owned(),
            path => base_name(path),
        };
        (name, frame.ip)
    };
    told.frames.iter().filter(|frame| !is_no_frame(frame.ip)).map(place).collect()
}

fn is_no_frame(ip: u64) -> bool {
    ip == 0 || ip == u64::MAX
}

// ---- chains ---------------------------------------------------------------------

/// How two chains differ, in words that do not depend on addresses.
fn reason(ours: &[Place], theirs: &[Place], short: Option<Short>) -> String {
    let common = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let next = |chain: &[Place]| {
        chain.get(common).map_or_else(|| "ends".to_owned(), |(module, _)| format!("is in {module}"))
    };
    format!("perf's next frame {}, ours {} ({short:?})", next(theirs), next(ours))
}

/// What is known of perf and makes a difference, if this is it.
fn explained(told: &Told, ours: &[Place], theirs: &[Place]) -> Option<&'static str> {
    if told.frames.is_empty() {
        // machine__resolve_callchain of perf: an address above the marks of modes.
        return Some("perf discards a chain that holds a word which is no address");
    }
    let last = ours.len().checked_sub(1)?;
    let old = ours.get(last)?.0 == "[unknown]" && ours.get(..last) == theirs.get(..last);
    (old && told.event == "sched:sched_switch" && theirs.len() == ours.len())
        .then_some("perf keeps the mappings of a program that was replaced by exec")
}

/// Chains that are not the same, by reason: how many, and the first of them.
type Others = BTreeMap<String, (usize, String)>;

/// Compares each chain of perf's text with ours. Returns how many there are, and the
/// others by reason: those that are explained, and the rest.
fn compare(case: &Case) -> (usize, Others, Others) {
    let stacks = ours(case);
    let mut by_place: BTreeMap<(u64, i32), Vec<usize>> = BTreeMap::new();
    for (index, sample) in stacks.samples.iter().enumerate() {
        if sample.chain.is_some() {
            by_place.entry((sample.time.0, sample.tid.0)).or_default().push(index);
        }
    }
    let (mut known, mut others) = (Others::new(), Others::new());
    let mut count = 0;
    for told in &told(&case.text) {
        // perf shows no task where that has exited; its last switch tells it.
        let tids = if told.tid < 0 {
            (told.time, 0)..=(told.time, i32::MAX)
        } else {
            (told.time, told.tid)..=(told.time, told.tid)
        };
        let found = by_place.range_mut(tids).map(|(_, found)| found).find(|f| !f.is_empty());
        let sample = found.map(|found| found.remove(0));
        if sample.is_none() && told.frames.is_empty() {
            continue;
        }
        count += 1;
        let theirs = their_places(told);
        let ours = sample.map(|s| our_places(&stacks, s, case.of_call)).unwrap_or_default();
        if ours == theirs {
            continue;
        }
        let short = sample.and_then(|s| stacks.samples.get(s)).and_then(|s| s.short);
        let (list, why) = match explained(told, &ours, &theirs) {
            Some(why) => (&mut known, why.to_owned()),
            None => (&mut others, reason(&ours, &theirs, short)),
        };
        let example = || (0, format!("ours   {ours:x?}\nperf's {theirs:x?}"));
        list.entry(why).or_insert_with(example).0 += 1;
    }
    for left in by_place.into_values().flatten() {
        let entry = others.entry("we have a sample that perf has not".to_owned());
        entry.or_insert_with(|| (0, format!("{:x?}", stacks.samples.get(left)))).0 += 1;
    }
    (count, known, others)
}

fn listed(others: &Others) -> String {
    let mut text = String::new();
    for (why, (count, example)) in others {
        let _ = writeln!(text, "{count} samples: {why}\n{example}");
    }
    text
}

/// Tells how many chains differ, and why, where a test passes too.
fn tell(what: &str, count: usize, known: &Others, others: &Others) {
    let sum = |list: &Others| list.values().map(|(n, _)| n).sum::<usize>();
    let (known_sum, others_sum) = (sum(known), sum(others));
    let _ = writeln!(
        std::io::stderr(),
        "{what}: of {count} chains {} are perf's; {known_sum} differ by what is known of perf, \
         {others_sum} otherwise\n{}{}",
        count - known_sum - others_sum,
        listed(known),
        listed(others)
    );
}

/// Whether enough chains are perf's own.
fn enough(count: usize, known: &Others, others: &Others) -> bool {
    let different: usize = known.values().chain(others.values()).map(|(n, _)| n).sum();
    (count - different) * 100 >= count * SAME_CHAINS
}

#[test]
fn frame_pointer_chains_are_perfs() {
    let (count, known, others) = compare(&Case::kept("fp"));
    tell("frame pointers", count, &known, &others);
    assert!(count >= 10_000, "only {count} chains");
    assert!(others.is_empty(), "of {count} chains:\n{}", listed(&others));
    assert!(enough(count, &known, &others));
}

#[test]
fn unwound_chains_are_perfs() {
    let (count, known, others) = compare(&Case::kept("dwarf"));
    tell("DWARF", count, &known, &others);
    assert!((80..=DWARF_SAMPLES).contains(&count), "{count} chains");
    assert!(enough(count, &known, &others));
}

/// Chains of captures of this machine: `AGENTTRACE_STACKS=FILE:FILE`.
#[test]
fn fresh_captures_have_perfs_chains() {
    let Some(files) = std::env::var_os("AGENTTRACE_STACKS") else { return };
    let mut poor = Vec::new();
    for file in std::env::split_paths(&files) {
        let (count, known, others) = compare(&Case::live(&file));
        tell(&file.display().to_string(), count, &known, &others);
        if !enough(count, &known, &others) {
            poor.push(file);
        }
    }
    assert!(poor.is_empty(), "below {SAME_CHAINS} %: {poor:?}");
}

// ---- names ----------------------------------------------------------------------

/// Folded stacks and their weights.
type Folded = BTreeMap<String, u64>;

fn folded_lines(text: &str) -> Folded {
    let mut folded = Folded::new();
    for line in text.lines() {
        let (stack, weight) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no weight: {line}"));
        let weight: u64 = weight.parse().unwrap_or_else(|_| panic!("no weight: {line}"));
        *folded.entry(stack.to_owned()).or_default() += weight;
    }
    folded
}

/// What the program prints for a fixture of this folder.
fn flamegraph(name: &str, arguments: &[&str]) -> Folded {
    let mut all = vec!["flamegraph", "perf.data.xz", "--folded"];
    all.extend(arguments);
    let answer = run(&root().join("fixtures/stacks").join(name), &all);
    assert_eq!(answer.code, 0, "{arguments:?}: {}", answer.err);
    folded_lines(&answer.out)
}

/// The same of steps, with all symbols that were carried.
fn of_step(name: &str, kind: &str, step: &str) -> Folded {
    let mut all = vec!["--markers", "steps.jsonl", "--kind", kind, "--step", step, "--no-inline"];
    all.extend(CARRIED);
    flamegraph(name, &all)
}

/// The event of the clock, as perf names it.
fn clock(text: &str) -> String {
    let samples = told(text);
    let event = samples.iter().map(|told| &told.event).find(|event| event.starts_with("cpu-clock"));
    event.expect("the clock was sampled").clone()
}

/// What inferno makes of perf's samples of the clock. The others are left out before: it
/// loses its place where a frame stands in the sample's own line. So are frames at the
/// address 0.
fn collapsed(text: &str) -> Folded {
    let clock = clock(text);
    let mut kept = String::new();
    let mut open = false;
    for line in text.lines() {
        if !line.is_empty() && !line.starts_with('\t') {
            open = told_sample(line).flatten().is_some_and(|told| told.event == clock);
        } else if told_frame(line).is_some_and(|frame| is_no_frame(frame.ip)) {
            continue;
        }
        if open {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    let mut options = perf::Options::default();
    options.nthreads = 1;
    let mut out = Vec::new();
    perf::Folder::from(options).collapse(kept.as_bytes(), &mut out).expect("inferno reads it");
    folded_lines(std::str::from_utf8(&out).expect("inferno writes UTF-8"))
}

/// For each name of the kernel that shares its address, the first of those names.
fn aliases(name: &str) -> BTreeMap<String, String> {
    let path = root().join("fixtures/stacks").join(name).join("kallsyms");
    let text = std::fs::read_to_string(&path).expect("kallsyms is kept");
    let mut by_address: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(address), _, Some(name)) = (words.next(), words.next(), words.next()) {
            by_address.entry(address).or_default().insert(name);
        }
    }
    let groups = by_address.into_values().filter(|names| names.len() > 1);
    groups
        .flat_map(|names| {
            let first = names.first().map(|name| (*name).to_owned()).unwrap_or_default();
            names.into_iter().map(move |name| (name.to_owned(), first.clone())).collect::<Vec<_>>()
        })
        .collect()
}

/// Folded stacks with one name for each address, and without what only one side tells:
/// where in a module a frame without name lies.
fn comparable(folded: &Folded, aliases: &BTreeMap<String, String>) -> Folded {
    let frame = |frame: &str| {
        if let Some((module, offset)) = frame.rsplit_once("+0x")
            && offset.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return format!("[{module}]");
        }
        aliases.get(frame).cloned().unwrap_or_else(|| frame.to_owned())
    };
    let mut out = Folded::new();
    for (stack, weight) in folded {
        let stack = stack.split(';').map(frame).collect::<Vec<_>>().join(";");
        *out.entry(stack).or_default() += weight;
    }
    out
}

fn differences(ours: &Folded, theirs: &Folded) -> String {
    let mut text = String::new();
    for (stack, weight) in theirs.iter().filter(|(stack, weight)| ours.get(*stack) != Some(*weight))
    {
        let _ = writeln!(text, "perf and inferno {weight}, we {:?}: {stack}", ours.get(stack));
    }
    for (stack, weight) in ours.iter().filter(|(stack, _)| !theirs.contains_key(*stack)) {
        let _ = writeln!(text, "only we {weight}: {stack}");
    }
    text
}

#[test]
fn folded_stacks_are_those_of_perf_and_inferno() {
    let mut all = vec!["--kind", "cpu", "--whole-capture", "--no-inline"];
    all.extend(CARRIED);
    let (ours, theirs) = (flamegraph("fp", &all), collapsed(&Case::kept("fp").text));
    let aliases = aliases("fp");
    let (ours, theirs) = (comparable(&ours, &aliases), comparable(&theirs, &aliases));
    assert!(theirs.values().sum::<u64>() >= 300, "{} samples", theirs.values().sum::<u64>());
    assert!(ours == theirs, "{}", differences(&ours, &theirs));
}

// ---- what the workload does -----------------------------------------------------

/// The weight of the stacks that hold these frames, one after the other.
fn weight_of(folded: &Folded, frames: &str) -> u64 {
    let inside = format!(";{frames};");
    folded.iter().filter(|(stack, _)| format!(";{stack};").contains(&inside)).map(|(_, n)| n).sum()
}

/// The stacks that have reached the end of the recursion: not those where the program's
/// own stack grows.
fn computing(folded: &Folded) -> Folded {
    let bottom =
        folded.iter().filter(|(stack, _)| format!("{stack};").contains(";bottom;compute;"));
    bottom.map(|(stack, n)| (stack.clone(), *n)).collect()
}

fn total(folded: &Folded) -> u64 {
    folded.values().sum()
}

#[test]
fn recursion_is_as_deep_as_it_is() {
    let forty = format!("_start;main;{}bottom;compute", "descend;".repeat(40));
    for name in ["fp", "dwarf"] {
        let folded = of_step(name, "cpu", "4");
        let computing = computing(&folded);
        assert!(total(&computing) >= 10, "{name}: {folded:?}");
        assert_eq!(weight_of(&computing, &forty), total(&computing), "{name}: {folded:#?}");
    }
    // With frame pointers the kernel follows a hundred frames, too.
    let hundred = format!("_start;main;{}bottom;compute", "descend_far;".repeat(100));
    let folded = computing(&of_step("fp", "cpu", "5"));
    assert_eq!(weight_of(&folded, &hundred), total(&folded), "{folded:#?}");
}

/// 8 KB hold a known part of a hundred frames of 400 bytes and more; no invented ones.
#[test]
fn a_stack_that_ends_too_early_is_short() {
    let folded = computing(&of_step("dwarf", "cpu", "5"));
    assert!(total(&folded) >= 5, "{folded:?}");
    for stack in folded.keys() {
        // The tool, which has the same name, the step and the task come first.
        let deep = stack.split(';').skip(3).filter(|frame| *frame == "descend_far").count();
        // 8,192 bytes; a frame has 400 of its own, registers, and where it returns to.
        assert!((17..=20).contains(&deep), "{deep} frames: {stack}");
        assert!(!stack.contains(";main;"), "{stack}");
    }
}

#[test]
fn a_library_has_names_and_calls_back() {
    let library = "main;use_library;lib_search;catalog::walk;catalog::Index<long>::scan";
    for name in ["fp", "dwarf"] {
        let folded = of_step(name, "cpu", "6");
        let back = weight_of(&folded, &format!("{library};visit;compute"));
        let there = weight_of(&folded, &format!("{library};catalog::Index<long>::rank"));
        assert!(back >= 5 && there >= 1, "{name}: {folded:#?}");
        assert!((back + there) * 10 >= total(&folded) * 9, "{name}: {folded:#?}");
    }
}

#[test]
fn stripped_code_has_names_once_symbols_are_carried() {
    for name in ["fp", "dwarf"] {
        let with = of_step(name, "cpu", "7");
        let compute = "_start;main;secret_round;secret_compute";
        assert!(weight_of(&with, compute) >= 10, "{name}: {with:#?}");
        // A cache without the file: this machine's own must not help.
        let mut all = vec!["--markers", "steps.jsonl", "--kind", "cpu", "--step", "7"];
        all.extend(["--symfs", "symfs", "--debug-dir", "symfs", "--kallsyms", "kallsyms"]);
        let without = flamegraph(name, &all);
        assert_eq!(total(&without), total(&with), "{name}");
        assert_eq!(without.keys().find(|stack| stack.contains("secret_")), None, "{name}");
        let nameless = without.iter().filter(|(stack, _)| stack.contains(";stripped+0x"));
        let nameless: u64 = nameless.map(|(_, n)| n).sum();
        assert!(nameless >= weight_of(&with, compute), "{name}: {without:#?}");
    }
}

/// A page that is touched for the first time faults once, in the code that touches it.
#[test]
fn faults_are_those_of_the_code_that_touches() {
    let folded = of_step("fp", "faults", "2");
    let anonymous: u64 = folded
        .iter()
        .filter(|(stack, _)| stack.contains(";main;fault_storm;touch_anonymous"))
        .map(|(_, n)| n)
        .sum();
    assert_eq!(anonymous, 4 * 2_000, "{folded:#?}");
}

/// Blocked time stands under the code that waits, and is what the workload measured.
#[test]
fn waits_are_those_of_the_code_that_waits() {
    let folded = of_step("fp", "off-cpu", "8");
    let of = |function: &str| -> u64 {
        let inside = format!(";main;wait_for_all;{function};");
        folded.iter().filter(|(stack, _)| stack.contains(&inside)).map(|(_, ns)| ns).sum()
    };
    // Four sleeps of 10 ms, which end after that at the earliest.
    let (nap, measured) = (of("nap"), measured("fp", "8", "nanosleep"));
    assert!((39_500_000..=measured).contains(&nap), "{nap} ns of {measured}: {folded:#?}");
    for (function, call) in [("save", "fsync"), ("ask", "read")] {
        let (waited, measured) = (of(function), self::measured("fp", "8", call));
        assert!((1..=measured).contains(&waited), "{function}: {waited} ns of {measured}");
    }
}

/// What the workload measured of an operation, in ns.
fn measured(name: &str, step: &str, frame: &str) -> u64 {
    let fixture = fixtures("stacks").into_iter().find(|f| f.name == format!("stacks/{name}"));
    let truth = fixture.expect("the fixture is there").truth();
    let line = accuracy::of_step(&truth, step).expect("the step has its truth");
    let operations = line.get("operations").list();
    let found = operations.iter().find(|o| o.get("frame").text() == Some(frame));
    found.and_then(|o| o.get("ns").number()).expect("the operation was measured")
}

/// The folder's lock is waited for in the two functions that need it.
#[test]
fn locks_are_waited_for_by_their_callers() {
    let folded = of_step("fp", "locks", "3");
    let of = |function: &str| -> u64 {
        let inside = format!(";main;share_folder;{function};");
        folded.iter().filter(|(stack, _)| stack.contains(&inside)).map(|(_, ns)| ns).sum()
    };
    let (make, remove) = (of("make_entry"), of("remove_entry"));
    assert!(make > 0 && remove > 0, "{folded:#?}");
    // The step takes 80 ms, most of which it waits.
    assert!((20_000_000..=90_000_000).contains(&(make + remove)), "{make} + {remove}");
}

/// Code that was made at run time has the names of its perf map, as they are.
#[test]
fn code_made_at_run_time_has_its_maps_names() {
    let folded = of_step("fp", "cpu", "9");
    let chain = "main;run_jit;jit:outer \"quoted\" <script>;jit:inner loop;jit_work;compute";
    assert!(weight_of(&folded, chain) * 10 >= total(&folded) * 9, "{folded:#?}");
}

/// The kernel's code in user mode has names, and a caller.
#[test]
fn the_clock_of_the_vdso_has_a_name() {
    for name in ["fp", "dwarf"] {
        let folded = of_step(name, "cpu", "10");
        let chain = "main;read_clock;now_ns;__vdso_clock_gettime";
        assert!(weight_of(&folded, chain) * 2 >= total(&folded), "{name}: {folded:#?}");
    }
}
