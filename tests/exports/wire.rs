//! Protobuf bytes to named fields, by Perfetto's own names, numbers and types.

use std::collections::BTreeMap;

/// What `trace.proto` says of the messages that an export may hold.
const FIELDS: &str = include_str!("../schemas/perfetto.fields");

/// A message's fields in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(pub(super) Vec<(&'static str, Value)>);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    Message(Fields),
}

impl Fields {
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |(n, _)| *n == name).map(|(_, v)| v)
    }

    pub(super) fn messages(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.all(name).filter_map(|v| if let Value::Message(m) = v { Some(m) } else { None })
    }

    pub(super) fn message(&self, name: &str) -> Option<&Self> {
        self.messages(name).next()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.all(name).find_map(|v| if let Value::Number(n) = v { Some(*n) } else { None })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).find_map(|v| if let Value::Text(t) = v { Some(t.as_str()) } else { None })
    }
}

/// By message, its fields: number to name and type.
pub(super) type Schema = BTreeMap<&'static str, BTreeMap<u64, (&'static str, &'static str)>>;

pub(super) fn schema() -> Schema {
    let mut schema = Schema::new();
    for line in FIELDS.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [message, number, name, kind] = words[..] else { panic!("{line}") };
        let number = number.parse().expect("a number");
        schema.entry(message).or_default().insert(number, (name, kind));
    }
    schema
}

/// Reads a message. A field that the message does not have, or of another type, fails.
pub(super) fn read(schema: &Schema, message: &str, bytes: &[u8]) -> Fields {
    let known = &schema[message];
    let mut fields = Fields::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        let (name, kind) =
            known.get(&(tag >> 3)).unwrap_or_else(|| panic!("{message} has no field {}", tag >> 3));
        let value = match (tag & 7, *kind) {
            (0, "int32" | "int64" | "uint32" | "uint64" | "bool" | "enum") => {
                Value::Number(varint(&mut rest))
            }
            (2, "string" | "bytes") => {
                let bytes = length_delimited(&mut rest);
                Value::Text(String::from_utf8(bytes.to_vec()).expect("UTF-8"))
            }
            (2, kind) if schema.contains_key(kind) => {
                Value::Message(read(schema, kind, length_delimited(&mut rest)))
            }
            (wire, kind) => panic!("{message}.{name} is a {kind}, not of wire type {wire}"),
        };
        fields.0.push((name, value));
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a varint goes on");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint of more than 10 bytes");
}

fn length_delimited<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(varint(bytes)).expect("a length");
    let (field, rest) = bytes.split_at(length);
    *bytes = rest;
    field
}
