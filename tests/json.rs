//! JSON text to values: the tests read reports with a reader of their own.

/// A JSON value. Numbers keep their text, so that no nanosecond is rounded.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a whole text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        let value = reader.value()?;
        reader.space();
        if reader.at == text.len() {
            Ok(value)
        } else {
            Err(format!("text after the value at {}", reader.at))
        }
    }

    /// The member of an object; null where there is none.
    pub(crate) fn get(&self, key: &str) -> &Self {
        match self {
            Self::Object(members) => {
                members.iter().find(|(k, _)| k == key).map_or(&Self::Null, |(_, v)| v)
            }
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => {
                &Self::Null
            }
        }
    }

    pub(crate) fn list(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    pub(crate) fn object(&self) -> &[(String, Self)] {
        if let Self::Object(members) = self { members } else { &[] }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A whole number, not negative.
    pub(crate) fn number(&self) -> Option<u64> {
        if let Self::Number(text) = self { text.parse().ok() } else { None }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> u8 {
        self.space();
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(format!("{:?} was due at {}", char::from(byte), self.at))
        }
    }

    fn value(&mut self) -> Result<Json, String> {
        match self.peek() {
            b'{' => {
                self.at += 1;
                let mut members = Vec::new();
                while self.peek() != b'}' {
                    if !members.is_empty() {
                        self.expect(b',')?;
                    }
                    self.space();
                    let key = self.string()?;
                    self.expect(b':')?;
                    members.push((key, self.value()?));
                }
                self.at += 1;
                Ok(Json::Object(members))
            }
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                while self.peek() != b']' {
                    if !items.is_empty() {
                        self.expect(b',')?;
                    }
                    items.push(self.value()?);
                }
                self.at += 1;
                Ok(Json::List(items))
            }
            b'"' => self.string().map(Json::Text),
            _ => {
                let rest = &self.bytes[self.at..];
                let end = rest.iter().position(|b| b",]} \n\r\t".contains(b)).unwrap_or(rest.len());
                let word = String::from_utf8_lossy(&rest[..end]).into_owned();
                self.at += end;
                match word.as_str() {
                    "null" => Ok(Json::Null),
                    "true" => Ok(Json::Bool(true)),
                    "false" => Ok(Json::Bool(false)),
                    number if number.parse::<f64>().is_ok_and(f64::is_finite) => {
                        Ok(Json::Number(word))
                    }
                    _ => Err(format!("{word:?} is no value, before {}", self.at)),
                }
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect(b'"')?;
        let mut out = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at).ok_or("a string does not end")?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(out).map_err(|e| e.to_string()),
                b'\\' => {
                    let escape = *self.bytes.get(self.at).ok_or("a string does not end")?;
                    self.at += 1;
                    match escape {
                        b'n' => out.push(b'\n'),
                        b't' => out.push(b'\t'),
                        b'r' => out.push(b'\r'),
                        b'b' => out.push(8),
                        b'f' => out.push(12),
                        b'u' => {
                            let hex =
                                self.bytes.get(self.at..self.at + 4).ok_or("a short escape")?;
                            self.at += 4;
                            let code = std::str::from_utf8(hex)
                                .ok()
                                .and_then(|h| u32::from_str_radix(h, 16).ok());
                            let c = code
                                .and_then(char::from_u32)
                                .unwrap_or(char::REPLACEMENT_CHARACTER);
                            out.extend(c.to_string().bytes());
                        }
                        other => out.push(other),
                    }
                }
                0..=31 => return Err(format!("a bare control character at {}", self.at)),
                other => out.push(other),
            }
        }
    }
}

#[test]
fn reads_what_it_should() {
    let value = Json::parse(r#"{"a":[1,"x\n\u0041",null],"b":{"c":true}}"#).expect("it is JSON");
    assert_eq!(value.get("a").list()[0].number(), Some(1));
    assert_eq!(value.get("a").list()[1].text(), Some("x\nA"));
    assert_eq!(value.get("b").get("c"), &Json::Bool(true));
    assert_eq!(value.object().len(), 2);
    assert!(Json::parse("{} {}").is_err());
    assert!(Json::parse("\"a\nb\"").is_err());
}
