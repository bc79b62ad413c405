//! The tables of mechanisms to JSON: an object by id, `rows` null where not captured.

use std::ops::Range;

use agenttrace_attribute::detail::{Detail, Details, Head, Value};

use crate::json_writer::JsonWriter;

/// What is the same for all steps, so made once: the texts of tables that hold nothing, and
/// what stands between the values of a row.
#[derive(Default)]
pub(super) struct Tables<'r> {
    /// Of tables with these heads.
    heads: &'r [Head],
    /// Tables that hold nothing, one after the other, each after a comma.
    bare: Vec<u8>,
    /// By place of the head.
    shapes: Vec<Shape>,
}

#[derive(Default)]
struct Shape {
    /// Where the text without rows ends.
    end: usize,
    /// What comes before each value of a row.
    keys: Vec<String>,
}

impl<'r> Tables<'r> {
    fn learn(&mut self, j: &JsonWriter<'_>, all: &'r Details) {
        if std::ptr::eq(self.heads, all.heads()) {
            return;
        }
        *self = Self { heads: all.heads(), ..Self::default() };
        for detail in Details::new(self.heads.into()).iter() {
            let before = std::iter::once('{').chain(std::iter::repeat(','));
            let columns = before.zip(detail.columns);
            let keys = columns.map(|(before, c)| format!("{before}\"{}\":", c.key)).collect();
            let mut shape = Shape { end: 0, keys };
            table(&mut j.beside(&mut self.bare), detail, &shape);
            shape.end = self.bare.len();
            self.shapes.push(shape);
        }
    }

    /// The texts of neighbouring tables that hold nothing.
    fn bare(&self, places: Range<usize>) -> &[u8] {
        let end = |place: Option<usize>| Some(self.shapes.get(place?)?.end);
        let from = end(places.start.checked_sub(1)).unwrap_or(0);
        let to = end(places.end.checked_sub(1)).unwrap_or(0);
        self.bare.get(from..to).unwrap_or_default()
    }
}

pub(super) fn details<'r>(j: &mut JsonWriter<'_>, all: &'r Details, tables: &mut Tables<'r>) {
    j.key("details").object(true);
    tables.learn(j, all);
    let mut next = 0;
    for (place, detail) in all.filled() {
        let Some(shape) = tables.shapes.get(place) else { continue };
        j.items(tables.bare(next..place));
        table(j, detail, shape);
        next = place + 1;
    }
    j.items(tables.bare(next..tables.shapes.len()));
    j.end();
}

fn table(j: &mut JsonWriter<'_>, detail: Detail<'_>, shape: &Shape) {
    j.key(detail.id).object(true);
    j.key("title").text(detail.title);
    j.key("rows");
    match detail.rows {
        None => j.null(),
        Some(rows) => {
            j.array(true);
            let mut values = rows.values();
            for _ in 0..rows.len() {
                j.item();
                for (key, value) in shape.keys.iter().zip(&mut values) {
                    j.raw(key.as_bytes());
                    match value {
                        Value::Unknown => j.null(),
                        Value::Number(n) => j.number(n),
                        Value::Text(text) => j.text(&text),
                    }
                }
                j.raw(b"}");
            }
            j.end();
        }
    }
    j.key("more").number(detail.more as u64);
    texts(j, "missing", detail.missing.iter().copied());
    texts(j, "notes", detail.notes.iter().map(AsRef::as_ref));
    j.end();
}

fn texts<'t>(j: &mut JsonWriter<'_>, key: &'static str, texts: impl Iterator<Item = &'t str>) {
    j.key(key).array(false);
    for text in texts {
        j.item().text(text);
    }
    j.end();
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
            let (mut tables, mut texts) = (Tables::default(), Vec::new());
            for one in details {
                let mut out = Vec::new();
                let mut j = JsonWriter::new(&mut out);
                j.object(true);
                super::details(&mut j, one, &mut tables);
                j.end();
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
