//! The tables of mechanisms to JSON: an object by id, `rows` null where not captured.

use std::io::{self, Write};

use agenttrace_attribute::detail::{Details, Value};

use crate::json_writer::JsonWriter;

pub(super) fn details<W: Write>(j: &mut JsonWriter<'_, W>, all: &Details) -> io::Result<()> {
    j.key("details")?.object(true)?;
    for detail in all.iter() {
        j.key(detail.id)?.object(true)?;
        j.key("title")?.text(detail.title)?;
        j.key("rows")?;
        match detail.rows {
            None => j.null()?,
            Some(rows) => {
                j.array(true)?;
                for row in rows.iter() {
                    j.item()?.object(false)?;
                    for (column, value) in detail.columns.iter().zip(row) {
                        j.key(column.key)?;
                        match value {
                            Value::Unknown => j.null()?,
                            Value::Number(n) => j.number(*n)?,
                            Value::Text(text) => j.text(text)?,
                        }
                    }
                    j.end()?;
                }
                j.end()?;
            }
        }
        j.key("more")?.number(detail.more as u64)?;
        for (key, texts) in [
            ("missing", detail.missing.iter().map(|m| (*m).to_owned()).collect()),
            ("notes", detail.notes.iter().map(|n| n.to_string()).collect()),
        ] {
            let texts: Vec<String> = texts;
            j.key(key)?.array(false)?;
            for text in &texts {
                j.item()?.text(text)?;
            }
            j.end()?;
        }
        j.end()?;
    }
    j.end().map(|_| ())
}
