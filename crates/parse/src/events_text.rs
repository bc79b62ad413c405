//! The text of `dump --stage events`, written and read back.

use crate::fields::{Source, SwitchState};

/// The fields of one line, in the order of the row.
pub(crate) struct TextFields<'a> {
    pub(crate) fields: Vec<Option<&'a [u8]>>,
}

impl<'a> Source<'a> for TextFields<'a> {
    fn int(&self, _field: usize) -> Option<u64> {
        None
    }
    fn text(&self, _field: usize) -> Option<&'a [u8]> {
        None
    }
    fn word(&self, _field: usize, _index: usize) -> Option<u64> {
        None
    }
    fn switch_state(&self, _field: usize) -> Option<SwitchState> {
        None
    }
}
