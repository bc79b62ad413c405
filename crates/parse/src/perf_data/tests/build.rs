//! Builds a small perf.data, byte by byte.

use crate::perf_data::header::feature;
use crate::perf_data::record::kind;

/// IP|TID|TIME|ADDR|CPU|PERIOD|RAW|IDENTIFIER, as `perf record -d -a -c 1` asks.
pub(super) const SAMPLE_TYPE: u64 = 0x1_058f;
pub(super) const CALLCHAIN: u64 = 1 << 5;

pub(super) const SWITCH: u64 = 372;
pub(super) const SYS_ENTER: u64 = 443;
pub(super) const EXEC: u64 = 365;
pub(super) const OTHER: u64 = 999;

/// The kernel's format text, from (declaration, size, signed).
fn format(name: &str, id: u64, fields: &[(&str, usize, u8)], print: &str) -> String {
    let mut text = format!(
        "name: {name}\nID: {id}\nformat:\n\
         \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
         \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
         \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
         \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
    );
    let mut at = 8;
    for (declaration, size, signed) in fields {
        text += &format!("\tfield:{declaration};\toffset:{at};\tsize:{size};\tsigned:{signed};\n");
        at += size;
    }
    text + "\nprint fmt: " + print + "\n"
}

const PRINT_SWITCH: &str = "\"%s%s\", REC->prev_state & 255 ? __print_flags(REC->prev_state & 255, \
    \"|\", { 1, \"S\" }, { 2, \"D\" }, { 0x20, \"Z\" }) : \"R\", REC->prev_state & (255 + 1) ? \"+\" : \"\"";

fn tracing_data() -> Vec<u8> {
    let switch = format(
        "sched_switch",
        SWITCH,
        &[
            ("char prev_comm[16]", 16, 0),
            ("pid_t prev_pid", 4, 1),
            ("int prev_prio", 4, 1),
            ("long prev_state", 8, 1),
            ("char next_comm[16]", 16, 0),
            ("pid_t next_pid", 4, 1),
            ("int next_prio", 4, 1),
        ],
        PRINT_SWITCH,
    );
    let exec = format(
        "sched_process_exec",
        EXEC,
        &[
            ("__data_loc char[] filename", 4, 0),
            ("pid_t pid", 4, 1),
            ("pid_t old_pid", 4, 1),
            ("u64 agent_step_id", 8, 0),
        ],
        "\"\"",
    );
    let enter = format(
        "sys_enter",
        SYS_ENTER,
        &[("long id", 8, 1), ("unsigned long args[6]", 48, 0)],
        "\"\"",
    );
    let other = format("other", OTHER, &[("int x", 4, 1)], "\"\"");
    let mut out = b"\x17\x08\x44tracing0.6\0\x00\x08\x00\x10\x00\x00".to_vec();
    for name in ["header_page", "header_event"] {
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(4_u64.to_le_bytes());
        out.extend(b"page");
    }
    out.extend(0_u32.to_le_bytes());
    out.extend(3_u32.to_le_bytes());
    for (system, formats) in
        [("sched", vec![&switch, &exec]), ("raw_syscalls", vec![&enter]), ("made", vec![&other])]
    {
        out.extend(system.as_bytes());
        out.push(0);
        out.extend((formats.len() as u32).to_le_bytes());
        for text in formats {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        }
    }
    out.extend([0; 16]);
    out
}

pub(super) fn string(text: &str) -> Vec<u8> {
    let mut out = 64_u32.to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    out.resize(68, 0);
    out
}

fn strings(texts: &[&str]) -> Vec<u8> {
    let mut out = (texts.len() as u32).to_le_bytes().to_vec();
    for text in texts {
        out.extend(string(text));
    }
    out
}

