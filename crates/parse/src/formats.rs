//! Formats of tracepoints that another capture of the same boot holds.

use crate::error::Error;
use crate::perf_data::{self, FormatsById};
use crate::unpack::Unpacked;

/// `format` texts, for a capture that lacks them: their recorder was killed before it
/// could write them. The ids in them are those of one boot of one machine.
#[derive(Clone, Debug, Default)]
pub struct Formats {
    /// (subsystem, text).
    texts: Vec<(String, String)>,
}

impl Formats {
    /// From tracefs's `events/SUBSYSTEM/EVENT/format` files: subsystem, and text.
    #[must_use]
    pub fn new(texts: Vec<(String, String)>) -> Self {
        Self { texts }
    }

    /// Those that a finished perf.data holds.
    ///
    /// # Errors
    /// Where it is none, or holds none.
    pub fn of(unpacked: &Unpacked<'_>) -> Result<Self, Error> {
        let texts = perf_data::format_texts(&unpacked.bytes)?;
        Ok(Self { texts })
    }

    pub(crate) fn by_id(&self) -> FormatsById<'_> {
        perf_data::formats_by_id(self.texts.iter().map(|(s, t)| (s.as_str(), t.as_str())))
    }
}
