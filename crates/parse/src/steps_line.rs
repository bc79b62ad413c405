//! A line of steps.jsonl to its members; the usual ones are read in place.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use serde_json::Value;

/// The one JSON object that a line has to be: its members in their order, each key once.
#[derive(PartialEq, Debug)]
pub(crate) struct Line<'l>(Vec<(Cow<'l, str>, Member<'l>)>);

/// The value of a member.
#[derive(PartialEq, Debug)]
pub(crate) enum Member<'l> {
    /// A whole number from 0.
    Number(u64),
    Text(Cow<'l, str>),
    /// Anything else.
    Json(Value),
}

impl<'l> Line<'l> {
    /// Takes a line apart; else what is wrong with it.
    pub(crate) fn read(line: &'l [u8]) -> Result<Self, String> {
        if let Some(members) = plain(line) {
            return Ok(Self(members));
        }
        match serde_json::from_slice::<Value>(line) {
            Ok(Value::Object(object)) => {
                let members = object.into_iter();
                Ok(Self(members.map(|(key, value)| (key.into(), value.into())).collect()))
            }
            Ok(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_),
            ) => Err("not a JSON object; each line must be one".to_owned()),
            // Its own line number is always 1.
            Err(error) => {
                Err(format!("not JSON at column {}: one object a line is meant", error.column()))
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Member<'l>> {
        self.iter().find(|(own, _)| *own == key).map(|(_, member)| member)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Member<'l>)> {
        self.0.iter().map(|(key, member)| (&**key, member))
    }
}

impl Member<'_> {
    /// As a whole number from 0.
    pub(crate) fn number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

impl From<Value> for Member<'_> {
    fn from(value: Value) -> Self {
        match (value.as_u64(), value) {
            (Some(number), _) => Self::Number(number),
            (None, Value::String(text)) => Self::Text(text.into()),
            (None, other) => Self::Json(other),
        }
    }
}

/// As JSON.
impl Display for Member<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => Value::from(&**text).fmt(f),
            Self::Json(value) => value.fmt(f),
        }
    }
}

/// What JSON takes for white space.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The members of an object that holds whole numbers and strings without escapes alone, each
/// key once. `None` for any other line, right or wrong.
fn plain(line: &[u8]) -> Option<Vec<(Cow<'_, str>, Member<'_>)>> {
    let line = std::str::from_utf8(line).ok()?.trim_matches(SPACE);
    let mut rest = line.strip_prefix('{')?.strip_suffix('}')?;
    // A step has six or seven.
    let mut members: Vec<(Cow<'_, str>, Member<'_>)> = Vec::with_capacity(8);
    loop {
        let (key, after) = plain_string(rest.trim_start_matches(SPACE))?;
        let value = after.trim_start_matches(SPACE).strip_prefix(':')?.trim_start_matches(SPACE);
        let (member, after) = match plain_string(value) {
            Some((text, after)) => (Member::Text(text.into()), after),
            None => plain_number(value).map(|(n, after)| (Member::Number(n), after))?,
        };
        if members.iter().any(|(other, _)| other == key) {
            return None;
        }
        members.push((key.into(), member));
        let after = after.trim_start_matches(SPACE);
        if after.is_empty() {
            return Some(members);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// A string without escapes, and what follows it.
fn plain_string(text: &str) -> Option<(&str, &str)> {
    let (string, after) = text.strip_prefix('"')?.split_once('"')?;
    let plain = string.bytes().all(|byte| byte >= b' ' && byte != b'\\');
    plain.then_some((string, after))
}

/// A whole number, and what follows it.
fn plain_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, after) = text.split_at_checked(digits)?;
    let leading_zero = digits > 1 && number.starts_with('0');
    Some((number.parse().ok().filter(|_| !leading_zero)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_read_in_place() {
        let line = b" { \"step_id\" :142,\"tool\":\"a \xc3\xa9\", \"end_ns\":18446744073709551615\t,\"n\":0}\r";
        let expected = [
            ("step_id", Member::Number(142)),
            ("tool", Member::Text("a é".into())),
            ("end_ns", Member::Number(u64::MAX)),
            ("n", Member::Number(0)),
        ];
        let expected: Vec<_> = expected.map(|(key, member)| (key.into(), member)).into();
        assert_eq!(plain(line), Some(expected));
    }

    /// Whatever is read in place is what the whole reader makes of it.
    #[test]
    fn what_is_not_plain_is_left_to_the_whole_reader() {
        for line in [
            "",
            "{}",
            "[]",
            "{\"a\":1",
            "{\"a\":1}}",
            "{\"a\":1}x",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":-1}",
            "{\"a\":1.0}",
            "{\"a\":1e3}",
            "{\"a\":1 2}",
            "{\"a\":18446744073709551616}",
            "{\"a\":}",
            "{\"a\" 1}",
            "{\"a\":\"b}",
            "{\"a\":\"b\\\"\"}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\\u0062\":1}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":null}",
            "{\"a\":{\"b\":1}}",
            "{\u{a0}\"a\":1}",
        ] {
            assert_eq!(plain(line.as_bytes()), None, "{line}");
        }
        assert_eq!(plain(b"{\"a\":\"\xff\"}"), None);
        // The last of a key that is given twice, in the place of the first.
        let twice = Line::read(br#"{"a":1,"b":"\u0062","a":[2]}"#).unwrap();
        let got: Vec<_> = twice.iter().map(|(key, member)| format!("{key} {member}")).collect();
        assert_eq!(got, ["a [2]", "b \"b\""]);
    }

    #[test]
    fn both_ways_give_the_same_members() {
        let line = br#"{"id":7,"name":"x/y","end":0}"#;
        let value: Value = serde_json::from_slice(line).unwrap();
        let Value::Object(object) = value else { panic!("{value}") };
        let whole: Vec<_> = object.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        assert_eq!(plain(line), Some(whole));
        assert_eq!(Line::read(line).unwrap().get("name").unwrap().to_string(), "\"x/y\"");
    }
}
