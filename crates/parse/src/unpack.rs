//! Files as they were copied to the plain bytes that readers walk over.

use std::borrow::Cow;

use crate::error::Error;
use crate::expand::{Budget, End, Limits, Wrapping};

/// The files of one capture.
#[derive(Clone, Debug, Default)]
pub struct Input<'a> {
    /// The capture's file; of a folder, the one that has the header.
    pub main: &'a [u8],
    /// The other files of a folder (`perf record --threads`), by number.
    pub parts: Vec<&'a [u8]>,
}

/// A capture's bytes without compression, of a file or of parts. Holds what had to be
/// made; what is plain already stays borrowed.
#[derive(Clone, Debug)]
pub struct Unpacked<'a> {
    /// The main file.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// How the whole file was compressed.
    pub(crate) wrapping: Option<Wrapping>,
    /// Where its compressed stream ended too early.
    pub(crate) cut: bool,
}

impl<'a> Unpacked<'a> {
    /// Unpacks one file, with the default limits.
    ///
    /// # Errors
    /// As [`Unpacked::new`].
    pub fn of(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new(&Input { main: bytes, parts: Vec::new() }, &Limits::default())
    }

    /// Unpacks whatever is compressed.
    ///
    /// # Errors
    /// Where it expands to more than the limits allow.
    pub fn new(input: &Input<'a>, limits: &Limits) -> Result<Self, Error> {
        let mut budget = Budget::new(limits, input.main.len() as u64);
        let (bytes, wrapping, end) = match Wrapping::recognize(input.main) {
            Some(wrapping) => {
                let (bytes, end) = wrapping.expand(input.main, &mut budget)?;
                (Cow::Owned(bytes), Some(wrapping), end)
            }
            None => (Cow::Borrowed(input.main), None, End::Whole),
        };
        Ok(Self { bytes, wrapping, cut: end == End::Cut })
    }
}
