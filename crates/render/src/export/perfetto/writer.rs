//! Perfetto packets to bytes, one after the other; texts are written once and then named by a number.

use std::collections::HashMap;
use std::io::{self, Write};

use prost::Message as _;

use super::proto::{
    Data, DebugAnnotation, InternedData, InternedName, InternedString, TracePacket, Value,
};

/// Every packet of a trace is on one sequence: who wrote it.
const SEQUENCE: u32 = 1;
/// `TracePacket.SequenceFlags`: the numbers of texts begin anew.
const CLEARED: u32 = 1;
/// `TracePacket.SequenceFlags`: the packet needs the texts before it.
const NEEDS_STATE: u32 = 2;

/// Writes packets, and remembers which texts a reader knows.
pub(super) struct Writer<'o> {
    out: &'o mut dyn Write,
    categories: HashMap<String, u64>,
    names: HashMap<String, u64>,
    keys: HashMap<&'static str, u64>,
    texts: HashMap<String, u64>,
    new: InternedData,
    body: Vec<u8>,
    started: bool,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        Self {
            out,
            categories: HashMap::new(),
            names: HashMap::new(),
            keys: HashMap::new(),
            texts: HashMap::new(),
            new: InternedData::default(),
            body: Vec::new(),
            started: false,
        }
    }

    /// Writes a packet, with the texts that it is the first to use.
    pub(super) fn packet(&mut self, timestamp: Option<u64>, data: Data) -> io::Result<()> {
        self.write(TracePacket { timestamp, data: Some(data), ..TracePacket::default() })
    }

    pub(super) fn write(&mut self, mut packet: TracePacket) -> io::Result<()> {
        packet.trusted_packet_sequence_id = Some(SEQUENCE);
        packet.sequence_flags = Some(if self.started { NEEDS_STATE } else { CLEARED });
        self.started = true;
        if self.new != InternedData::default() {
            packet.interned_data = Some(std::mem::take(&mut self.new));
        }
        self.body.clear();
        packet.encode(&mut self.body).map_err(io::Error::other)?;
        // `Trace.packet`: field 1, length-delimited.
        let mut head = vec![0x0a];
        prost::encode_length_delimiter(self.body.len(), &mut head).map_err(io::Error::other)?;
        self.out.write_all(&head)?;
        self.out.write_all(&self.body)
    }

    pub(super) fn category(&mut self, text: &str) -> u64 {
        let (iid, first) = number(&mut self.categories, text);
        if first {
            let name = InternedName { iid: Some(iid), name: Some(text.to_owned()) };
            self.new.event_categories.push(name);
        }
        iid
    }

    pub(super) fn name(&mut self, text: &str) -> u64 {
        let (iid, first) = number(&mut self.names, text);
        if first {
            let name = InternedName { iid: Some(iid), name: Some(text.to_owned()) };
            self.new.event_names.push(name);
        }
        iid
    }

    fn key(&mut self, key: &'static str) -> u64 {
        let next = self.keys.len() as u64 + 1;
        *self.keys.entry(key).or_insert_with(|| {
            let name = InternedName { iid: Some(next), name: Some(key.to_owned()) };
            self.new.debug_annotation_names.push(name);
            next
        })
    }

    fn annotation(&mut self, key: &'static str, value: Value) -> DebugAnnotation {
        DebugAnnotation {
            name_iid: Some(self.key(key)),
            value: Some(value),
            ..DebugAnnotation::default()
        }
    }

    /// An argument that is a text.
    pub(super) fn text(&mut self, key: &'static str, text: &str) -> DebugAnnotation {
        let (iid, first) = number(&mut self.texts, text);
        if first {
            let str = Some(text.as_bytes().to_vec());
            self.new.debug_annotation_string_values.push(InternedString { iid: Some(iid), str });
        }
        self.annotation(key, Value::Text(iid))
    }

    /// An argument that is a count or a time in nanoseconds.
    pub(super) fn number(&mut self, key: &'static str, value: u64) -> DebugAnnotation {
        self.annotation(key, Value::Uint(value))
    }

    pub(super) fn signed(&mut self, key: &'static str, value: i64) -> DebugAnnotation {
        self.annotation(key, Value::Int(value))
    }

    pub(super) fn bool(&mut self, key: &'static str, value: bool) -> DebugAnnotation {
        self.annotation(key, Value::Bool(value))
    }

    /// An argument of several parts.
    pub(super) fn dict(
        &mut self,
        key: &'static str,
        dict_entries: Vec<DebugAnnotation>,
    ) -> DebugAnnotation {
        DebugAnnotation {
            name_iid: Some(self.key(key)),
            dict_entries,
            ..DebugAnnotation::default()
        }
    }

    /// An argument that is a list.
    pub(super) fn array(
        &mut self,
        key: &'static str,
        array_values: Vec<DebugAnnotation>,
    ) -> DebugAnnotation {
        DebugAnnotation {
            name_iid: Some(self.key(key)),
            array_values,
            ..DebugAnnotation::default()
        }
    }
}

/// The number of a text, from 1, and whether it is new.
fn number(table: &mut HashMap<String, u64>, text: &str) -> (u64, bool) {
    if let Some(iid) = table.get(text) {
        return (*iid, false);
    }
    let iid = table.len() as u64 + 1;
    table.insert(text.to_owned(), iid);
    (iid, true)
}
