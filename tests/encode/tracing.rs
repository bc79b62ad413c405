//! HEADER_TRACING_DATA taken apart and written in either order of bytes.

use super::recording::{half, word};

/// tools/perf/util/trace-event-info.c writes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracing {
    version: Vec<u8>,
    long_size: u8,
    page_size: u32,
    /// Of `header_page` and `header_event`.
    headers: [Vec<u8>; 2],
    /// ftrace's own formats.
    ftrace: Vec<Vec<u8>>,
    /// Each system with its formats.
    pub(crate) systems: Vec<(String, Vec<String>)>,
    kallsyms: Vec<u8>,
    printk: Vec<u8>,
    /// With the length before it, in newer versions.
    cmdlines: Option<Vec<u8>>,
}

/// Where one field of a record lies.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) declaration: String,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

const MAGIC: &[u8] = b"\x17\x08\x44tracing";
const HEADERS: [&str; 2] = ["header_page", "header_event"];

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        head
    }
    fn until_nul(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|b| *b == 0).expect("a NUL");
        let text = self.take(end);
        self.take(1);
        text
    }
    fn u32(&mut self) -> u32 {
        half(self.take(4), 0)
    }
    fn sized(&mut self) -> &'a [u8] {
        let size = usize::try_from(word(self.take(8), 0)).expect("in memory");
        self.take(size)
    }
}

impl Tracing {
    /// With these formats and nothing else.
    pub(crate) fn of(systems: Vec<(String, Vec<String>)>) -> Self {
        Self {
            version: b"0.6".to_vec(),
            long_size: 8,
            page_size: 4096,
            systems,
            cmdlines: Some(Vec::new()),
            ..Self::default()
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut r = Reader(bytes);
        assert_eq!(r.take(MAGIC.len()), MAGIC);
        let version = r.until_nul().to_vec();
        assert_eq!(r.take(1), [0], "little-endian");
        let long_size = r.take(1)[0];
        let page_size = r.u32();
        let headers = HEADERS.map(|name| {
            assert_eq!(r.until_nul(), name.as_bytes());
            r.sized().to_vec()
        });
        let ftrace = (0..r.u32()).map(|_| r.sized().to_vec()).collect();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("formats are text");
        let systems = (0..r.u32())
            .map(|_| {
                let name = text(r.until_nul());
                (name, (0..r.u32()).map(|_| text(r.sized())).collect())
            })
            .collect();
        let mut blob = || {
            if r.0.len() < 4 {
                return Vec::new();
            }
            let size = r.u32() as usize;
            r.take(size).to_vec()
        };
        let (kallsyms, printk) = (blob(), blob());
        let cmdlines = (r.0.len() >= 8).then(|| r.sized().to_vec());
        Self { version, long_size, page_size, headers, ftrace, systems, kallsyms, printk, cmdlines }
    }

    pub(crate) fn bytes(&self, big: bool) -> Vec<u8> {
        let four = |n: usize| {
            let n = u32::try_from(n).expect("small");
            if big { n.to_be_bytes() } else { n.to_le_bytes() }
        };
        let eight =
            |n: usize| if big { (n as u64).to_be_bytes() } else { (n as u64).to_le_bytes() };
        let mut out = MAGIC.to_vec();
        out.extend(&self.version);
        out.extend([0, u8::from(big), self.long_size]);
        out.extend(four(self.page_size as usize));
        let sized = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend(eight(bytes.len()));
            out.extend(bytes);
        };
        for (name, body) in HEADERS.iter().zip(&self.headers) {
            out.extend(name.as_bytes());
            out.push(0);
            sized(&mut out, body);
        }
        out.extend(four(self.ftrace.len()));
        for body in &self.ftrace {
            sized(&mut out, body);
        }
        out.extend(four(self.systems.len()));
        for (name, formats) in &self.systems {
            out.extend(name.as_bytes());
            out.push(0);
            out.extend(four(formats.len()));
            for format in formats {
                sized(&mut out, format.as_bytes());
            }
        }
        for blob in [&self.kallsyms, &self.printk] {
            out.extend(four(blob.len()));
            out.extend(blob);
        }
        if let Some(cmdlines) = &self.cmdlines {
            sized(&mut out, cmdlines);
        }
        out
    }

    /// The fields of the event with this number.
    pub(crate) fn fields(&self, id: u64) -> Option<Vec<Field>> {
        let wanted = format!("\nID: {id}\n");
        let texts = self.systems.iter().flat_map(|(_, formats)| formats);
        let text = texts.into_iter().find(|text| text.contains(&wanted))?;
        let number = |line: &str, key: &str| -> usize {
            let value = line.split(key).nth(1).expect("a key").split(';').next();
            value.expect("a value").parse().expect("a number")
        };
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("field:"));
        Some(
            lines
                .map(|line| Field {
                    declaration: line.split(';').next().unwrap_or("").to_owned(),
                    offset: number(line, "offset:"),
                    size: number(line, "size:"),
                })
                .collect(),
        )
    }
}
