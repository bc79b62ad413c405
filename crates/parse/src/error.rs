//! Why a whole input cannot be used.

use std::fmt;

/// The input cannot be used at all. What is wrong with single records is counted
/// in [`crate::Diagnostics`] instead.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// No format that agenttrace reads begins like this.
    UnknownFormat {
        /// The first bytes, at most eight.
        magic: Vec<u8>,
    },
    /// A form of perf.data, or of another format, that is not read.
    Unsupported {
        /// Which, and how to record so that it can be read.
        what: String,
    },
    /// A structure reaches beyond the end of the input, or contradicts itself.
    Malformed {
        /// Byte offset from the start of the input.
        offset: u64,
        /// What was read there, and what to do.
        what: String,
    },
    /// Compressed input expands to more than is allowed.
    TooLarge {
        /// Bytes that were allowed.
        limit: u64,
    },
    /// A line of a text input cannot be read.
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// For an input that begins as no format does.
    pub(crate) fn unknown_format(bytes: &[u8]) -> Self {
        Self::UnknownFormat { magic: bytes.iter().take(8).copied().collect() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFormat { magic } => write!(
                f,
                "byte 0: no known capture format begins with {magic:02x?}; agenttrace reads \
                 perf.data, trace.dat, and the text of tracefs, `trace-cmd report` and \
                 `perf script`"
            ),
            Self::Unsupported { what } => f.write_str(what),
            Self::Malformed { offset, what } => write!(f, "byte {offset}: {what}"),
            Self::TooLarge { limit } => write!(
                f,
                "the compressed input expands to more than {limit} bytes; where it is meant to, \
                 allow more with --max-expanded BYTES"
            ),
            Self::Line { line, what } => write!(f, "line {line}: {what}"),
        }
    }
}

impl std::error::Error for Error {}
