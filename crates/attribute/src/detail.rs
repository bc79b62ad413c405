//! Tables of what one mechanism did: the shape that every mechanism's numbers have in every output.

use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::slice;
use std::sync::Arc;

use agenttrace_model::parse::Nanos;

use crate::packed::{put, take};

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
/// Most mechanisms do nothing in most steps: what says only that is not kept. The values of
/// all tables lie packed, one after the other.
#[derive(Clone, PartialEq, Debug)]
pub struct Details {
    heads: Arc<[Head]>,
    /// By place of the head.
    filled: Vec<Filled>,
    cells: Packed,
    notes: Vec<Words>,
}

/// A table that holds something: where in [`Details`] it lies.
#[derive(Clone, PartialEq, Debug)]
struct Filled {
    /// Place of its head.
    place: u32,
    /// Of its first value, and how many there are.
    at: At,
    values: u32,
    more: u32,
    notes: Range<u32>,
}

/// The rows of a [`Detail`], and what is told with them.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Table {
    /// The values, row after row.
    cells: Packed,
    /// How many they are.
    values: usize,
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
    cells: &'d Packed,
    at: At,
    values: usize,
    columns: usize,
}

/// The values of a row, one for each column.
#[derive(Clone, Debug)]
pub struct Row<'d> {
    cells: Cells<'d>,
    left: usize,
}

impl<'d> Iterator for Row<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        self.left = self.left.checked_sub(1)?;
        self.cells.next()
    }
}

/// Values, packed: a number is 1 and itself, texts are 2 more than their length.
#[derive(Clone, PartialEq, Default, Debug)]
struct Packed {
    numbers: Vec<u8>,
    texts: String,
}

/// A place in [`Packed`].
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct At {
    number: u32,
    text: u32,
}

/// Values, one after the other.
#[derive(Clone, Debug)]
struct Cells<'d> {
    numbers: slice::Iter<'d, u8>,
    texts: &'d str,
}

impl Packed {
    const UNKNOWN: u64 = 0;
    const NUMBER: u64 = 1;
    const TEXT: u64 = 2;

    /// Room for a few rows.
    fn reserve(&mut self) {
        if self.numbers.capacity() == 0 {
            self.numbers.reserve(256);
            self.texts.reserve(256);
        }
    }

    fn push(&mut self, value: &Value<'_>) {
        self.reserve();
        match value {
            Value::Unknown => put(&mut self.numbers, Self::UNKNOWN),
            Value::Number(number) => {
                put(&mut self.numbers, Self::NUMBER);
                put(&mut self.numbers, *number);
            }
            Value::Text(text) => {
                put(&mut self.numbers, Self::TEXT + text.len() as u64);
                self.texts.push_str(text);
            }
        }
    }

    fn end(&self) -> At {
        At { number: small(self.numbers.len()), text: small(self.texts.len()) }
    }

    fn since(&self, at: At) -> Cells<'_> {
        let numbers = self.numbers.get(at.number as usize..).unwrap_or_default();
        Cells {
            numbers: numbers.iter(),
            texts: self.texts.get(at.text as usize..).unwrap_or_default(),
        }
    }

    fn append(&mut self, more: &Self) {
        self.numbers.extend_from_slice(&more.numbers);
        self.texts.push_str(&more.texts);
    }
}

