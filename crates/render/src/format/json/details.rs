//! The tables of mechanisms to JSON: an object by id, `rows` null where not captured.

use std::io::{self, Write};

use agenttrace_attribute::detail::{Detail, Details, Head, Value};

use crate::json_writer::JsonWriter;

/// Texts of tables that hold nothing: the same in every step, so written once and copied.
#[derive(Default)]
pub(super) struct Empty<'r> {
    /// Of tables with these heads.
    heads: &'r [Head],
    /// By place of the head; empty where none was written yet.
    texts: Vec<Vec<u8>>,
}

impl<'r> Empty<'r> {
    /// The place of a table's text.
    fn of(&mut self, heads: &'r [Head], place: usize) -> Option<&mut Vec<u8>> {
        if !std::ptr::eq(self.heads, heads) {
            (self.heads, self.texts) = (heads, vec![Vec::new(); heads.len()]);
        }
        self.texts.get_mut(place)
    }
}

pub(super) fn details<'r, W: Write>(
    j: &mut JsonWriter<'_, W>,
    all: &'r Details,
    empty: &mut Empty<'r>,
) -> io::Result<()> {
    j.key("details")?.object(true)?;
    for (place, detail) in all.iter().enumerate() {
        match empty.of(all.heads(), place).filter(|_| detail.is_empty()) {
            Some(text) => {
                if text.is_empty() {
                    table(&mut j.beside(text), detail)?;
                }
                j.items(text)?;
            }
            None => table(j, detail)?,
        }
    }
    j.end().map(|_| ())
}

fn table<W: Write>(j: &mut JsonWriter<'_, W>, detail: Detail<'_>) -> io::Result<()> {
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
                        Value::Number(n) => j.number(n)?,
                        Value::Text(text) => j.text(&text)?,
                    }
                }
                j.end()?;
            }
            j.end()?;
        }
    }
    j.key("more")?.number(detail.more as u64)?;
    texts(j, "missing", detail.missing.iter().copied())?;
    texts(j, "notes", detail.notes.iter().map(AsRef::as_ref))?;
    j.end().map(|_| ())
}

fn texts<'t, W: Write>(
    j: &mut JsonWriter<'_, W>,
    key: &'static str,
    texts: impl Iterator<Item = &'t str>,
) -> io::Result<()> {
    j.key(key)?.array(false)?;
    for text in texts {
        j.item()?.text(text)?;
    }
    j.end().map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agenttrace_attribute::detail::{Column, Table};

    use super::*;

    #[test]
    fn a_table_that_holds_nothing_is_copied_as_it_was_written() {
        const COLUMNS: &[Column] = &[Column::count("n", "n")];
        let head = |id, missing| Head { id, title: "t", actors: false, columns: COLUMNS, missing };
        let heads =
            |c: &'static str| Arc::from([head("a", vec![]), head("b", vec!["x"]), head(c, vec![])]);
        let mut full = Details::new(heads("c"));
        let bare = full.clone();
        full.set(0, Table::from_iter([[Value::Number(7)]]).with_notes(["so".into()]));
        let other = Details::new(heads("d"));
        let write = |details: &[&Details]| {
            let (mut empty, mut texts) = (Empty::default(), Vec::new());
            for one in details {
                let mut out = Vec::new();
                let mut j = JsonWriter::new(&mut out);
                j.object(true).unwrap();
                super::details(&mut j, one, &mut empty).unwrap();
                j.end().unwrap();
                texts.push(String::from_utf8(out).unwrap());
            }
            texts
        };
        let alone: Vec<String> =
            [&bare, &full, &bare, &other].iter().flat_map(|d| write(&[d])).collect();
        assert_eq!(write(&[&bare, &full, &bare, &other]), alone);
        let a = r#""a":{
   "title":"t",
   "rows":[
    {"n":7}
   ],
   "more":0,
   "missing":[],
   "notes":["so"]
  },
  "b":{
   "title":"t",
   "rows":null,
   "more":0,
   "missing":["x"],
   "notes":[]
  },"#;
        assert!(alone[1].contains(a), "{}", alone[1]);
    }
}
