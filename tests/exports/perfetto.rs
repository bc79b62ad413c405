//! Perfetto traces, read by Perfetto's field numbers: slices, paths and switches.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::{Fields, Schema, Value, read, schema};
use super::{Hostile, TOOL, all, crafted, is_hostile, of_fixture, steps};

/// A slice: its track's name, category, name, start, end (`None`: open), arguments.
#[derive(Clone, Debug)]
struct Slice {
    track: u64,
    category: String,
    name: String,
    start: u64,
    end: Option<u64>,
    arguments: BTreeMap<String, String>,
}

/// What a trace holds.
#[derive(Default)]
struct Trace {
    /// By number: name and parent, or `thread PID TID`.
    tracks: BTreeMap<u64, (String, Option<u64>)>,
    slices: Vec<Slice>,
    /// A line an event: `time cpu what`.
    sched: Vec<String>,
    clocks: Vec<(u64, u64)>,
    primary: Option<u64>,
    texts: Vec<String>,
}

#[derive(Default)]
struct Interned {
    categories: BTreeMap<u64, String>,
    names: BTreeMap<u64, String>,
    keys: BTreeMap<u64, String>,
    texts: BTreeMap<u64, String>,
}

impl Interned {
    fn learn(&mut self, data: &Fields) {
        let tables = [
            ("event_categories", "name", &mut self.categories),
            ("event_names", "name", &mut self.names),
            ("debug_annotation_names", "name", &mut self.keys),
            ("debug_annotation_string_values", "str", &mut self.texts),
        ];
        for (list, field, table) in tables {
            for entry in data.messages(list) {
                let iid = entry.number("iid").expect("a number");
                let text = entry.text(field).expect("a text").to_owned();
                assert_eq!(table.insert(iid, text), None, "{list} {iid} is told twice");
            }
        }
    }

    fn argument(&self, annotation: &Fields, prefix: &str, out: &mut BTreeMap<String, String>) {
        let key = annotation.number("name_iid").map(|iid| self.keys[&iid].clone());
        let path = match (prefix, &key) {
            ("", Some(key)) => key.clone(),
            (_, Some(key)) => format!("{prefix}.{key}"),
            (_, None) => prefix.to_owned(),
        };
        for (field, value) in &annotation.0 {
            match (*field, value) {
                ("string_value_iid", Value::Number(iid)) => {
                    out.insert(path.clone(), self.texts[iid].clone());
                }
                ("dict_entries", Value::Message(entry)) => self.argument(entry, &path, out),
                ("array_values", Value::Message(entry)) => {
                    let index = out.keys().filter(|k| k.starts_with(&format!("{path}["))).count();
                    self.argument(entry, &format!("{path}[{index}]"), out);
                }
                ("name_iid", _) => {}
                (_, Value::Number(n)) => {
                    out.insert(path.clone(), n.to_string());
                }
                (_, value) => panic!("{path}: {value:?}"),
            }
        }
    }
}

fn parse(schema: &Schema, bytes: &[u8]) -> Trace {
    let mut trace = Trace::default();
    let mut interned = Interned::default();
    // By track, the slices that are open, as places in the list.
    let mut open: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for (index, packet) in read(schema, "Trace", bytes).messages("packet").enumerate() {
        let first = index == 0;
        assert_eq!(packet.number("sequence_flags"), Some(if first { 1 } else { 2 }));
        assert_eq!(packet.number("trusted_packet_sequence_id"), Some(1));
        if let Some(data) = packet.message("interned_data") {
            interned.learn(data);
        }
        let time = packet.number("timestamp");
        if let Some(snapshot) = packet.message("clock_snapshot") {
            let reading =
                |c: &Fields| (c.number("clock_id").unwrap(), c.number("timestamp").unwrap());
            trace.clocks = snapshot.messages("clocks").map(reading).collect();
            trace.primary = snapshot.number("primary_trace_clock");
        } else if let Some(track) = packet.message("track_descriptor") {
            let uuid = track.number("uuid").expect("a number");
            let name = match (track.message("thread"), track.text("name")) {
                (Some(thread), None) => format!(
                    "thread {} {}",
                    thread.number("pid").unwrap(),
                    thread.number("tid").unwrap()
                ),
                (None, Some(name)) => name.to_owned(),
                other => panic!("{other:?}"),
            };
            let told = trace.tracks.insert(uuid, (name, track.number("parent_uuid")));
            assert_eq!(told, None, "a track is told twice");
        } else if let Some(event) = packet.message("track_event") {
            let (time, track) = (time.expect("a time"), event.number("track_uuid").unwrap());
            assert!(trace.tracks.contains_key(&track), "a slice on a track before its descriptor");
            let before = last.insert(track, time).unwrap_or(0);
            assert!(before <= time, "slices of one track go back in time");
            let open = open.entry(track).or_default();
            if event.number("type") == Some(2) {
                let place = open.pop().expect("a slice is open");
                trace.slices[place].end = Some(time);
                continue;
            }
            assert_eq!(event.number("type"), Some(1));
            let mut arguments = BTreeMap::new();
            for annotation in event.messages("debug_annotations") {
                interned.argument(annotation, "", &mut arguments);
            }
            open.push(trace.slices.len());
            trace.slices.push(Slice {
                track,
                category: interned.categories[&event.number("category_iids").unwrap()].clone(),
                name: interned.names[&event.number("name_iid").unwrap()].clone(),
                start: time,
                end: None,
                arguments,
            });
        } else if let Some(bundle) = packet.message("ftrace_events") {
            let cpu = bundle.number("cpu").expect("a CPU");
            trace.sched.extend(bundle.messages("event").map(|event| sched(cpu, event)));
        }
        texts(packet, &mut trace.texts);
    }
    trace
}

