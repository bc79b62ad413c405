//! Firefox profiles against what the processed format promises: tables, indexes, times, schemas.

use super::{Hostile, TOOL, all, crafted, is_hostile, json, of_fixture, steps};
use crate::json::Json;

/// A number as text to nanoseconds: `0.5` ms is 500000.
fn nanos(value: &Json) -> u64 {
    let Json::Number(text) = value else { panic!("{value:?} is no time") };
    let ms: f64 = text.parse().expect("a number");
    assert!(ms >= 0.0, "{ms}");
    // Exact: the format keeps nanoseconds of captures of any length that there is.
    (ms * 1e6).round() as u64
}

/// The rows of a table, each column of which has `length` rows.
fn rows(table: &Json, columns: &[&str], name: &str) -> u64 {
    let length = table.get("length").number().unwrap_or_else(|| panic!("{name} has no length"));
    for column in columns {
        assert_eq!(table.get(column).list().len() as u64, length, "{name}.{column}");
    }
    length
}

/// Each value of a column is below `limit`, null, or -1 where that stands for none.
fn below(table: &Json, column: &str, limit: u64, name: &str) {
    for value in table.get(column).list() {
        let none = matches!(value, Json::Null) || *value == Json::Number("-1".to_owned());
        let inside = value.number().is_some_and(|index| index < limit);
        assert!(none || inside, "{name}.{column}: {value:?} of {limit}");
    }
}

/// What `docs-developer/processed-profile-format.md` of the profiler and its type
/// `RawThread` (version 55) ask of a profile.
fn check(name: &str, bytes: &[u8]) -> Json {
    let profile = json(bytes);
    let meta = profile.get("meta");
    assert_eq!(meta.get("preprocessedProfileVersion").number(), Some(55), "{name}");
    assert_eq!(meta.get("product").text(), Some("agenttrace"), "{name}");
    assert_eq!(*meta.get("symbolicated"), Json::Bool(true), "{name}");
    let categories = meta.get("categories").list();
    let libs = profile.get("libs").list().len() as u64;
    let threads = profile.get("threads").list();
    for list in ["initialVisibleThreads", "initialSelectedThreads"] {
        let places = meta.get(list).list().iter().map(|place| place.number().unwrap_or(u64::MAX));
        assert!(places.into_iter().all(|place| place < threads.len() as u64), "{name}: {list}");
    }
    for thread in threads {
        check_thread(name, thread, categories, libs, meta.get("markerSchema").list());
    }
    profile
}

fn check_thread(name: &str, thread: &Json, categories: &[Json], libs: u64, schemas: &[Json]) {
    let strings = thread.get("stringArray").list().len() as u64;
    let resources = thread.get("resourceTable");
    let resource_rows = rows(resources, &["lib", "name", "host", "type"], name);
    below(resources, "lib", libs, name);
    below(resources, "name", strings, name);
    let funcs = thread.get("funcTable");
    let columns =
        ["name", "isJS", "relevantForJS", "resource", "fileName", "lineNumber", "columnNumber"];
    let func_rows = rows(funcs, &columns, name);
    below(funcs, "name", strings, name);
    below(funcs, "resource", resource_rows, name);
    let symbols = thread.get("nativeSymbols");
    let symbol_rows = rows(symbols, &["address", "functionSize", "libIndex", "name"], name);
    below(symbols, "libIndex", libs, name);
    below(symbols, "name", strings, name);
    let frames = thread.get("frameTable");
    let columns = [
        "address",
        "inlineDepth",
        "category",
        "subcategory",
        "func",
        "nativeSymbol",
        "line",
        "column",
    ];
    let frame_rows = rows(frames, &columns, name);
    below(frames, "func", func_rows, name);
    below(frames, "nativeSymbol", symbol_rows, name);
    below(frames, "category", categories.len() as u64, name);
    let stacks = thread.get("stackTable");
    let stack_rows = rows(stacks, &["frame", "prefix"], name);
    below(stacks, "frame", frame_rows, name);
    for (index, prefix) in stacks.get("prefix").list().iter().enumerate() {
        // A caller comes before what it calls.
        assert!(prefix.number().is_none_or(|prefix| prefix < index as u64), "{name}: prefix");
    }
    let samples = thread.get("samples");
    rows(samples, &["stack", "timeDeltas", "weight", "threadCPUDelta"], name);
    below(samples, "stack", stack_rows, name);
    assert_eq!(samples.get("weightType").text(), Some("samples"), "{name}");
    for delta in samples.get("timeDeltas").list() {
        nanos(delta);
    }
    for weight in samples.get("weight").list() {
        assert!(weight.number().is_some_and(|w| w > 0), "{name}: a weight of {weight:?}");
    }

    let markers = thread.get("markers");
    rows(markers, &["category", "data", "endTime", "name", "phase", "startTime"], name);
    below(markers, "category", categories.len() as u64, name);
    below(markers, "name", strings, name);
    let spans = markers.get("startTime").list().iter().zip(markers.get("endTime").list());
    for ((start, end), phase) in spans.zip(markers.get("phase").list()) {
        let instant = phase.number() == Some(0);
        assert!(instant || phase.number() == Some(1), "{name}: phase {phase:?}");
        assert!(instant || nanos(start) <= nanos(end), "{name}: a marker ends before it begins");
    }
    for data in markers.get("data").list() {
        let kind = data.get("type").text();
        let schema = schemas.iter().find(|schema| schema.get("name").text() == kind);
        let schema = schema.unwrap_or_else(|| panic!("{name}: no schema for {kind:?}"));
        for field in schema.get("fields").list() {
            let value = data.get(field.get("key").text().expect("a key"));
            assert_eq!(field.get("format").text(), Some("unique-string"), "{name}");
            assert!(value.number().is_some_and(|index| index < strings), "{name}: {value:?}");
        }
        if let Some(stack) = data.get("cause").get("stack").number() {
            assert!(stack < stack_rows, "{name}: the stack of a marker");
        }
    }
}

