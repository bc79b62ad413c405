//! Tables of what one mechanism did: the shape that every mechanism's numbers have in every output.

use agenttrace_model::parse::Nanos;

/// What one mechanism did in one step, or in the session. Inclusive: it may overlap, and
/// is never added to times of the critical path.
#[derive(Clone, PartialEq, Debug)]
pub struct Detail {
    /// Stable id, a key in JSON: `spawns`, `refaults`.
    pub id: &'static str,
    /// What the rows are, for headings.
    pub title: &'static str,
    /// It tells who made steps slow: what a person looks at first.
    pub actors: bool,
    /// The columns; every row has a value for each.
    pub columns: &'static [Column],
    /// The rows, the most important first. `None`: not captured.
    pub rows: Option<Vec<Vec<Value>>>,
    /// Rows that were left out, for there are too many.
    pub more: usize,
    /// Without these event types it cannot be seen; those of them that the capture lacks.
    pub missing: Vec<&'static str>,
    /// What has to be known to read the numbers, as sentences.
    pub notes: Vec<String>,
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
    Text(String),
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
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Into::into)
    }
}
