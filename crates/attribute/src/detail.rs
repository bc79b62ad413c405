//! Tables of what one mechanism did: the shape that every mechanism's numbers have in every output.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use agenttrace_model::parse::Nanos;

/// Words of a report: most are the same in every step.
pub type Words = Cow<'static, str>;

/// What the tables of one mechanism have in common, whatever step they are of.
#[derive(Clone, PartialEq, Debug)]
pub struct Head {
    /// Stable id, a key in JSON: `spawns`, `refaults`.
    pub id: &'static str,
    /// What the rows are, for headings.
    pub title: &'static str,
    /// It tells who made steps slow: what a person looks at first.
    pub actors: bool,
    /// The columns; every row has a value for each.
    pub columns: &'static [Column],
    /// Without these event types it cannot be seen; those of them that the capture lacks.
    pub missing: Vec<&'static str>,
}

/// What mechanisms did in one step, or in the session, a table each. Inclusive: they may
/// overlap, and are never added to times of the critical path.
///
/// Most mechanisms do nothing in most steps: what says only that is not kept.
#[derive(Clone, PartialEq, Debug)]
pub struct Details {
    heads: Arc<[Head]>,
    /// By place of the head.
    filled: Vec<Filled>,
}

/// A table that holds something.
#[derive(Clone, PartialEq, Debug)]
struct Filled {
    /// Place of its head.
    place: usize,
    table: Table,
}

/// The rows of a [`Detail`], and what is told with them.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Table {
    /// The values, row after row.
    cells: Vec<Value>,
    /// Rows that were left out.
    more: usize,
    notes: Vec<Words>,
}

/// What one mechanism did in one step, or in the session.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Detail<'d> {
    head: &'d Head,
    /// The rows, the most important first. `None`: not captured.
    pub rows: Option<Rows<'d>>,
    /// Rows that were left out, for there are too many.
    pub more: usize,
    /// What has to be known to read the numbers, as sentences.
    pub notes: &'d [Words],
}

/// Rows of a table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rows<'d> {
    cells: &'d [Value],
    columns: usize,
}

impl Deref for Detail<'_> {
    type Target = Head;

    fn deref(&self) -> &Head {
        self.head
    }
}

impl Details {
    /// Tables with these heads; none has rows yet.
    #[must_use]
    pub fn new(heads: Arc<[Head]>) -> Self {
        Self { heads, filled: Vec::new() }
    }

    /// Gives a table, by the place of its head, its rows and notes.
    pub fn set(&mut self, place: usize, mut table: Table) {
        let at = self.filled.partition_point(|other| other.place < place);
        if self.filled.get(at).is_some_and(|other| other.place == place) {
            self.filled.remove(at);
        }
        if !table.cells.is_empty() || !table.notes.is_empty() {
            table.cells.shrink_to_fit();
            self.filled.insert(at, Filled { place, table });
        }
    }

    /// Gives memory back that was kept for further tables.
    pub fn shrink_to_fit(&mut self) {
        self.filled.shrink_to_fit();
    }

    /// All tables, in the order of reports.
    pub fn iter(&self) -> impl Iterator<Item = Detail<'_>> {
        let mut filled = self.filled.iter().peekable();
        self.heads.iter().enumerate().map(move |(place, head)| {
            let table = filled.next_if(|other| other.place == place).map(|other| &other.table);
            Detail::new(head, table)
        })
    }

    /// A table by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Detail<'_>> {
        let place = self.heads.iter().position(|head| head.id == id)?;
        let at = self.filled.binary_search_by_key(&place, |other| other.place).ok();
        let table = at.and_then(|at| self.filled.get(at)).map(|other| &other.table);
        Some(Detail::new(self.heads.get(place)?, table))
    }

    /// The heads of the tables, in their order.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }
}

impl<'d> Detail<'d> {
    fn new(head: &'d Head, table: Option<&'d Table>) -> Self {
        let cells = table.map(|t| t.cells.as_slice()).unwrap_or_default();
        let rows = Rows { cells, columns: head.columns.len() };
        Self {
            head,
            rows: head.missing.is_empty().then_some(rows),
            more: table.map_or(0, |t| t.more),
            notes: table.map(|t| t.notes.as_slice()).unwrap_or_default(),
        }
    }

    /// Whether it says no more than its head.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.rows.is_none_or(Rows::is_empty) && self.more == 0 && self.notes.is_empty()
    }
}

impl<'d> Rows<'d> {
    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.cells.len() / self.columns.max(1)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.cells.is_empty()
    }

    /// Each as its values, one for each column.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'d [Value]> {
        self.cells.chunks_exact(self.columns.max(1))
    }
}

impl Table {
    /// Adds a row: a value for each column.
    pub fn push<const COLUMNS: usize>(&mut self, row: [Value; COLUMNS]) {
        self.cells.extend(row);
    }