fn sched(cpu: u64, event: &Fields) -> String {
    let task = |of: &Fields, prefix: &str| {
        let comm = of.text(&format!("{prefix}comm")).unwrap_or("?");
        format!("{comm}:{}", of.number(&format!("{prefix}pid")).expect("a pid"))
    };
    let what = match event.0.iter().find_map(|(name, value)| {
        if let Value::Message(message) = value { Some((*name, message)) } else { None }
    }) {
        Some(("sched_switch", m)) => {
            let state = m.number("prev_state").expect("a state");
            format!("{} {state:#x} -> {}", task(m, "prev_"), task(m, "next_"))
        }
        Some(("sched_waking", m)) => {
            let by = event.number("pid").expect("a pid");
            let flags = event.number("common_flags").unwrap_or(0);
            let target = m.number("target_cpu").map_or("-".to_owned(), |cpu| cpu.to_string());
            format!("{by} wakes {} on {target} flags {flags:#x}", task(m, ""))
        }
        Some(("task_newtask", m)) => {
            let by = event.number("pid").expect("a pid");
            format!("{by} makes {} flags {:#x}", task(m, ""), m.number("clone_flags").unwrap())
        }
        Some((name, m)) => format!("{name} {}", m.number("pid").unwrap_or(0)),
        None => panic!("an ftrace event without an event"),
    };
    format!("{} {cpu} {what}", event.number("timestamp").expect("a time"))
}

fn texts(fields: &Fields, out: &mut Vec<String>) {
    for (_, value) in &fields.0 {
        match value {
            Value::Text(text) => out.push(text.clone()),
            Value::Message(message) => texts(message, out),
            Value::Number(_) => {}
        }
    }
}