/// A perf.data with five attributes; ids: 100 and 101 `sched_switch`, 102
/// `sys_enter`, with a callchain, 103 minor faults, 104 exec, 105 a tracepoint that
/// nobody knows.
pub(super) struct Builder {
    pub(super) data: Vec<u8>,
    pub(super) with_features: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { data: Vec::new(), with_features: true }
    }

    pub(super) fn record(&mut self, kind: u32, misc: u16, body: &[u8]) -> &mut Self {
        self.data.extend(kind.to_le_bytes());
        self.data.extend(misc.to_le_bytes());
        self.data.extend((body.len() as u16 + 8).to_le_bytes());
        self.data.extend(body);
        self
    }

    pub(super) fn round(&mut self) -> &mut Self {
        self.record(kind::FINISHED_ROUND, 0, &[])
    }

    /// A record with the trailer of `sample_id_all`: TID, TIME, CPU, IDENTIFIER.
    pub(super) fn sideband(
        &mut self,
        kind: u32,
        misc: u16,
        body: &[u8],
        time: u64,
        cpu: u32,
    ) -> &mut Self {
        let mut body = body.to_vec();
        let (tid, id) = if time == 0 { (0_u32, 0_u64) } else { (7, 100) };
        for word in [tid, tid] {
            body.extend(word.to_le_bytes());
        }
        body.extend(time.to_le_bytes());
        body.extend(u64::from(cpu).to_le_bytes());
        body.extend(id.to_le_bytes());
        self.record(kind, misc, &body)
    }

    pub(super) fn comm(&mut self, pid: u32, name: &[u8; 8], time: u64) -> &mut Self {
        let mut body = [pid.to_le_bytes(), pid.to_le_bytes()].concat();
        body.extend(name);
        self.sideband(kind::COMM, 0, &body, time, 0)
    }

    pub(super) fn lost(&mut self, count: u64, time: u64, cpu: u32) -> &mut Self {
        self.sideband(
            kind::LOST,
            0,
            &[100_u64.to_le_bytes(), count.to_le_bytes()].concat(),
            time,
            cpu,
        )
    }

    pub(super) fn mmap2(&mut self, pid: u32, path: &[u8], time: u64) -> &mut Self {
        let mut body = [pid.to_le_bytes(), pid.to_le_bytes()].concat();
        for word in [0x1000_u64, 0x2000, 0, 254 | 1 << 32, 99, 0, 5] {
            body.extend(word.to_le_bytes());
        }
        body.extend(path);
        body.resize((body.len() + 1).next_multiple_of(8), 0);
        self.sideband(kind::MMAP2, 2, &body, time, 0)
    }

    pub(super) fn sample(
        &mut self,
        id: u64,
        task: (i32, i32),
        time: u64,
        cpu: u32,
        raw: &[u8],
    ) -> &mut Self {
        let mut body = Vec::new();
        body.extend(id.to_le_bytes());
        body.extend(0xffff_u64.to_le_bytes());
        body.extend(task.0.to_le_bytes());
        body.extend(task.1.to_le_bytes());
        body.extend(time.to_le_bytes());
        body.extend(0xabcd_u64.to_le_bytes()); // ADDR
        body.extend(u64::from(cpu).to_le_bytes());
        body.extend(1_u64.to_le_bytes());
        if id == 102 {
            for word in [2_u64, 0xf1, 0xf2] {
                body.extend(word.to_le_bytes());
            }
        }
        if id != 103 {
            let padded = (raw.len() + 4).next_multiple_of(8) - 4;
            body.extend((padded as u32).to_le_bytes());
            body.extend(raw);
            body.resize(body.len() + padded - raw.len(), 0);
        }
        self.record(kind::SAMPLE, 1, &body)
    }

    pub(super) fn switch(
        &mut self,
        time: u64,
        cpu: u32,
        prev: i32,
        state: u64,
        next: i32,
    ) -> &mut Self {
        let mut raw = common(SWITCH, 1, prev);
        raw.extend(name(prev));
        raw.extend(prev.to_le_bytes());
        raw.extend(120_i32.to_le_bytes());
        raw.extend(state.to_le_bytes());
        raw.extend(name(next));
        raw.extend(next.to_le_bytes());
        raw.extend(120_i32.to_le_bytes());
        self.sample(100 + u64::from(cpu), (prev, prev), time, cpu, &raw)
    }

    pub(super) fn sys_enter(&mut self, time: u64, cpu: u32, tid: i32, id: i64) -> &mut Self {
        let mut raw = common(SYS_ENTER, 0, tid);
        raw.extend(id.to_le_bytes());
        for arg in 1..=6_u64 {
            raw.extend(arg.to_le_bytes());
        }
        self.sample(102, (tid, tid), time, cpu, &raw)
    }

    pub(super) fn exec(&mut self, time: u64, tid: i32, path: &[u8], step: u64) -> &mut Self {
        let mut raw = common(EXEC, 0, tid);
        raw.extend((28_u32 | (path.len() as u32 + 1) << 16).to_le_bytes());
        raw.extend(tid.to_le_bytes());
        raw.extend(tid.to_le_bytes());
        raw.extend(step.to_le_bytes());
        raw.extend(path);
        raw.push(0);
        self.sample(104, (tid, tid), time, 0, &raw)
    }

    pub(super) fn finish(&self) -> Vec<u8> {
        let attrs = attrs();
        let mut out = vec![0; 104];
        let mut sections = Vec::new();
        for (_, ids, _) in &attrs {
            sections.push((out.len() as u64, ids.len() as u64 * 8));
            for id in ids {
                out.extend(id.to_le_bytes());
            }
        }
        let attrs_at = out.len() as u64;
        for ((attr, _, _), (offset, size)) in attrs.iter().zip(sections) {
            out.extend(attr);
            out.extend(offset.to_le_bytes());
            out.extend(size.to_le_bytes());
        }
        let data_at = out.len() as u64;
        out.extend(&self.data);
        let features = if self.with_features { Self::features() } else { Vec::new() };
        let mut at = (out.len() + 16 * features.len()) as u64;
        let mut flags = 0_u64;
        for (bit, body) in &features {
            flags |= 1 << bit;
            out.extend(at.to_le_bytes());
            out.extend((body.len() as u64).to_le_bytes());
            at += body.len() as u64;
        }
        for (_, body) in &features {
            out.extend(body);
        }
        let mut header = b"PERFILE2".to_vec();
        for word in [104, 144, attrs_at, 144 * 5, data_at, self.data.len() as u64, 0, 0, flags] {
            header.extend(word.to_le_bytes());
        }
        out[..header.len()].copy_from_slice(&header);
        out
    }

    fn features() -> Vec<(u32, Vec<u8>)> {
        let words =
            |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
        let topology = [strings(&["0-1"]), strings(&["0", "1"]), words(&[0, 0, 1, 0])].concat();
        let numa = [words(&[1, 0, 9, 0, 9, 0]), string("0-1")].concat();
        let cache = |level: u32, cpus: &str| {
            [words(&[level, 64, 64, 8]), string("Unified"), string("32K"), string(cpus)].concat()
        };
        let caches = [words(&[1, 3]), cache(3, "0-1"), cache(1, "0"), cache(1, "1")].concat();
        let clock =
            [words(&[1, 1]), 2_000_u64.to_le_bytes().to_vec(), 1_000_u64.to_le_bytes().to_vec()]
                .concat();
        let command =
            strings(&["/usr/bin/perf", "record", "-a", "-o", "/secret/perf.data", "./secret-tool"]);
        vec![
            (feature::TRACING_DATA, tracing_data()),
            (feature::HOSTNAME, string("secret-host")),
            (feature::OSRELEASE, string("6.18.1")),
            (feature::VERSION, string("6.1")),
            (feature::ARCH, string("x86_64")),
            (feature::NRCPUS, words(&[2, 2])),
            (feature::CMDLINE, command),
            (feature::EVENT_DESC, event_desc()),
            (feature::CPU_TOPOLOGY, topology),
            (feature::NUMA_TOPOLOGY, numa),
            (feature::CACHE, caches),
            (feature::CLOCK_DATA, clock),
        ]
    }
}

