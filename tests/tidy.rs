//! The rules of the source tree.

use std::path::PathBuf;

use agenttrace_parse::events::TABLE;

use crate::support::{files_below, root};

/// Crate, and the crates of the workspace that it may use.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("crates/parse/Cargo.toml", &[]),
    ("crates/model/Cargo.toml", &["agenttrace-parse"]),
    ("crates/attribute/Cargo.toml", &["agenttrace-model"]),
    ("crates/render/Cargo.toml", &["agenttrace-attribute", "agenttrace-model"]),
    (
        "Cargo.toml",
        &["agenttrace-parse", "agenttrace-model", "agenttrace-attribute", "agenttrace-render"],
    ),
];

/// Crates of others that belong to one crate of ours alone.
const ALONE: &[(&str, &str)] = &[
    ("clap", "Cargo.toml"),
    ("memmap2", "Cargo.toml"),
    ("anyhow", "Cargo.toml"),
    ("indicatif", "Cargo.toml"),
    ("blazesym", "Cargo.toml"),
    ("tar", "Cargo.toml"),
    ("bzip2", "Cargo.toml"),
    ("tempfile", "Cargo.toml"),
    ("framehop", "crates/model/Cargo.toml"),
    ("gimli", "crates/model/Cargo.toml"),
    ("polars", "crates/render/Cargo.toml"),
    ("plotters", "crates/render/Cargo.toml"),
    ("inferno", "crates/render/Cargo.toml"),
];

/// The sections of a manifest that give dependencies to the crate itself.
fn dependencies(manifest: &str, sections: &[&str]) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            inside = sections.contains(&section.trim_end_matches(']'));
        } else if inside
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once(['=', '.'])
        {
            names.push(name.trim().trim_matches('"').to_owned());
        }
    }
    names
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Sources by their path in the repository.
fn sources() -> Vec<(String, String)> {
    let folders = ["crates", "tests", "benches", "fuzz"];
    let files = folders.iter().flat_map(|f| files_below(&root().join(f)));
    let rust = files.filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let rust = rust.filter(|path| !path.components().any(|c| c.as_os_str() == "target"));
    rust.map(|path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
        (name.clone(), text(&name))
    })
    .collect()
}

