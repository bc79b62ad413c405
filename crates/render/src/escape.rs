//! Text from the trace to text that is safe to show: escaped, cut and padded by display width.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Whether a character may not reach a terminal, a page or a picture as it is:
/// it would move the cursor, hide, reorder the text around it, or be refused by XML.
#[must_use]
pub(crate) fn hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Makes control characters, ANSI sequences, bidirectional overrides and line
/// ends visible: `\x1b`, `\n`, `\u{202e}`.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if hostile(c) && u32::from(c) < 0x100 => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if hostile(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// As [`visible`], and anything but ASCII is escaped too.
#[must_use]
pub(crate) fn visible_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        }
    }
    out
}

/// As [`visible`], and nothing of it is Markdown or HTML.
#[must_use]
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // An entity, for some renderers split table cells before they take escapes.
            '|' => out.push_str("&#124;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    // No bare link, mention or list item either.
    out.replace("://", ":\u{2f}\\/").replace("www.", "www\\.")
}

/// A frame of a folded stack: as [`visible`], without `;`, which separates frames.
#[must_use]
pub(crate) fn frame(text: &str) -> String {
    let text = visible(text).replace(';', "\\x3b");
    let text = text.trim();
    if text.is_empty() { "?".to_owned() } else { text.to_owned() }
}

/// How many columns a terminal gives a text that is free of control characters.
#[must_use]
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Pads on the right to `to` columns.
#[must_use]
pub(crate) fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// Pads on the left to `to` columns.
#[must_use]
pub(crate) fn pad_left(text: &str, to: usize) -> String {
    format!("{}{text}", " ".repeat(to.saturating_sub(width(text))))
}

/// Cuts the end off, with `...` in its place, so that `to` columns hold it.
#[must_use]
pub(crate) fn cut_end(text: &str, to: usize) -> String {
    if width(text) <= to {
        return text.to_owned();
    }
    if to <= 3 {
        return ".".repeat(to);
    }
    let (head, _) = split_at_width(text, to - 3);
    format!("{}...", head.trim_end())
}

/// Cuts out the middle, with `...` in its place: the beginning and the end of
/// a name tell most.
#[must_use]
pub(crate) fn cut_middle(text: &str, to: usize) -> String {
    if width(text) <= to {
        return text.to_owned();
    }
    if to < 8 {
        return cut_end(text, to);
    }
    let tail = (to - 3) / 2;
    let (head, _) = split_at_width(text, to - 3 - tail);
    let mut skip = width(text) - tail;
    let mut end = "";
    for (i, c) in text.char_indices() {
        if skip == 0 {
            end = &text[i..];
            break;
        }
        skip = skip.saturating_sub(c.width().unwrap_or(0));
    }
    format!("{head}...{end}")
}

/// The part of a text that `columns` columns hold, and the rest.
fn split_at_width(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    for (i, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            return text.split_at(i);
        }
    }
    (text, "")
}

/// Breaks a text at spaces into lines of at most `columns` columns; a word that
/// is longer is broken. A number keeps its unit. At least one line.
#[must_use]
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words(text) {
        let mut word = word.as_str();
        let room = columns.saturating_sub(width(&line) + 1);
        if !line.is_empty() && width(word) <= room {
            line.push(' ');
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        while width(word) > columns {
            let (head, rest) = split_at_width(word, columns);
            lines.push(head.to_owned());
            word = rest;
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// The words of a text, a number and the unit that follows it as one.
fn words(text: &str) -> Vec<String> {
    const UNITS: [&str; 10] = ["ns", "us", "ms", "s", "%", "B", "KiB", "MiB", "GiB", "TiB"];
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let unit = word.trim_end_matches([',', ';', '.', ':', ')']);
        match words.last_mut() {
            Some(number)
                if number.ends_with(|c: char| c.is_ascii_digit()) && UNITS.contains(&unit) =>
            {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(visible("a\x1b[31mb\nc\u{202e}d\u{9b}"), "a\\x1b[31mb\\nc\\u{202e}d\\x9b");
        assert_eq!(visible("é ü 漢"), "é ü 漢");
        assert_eq!(visible_ascii("é\x07"), "\\u{e9}\\x07");
    }

    #[test]
    fn markdown_and_html_are_inert() {
        assert_eq!(markdown("<script>|`x`"), "&lt;script&gt;&#124;\\`x\\`");
        assert_eq!(markdown("![a](b)"), "\\!\\[a\\](b)");
        assert_eq!(frame("a;b\n<script>"), "a\\x3bb\\n<script>");
        assert_eq!(frame(" "), "?");
    }

    #[test]
    fn cut_by_display_width() {
        assert_eq!(cut_end("abcdefghij", 8), "abcde...");
        assert_eq!(cut_middle("vector_index_of_everything.db", 15), "vector...ing.db");
        assert_eq!(cut_middle("漢字漢字漢字漢字", 10), "漢字...字");
        assert_eq!(pad("漢", 4), "漢  ");
        assert_eq!(cut_end("abc", 2), "..");
    }

    #[test]
    fn wrapping_keeps_words() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("abcdefghijkl", 8), ["abcdefgh", "ijkl"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(wrap("it took 1.2 ms, once", 12), ["it took", "1.2 ms, once"]);
    }
}
