//! Compressed sections and chunks of trace data to plain bytes.

use std::io::Read;

use crate::cursor::{slice_at, u32_at};
use crate::error::Error;
use crate::expand::{Budget, End};

/// How the file says that its sections are compressed (lib/trace-cmd/trace-compress.c).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Codec {
    /// `none`, and version 6.
    #[default]
    None,
    /// `zlib`: streams of `compress2`.
    Zlib,
    /// `zstd`: frames.
    Zstd,
    /// A name that is not known here.
    Other(String),
}

impl Codec {
    pub(crate) fn from_name(name: &[u8]) -> Self {
        match name {
            b"none" => Self::None,
            b"zlib" => Self::Zlib,
            b"zstd" => Self::Zstd,
            other => Self::Other(String::from_utf8_lossy(other).into_owned()),
        }
    }

    /// Appends one block, at most `size` bytes of it.
    fn expand(
        &self,
        block: &[u8],
        size: u32,
        budget: &mut Budget,
        out: &mut Vec<u8>,
    ) -> Result<End, Error> {
        let size = u64::from(size);
        match self {
            Self::None => Ok(End::Cut),
            Self::Zlib => budget.drain(flate2::bufread::ZlibDecoder::new(block).take(size), out),
            Self::Zstd => match zstd::stream::read::Decoder::with_buffer(block) {
                Ok(decoder) => budget.drain(decoder.take(size), out),
                Err(_) => Ok(End::Cut),
            },
            Self::Other(name) => Err(Error::Unsupported {
                what: format!(
                    "this trace.dat is compressed with \"{}\", which agenttrace does not read; \
                     record with `trace-cmd record --compression zstd`",
                    name.escape_default()
                ),
            }),
        }
    }

    /// A compressed section: sizes before and after, then the data.
    ///
    /// # Errors
    /// Where it is not whole, or its sizes contradict its data.
    pub(crate) fn section(
        &self,
        body: &[u8],
        offset: u64,
        budget: &mut Budget,
    ) -> Result<Vec<u8>, Error> {
        let broken = |what: &str| Error::Malformed {
            offset,
            what: format!("{what}; the trace.dat is damaged, copy or record it again"),
        };
        let header = u32_at(body, 0).zip(u32_at(body, 4));
        let (packed, size) = header.ok_or_else(|| broken("the section ends within its header"))?;
        let block = slice_at(body, 8, packed.into())
            .ok_or_else(|| broken("a compressed section is longer than its place in the file"))?;
        let mut out = Vec::new();
        self.expand(block, size, budget, &mut out)?;
        if out.len() as u64 != u64::from(size) {
            return Err(broken("a compressed section does not expand to the size that it claims"));
        }
        Ok(out)
    }

    /// The compressed trace data of one CPU: a count of chunks, then each with its sizes
    /// before and after. Keeps what is whole; also tells where in `data` they end, and
    /// whether they end as they should.
    pub(crate) fn chunks(
        &self,
        data: &[u8],
        page: usize,
        budget: &mut Budget,
    ) -> Result<(Vec<u8>, usize, End), Error> {
        let mut out = Vec::new();
        let Some(count) = u32_at(data, 0) else { return Ok((out, 0, End::Cut)) };
        let mut at = 4_usize;
        for _ in 0..count {
            let header = u32_at(data, at).zip(u32_at(data, at.saturating_add(4)));
            let Some((packed, size)) = header else { return Ok((out, at, End::Cut)) };
            let body = at.saturating_add(8);
            let (block, whole) = match slice_at(data, body as u64, packed.into()) {
                Some(block) => (block, End::Whole),
                None => (data.get(body..).unwrap_or(&[]), End::Cut),
            };
            let before = out.len();
            let end = self.expand(block, size, budget, &mut out)?;
            let grown = out.len().saturating_sub(before);
            let wrong = grown as u64 != u64::from(size);
            if whole == End::Cut || end == End::Cut || wrong {
                // What follows would not lie on pages any more.
                if let Some(rest) = grown.checked_rem(page) {
                    out.truncate(out.len().saturating_sub(rest));
                }
                return Ok((out, at, End::Cut));
            }
            at = body.saturating_add(packed as usize);
        }
        Ok((out, at, End::Whole))
    }
}
