//! The rules' own documentation to a page for users, `docs/VERDICTS.md`.

use std::fmt::Write as _;

use crate::support::{bless_block, file_name, files_below, root};

/// What every rule tells of itself, in this order.
const HEADINGS: [&str; 5] =
    ["What it detects", "Evidence", "Why it matters", "When it is wrong", "References"];

/// A rule, as its file documents it.
#[derive(Debug)]
struct Page {
    /// Of one rule, or of several that differ in their constants.
    ids: Vec<String>,
    summary: String,
    special: bool,
    sections: Vec<(String, String)>,
    remedies: Vec<String>,
}

/// The string literals of a piece of code, in their order.
fn literals(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => match chars.next() {
                    // A continued line: the indentation of the next is no text.
                    Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                    Some(other) => text.push(other),
                    None => break,
                },
                other => text.push(other),
            }
        }
        all.push(text);
    }
    all
}

/// What stands within the parentheses that open at the start of `code`.
fn arguments(code: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in code.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return &code[..at];
                }
            }
            _ => {}
        }
    }
    code
}

/// The remedies of a rule that are the same for every step: text and condition.
fn remedies(code: &str) -> Vec<String> {
    let mut all: Vec<(usize, String)> = Vec::new();
    for call in ["advice(", "hint("] {
        for (at, _) in code.match_indices(call) {
            let named =
                code[..at].chars().next_back().is_some_and(|c| c == '_' || c.is_alphanumeric());
            let texts = literals(arguments(&code[at + call.len() - 1..]));
            if let ([text, rest @ ..], false) = (texts.as_slice(), named || text_is_made(&texts)) {
                let condition = rest.first().filter(|c| !c.is_empty());
                let condition = condition.map_or(String::new(), |c| format!(" ({c})"));
                all.push((at, format!("{text}{condition}")));
            }
        }
    }
    all.sort();
    let mut all: Vec<String> = all.into_iter().map(|(_, text)| text).collect();
    all.dedup();
    all
}

/// Whether a text is put together from parts, which a page cannot show.
fn text_is_made(texts: &[String]) -> bool {
    texts.first().is_none_or(|text| text.contains('{'))
}

impl Page {
    fn parse(source: &str) -> Self {
        let mut sections: Vec<(String, String)> = Vec::new();
        let mut summary = String::new();
        for line in source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim) {
            if let Some(heading) = line.strip_prefix("# ") {
                sections.push((heading.to_owned(), String::new()));
                continue;
            }
            let text = sections.last_mut().map_or(&mut summary, |(_, text)| text);
            if !text.is_empty() && !line.is_empty() {
                text.push(if line.starts_with("- ") { '\n' } else { ' ' });
            }
            text.push_str(line);
        }
        let code = source.split("#[cfg(test)]").next().unwrap_or("");
        let body = |name: &str| {
            let at = code.find(&format!("fn {name}(&self)")).unwrap_or(code.len());
            code[at..].split("\n    }").next().unwrap_or("").to_owned()
        };
        let named = literals(&body("id"));
        let constants = code.lines().filter(|line| line.trim_start().starts_with("id: \""));
        let constants: String = constants.collect();
        Self {
            ids: if named.is_empty() { literals(&constants) } else { named },
            summary,
            special: body("special").contains("true"),
            sections,
            remedies: remedies(code),
        }
    }

    fn text(&self) -> String {
        let mut out = format!("\n## `{}`\n\n{}", self.ids.join("`, `"), self.summary);
        if self.special {
            out.push_str(
                " *It takes parts of the path that belong together, whatever their causes.*",
            );
        }
        out.push('\n');
        for (heading, text) in &self.sections {
            let _ = write!(out, "\n**{heading}.** {text}\n");
        }
        if !self.remedies.is_empty() {
            out.push_str("\n**Remedies**, each under its condition:\n\n");
            for remedy in &self.remedies {
                let _ = writeln!(out, "- {remedy}");
            }
        }
        out
    }
}

fn pages() -> Vec<(String, Page)> {
    let files = files_below(&root().join("crates/attribute/src/verdict/rules"));
    let rules = files.into_iter().filter(|path| file_name(path) != "mod.rs");
    rules
        .map(|path| {
            let source = std::fs::read_to_string(&path).expect("a rule is text");
            (file_name(&path), Page::parse(&source))
        })
        .filter(|(_, page)| !page.ids.is_empty())
        .collect()
}

/// The ids of all rules.
pub(crate) fn ids() -> Vec<String> {
    pages().into_iter().flat_map(|(_, page)| page.ids).collect()
}

#[test]
fn every_rule_documents_itself() {
    let mut text = String::new();
    let mut pages = pages();
    pages.sort_by(|(_, a), (_, b)| a.ids.cmp(&b.ids));
    for (file, page) in &pages {
        let headings: Vec<&str> =
            page.sections.iter().map(|(heading, _)| heading.as_str()).collect();
        assert_eq!(headings, HEADINGS, "{file}");
        for (heading, words) in &page.sections {
            assert!(!words.is_empty(), "{file}: nothing is said under {heading:?}");
        }
        text.push_str(&page.text());
    }
    text.push('\n');
    bless_block("docs/VERDICTS.md", "rules", &text);
}

#[test]
fn remedies_are_read_from_code() {
    let code = r#"vec![
        advice(facts, cause, "batch the \"small\" ones", "where they may wait"),
        hint("look at \
              this", ""),
        advice(facts, cause, &format!("move {file} away"), "always"),
        my_hint("not a remedy", ""),
    ]"#;
    assert_eq!(remedies(code), ["batch the \"small\" ones (where they may wait)", "look at this"]);
}
