//! The lines of a steps.jsonl to the same steps later, done by other tasks.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::steps_read::lines;

/// How a repetition differs from the first.
pub(crate) struct Later<'l> {
    /// From 0.
    pub(crate) repetition: u32,
    pub(crate) nanos: u64,
    /// What is added to the ids of steps.
    pub(crate) ids: u64,
    pub(crate) tid: &'l dyn Fn(i32) -> i32,
}

/// The largest id that is a number.
///
/// # Errors
/// Where a time is text: it cannot be moved.
pub(crate) fn last_id(steps: &[u8]) -> Result<u64, String> {
    let mut last = 0;
    for object in lines(steps).filter_map(|(line, _)| object(line)) {
        if ["start", "end", "ts"].iter().any(|key| object.contains_key(*key)) {
            return Err("the steps have times as text; only numbers can be repeated".to_owned());
        }
        last = last.max(object.get("step_id").and_then(Value::as_u64).unwrap_or(0));
    }
    Ok(last)
}

/// Writes the steps of one repetition. The first is as it is; in others there is no line
/// that is about the whole file, and what cannot be read is left out.
pub(crate) fn write(steps: &[u8], later: &Later<'_>, out: &mut dyn Write) -> io::Result<()> {
    for (line, _) in lines(steps) {
        if later.repetition == 0 {
            out.write_all(line)?;
        } else {
            let Some(mut object) = object(line).filter(|o| o.contains_key("step_id")) else {
                continue;
            };
            for (key, value) in &mut object {
                change(key, value, later);
            }
            out.write_all(Value::Object(object).to_string().as_bytes())?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn change(key: &str, value: &mut Value, later: &Later<'_>) {
    let number = value.as_u64();
    match (key, number) {
        ("step_id" | "parent", Some(id)) => *value = id.saturating_add(later.ids).into(),
        ("step_id" | "parent", None) => {
            if let Value::String(name) = value {
                *name = format!("{name}~{}", later.repetition);
            }
        }
        ("start_ns" | "end_ns" | "ts_ns", Some(ns)) => {
            *value = ns.saturating_add(later.nanos).into();
        }
        ("pid" | "tid", Some(tid)) => {
            if let Ok(tid) = i32::try_from(tid) {
                *value = (later.tid)(tid).into();
            }
        }
        _ => {}
    }
}

fn object(line: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_times_and_tasks_move() {
        let steps = br#"{"schema":"agenttrace.steps/1","clock":"monotonic"}
{"step_id":3,"tool":"a","pid":10,"tid":11,"parent":2,"start_ns":100,"end_ns":200}

{"step_id":"x","ev":"end","ts_ns":150,"pid":1}
"#;
        assert_eq!(last_id(steps), Ok(3));
        let tid = |tid: i32| if tid == 1 { 1 } else { tid + 1000 };
        let mut out = Vec::new();
        for repetition in [0, 2] {
            let later = Later { repetition, nanos: 5000, ids: 6, tid: &tid };
            write(steps, &later, &mut out).unwrap();
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"schema":"agenttrace.steps/1","clock":"monotonic"}
{"step_id":3,"tool":"a","pid":10,"tid":11,"parent":2,"start_ns":100,"end_ns":200}
{"step_id":"x","ev":"end","ts_ns":150,"pid":1}
{"step_id":9,"tool":"a","pid":1010,"tid":1011,"parent":8,"start_ns":5100,"end_ns":5200}
{"step_id":"x~2","ev":"end","ts_ns":5150,"pid":1}
"#
        );
        assert!(last_id(br#"{"step_id":1,"start":"2026-01-01T00:00:00Z"}"#).is_err());
    }
}