#[test]
fn a_step_by_hand() {
    let trace = parse(&schema(), &of_fixture(&crafted("vfork"), "perfetto", &[]));
    // Monotonic (3), the boot clock (6) said to read the same, and slices on the first.
    assert_eq!((trace.clocks, trace.primary), (vec![(3, 1_000_000), (6, 1_000_000)], Some(3)));
    assert_eq!(
        trace.sched,
        [
            "1000000 0 swapper:0 0x0 -> agent:100",
            "1600000 0 100 makes agent:101 flags 0x0",
            "1800000 1 swapper:0 0x0 -> agent:101",
            "2000000 0 agent:100 0x2 -> swapper:0",
            "2900000 1 101 wakes agent:100 on 0 flags 0x0",
            "3100000 0 swapper:0 0x0 -> agent:100",
        ]
    );
    let line = |slice: &Slice| {
        let (track, parent) = &trace.tracks[&slice.track];
        let parent = parent.map(|uuid| format!(" of {}", trace.tracks[&uuid].0));
        let parent = parent.unwrap_or_default();
        let end = slice.end.map_or("-".to_owned(), |end| (end / 1000).to_string());
        format!("{track}{parent}: {} {end} {}: {}", slice.start / 1000, slice.category, slice.name)
    };
    let lines: Vec<String> = trace.slices.iter().map(line).collect();
    let path = |times: &str, cause: &str| {
        format!("critical path of thread 100 100: {times} critical path: {cause}")
    };
    assert_eq!(
        lines,
        [
            "thread 100 100: 1500 3200 system call: vfork".to_owned(),
            "thread 101 101: 1600 1900 system call: vfork".to_owned(),
            "thread 101 101: 2200 3000 system call: execve".to_owned(),
            "steps of thread 100 100: 1000 4000 step: step 1 vfork".to_owned(),
            path("1000 1500", "user_cpu"),
            path("1500 2000", "spawn"),
            path("2000 2200", "spawn"),
            path("2200 2900", "spawn"),
            path("2900 3100", "run_delay"),
            path("3100 3200", "spawn"),
            path("3200 4000", "user_cpu"),
        ]
    );
    let arguments = |slice: usize| {
        let list = trace.slices[slice].arguments.iter().map(|(k, v)| format!("{k}={v}"));
        list.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(arguments(0), "return=101");
    assert_eq!(
        arguments(7),
        "ns=700000 resource=cpu_kernel stack=vfork > agent > spawn > execve step_id=1 \
         task=agent (101)"
    );
    assert_eq!(
        arguments(8),
        "ns=200000 resource=run_queue stack=vfork step_id=1 task=agent (100) under=spawn"
    );
    let step = &trace.slices[3].arguments;
    assert_eq!(step["wall_ns"], "3000000");
    assert_eq!(step["exclusive[0].row.cause"], "spawn");
    assert!(step.contains_key("verdicts[0].verdict.title"), "{step:?}");
}

#[test]
fn every_fixture_tiles_its_steps_and_keeps_its_cpus_in_step() {
    let schema = schema();
    for fixture in all() {
        let name = &fixture.name;
        let trace = parse(&schema, &of_fixture(&fixture, "perfetto", &[]));
        let of =
            |category: &'static str| trace.slices.iter().filter(move |s| s.category == category);
        let steps = steps(&fixture);
        assert_eq!(of("step").count(), steps.len(), "{name}");
        let mut ends = of("critical path").peekable();
        for (slice, step) in of("step").zip(&steps) {
            assert_eq!(Some(slice.start), step.get("start_ns").number(), "{name}");
            assert_eq!(slice.end, step.get("end_ns").number(), "{name}");
            // The path's slices follow on one track, from the step's start to its end.
            let track = ends.peek().expect("a path").track;
            let mut at = slice.start;
            while let Some(segment) = ends.next_if(|segment| segment.track == track) {
                assert_eq!(segment.start, at, "{name}: a gap in the path");
                at = segment.end.expect("a segment ends");
            }
            assert_eq!(Some(at), slice.end, "{name}");
            assert_eq!(trace.tracks[&slice.track].1, trace.tracks[&track].1, "{name}");
        }
        assert_eq!(ends.next().map(|s| s.start), None, "{name}: a path without its step");

        let mut times = 0;
        let mut running: BTreeMap<u64, String> = BTreeMap::new();
        for line in &trace.sched {
            let words: Vec<&str> = line.split(' ').collect();
            let time: u64 = words[0].parse().expect("a time");
            assert!(times <= time, "{name}: {line}");
            times = time;
            let Some((left, next)) = line.split_once(" -> ") else { continue };
            let cpu: u64 = words[1].parse().expect("a CPU");
            let tid = |task: &str| task.rsplit(':').next().unwrap_or("").to_owned();
            let prev = left.rsplit(' ').nth(1).map(tid).unwrap_or_default();
            let ran = running.insert(cpu, tid(next)).unwrap_or("0".to_owned());
            assert_eq!(ran, prev, "{name}: {line}");
        }
        // No task runs on two CPUs at the end.
        let tasks: Vec<&String> = running.values().filter(|tid| *tid != "0").collect();
        assert_eq!(tasks.len(), tasks.iter().collect::<BTreeSet<_>>().len(), "{name}");
    }
}

#[test]
fn an_interrupt_is_no_waker() {
    // The timer's interrupt lands on a task that has nothing to do with the sleeper.
    let fixture = crafted("sleep_under_a_bystander");
    let trace = parse(&schema(), &of_fixture(&fixture, "perfetto", &[]));
    let wakes: Vec<&String> = trace.sched.iter().filter(|line| line.contains(" wakes ")).collect();
    assert!(!wakes.is_empty());
    assert!(wakes.iter().all(|line| line.ends_with("flags 0x10")), "{wakes:?}");
}

#[test]
fn hostile_names_come_out_as_text() {
    let trace = parse(&schema(), &Hostile::new("perfetto").export("perfetto"));
    assert!(trace.texts.iter().all(|text| !is_hostile(text)), "{:?}", trace.texts);
    assert!(trace.texts.iter().any(|text| text == "<b>\\x1b[31m\u{fffd}\"';\\n"));
    let title = format!("step </step>\\x07 {TOOL}");
    assert!(trace.slices.iter().any(|s| s.name.starts_with(&title) && s.name.len() > 4096));
}