    /// With these notes as well.
    #[must_use]
    pub fn with_notes(mut self, notes: impl IntoIterator<Item = Words>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// Of a number of columns so many rows at most: others are only counted.
    #[must_use]
    pub fn at_most(mut self, rows: usize, columns: usize) -> Self {
        let (all, kept) = (self.cells.len(), rows.saturating_mul(columns));
        self.more += all.saturating_sub(kept) / columns.max(1);
        self.cells.truncate(kept);
        self
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

impl FromIterator<Vec<Value>> for Table {
    fn from_iter<I: IntoIterator<Item = Vec<Value>>>(rows: I) -> Self {
        Self { cells: rows.into_iter().flatten().collect(), ..Self::default() }
    }
}

impl<const COLUMNS: usize> FromIterator<[Value; COLUMNS]> for Table {
    fn from_iter<I: IntoIterator<Item = [Value; COLUMNS]>>(rows: I) -> Self {
        Self { cells: rows.into_iter().flatten().collect(), ..Self::default() }
    }
}

/// One column of a [`Detail`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// Key in JSON; ends in `_ns` for times and in `_bytes` for sizes.
    pub key: &'static str,
    /// Heading in texts.
    pub title: &'static str,
    /// What its values are.
    pub unit: Unit,
}

impl Column {
    /// A column of names or words.
    #[must_use]
    pub const fn text(key: &'static str, title: &'static str) -> Self {
        Self { key, title, unit: Unit::Text }
    }
    /// A column of counts.
    #[must_use]
    pub const fn count(key: &'static str, title: &'static str) -> Self {
        Self { key, title, unit: Unit::Count }
    }
    /// A column of times; `key` ends in `_ns`.
    #[must_use]
    pub const fn time(key: &'static str, title: &'static str) -> Self {
        Self { key, title, unit: Unit::Nanos }
    }
    /// A column of sizes; `key` ends in `_bytes`.
    #[must_use]
    pub const fn bytes(key: &'static str, title: &'static str) -> Self {
        Self { key, title, unit: Unit::Bytes }
    }
}

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Names and words.
    Text,
    /// Counts.
    Count,
    /// Integer nanoseconds.
    Nanos,
    /// Bytes.
    Bytes,
}

/// One value of a row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Value {
    /// Not known: `null` in JSON.
    Unknown,
    /// A number, in the column's unit.
    Number(u64),
    /// A name or words; may come from the trace, so it is escaped wherever it is shown.
    Text(Words),
}

impl From<Nanos> for Value {
    fn from(ns: Nanos) -> Self {
        Self::Number(ns.0)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<Words> for Value {
    fn from(text: Words) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_rows_take_no_place() {
        const COLUMNS: &[Column] = &[Column::text("name", "name"), Column::count("n", "n")];
        let head = |id, missing| Head { id, title: "", actors: false, columns: COLUMNS, missing };
        let heads = [head("a", vec![]), head("b", vec!["sched:sched_switch"]), head("c", vec![])];
        let mut details = Details::new(heads.into());
        let rows = [("x", 3), ("y", 2), ("z", 1)].map(|(name, n)| [name.into(), Value::Number(n)]);
        let table = Table::from_iter(rows).at_most(2, 2).with_notes(["so".into()]);
        details.set(2, table);
        details.set(0, Table::default());
        let rows = |detail: Detail<'_>| detail.rows.map(|rows| rows.len());
        let got: Vec<_> = details.iter().map(|d| (d.id, rows(d), d.more, d.notes.len())).collect();
        assert_eq!(got, [("a", Some(0), 0, 0), ("b", None, 0, 0), ("c", Some(2), 1, 1)]);
        assert_eq!(details.filled.len(), 1);
        assert_eq!(details.iter().map(Detail::is_empty).collect::<Vec<_>>(), [true, true, false]);
        let rows: Vec<_> = details.get("c").and_then(|d| d.rows).unwrap().iter().collect();
        assert_eq!(rows[1], [Value::Text("y".into()), Value::Number(2)]);
        // Earlier in the order, and in place of what was there.
        details.set(0, Table::from_iter([["w".into(), Value::Unknown]]));
        details.set(2, Table::from_iter([["v".into(), Value::Unknown]]));
        let first = |id| details.get(id)?.rows?.iter().next().map(<[Value]>::to_vec);
        assert_eq!(first("a"), Some(vec!["w".into(), Value::Unknown]));
        assert_eq!(first("c"), Some(vec!["v".into(), Value::Unknown]));
        assert_eq!(details.get("d"), None);
    }

    #[test]
    fn a_value_takes_three_words() {
        assert_eq!(size_of::<Value>(), 24);
    }
}
