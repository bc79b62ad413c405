//! The schema in docs/ describes what is written: no key missing, none unknown to it.

use agenttrace_attribute::report::{Report, Segments};
use serde_json::Value;

use super::*;
use crate::fixture;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../../../docs/report.schema.json")).unwrap()
}

fn text(report: &Report) -> String {
    let mut out = Vec::new();
    write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type {other} in the schema"),
    }
}

/// The part of JSON Schema that ours uses. Stricter than it: where `properties`
/// are listed, no other key may appear.
fn check(value: &Value, schema: &Value, root: &Value, path: &str) -> Vec<String> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(name.trim_start_matches('#')).unwrap();
        return check(value, target, root, path);
    }
    let mut wrong = Vec::new();
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is(value, name)) {
        wrong.push(format!("{path}: {value} is not {types:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        wrong.push(format!("{path}: {value} is not the constant"));
    }
    if let Some(Value::Array(all)) = schema.get("enum")
        && !all.contains(value)
    {
        wrong.push(format!("{path}: {value} is not in the list"));
    }
    if let (Some(least), Some(number)) =
        (schema.get("minimum").and_then(Value::as_f64), value.as_f64())
        && number < least
    {
        wrong.push(format!("{path}: {value} is below {least}"));
    }
    if let (Value::Object(members), Some(known)) = (value, schema.get("properties")) {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                wrong.push(format!("{path}: {name} is missing"));
            }
        }
        for (name, member) in members {
            match known.get(name) {
                Some(schema) => {
                    wrong.extend(check(member, schema, root, &format!("{path}.{name}")));
                }
                None => wrong.push(format!("{path}: {name} is not in the schema")),
            }
        }
    }
    if let (Value::Array(items), Some(schema)) = (value, schema.get("items")) {
        for (i, item) in items.iter().enumerate() {
            wrong.extend(check(item, schema, root, &format!("{path}[{i}]")));
        }
    }
    wrong
}

#[test]
fn the_schema_describes_the_report() {
    let schema = schema();
    let mut report = fixture::report();
    report.session.histograms[0].buckets = None;
    for report in [fixture::report(), report] {
        let value: Value = serde_json::from_str(&text(&report)).unwrap();
        assert_eq!(check(&value, &schema, &schema, "report"), Vec::<String>::new());
    }
    // The check itself finds what is wrong.
    let mut value: Value = serde_json::from_str(&text(&fixture::report())).unwrap();
    value["steps"][0]["wall_ns"] = Value::from(-1);
    value["steps"][0]["exclusive"][0]["cause"] = Value::from("weather");
    value["steps"][1].as_object_mut().unwrap().remove("tid");
    assert_eq!(check(&value, &schema, &schema, "report").len(), 3);
}

#[test]
fn exact_values() {
    let report = fixture::report();
    let value: Value = serde_json::from_str(&text(&report)).unwrap();
    assert_eq!(value["schema"], "agenttrace.report/1");
    assert_eq!(value["steps"][0]["step_id"], 142);
    // Text is exact once it is read back, however hostile.
    assert_eq!(value["steps"][1]["step_id"], "a|<script>\u{1b}[31m");
    assert_eq!(value["steps"][1]["tool"], report.steps[1].tool.as_str());
    assert_eq!(value["steps"][0]["extra"]["n"], 3);
    assert_eq!(value["steps"][0]["verdicts"][0]["share"], 0.732_253);
    assert!(value["steps"][0]["inclusive"]["tlb_flushes"].is_null());
    assert!(value["steps"][1]["inclusive"]["syscalls"].is_null());
    let rows = value["steps"][0]["exclusive"].as_array().unwrap();
    assert_eq!(rows.iter().map(|r| r["ns"].as_u64().unwrap()).sum::<u64>(), 20_214_321);
    assert_eq!(rows.iter().filter(|r| r.get("under").is_some()).count(), 1);
}

#[test]
fn the_text_may_be_shown_as_it_is() {
    let text = text(&fixture::report());
    assert!(!text.chars().any(|c| crate::escape::hostile(c) && c != '\n'));
    assert!(text.contains("\"tool\":\"evil;\\u202etool\\n<script>alert(1)</script>\""));
    assert!(text.contains(
        "    {\"cause\":\"run_delay\",\"resource\":\"run_queue\",\"under\":\"major_fault\",\"ns\":300000}\n"
    ));
}

#[test]
fn one_step_alone() {
    let report = fixture::report();
    let job = Job {
        report: &report,
        step: Some(&report.steps[1]),
        style: crate::Style::default(),
        out_hint: None,
    };
    let mut out = Vec::new();
    Json.write(&job, &mut out).unwrap();
    let value: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["steps"].as_array().unwrap().len(), 1);
    assert_eq!(value["session"]["steps"], 2);
}

/// Steps from none to many segments: their texts are written in pieces, on several threads.
#[test]
fn pieces_join_to_one_text() {
    let mut report = fixture::report();
    let kinds = report.steps[0].segments.kinds().to_vec();
    let sizes = [0, 1, 8191, 8192, 8193, 30_000, 0, 3];
    let like = report.steps[0].clone();
    report.steps.clear();
    for size in sizes {
        let mut segments = Segments::new(Nanos(1_000));
        let places: Vec<usize> = kinds.iter().map(|kind| segments.add_kind(kind.clone())).collect();
        for i in 0..size {
            segments.push(places[i % places.len()], Nanos(i as u64 + 1));
        }
        report.steps.push(StepReport { segments, ..like.clone() });
    }
    let text = text(&report);
    let json: Value = serde_json::from_str(&text).unwrap();
    let steps = json["steps"].as_array().unwrap();
    assert_eq!(steps.len(), sizes.len());
    for (step, size) in steps.iter().zip(sizes) {
        let segments = step["segments"].as_array().unwrap();
        assert_eq!(segments.len(), size);
        let mut at = 1_000;
        for (i, segment) in segments.iter().enumerate() {
            let end = at + i as u64 + 1;
            assert_eq!((&segment["start_ns"], &segment["end_ns"]), (&at.into(), &end.into()));
            assert_eq!(segment["cause"], kinds[i % kinds.len()].cause.name());
            at = end;
        }
        assert_eq!(step["verdicts"].as_array().unwrap().len(), like.verdicts.len());
    }
    // One line for each, wherever a piece ends.
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("    {\"start_ns\":")).collect();
    assert_eq!(lines.len(), sizes.iter().sum::<usize>());
    let open = lines.iter().filter(|l| !l.ends_with("},")).count();
    assert_eq!(open, sizes.iter().filter(|n| **n > 0).count(), "the last of each step");
}
