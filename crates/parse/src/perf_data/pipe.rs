//! perf.data that was written to a pipe: its head is records too.

use super::attrs::{ATTR_SIZES, Attr};
use super::header::{Head, PIPE_HEADER};
use super::record::{self, kind};
use crate::cursor::{Cursor, Endian, until_nul};
use crate::error::Error;

/// `PERF_EVENT_UPDATE__NAME` (tools/lib/perf/include/perf/event.h).
const UPDATE_NAME: u64 = 2;

/// Takes the attributes, features, formats and names that come before the first
/// sample: perf itself needs them there, since it reads a pipe once.
///
/// # Errors
/// Where the stream holds no attribute.
pub(crate) fn head(bytes: &[u8], endian: Endian) -> Result<Head<'_>, Error> {
    let data = bytes.get(PIPE_HEADER as usize..).unwrap_or(&[]);
    let mut head = Head { endian, data, data_offset: PIPE_HEADER, ..Head::default() };
    let mut position = 0;
    while let Ok(raw) = record::at_endian(data, position, endian) {
        position = raw.next();
        let mut body = Cursor::with(raw.bytes.get(8..).unwrap_or(&[]), endian);
        match raw.kind {
            kind::HEADER_ATTR => head.attrs.extend(attr(body)),
            kind::HEADER_FEATURE => {
                // `struct perf_record_header_feature`: the feature's number, its bytes.
                if let Some(bit) = body.u64().and_then(|bit| u32::try_from(bit).ok()) {
                    head.features.push((bit, body.rest()));
                }
            }
            kind::HEADER_TRACING_DATA => {
                let from = raw.offset.saturating_add(raw.bytes.len());
                if let Some(formats) = data.get(from..position.min(data.len())) {
                    head.features.push((super::header::feature::TRACING_DATA, formats));
                }
            }
            kind::EVENT_UPDATE => {
                // `struct perf_record_event_update`: type, id, data.
                if let (Some(UPDATE_NAME), Some(id)) = (body.u64(), body.u64()) {
                    head.names.push((id, until_nul(body.rest())));
                }
            }
            kind::SAMPLE | kind::COMPRESSED | kind::COMPRESSED2 => break,
            _ => {}
        }
    }
    if head.attrs.is_empty() {
        return Err(Error::Malformed {
            offset: PIPE_HEADER,
            what: "the stream ends before perf's first event attribute: nothing was recorded"
                .to_owned(),
        });
    }
    Ok(head)
}

/// `struct perf_record_header_attr`: the attribute, as long as it says itself, then ids.
fn attr(mut body: Cursor<'_>) -> Option<Attr<'_>> {
    let mut peek = body;
    let (_kind, size) = (peek.u32()?, peek.u32()?);
    // Older kernels wrote 0 for the first version.
    let size = if size == 0 { *ATTR_SIZES.start() } else { size as usize };
    if !ATTR_SIZES.contains(&size) {
        return None;
    }
    let mut attr = Attr::parse(body.bytes(size)?, body.endian())?;
    attr.ids = std::iter::from_fn(|| body.u64()).collect();
    Some(attr)
}

/// Whether a record is a part of the head.
pub(crate) fn is_head(record: u32) -> bool {
    matches!(
        record,
        kind::HEADER_ATTR | kind::HEADER_FEATURE | kind::HEADER_TRACING_DATA | kind::EVENT_UPDATE
    )
}
