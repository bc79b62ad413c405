//! Tracepoint `format` text to field layouts, and binary records read by them.

use crate::fields::{Source, SwitchState};

/// A binary record and the layout to read it by.
pub(crate) struct BinaryFields<'a, 's> {
    pub(crate) raw: &'a [u8],
    pub(crate) layout: &'s (),
}

impl<'a> Source<'a> for BinaryFields<'a, '_> {
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
