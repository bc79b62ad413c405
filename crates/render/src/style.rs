//! How text for a terminal is to look: width, colour, characters.

use crate::escape;

/// What the reader's screen can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Whether to colour by ANSI sequences.
    pub color: bool,
    /// Whether names from the trace are to be ASCII too (everything else always is).
    pub ascii: bool,
    /// Columns; at least 80 are used.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, ascii: false, width: 100 }
    }
}

/// What a piece of text is, for colouring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ink {
    /// Headings and the main number.
    Strong,
    /// What one may skip.
    Faint,
    /// Good news.
    Good,
    /// Take care.
    Warn,
    /// Bad news.
    Bad,
    /// Bars.
    Bar,
}

impl Style {
    /// The columns to use.
    pub(crate) fn columns(&self) -> usize {
        self.width.max(80)
    }

    /// Makes text from the trace safe to show.
    pub(crate) fn safe(&self, text: &str) -> String {
        if self.ascii { escape::visible_ascii(text) } else { escape::visible(text) }
    }

    /// Colours text that has its final width.
    pub(crate) fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.color || text.trim().is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Strong => "1",
            Ink::Faint => "2",
            Ink::Good => "32",
            Ink::Warn => "33",
            Ink::Bad => "31",
            Ink::Bar => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
