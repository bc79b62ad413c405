//! The tables of mechanisms, as text and as cells for other formats.

use agenttrace_attribute::detail::{Column, Detail, Details, Rows, Unit, Value};
use agenttrace_model::parse::Nanos;

use crate::duration::{bytes, human, plural, thousands};
use crate::escape::{cut_middle, pad, pad_left, width};
use crate::style::Style;

/// Names are cut to this width in texts.
const NAME: usize = 40;

/// The tables that have rows.
pub(crate) fn filled(details: &Details) -> impl Iterator<Item = (Detail<'_>, Rows<'_>)> {
    details.iter().filter_map(|detail| {
        let rows = detail.rows.filter(|rows| !rows.is_empty())?;
        Some((detail, rows))
    })
}

/// A value for a person, not escaped yet.
pub(crate) fn cell(column: &Column, value: &Value<'_>) -> String {
    match value {
        Value::Unknown => "-".to_owned(),
        Value::Text(text) => text.clone().into_owned(),
        Value::Number(n) => match column.unit {
            Unit::Nanos => human(Nanos(*n)),
            Unit::Bytes => bytes(*n),
            Unit::Count | Unit::Text => thousands(*n),
        },
    }
}

/// A table as lines of text: its first rows, as many columns as fit; then what was left out.
pub(crate) fn text(detail: Detail<'_>, rows: Rows<'_>, most: usize, style: &Style) -> Vec<String> {
    let shown: Vec<Vec<Value<'_>>> = rows.iter().take(most).map(Iterator::collect).collect();
    let mut columns: Vec<(bool, Vec<String>)> = Vec::new();
    let mut used = 1;
    for (index, column) in detail.columns.iter().enumerate() {
        let left = column.unit == Unit::Text;
        let values = shown.iter().map(|row| match row.get(index) {
            Some(value) => cut_middle(&style.safe(&cell(column, value)), NAME),
            None => String::new(),
        });
        let all: Vec<String> = std::iter::once(column.title.to_owned()).chain(values).collect();
        let wide = all.iter().map(|cell| width(cell)).max().unwrap_or(0);
        if used + 2 + wide > style.columns() {
            break;
        }
        used += 2 + wide;
        let fit = |cell: &String| if left { pad(cell, wide) } else { pad_left(cell, wide) };
        columns.push((left, all.iter().map(fit).collect()));
    }
    let line = |row: usize| {
        let cells = columns.iter().filter_map(|(_, cells)| cells.get(row));
        format!(" {}", cells.map(|cell| format!("  {cell}")).collect::<String>())
    };
    let mut lines: Vec<String> = (0..=shown.len()).map(line).collect();
    let rows_more = rows.len() - shown.len() + detail.more;
    let mut left_out = Vec::new();
    if rows_more > 0 {
        left_out.push(plural(rows_more as u64, "more row"));
    }
    if columns.len() < detail.columns.len() {
        let names: Vec<&str> = detail.columns.iter().skip(columns.len()).map(|c| c.title).collect();
        left_out.push(format!("no room for: {}", names.join(", ")));
    }
    if !left_out.is_empty() {
        lines.push(format!("   ({})", left_out.join("; ")));
    }
    lines
}
