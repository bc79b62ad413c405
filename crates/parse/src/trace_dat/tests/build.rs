//! A trace.dat made from parts: sub-buffers, options, any version and compression.
//!
//! trace-cmd 3.1.6 was built without zlib where these tests were written, and its
//! `convert` writes version 7 without buffers; so those forms are crafted here.

use std::io::Write as _;

use crate::trace_dat::options::id;

pub(super) const PAGE: usize = 4096;

const COMMON: &str = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";

/// Number of `ftrace:print`.
pub(super) const PRINT: u16 = 5;
/// Number of `ftrace:raw_data`.
pub(super) const RAW_DATA: u16 = 16;
/// Number of `raw_syscalls:sys_exit`.
pub(super) const SYS_EXIT: u16 = 300;
/// Number of an event that the analysis does not use.
pub(super) const OTHER: u16 = 301;

pub(super) fn format(name: &str, id: u16, fields: &str) -> String {
    format!("name: {name}\nID: {id}\nformat:\n{COMMON}{fields}\nprint fmt: \"\"\n")
}

/// A system, and its format texts.
pub(super) type System = (&'static str, Vec<String>);

pub(super) fn ftrace_formats() -> Vec<String> {
    vec![
        format(
            "print",
            PRINT,
            "\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n\
             \tfield:char buf[];\toffset:16;\tsize:0;\tsigned:0;\n",
        ),
        format(
            "raw_data",
            RAW_DATA,
            "\tfield:unsigned int id;\toffset:8;\tsize:4;\tsigned:0;\n\
             \tfield:char buf[];\toffset:12;\tsize:0;\tsigned:0;\n",
        ),
    ]
}

pub(super) fn systems() -> Vec<System> {
    let exit = format(
        "sys_exit",
        SYS_EXIT,
        "\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;\n\
         \tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;\n",
    );
    let other = format("thing", OTHER, "\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n");
    vec![("raw_syscalls", vec![exit]), ("other", vec![other])]
}

/// The payload of an event.
pub(super) fn payload(number: u16, flags: u8, tid: i32, rest: &[u8]) -> Vec<u8> {
    let mut out = number.to_le_bytes().to_vec();
    out.extend([flags, 0]);
    out.extend(tid.to_le_bytes());
    out.extend(rest);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The payload of a `sys_exit`.
pub(super) fn exit(tid: i32, id: i64, ret: i64) -> Vec<u8> {
    let mut rest = id.to_le_bytes().to_vec();
    rest.extend(ret.to_le_bytes());
    payload(SYS_EXIT, 0, tid, &rest)
}

/// A data event: the length in the head where it fits, else in a word of its own.
pub(super) fn event(delta: u32, payload: &[u8]) -> Vec<u8> {
    let words = payload.len() as u32 / 4;
    let mut out = Vec::new();
    if words <= 28 {
        out.extend((delta << 5 | words).to_le_bytes());
    } else {
        out.extend((delta << 5).to_le_bytes());
        out.extend((payload.len() as u32 + 4).to_le_bytes());
    }
    out.extend(payload);
    out
}

/// A head of type 29 to 31 and its second word.
pub(super) fn special(kind: u32, delta: u32, word: u32) -> Vec<u8> {
    let mut out = (delta << 5 | kind).to_le_bytes().to_vec();
    out.extend(word.to_le_bytes());
    out
}

/// A sub-buffer of 4 KiB, with the kernel's 64-bit layout.
pub(super) fn page(time: u64, flags: u64, events: &[Vec<u8>], stored: Option<u64>) -> Vec<u8> {
    let data = events.concat();
    let mut out = time.to_le_bytes().to_vec();
    out.extend((data.len() as u64 | flags).to_le_bytes());
    out.extend(data);
    out.extend(stored.into_iter().flat_map(u64::to_le_bytes));
    out.resize(PAGE, 0);
    out
}

/// One buffer: its name, its clock, and (CPU, sub-buffers).
#[derive(Clone, Default)]
pub(super) struct BufferParts {
    pub(super) name: &'static str,
    pub(super) clock: &'static str,
    pub(super) cpus: Vec<(u32, Vec<u8>)>,
}

/// Everything that goes into a file.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) header_page: String,
    pub(super) ftrace: Vec<String>,
    pub(super) systems: Vec<(String, Vec<String>)>,
    pub(super) cmdlines: Vec<u8>,
    pub(super) kallsyms: Vec<u8>,
    pub(super) options: Vec<(u16, Vec<u8>)>,
    pub(super) page_size: u32,
    pub(super) cpus: u32,
    pub(super) buffers: Vec<BufferParts>,
}

pub(super) const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
    \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

impl Parts {
    pub(super) fn new(cpus: Vec<(u32, Vec<u8>)>) -> Self {
        Self {
            header_page: HEADER_PAGE.to_owned(),
            ftrace: ftrace_formats(),
            systems: systems().into_iter().map(|(s, texts)| (s.to_owned(), texts)).collect(),
            cmdlines: b"7 sh\n8 <...>\n".to_vec(),
            kallsyms: Vec::new(),
            options: vec![
                (id::TRACECLOCK, b"local [mono] boot\0".to_vec()),
                (id::UNAME, b"Linux host 6.18.1 x86_64\0".to_vec()),
                (id::VERSION, b"3.2\0".to_vec()),
            ],
            page_size: PAGE as u32,
            cpus: 2,
            buffers: vec![BufferParts { name: "", clock: "mono", cpus }],
        }
    }

    fn header_info(&self) -> Vec<u8> {
        let mut out = b"header_page\0".to_vec();
        out.extend((self.header_page.len() as u64).to_le_bytes());
        out.extend(self.header_page.as_bytes());
        out.extend(b"header_event\0");
        out.extend(0_u64.to_le_bytes());
        out
    }

    fn texts(list: &[String]) -> Vec<u8> {
        let mut out = (list.len() as u32).to_le_bytes().to_vec();
        for text in list {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        }
        out
    }

    fn event_formats(&self) -> Vec<u8> {
        let mut out = (self.systems.len() as u32).to_le_bytes().to_vec();
        for (system, list) in &self.systems {
            out.extend(system.as_bytes());
            out.push(0);
            out.extend(Self::texts(list));
        }
        out
    }

    fn cmdlines(&self) -> Vec<u8> {
        let mut out = (self.cmdlines.len() as u64).to_le_bytes().to_vec();
        out.extend(&self.cmdlines);
        out
    }

    fn kallsyms(&self) -> Vec<u8> {
        let mut out = (self.kallsyms.len() as u32).to_le_bytes().to_vec();
        out.extend(&self.kallsyms);
        out
    }

    fn start(&self, version: u8) -> Vec<u8> {
        let mut out = b"\x17\x08\x44tracing".to_vec();
        out.extend([version, 0, 0, 8]);
        out.extend(self.page_size.to_le_bytes());
        out
    }

    /// A version 6 file.
    pub(super) fn v6(&self) -> Vec<u8> {
        let mut out = self.start(b'6');
        out.extend(self.header_info());
        out.extend(Self::texts(&self.ftrace));
        out.extend(self.event_formats());
        out.extend(self.kallsyms());
        out.extend([0; 4]);
        out.extend(self.cmdlines());
        out.extend(self.cpus.to_le_bytes());
        out.extend(b"options  \0");
        for (id, body) in &self.options {
            option(&mut out, *id, body);
        }
        let mut patches = Vec::new();
        for buffer in self.buffers.iter().filter(|b| !b.name.is_empty()) {
            patches.push(out.len() + 6);
            let mut body = vec![0; 8];
            body.extend(buffer.name.as_bytes());
            body.push(0);
            option(&mut out, id::BUFFER, &body);
        }
        out.extend([0; 2]);
        let mut patches = patches.into_iter();
        for buffer in &self.buffers {
            if !buffer.name.is_empty() {
                let at = patches.next().unwrap();
                let here = (out.len() as u64).to_le_bytes();
                out[at..at + 8].copy_from_slice(&here);
            }
            out.extend(b"flyrecord\0");
            let table = out.len();
            out.resize(table + 16 * self.cpus as usize, 0);
            for (cpu, data) in &buffer.cpus {
                out.resize(out.len().next_multiple_of(PAGE), 0);
                let at = table + 16 * *cpu as usize;
                let here = (out.len() as u64).to_le_bytes();
                out[at..at + 8].copy_from_slice(&here);
                out[at + 8..at + 16].copy_from_slice(&(data.len() as u64).to_le_bytes());
                out.extend(data);
            }
        }
        out
    }

    /// A version 7 file, compressed by `codec`: `none`, `zlib` or `zstd`.
    pub(super) fn v7(&self, codec: &str) -> Vec<u8> {
        let mut out = self.start(b'7');
        out.extend(codec.as_bytes());
        out.extend(b"\x001.0\0");
        let options_at = out.len();
        out.extend([0; 8]);
        let mut options = self.options.clone();
        for (id, body) in [
            (id::HEADER_INFO, self.header_info()),
            (id::FTRACE_EVENTS, Self::texts(&self.ftrace)),
            (id::EVENT_FORMATS, self.event_formats()),
            (id::KALLSYMS, self.kallsyms()),
            (id::CMDLINES, self.cmdlines()),
        ] {
            options.push((id, (out.len() as u64).to_le_bytes().to_vec()));
            section(&mut out, id, codec, &body);
        }
        options.push((id::CPUCOUNT, self.cpus.to_le_bytes().to_vec()));
        // The second options section comes behind the buffers, as trace-cmd has it.
        let here = (out.len() as u64).to_le_bytes();
        out[options_at..options_at + 8].copy_from_slice(&here);
        let mut body = Vec::new();
        for (id, data) in &options {
            option(&mut body, *id, data);
        }
        option(&mut body, id::DONE, &[0; 8]);
        section(&mut out, id::DONE, "none", &body);
        let next = out.len() - 8;
        let mut body = Vec::new();
        for buffer in &self.buffers {
            let data = self.buffer_section(&mut out, buffer, codec);
            option(&mut body, id::BUFFER, &data);
        }
        option(&mut body, id::DONE, &[0; 8]);
        let here = (out.len() as u64).to_le_bytes();
        out[next..next + 8].copy_from_slice(&here);
        section(&mut out, id::DONE, "none", &body);
        out
    }

    /// Writes a buffer; returns its option.
    fn buffer_section(&self, out: &mut Vec<u8>, buffer: &BufferParts, codec: &str) -> Vec<u8> {
        let mut option = (out.len() as u64).to_le_bytes().to_vec();
        option.extend(buffer.name.as_bytes());
        option.push(0);
        option.extend(buffer.clock.as_bytes());
        option.push(0);
        option.extend(self.page_size.to_le_bytes());
        option.extend((buffer.cpus.len() as u32).to_le_bytes());
        let compressed = codec != "none";
        let head = out.len();
        out.extend(id::BUFFER.to_le_bytes());
        out.extend(u16::from(compressed).to_le_bytes());
        out.extend([0; 12]);
        for (cpu, data) in &buffer.cpus {
            out.resize(out.len().next_multiple_of(PAGE), 0);
            let start = out.len();
            if compressed {
                // Small chunks, so that there are several.
                let chunks: Vec<_> = data.chunks(2 * PAGE).collect();
                out.extend((chunks.len() as u32).to_le_bytes());
                for chunk in chunks {
                    let packed = compress(codec, chunk);
                    out.extend((packed.len() as u32).to_le_bytes());
                    out.extend((chunk.len() as u32).to_le_bytes());
                    out.extend(packed);
                }
            } else {
                out.extend(data);
            }
            option.extend(cpu.to_le_bytes());
            option.extend((start as u64).to_le_bytes());
            // trace-cmd does not count the word with the count of chunks.
            let size = out.len() - start - if compressed { 4 } else { 0 };
            option.extend((size as u64).to_le_bytes());
        }
        let size = ((out.len() - head - 16) as u64).to_le_bytes();
        out[head + 8..head + 16].copy_from_slice(&size);
        option
    }
}

pub(super) fn compress(codec: &str, data: &[u8]) -> Vec<u8> {
    if codec == "zstd" {
        return zstd::encode_all(data, 1).unwrap();
    }
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn option(out: &mut Vec<u8>, id: u16, body: &[u8]) {
    out.extend(id.to_le_bytes());
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(body);
}

fn section(out: &mut Vec<u8>, id: u16, codec: &str, body: &[u8]) {
    let body = if codec == "none" {
        body.to_vec()
    } else {
        let packed = compress(codec, body);
        let mut whole = (packed.len() as u32).to_le_bytes().to_vec();
        whole.extend((body.len() as u32).to_le_bytes());
        whole.extend(packed);
        whole
    };
    out.extend(id.to_le_bytes());
    out.extend(u16::from(codec != "none").to_le_bytes());
    out.extend([0; 4]);
    out.extend((body.len() as u64).to_le_bytes());
    out.extend(body);
}