/// A number of values, texts or bytes; a table has 500 rows at most.
fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl<'d> Iterator for Cells<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        match take(&mut self.numbers)? {
            Packed::UNKNOWN => Some(Value::Unknown),
            Packed::NUMBER => take(&mut self.numbers).map(Value::Number),
            text => {
                let length = usize::try_from(text - Packed::TEXT).ok()?;
                let (text, texts) = self.texts.split_at_checked(length)?;
                self.texts = texts;
                Some(Value::Text(Cow::Borrowed(text)))
            }
        }
    }
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
        Self { heads, filled: Vec::new(), cells: Packed::default(), notes: Vec::new() }
    }

    /// Gives a table that has nothing yet, by the place of its head, its rows and notes.
    pub fn set(&mut self, place: usize, table: Table) {
        if table.says_nothing() {
            return;
        }
        let (at, first) = (self.cells.end(), small(self.notes.len()));
        self.cells.append(&table.cells);
        self.notes.extend(table.notes);
        let filled = Filled {
            place: small(place),
            at,
            values: small(table.values),
            more: small(table.more),
            notes: first..small(self.notes.len()),
        };
        let after = self.filled.partition_point(|other| other.place < filled.place);
        self.filled.insert(after, filled);
    }

    /// Tables with these heads, of which these, by the place of the head and in that order,
    /// have something: in no more memory than they need.
    #[must_use]
    pub fn of(heads: Arc<[Head]>, tables: Vec<(usize, Table)>) -> Self {
        let sum = |of: fn(&Table) -> usize| tables.iter().map(|(_, table)| of(table)).sum();
        let cells = Packed {
            numbers: Vec::with_capacity(sum(|table| table.cells.numbers.len())),
            texts: String::with_capacity(sum(|table| table.cells.texts.len())),
        };
        let notes = Vec::with_capacity(sum(|table| table.notes.len()));
        let filled = Vec::with_capacity(tables.len());
        let mut details = Self { heads, filled, cells, notes };
        for (place, table) in tables {
            details.set(place, table);
        }
        details
    }

    /// All tables, in the order of reports.
    pub fn iter(&self) -> impl Iterator<Item = Detail<'_>> {
        let mut filled = self.filled.iter().peekable();
        self.heads.iter().enumerate().map(move |(place, head)| {
            self.detail(head, filled.next_if(|other| other.place as usize == place))
        })
    }

    /// The tables that hold something, each with the place of its head.
    pub fn filled(&self) -> impl Iterator<Item = (usize, Detail<'_>)> {
        let detail = |filled: &Filled| {
            let place = filled.place as usize;
            Some((place, self.detail(self.heads.get(place)?, Some(filled))))
        };
        self.filled.iter().filter_map(detail)
    }

    /// A table by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Detail<'_>> {
        let place = self.heads.iter().position(|head| head.id == id)?;
        let filled = self.filled.iter().find(|other| other.place as usize == place);
        Some(self.detail(self.heads.get(place)?, filled))
    }

    /// The heads of the tables, in their order.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn detail<'d>(&'d self, head: &'d Head, filled: Option<&Filled>) -> Detail<'d> {
        let rows = Rows {
            cells: &self.cells,
            at: filled.map_or_else(At::default, |f| f.at),
            values: filled.map_or(0, |f| f.values as usize),
            columns: head.columns.len().max(1),
        };
        let notes = filled.map_or(0..0, |f| f.notes.start as usize..f.notes.end as usize);
        Detail {
            head,
            rows: head.missing.is_empty().then_some(rows),
            more: filled.map_or(0, |f| f.more as usize),
            notes: self.notes.get(notes).unwrap_or_default(),
        }
    }
}

impl Detail<'_> {
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
        self.values / self.columns
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.values == 0
    }

    /// The values of all, row after row.
    pub fn values(self) -> impl Iterator<Item = Value<'d>> {
        self.cells.since(self.at).take(self.values)
    }

    /// Each as its values, one for each column.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Row<'d>> {
        let mut cells = self.cells.since(self.at);
        (0..self.len()).map(move |_| {
            let row = Row { cells: cells.clone(), left: self.columns };
            cells.by_ref().take(self.columns).for_each(drop);
            row
        })
    }
}

