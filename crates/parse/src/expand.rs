//! Compressed bytes to plain ones, never more than a budget allows.

use std::io::Read;

use crate::error::Error;

/// How far compressed input may expand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// The most bytes that all compressed parts of one input may expand to, together.
    /// `None`: 64 MiB and 256 times the input. perf's own streams and gzipped text
    /// stay below 50 times; a bomb reaches a thousand.
    pub expanded: Option<u64>,
}

const FLOOR: u64 = 64 << 20;
const RATIO: u64 = 256;

impl Limits {
    /// The most bytes that an input of `size` bytes may expand to.
    #[must_use]
    pub fn most(&self, size: u64) -> u64 {
        self.expanded.unwrap_or_else(|| FLOOR.saturating_add(size.saturating_mul(RATIO)))
    }
}

/// What is left to expand to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit: u64,
    left: u64,
}

/// How a compressed stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// At its own end.
    Whole,
    /// Before it: what was decoded up to there is kept.
    Cut,
}

impl Budget {
    /// For an input of `size` bytes.
    pub(crate) fn new(limits: &Limits, size: u64) -> Self {
        let limit = limits.most(size);
        Self { limit, left: limit }
    }

    /// Takes `n` bytes of the budget.
    ///
    /// # Errors
    /// Where there are not as many left.
    pub(crate) fn take(&mut self, n: usize) -> Result<(), Error> {
        match self.left.checked_sub(n as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::TooLarge { limit: self.limit }),
        }
    }

    /// Appends everything that a decoder gives. Data that it cannot decode end it as
    /// if they were cut off there.
    ///
    /// # Errors
    /// Where more comes out than the budget allows.
    pub(crate) fn drain(&mut self, mut from: impl Read, out: &mut Vec<u8>) -> Result<End, Error> {
        let mut chunk = [0; 1 << 16];
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return Ok(End::Whole),
                Ok(n) => {
                    self.take(n)?;
                    out.extend_from_slice(chunk.get(..n).unwrap_or(&chunk));
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(End::Cut),
            }
        }
    }
}

/// How a whole file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrapping {
    Gzip,
    Zstd,
    Xz,
}

impl Wrapping {
    /// By the first bytes.
    pub(crate) fn recognize(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        }
    }

    /// The name that `CaptureInfo` gives.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        }
    }

    /// Everything inside.
    pub(crate) fn expand(self, bytes: &[u8], budget: &mut Budget) -> Result<(Vec<u8>, End), Error> {
        let mut out = Vec::new();
        let end = match self.reader(bytes) {
            Ok(decoder) => budget.drain(decoder, &mut out)?,
            Err(_) => End::Cut,
        };
        Ok((out, end))
    }

    fn reader(self, bytes: &[u8]) -> std::io::Result<Box<dyn Read + '_>> {
        // The dictionary's size is the input's word; more than this is no capture's.
        const MEMORY: u64 = 128 << 20;
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(bytes)?),
            Self::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, flags)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(bytes, stream))
            }
        })
    }
}

/// Whether a file is compressed in a way that [`plain_reader`] knows.
#[must_use]
pub fn is_packed(bytes: &[u8]) -> bool {
    Wrapping::recognize(bytes).is_some()
}

/// Reads a file that may be compressed (gzip, zstd, xz), as a stream: who reads says how
/// much is too much.
///
/// # Errors
/// Where the head of the compressed stream is broken; reading fails where the rest is.
pub fn plain_reader(bytes: &[u8]) -> std::io::Result<Box<dyn Read + '_>> {
    match Wrapping::recognize(bytes) {
        Some(wrapping) => wrapping.reader(bytes),
        None => Ok(Box::new(bytes)),
    }
}

/// How many bytes a zlib stream, as sections of ELF files are compressed, gives; none of
/// them is kept. More than `most` are not counted.
#[must_use]
pub fn inflated_len(bytes: &[u8], most: u64) -> u64 {
    let mut decoder = flate2::bufread::ZlibDecoder::new(bytes).take(most.saturating_add(1));
    let mut chunk = [0; 1 << 14];
    let mut len = 0_u64;
    while let Ok(n @ 1..) = decoder.read(&mut chunk) {
        len = len.saturating_add(n as u64);
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_bomb_is_stopped() {
        let bomb = zstd::encode_all(&vec![0; 200 << 20][..], 3).unwrap();
        let mut budget = Budget::new(&Limits::default(), bomb.len() as u64);
        let error = Wrapping::Zstd.expand(&bomb, &mut budget).unwrap_err();
        assert_eq!(error, Error::TooLarge { limit: FLOOR + RATIO * bomb.len() as u64 });
        let mut budget = Budget::new(&Limits { expanded: Some(200 << 20) }, bomb.len() as u64);
        let (out, end) = Wrapping::Zstd.expand(&bomb, &mut budget).unwrap();
        assert_eq!((out.len(), end), (200 << 20, End::Whole));
    }

    #[test]
    fn what_a_section_gives_is_counted_up_to_a_limit() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&vec![0; 1 << 20]).unwrap();
        let zlib = zlib.finish().unwrap();
        assert_eq!(inflated_len(&zlib, 1 << 20), 1 << 20);
        assert_eq!(inflated_len(&zlib, 1000), 1001);
        assert_eq!(inflated_len(b"none", 1000), 0);
    }

    #[test]
    fn what_is_whole_of_a_cut_stream_is_kept() {
        let text: Vec<u8> = (0..40_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut budget = Budget::new(&Limits::default(), 0);
        let (out, end) = Wrapping::Gzip.expand(&gzip[..gzip.len() / 2], &mut budget).unwrap();
        assert_eq!(end, End::Cut);
        assert!(out.len() > text.len() / 4 && text.starts_with(&out));
        assert_eq!(Wrapping::Gzip.expand(&gzip, &mut budget).unwrap(), (text, End::Whole));
    }
}