#[test]
fn dependencies_run_along_the_data() {
    for (manifest, allowed) in DEPENDENCIES {
        for name in dependencies(&text(manifest), &["dependencies"]) {
            if name.starts_with("agenttrace") {
                assert!(allowed.contains(&name.as_str()), "{manifest} may not use {name}");
            }
            if let Some((_, owner)) = ALONE.iter().find(|(other, _)| *other == name) {
                assert_eq!(owner, manifest, "{name} belongs elsewhere");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (name, text) in sources() {
        assert!(text.starts_with("//! "), "{name} does not open with a `//!` line");
    }
}

#[test]
fn only_the_command_line_opens_files() {
    let libraries =
        ["parse", "model", "attribute", "render"].map(|name| format!("crates/{name}/src/"));
    for (name, text) in sources() {
        let test = name.contains("tests/") || name.ends_with("tests.rs");
        if test || !libraries.iter().any(|folder| name.starts_with(folder.as_str())) {
            continue;
        }
        let text = text.split("#[cfg(test)]").next().unwrap_or("");
        for banned in ["std::fs", "std::env", "File::open", "SystemTime::now", "Instant::now"] {
            assert!(!text.contains(banned), "{name} uses {banned}");
        }
    }
}

/// Where names of events may stand besides the table of events, and why.
const NAMED: &[(&str, &str)] = &[
    ("crates/attribute/src/coverage.rs", "tells the user which event a cause needs"),
    ("crates/attribute/src/record_command.rs", "the command line that records what is missing"),
    ("crates/attribute/src/inclusive", "asks whether an event was recorded: absent is not zero"),
    ("crates/attribute/src/block_io/", "asks whether an event was recorded: absent is not zero"),
    ("crates/attribute/src/journal/", "asks whether an event was recorded: absent is not zero"),
    ("crates/attribute/src/verdict/", "names the source of each number"),
    ("crates/attribute/src/mechanism/", "tells which events a mechanism needs"),
    ("crates/model/src/", "asks whether an event was recorded"),
    ("crates/render/src/fixture.rs", "a report made by hand for tests"),
    ("crates/render/src/format/", "tests of the layout"),
    ("crates/attribute/src/locks/", "asks whether lock events were recorded: else signs serve"),
    ("crates/attribute/src/rows.rs", "asks whether lock events were recorded: else signs serve"),
    ("crates/attribute/src/told.rs", "looks up once which events were recorded"),
    ("crates/attribute/src/survey.rs", "asks whether handles of a journal were recorded"),
    ("crates/attribute/src/throttle.rs", "asks whether moves between CPUs were recorded"),
    ("crates/attribute/src/page_cache/", "asks whether reclaim was recorded"),
];

#[test]
fn events_are_named_in_their_table() {
    let names: Vec<&str> = TABLE.iter().flat_map(|rows| rows.iter().map(|row| row.name)).collect();
    for (file, text) in sources() {
        // What people read, and tests, name events freely.
        let test =
            file.contains("tests/") || file.ends_with("tests.rs") || file.starts_with("fuzz/");
        if test || file.starts_with("crates/parse/src/events/") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for (index, line) in code.lines().enumerate() {
            if line.trim_start().starts_with("//")
                || NAMED.iter().any(|(place, _)| file.starts_with(place))
            {
                continue;
            }
            for name in &names {
                assert!(
                    !line.contains(&format!("\"{name}\"")),
                    "{file}:{}: {name} belongs in events/",
                    index + 1
                );
            }
        }
    }
}

#[test]
fn nothing_unfinished_and_no_place_of_a_machine() {
    let places = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let pages = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "fixtures/README.md",
        "fixtures/record.sh",
        "fixtures/recording.sh",
        "fixtures/record_dialects.sh",
        "fixtures/redact_dialects.py",
        "fixtures/dialects/README.md",
        "fixtures/record_ftrace_stacks.sh",
        "fixtures/ftrace_stacks/README.md",
        "docs/FORMATS.md",
        "docs/MECHANISMS.md",
        "docs/OVERHEAD.md",
        "docs/PERFORMANCE.md",
        "docs/PROFILES.md",
        "benches/record_large.sh",
        "benches/compare.sh",
        "benches/instructions.sh",
        "benches/measure.py",
        "docs/VERDICTS.md",
    ];
    let pages = pages.into_iter().map(|name| (name.to_owned(), text(name)));
    for (file, text) in sources().into_iter().chain(pages) {
        for (index, line) in text.lines().enumerate() {
            for mark in &marks {
                assert!(!line.contains(mark.as_str()), "{file}:{}: {mark}", index + 1);
            }
            // Examples of other people's homes are in tests of escaping and redaction.
            for place in &places {
                let example =
                    line.contains(&format!("{place}user")) || line.contains(&format!("{place}me"));
                assert!(!line.contains(place.as_str()) || example, "{file}:{}: {place}", index + 1);
            }
        }
    }
}

#[test]
fn unsafe_code_is_in_one_file() {
    let keyword = ["un", "safe"].concat();
    for (file, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let used =
                code.contains(&format!("{keyword} {{")) || code.contains(&format!("{keyword} fn"));
            assert!(!used || file == "crates/cli/input.rs", "{file}:{}: {keyword} code", index + 1);
        }
    }
}

#[test]
fn the_first_screen_of_the_readme_has_two_commands() {
    let readme = text("README.md");
    let first: String = readme.lines().take(60).map(|l| format!("{l}\n")).collect();
    assert!(first.contains("cargo run --release -- analyze fixtures/recorded/"));
    assert!(first.contains("cargo test --workspace --release"));
}