/// Each attribute, its ids, and the name that perf gives it.
fn attrs() -> [(Vec<u8>, Vec<u64>, &'static str); 5] {
    const TRACEPOINT: u32 = 2;
    [
        (attr(TRACEPOINT, SWITCH, SAMPLE_TYPE), vec![100, 101], "sched:sched_switch"),
        (attr(TRACEPOINT, SYS_ENTER, SAMPLE_TYPE | CALLCHAIN), vec![102], "raw_syscalls:sys_enter"),
        (attr(1, 5, SAMPLE_TYPE & !(1 << 10)), vec![103], "minor-faults"),
        (attr(TRACEPOINT, EXEC, SAMPLE_TYPE), vec![104], "sched:sched_process_exec"),
        (attr(TRACEPOINT, OTHER, SAMPLE_TYPE), vec![105], "made:other"),
    ]
}

fn attr(kind: u32, config: u64, sample_type: u64) -> Vec<u8> {
    let mut attr = Vec::new();
    attr.extend(kind.to_le_bytes());
    attr.extend(128_u32.to_le_bytes());
    for word in [config, 1, sample_type, 0, 1 << 18 | 1 << 25 | 1 << 17] {
        attr.extend(word.to_le_bytes());
    }
    attr.resize(92, 0);
    attr.extend(1_u32.to_le_bytes()); // CLOCK_MONOTONIC
    attr.resize(128, 0);
    attr
}

fn event_desc() -> Vec<u8> {
    let attrs = attrs();
    let mut out = (attrs.len() as u32).to_le_bytes().to_vec();
    out.extend(128_u32.to_le_bytes());
    for (attr, ids, name) in attrs {
        out.extend(attr);
        out.extend((ids.len() as u32).to_le_bytes());
        out.extend(string(name));
        for id in ids {
            out.extend(id.to_le_bytes());
        }
    }
    out
}

fn common(id: u64, flags: u8, pid: i32) -> Vec<u8> {
    let mut raw = (id as u16).to_le_bytes().to_vec();
    raw.extend([flags, 1]);
    raw.extend(pid.to_le_bytes());
    raw
}

/// `secret-N`, in 16 bytes.
fn name(tid: i32) -> Vec<u8> {
    let mut name = format!("secret-{tid}").into_bytes();
    name.resize(16, 0);
    name
}

/// One record of each kind, in three rounds.
pub(super) fn small() -> Vec<u8> {
    let mut b = Builder::new();
    b.comm(7, b"secret\0\0", 0).mmap2(7, b"/secret/lib.so", 0).round();
    b.switch(100, 0, 7, 2, 0).sys_enter(300, 0, 8, 257).sample(103, (9, 9), 200, 1, &[]).round();
    b.exec(400, 7, b"/secret/tool", 42).sample(105, (7, 7), 410, 0, &[0; 12]).lost(5, 420, 1);
    b.switch(350, 1, 9, 0x100, 10).round();
    b.finish()
}