impl Table {
    /// Adds a row: a value for each column.
    pub fn push<'v>(&mut self, row: impl IntoIterator<Item = Value<'v>>) {
        for value in row {
            self.cells.push(&value);
            self.values += 1;
        }
    }

    /// With these notes as well.
    #[must_use]
    pub fn with_notes(mut self, notes: impl IntoIterator<Item = Words>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// So many further rows were left out.
    #[must_use]
    pub fn and_more(mut self, rows: usize) -> Self {
        self.more += rows;
        self
    }

    /// Of a number of columns so many rows at most: others are only counted.
    #[must_use]
    pub fn at_most(mut self, rows: usize, columns: usize) -> Self {
        let kept = rows.saturating_mul(columns);
        let Some(others) = self.values.checked_sub(kept) else { return self };
        let mut cells = self.cells.since(At::default());
        cells.by_ref().take(kept).for_each(drop);
        let (numbers, texts) = (cells.numbers.len(), cells.texts.len());
        self.cells.numbers.truncate(self.cells.numbers.len() - numbers);
        self.cells.texts.truncate(self.cells.texts.len() - texts);
        self.values = kept;
        self.and_more(others / columns.max(1))
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// Whether there are neither rows nor notes.
    #[must_use]
    pub fn says_nothing(&self) -> bool {
        self.is_empty() && self.notes.is_empty()
    }
}

impl<'v, R: IntoIterator<Item = Value<'v>>> FromIterator<R> for Table {
    fn from_iter<I: IntoIterator<Item = R>>(rows: I) -> Self {
        let mut table = Self::default();
        for row in rows {
            table.push(row);
        }
        table
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
pub enum Value<'v> {
    /// Not known: `null` in JSON.
    Unknown,
    /// A number, in the column's unit.
    Number(u64),
    /// A name or words; may come from the trace, so it is escaped wherever it is shown.
    Text(Cow<'v, str>),
}

impl From<Nanos> for Value<'_> {
    fn from(ns: Nanos) -> Self {
        Self::Number(ns.0)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'v> From<Cow<'v, str>> for Value<'v> {
    fn from(text: Cow<'v, str>) -> Self {
        Self::Text(text)
    }
}

impl<'v, T: Into<Value<'v>>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::text("name", "name"), Column::count("n", "n")];

    fn head(id: &'static str, missing: Vec<&'static str>) -> Head {
        Head { id, title: "", actors: false, columns: COLUMNS, missing }
    }

    #[test]
    fn tables_without_rows_take_no_place() {
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
        // Earlier in the order, though it comes later.
        details.set(0, Table::from_iter([["w".into(), Value::Unknown]]));
        let rows = |id| -> Vec<Vec<Value<'_>>> {
            details.get(id).and_then(|d| d.rows).unwrap().iter().map(Iterator::collect).collect()
        };
        assert_eq!(rows("a"), [["w".into(), Value::Unknown]]);
        assert_eq!(rows("c"), [["x".into(), Value::Number(3)], ["y".into(), Value::Number(2)]]);
        let values: Vec<_> = details.get("a").and_then(|d| d.rows).unwrap().values().collect();
        assert_eq!(values, ["w".into(), Value::Unknown], "and nothing of other tables");
        assert_eq!(details.get("a").unwrap().notes, [] as [Words; 0]);
        assert_eq!(details.get("c").unwrap().notes, [Words::from("so")]);
        assert_eq!(details.get("d"), None);
        let filled: Vec<_> = details.filled().map(|(place, detail)| (place, detail.id)).collect();
        assert_eq!(filled, [(0, "a"), (2, "c")]);
    }

    #[test]
    fn tables_at_once_are_those_one_after_the_other() {
        let heads: Arc<[Head]> = [head("a", vec![]), head("b", vec![])].into();
        let some = || Table::from_iter([["wide".into(), Value::Number(300)]]);
        let tables = || vec![(0, some()), (1, some().with_notes(["so".into()]))];
        let mut one_by_one = Details::new(Arc::clone(&heads));
        for (place, table) in tables() {
            one_by_one.set(place, table);
        }
        let details = Details::of(heads, tables());
        assert_eq!(details, one_by_one);
        // Of each 4 and then 1 and 2 bytes for its values.
        assert_eq!((details.cells.numbers.capacity(), details.cells.texts.capacity()), (8, 8));
        assert_eq!((details.filled.capacity(), details.notes.capacity()), (2, 1));
    }

    #[test]
    fn values_take_the_bytes_that_they_need() {
        let long = "é".repeat(100);
        let row = [
            Value::Unknown,
            Value::Number(0),
            Value::Number(127),
            u64::MAX.into(),
            "".into(),
            long.as_str().into(),
        ];
        let table = Table::from_iter([row.clone()]);
        // One for each kind, two for that of a text of 200 bytes; 1, 1 and 10 for numbers.
        assert_eq!(table.cells.numbers.len(), 6 + 1 + 12);
        assert_eq!(table.cells.texts, long);
        assert_eq!(table.cells.since(At::default()).collect::<Vec<_>>(), row);
        let none = table.at_most(0, 6);
        assert_eq!(none, Table::default().and_more(1));
    }
}
