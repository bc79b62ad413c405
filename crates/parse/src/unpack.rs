//! Files as they were copied to the plain bytes that readers walk over.

use std::borrow::Cow;

use crate::error::Error;
use crate::expand::{Budget, End, Limits, Wrapping};
use crate::perf_data;
use crate::trace_dat;

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
    /// Its compressed stream ended too early.
    pub(crate) cut: bool,
    /// Bytes of all files together, as they were given.
    pub(crate) size: u64,
    pub(crate) plain: Plain,
}

/// What had to be made of the file, by its format.
#[derive(Clone, Debug)]
pub(crate) enum Plain {
    /// Nothing: readers walk over its bytes.
    AsIs,
    /// The records of a perf.data.
    Perf(perf_data::Plain),
    /// A trace.dat, taken apart.
    TraceDat(Box<trace_dat::Sections>),
}

impl Plain {
    fn new(bytes: &[u8], parts: &[&[u8]], budget: &mut Budget) -> Result<Self, Error> {
        if trace_dat::recognize(bytes) {
            return Ok(Self::TraceDat(Box::new(trace_dat::unpack(bytes, budget)?)));
        }
        let perf = perf_data::make_plain(bytes, parts, budget)?;
        Ok(perf.map_or(Self::AsIs, Self::Perf))
    }
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
    /// Where it expands to more than the limits allow, and where what is compressed
    /// cannot be found, because the input ends before it.
    pub fn new(input: &Input<'a>, limits: &Limits) -> Result<Self, Error> {
        let parts = input.parts.iter().map(|part| part.len() as u64);
        let size = parts.fold(input.main.len() as u64, u64::saturating_add);
        let mut budget = Budget::new(limits, size);
        let (bytes, wrapping, end) = match Wrapping::recognize(input.main) {
            Some(wrapping) => {
                let (bytes, end) = wrapping.expand(input.main, &mut budget)?;
                (Cow::Owned(bytes), Some(wrapping), end)
            }
            None => (Cow::Borrowed(input.main), None, End::Whole),
        };
        let plain = Plain::new(&bytes, &input.parts, &mut budget)?;
        Ok(Self { bytes, wrapping, cut: end == End::Cut, size, plain })
    }

    pub(crate) fn perf_plain(&self) -> Option<&perf_data::Plain> {
        match &self.plain {
            Plain::Perf(plain) => Some(plain),
            Plain::AsIs | Plain::TraceDat(_) => None,
        }
    }

    pub(crate) fn compression(&self) -> Option<&'static str> {
        self.wrapping.map(Wrapping::name)
    }
}
