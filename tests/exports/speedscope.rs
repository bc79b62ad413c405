//! speedscope's files against speedscope's own schema, and the widths of steps.

use super::{Hostile, TOOL, all, crafted, is_hostile, json, of_fixture, steps};
use crate::json::Json;
use crate::support::Fixture;

/// The schema from the npm package speedscope 1.25.0.
const SCHEMA: &str = include_str!("../schemas/speedscope.schema.json");

/// Checks a file against the schema, and that each sample's frames are in its list.
fn check(validator: &jsonschema::Validator, name: &str, bytes: &[u8]) -> Json {
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("the export is JSON");
    if let Some(error) = validator.iter_errors(&value).next() {
        panic!("{name}: {error} at {}", error.instance_path());
    }
    let file = json(bytes);
    let frames = file.get("shared").get("frames").list().len() as u64;
    for profile in file.get("profiles").list() {
        let samples = profile.get("samples").list();
        assert_eq!(samples.len(), profile.get("weights").list().len(), "{name}");
        for frame in samples.iter().flat_map(|sample| sample.list()) {
            assert!(frame.number().expect("a number") < frames, "{name}: no such frame");
        }
        assert_eq!(Some(weight(profile)), profile.get("endValue").number(), "{name}");
    }
    file
}

fn validator() -> jsonschema::Validator {
    let schema = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema holds")
}

fn weight(profile: &Json) -> u64 {
    profile.get("weights").list().iter().map(|w| w.number().expect("a number")).sum()
}

#[test]
fn a_step_by_hand() {
    let bytes = of_fixture(&crafted("vfork"), "speedscope", &[]);
    let file = check(&validator(), "vfork", &bytes);
    let frames: Vec<&str> = file
        .get("shared")
        .get("frames")
        .list()
        .iter()
        .map(|frame| frame.get("name").text().expect("a name"))
        .collect();
    let [profile] = file.get("profiles").list() else { panic!("one step, one profile") };
    assert_eq!(profile.get("name").text(), Some("step 1 vfork (3.0 ms)"));
    assert_eq!(profile.get("unit").text(), Some("nanoseconds"));
    let samples = profile.get("samples").list().iter().zip(profile.get("weights").list());
    let lines: Vec<String> = samples
        .map(|(sample, weight)| {
            let names = sample
                .list()
                .iter()
                .map(|place| frames[usize::try_from(place.number().unwrap_or(0)).unwrap_or(0)]);
            let names: Vec<&str> = names.collect();
            format!("{} {}", weight.number().unwrap_or(0) / 1000, names.join(" > "))
        })
        .collect();
    // The path of tests/crafted.rs, in microseconds.
    assert_eq!(
        lines,
        [
            "500 user > user_cpu: cpu_user",
            "500 vfork > spawn: cpu_kernel",
            "200 vfork > agent > spawn > spawn: cpu_user",
            "700 vfork > agent > spawn > execve > spawn: cpu_kernel",
            "200 vfork > run_delay: run_queue in spawn",
            "100 vfork > spawn: cpu_kernel",
            "800 user > user_cpu: cpu_user",
        ]
    );
}

#[test]
fn every_fixture_is_valid_and_as_wide_as_its_steps() {
    let validator = validator();
    for fixture in all() {
        let file = check(&validator, &fixture.name, &of_fixture(&fixture, "speedscope", &[]));
        let steps = steps(&fixture);
        let profiles = file.get("profiles").list();
        assert!(profiles.len() >= steps.len(), "{}", fixture.name);
        for (profile, step) in profiles.iter().zip(&steps) {
            let wall = step.get("wall_ns").number();
            assert_eq!(Some(weight(profile)), wall, "{}", fixture.name);
        }
    }
}

#[test]
fn one_step_with_what_is_nested_in_it() {
    let found = all().into_iter().find(|f| f.name == "recorded/nested_steps");
    let fixture: Fixture = found.expect("the fixture is there");
    let names = |step: &str| {
        let bytes = of_fixture(&fixture, "speedscope", &["--step", step]);
        let file = check(&validator(), &fixture.name, &bytes);
        let names = file.get("profiles").list().iter().filter_map(|p| p.get("name").text());
        // Without the wall time at the end.
        names.map(|n| n.split(" (").next().unwrap_or(n).to_owned()).collect::<Vec<String>>()
    };
    // Its README: agent_turn 5 calls search_codebase 6, which calls rank_results 7, and
    // save_state 8.
    assert_eq!(
        names("5"),
        ["step 5 agent_turn", "step 6 search_codebase", "step 7 rank_results", "step 8 save_state"]
    );
    assert_eq!(names("6"), ["step 6 search_codebase", "step 7 rank_results"]);
    assert_eq!(names("8"), ["step 8 save_state"]);
}

#[test]
fn hostile_names_come_out_as_text() {
    let bytes = Hostile::new("speedscope").export("speedscope");
    let file = check(&validator(), "hostile", &bytes);
    let frames = file.get("shared").get("frames").list().iter().map(|f| f.get("name"));
    let profiles = file.get("profiles").list().iter().map(|p| p.get("name"));
    let names: Vec<&str> = frames.chain(profiles).filter_map(Json::text).collect();
    assert!(names.iter().all(|name| !is_hostile(name)), "{names:?}");
    assert!(names.contains(&"<b>\\x1b[31m\u{fffd}\"';\\n"), "{names:?}");
    let title = format!("step </step>\\x07 {TOOL}");
    assert!(names.iter().any(|name| name.starts_with(&title) && name.len() > 4096), "{names:?}");
}