/// The markers of a thread: `start end name field field ...`, in microseconds.
fn markers(thread: &Json) -> Vec<String> {
    let strings = thread.get("stringArray").list();
    let text = |value: &Json| {
        let place = usize::try_from(value.number().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        strings.get(place).and_then(Json::text).unwrap_or("?").to_owned()
    };
    let table = thread.get("markers");
    let columns = ["name", "startTime", "endTime", "data"].map(|column| table.get(column).list());
    let [names, starts, ends, data] = columns;
    (0..names.len())
        .map(|row| {
            let mut words = vec![
                (nanos(&starts[row]) / 1000).to_string(),
                (nanos(&ends[row]) / 1000).to_string(),
                text(&names[row]),
            ];
            for (key, value) in data[row].object() {
                if key != "type" && key != "cause" {
                    words.push(text(value));
                }
            }
            words.join("|")
        })
        .collect()
}

#[test]
fn a_step_by_hand() {
    let profile = check("vfork", &of_fixture(&crafted("vfork"), "firefox", &[]));
    // The capture does not tell the time of day.
    assert_eq!(*profile.get("meta").get("startTime"), Json::Number("0.0".to_owned()));
    let [root, child] = profile.get("threads").list() else { panic!("two tasks") };
    assert_eq!(root.get("processName").text(), Some("agent"));
    assert_eq!(root.get("pid").text(), Some("100"));
    assert_eq!(child.get("tid").text(), Some("101"));
    let got = markers(root);
    let path = |times: &str, words: &str| format!("{times}|{words}|");
    let want = [
        path("0|500|user_cpu", "step 1 vfork|cpu_user|user|agent (100)"),
        path("500|1000|spawn", "step 1 vfork|cpu_kernel|vfork|agent (100)"),
        path("1000|1200|spawn", "step 1 vfork|cpu_user|vfork > agent > spawn|agent (101)"),
        path(
            "1200|1900|spawn",
            "step 1 vfork|cpu_kernel|vfork > agent > spawn > execve|agent (101)",
        ),
        path("1900|2100|run_delay", "step 1 vfork|run_queue in spawn|vfork|agent (100)"),
        path("2100|2200|spawn", "step 1 vfork|cpu_kernel|vfork|agent (100)"),
        path("2200|3000|user_cpu", "step 1 vfork|cpu_user|user|agent (100)"),
        "500|2200|system call|vfork|101".to_owned(),
        "1900|0|woken|agent (101)|a task".to_owned(),
    ];
    assert!(got[0].starts_with("0|3000|step|step 1 vfork|3.0 ms|spawn 1.5 ms, user_cpu 1.3 ms, "));
    assert_eq!(got[1..], want);
    assert_eq!(
        markers(child),
        [
            "600|900|system call|vfork|0",
            "1200|2000|system call|execve|0",
            "700|0|woken|agent (100)|a task",
        ]
    );
}

#[test]
fn every_fixture_has_a_marker_for_each_step() {
    for fixture in all() {
        let name = &fixture.name;
        let profile = check(name, &of_fixture(&fixture, "firefox", &[]));
        let all: Vec<String> = profile.get("threads").list().iter().flat_map(markers).collect();
        let mut widths: Vec<u64> = Vec::new();
        for marker in all.iter().filter(|m| m.split('|').nth(2) == Some("step")) {
            let ends: Vec<u64> = marker.split('|').take(2).flat_map(str::parse).collect();
            widths.push(ends[1] - ends[0]);
        }
        widths.sort_unstable();
        let wall = |step: &Json| {
            let at = |key| step.get(key).number().unwrap_or(0);
            (at("start_ns"), at("end_ns"))
        };
        let steps: Vec<(u64, u64)> = steps(&fixture).iter().map(wall).collect();
        let from = steps.iter().map(|s| s.0).min().unwrap_or(0);
        let mut walls: Vec<u64> =
            steps.iter().map(|(s, e)| (e - from) / 1000 - (s - from) / 1000).collect();
        walls.sort_unstable();
        assert_eq!(widths, walls, "{name}");
    }
}

#[test]
fn hostile_names_come_out_as_text() {
    let profile = check("hostile", &Hostile::new("firefox").export("firefox"));
    let threads = profile.get("threads").list();
    let strings = threads.iter().flat_map(|t| t.get("stringArray").list());
    let names = threads.iter().flat_map(|t| [t.get("name"), t.get("processName")]);
    let texts: Vec<&str> = strings.chain(names).filter_map(Json::text).collect();
    assert!(texts.iter().all(|text| !is_hostile(text)), "{texts:?}");
    assert!(texts.contains(&"<b>\\x1b[31m\u{fffd}\"';\\n"), "{texts:?}");
    let title = format!("step </step>\\x07 {TOOL}");
    assert!(texts.iter().any(|text| text.starts_with(&title) && text.len() > 4096), "{texts:?}");
}
