//! Results to standard output or files.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

use agenttrace_render::Style;
use anyhow::{Context as _, Result};

/// Whether the reader of our output has gone: that is its right.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Writes a line to standard error. Nobody may be there to read it.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes to standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes to a file, or to standard output for `-`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if path == Path::new("-") {
        return print(bytes);
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// A file, or standard output for `-`, to write to piece by piece.
pub(crate) fn writer(path: &Path) -> Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::BufWriter::new(io::stdout().lock())));
    }
    let file =
        std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Box::new(io::BufWriter::new(file)))
}

/// How standard output wants its text.
pub(crate) fn style(width: Option<usize>, ascii: bool) -> Style {
    let terminal = io::stdout().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let columns =
        if terminal { terminal_size::terminal_size().map(|(w, _)| usize::from(w.0)) } else { None };
    Style { color: terminal && !plain, ascii, width: width.or(columns).unwrap_or(100) }
}
