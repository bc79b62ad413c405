//! Builds a perf.data with stacks, in either order of bytes. The fuzz targets' seeds are
//! made by it too.

/// Record types (include/uapi/linux/perf_event.h, tools/lib/perf/include/perf/event.h).
mod kind {
    pub(super) const MMAP: u32 = 1;
    pub(super) const COMM: u32 = 3;
    pub(super) const EXIT: u32 = 4;
    pub(super) const FORK: u32 = 7;
    pub(super) const SAMPLE: u32 = 9;
    pub(super) const MMAP2: u32 = 10;
    pub(super) const KSYMBOL: u32 = 17;
    pub(super) const CALLCHAIN_DEFERRED: u32 = 22;
    pub(super) const HEADER_ATTR: u32 = 64;
    pub(super) const FINISHED_ROUND: u32 = 68;
}

/// IDENTIFIER, IP, TID, TIME, CPU and PERIOD: what every sample here has.
pub(super) const PLAIN: u64 = 1 << 16 | 1 | 1 << 1 | 1 << 2 | 1 << 7 | 1 << 8;
pub(super) const CALLCHAIN: u64 = 1 << 5;
pub(super) const BRANCHES: u64 = 1 << 11;
pub(super) const USER: u64 = 1 << 12 | 1 << 13;
/// REGS_INTR.
pub(super) const INTR: u64 = 1 << 18;

/// `PERF_SAMPLE_BRANCH_CALL_STACK`, `_HW_INDEX`.
pub(super) const CALL_STACK: u64 = 1 << 11;
pub(super) const HW_INDEX: u64 = 1 << 17;

/// Registers 6 (bp), 7 (sp) and 8 (ip) of x86.
pub(super) const MASK: u64 = 0b1_1100_0000;

/// Bytes in one order.
#[derive(Clone)]
pub(super) struct Bytes {
    pub(super) big: bool,
    pub(super) out: Vec<u8>,
}

impl Bytes {
    pub(super) fn new(big: bool) -> Self {
        Self { big, out: Vec::new() }
    }
    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.out.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }
    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.out.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }
    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.out.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }
    pub(super) fn words(&mut self, words: &[u64]) -> &mut Self {
        for word in words {
            self.u64(*word);
        }
        self
    }
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend(bytes);
        self
    }
}

/// An attribute: kind, config, `sample_type`, `branch_sample_type`.
pub(super) type Asked = (u32, u64, u64, u64);

/// A perf.data; the attribute number N has the id 200 + N.
pub(super) struct Stacks {
    big: bool,
    attrs: Vec<Asked>,
    pub(super) data: Bytes,
    pub(super) build_ids: Bytes,
}

impl Stacks {
    pub(super) fn new(big: bool, attrs: &[Asked]) -> Self {
        let attrs = attrs.to_vec();
        Self { big, attrs, data: Bytes::new(big), build_ids: Bytes::new(big) }
    }

    pub(super) fn body(&self) -> Bytes {
        Bytes::new(self.big)
    }

    pub(super) fn record(&mut self, kind: u32, misc: u16, body: &Bytes) -> &mut Self {
        let size = body.out.len() as u16 + 8;
        self.data.u32(kind).u16(misc).u16(size).raw(&body.out);
        self
    }

    /// A record with the trailer: TID, TIME, CPU, IDENTIFIER.
    pub(super) fn sideband(
        &mut self,
        kind: u32,
        misc: u16,
        mut body: Bytes,
        time: u64,
    ) -> &mut Self {
        let task = if time == 0 { 0 } else { 7 };
        body.u32(task).u32(task).u64(time).u32(1).u32(0).u64(if time == 0 { 0 } else { 200 });
        self.record(kind, misc, &body)
    }

    /// A sample on CPU 1; `rest` is what follows PERIOD.
    pub(super) fn sample(
        &mut self,
        attr: u64,
        misc: u16,
        tid: u32,
        time: u64,
        rest: impl for<'b> FnOnce(&'b mut Bytes) -> &'b mut Bytes,
    ) -> &mut Self {
        let mut body = self.body();
        body.u64(200 + attr).u64(0x40_1000).u32(7).u32(tid).u64(time).u32(1).u32(0).u64(1_003_009);
        rest(&mut body);
        self.record(kind::SAMPLE, misc, &body)
    }

    /// A row of HEADER_BUILD_ID.
    pub(super) fn build_id(big: bool, misc: u16, id: &[u8], path: &[u8]) -> Bytes {
        let mut row = Bytes::new(big);
        let mut padded = id.to_vec();
        padded.resize(24, 0);
        if misc & 1 << 15 != 0 {
            padded[20] = id.len() as u8;
        }
        let mut name = path.to_vec();
        name.resize((path.len() + 1).next_multiple_of(64), 0);
        row.u32(0).u16(misc).u16(36 + name.len() as u16).u32(u32::MAX).raw(&padded).raw(&name);
        row
    }

    fn attr(&self, (kind, config, sample_type, branches): Asked) -> Bytes {
        let mut attr = Bytes::new(self.big);
        attr.u32(kind).u32(128).words(&[config, 997, sample_type, 0]);
        // FREQ and SAMPLE_ID_ALL: bit fields fill bytes from the other end there.
        let flags = (1_u64 << 10 | 1 << 18).to_le_bytes();
        attr.raw(&if self.big { flags.map(u8::reverse_bits) } else { flags });
        attr.words(&[0, 0, 0, branches, MASK]).u32(16).u32(0).u64(0b11);
        attr.out.resize(128, 0);
        attr
    }

    pub(super) fn finish(&self) -> Vec<u8> {
        let mut out = Bytes::new(self.big);
        out.out.resize(104, 0);
        let attrs_at = out.out.len() as u64;
        let ids_at = attrs_at + 144 * self.attrs.len() as u64;
        for (number, attr) in (0..).zip(&self.attrs) {
            out.raw(&self.attr(*attr).out).words(&[ids_at + 8 * number, 8]);
        }
        for number in 0..self.attrs.len() as u64 {
            out.u64(200 + number);
        }
        let data_at = out.out.len() as u64;
        out.raw(&self.data.out);
        let mut flags = 0;
        if !self.build_ids.out.is_empty() {
            flags = 1 << 2;
            let at = out.out.len() as u64 + 16;
            out.words(&[at, self.build_ids.out.len() as u64]).raw(&self.build_ids.out);
        }
        let mut head = Bytes::new(self.big);
        head.raw(if self.big { b"2ELIFREP" } else { b"PERFILE2" });
        let attrs_size = 144 * self.attrs.len() as u64;
        let data_size = self.data.out.len() as u64;
        head.words(&[104, 144, attrs_at, attrs_size, data_at, data_size, 0, 0, flags]);
        out.out[..head.out.len()].copy_from_slice(&head.out);
        out.out
    }

    /// The same as a stream.
    pub(super) fn pipe(&self) -> Vec<u8> {
        let mut out = Self::new(self.big, &[]);
        for (number, attr) in (0..).zip(&self.attrs) {
            let mut body = self.attr(*attr);
            body.u64(200 + number);
            out.record(kind::HEADER_ATTR, 0, &body);
        }
        out.data.raw(&self.data.out);
        let mut head = Bytes::new(self.big);
        head.raw(if self.big { b"2ELIFREP" } else { b"PERFILE2" }).u64(16).raw(&out.data.out);
        head.out
    }
}

/// What a kernel writes of a program that is sampled in every way.
pub(super) fn small(big: bool) -> Stacks {
    let mark = |n: i64| n as u64;
    let fp = (1, 0, PLAIN | CALLCHAIN, 0);
    let dwarf = (1, 0, PLAIN | CALLCHAIN | USER | INTR, 0);
    let lbr = (0, 0, PLAIN | CALLCHAIN | BRANCHES, CALL_STACK | HW_INDEX);
    let bare = (1, 3, PLAIN, 0);
    let mut s = Stacks::new(big, &[fp, dwarf, lbr, bare]);

    // perf's own description of what was there.
    let mut map = s.body();
    map.u32(u32::MAX).u32(0).words(&[0xffff_ffff_8100_0000, 0x100_0000, 0xffff_ffff_8100_0000]);
    s.sideband(
        kind::MMAP,
        1,
        {
            map.raw(b"[kernel.kallsyms]_text\0\0");
            map
        },
        0,
    );
    let mut map = s.body();
    map.u32(7).u32(7).words(&[0x40_0000, 0x2000, 0x1000]).u32(8).u32(1).words(&[99, 0]);
    s.sideband(
        kind::MMAP2,
        2,
        {
            map.u32(5).u32(2).raw(b"/bin/me\0");
            map
        },
        0,
    );
    s.data.u32(kind::FINISHED_ROUND).u16(0).u16(8);

    // A guest's kernel, data, and a file with its build id.
    let mut map = s.body();
    map.u32(9).u32(9).words(&[0, 0x1000, 0]);
    s.sideband(
        kind::MMAP,
        4,
        {
            map.raw(b"guest\0\0\0");
            map
        },
        90,
    );
    let mut map = s.body();
    map.u32(7).u32(7).words(&[0x60_0000, 0x1000, 0]);
    s.sideband(
        kind::MMAP,
        2 | 1 << 13,
        {
            map.raw(b"//anon\0\0");
            map
        },
        91,
    );
    let mut map = s.body();
    map.u32(7).u32(8).words(&[0x7f00_0000, 0x1000, 0]).raw(&[4, 0, 0, 0, 0xa, 0xb, 0xc, 0xd]);
    map.raw(&[0; 16]).u32(5).u32(2);
    s.sideband(
        kind::MMAP2,
        2 | 1 << 14,
        {
            map.raw(b"/lib/x\0\0");
            map
        },
        92,
    );
    // A program in the kernel comes and goes.
    for (flags, time) in [(0, 93), (1, 94)] {
        let mut symbol = s.body();
        symbol.u64(0xffff_ffff_c000_0000).u32(0x40).u16(1).u16(flags).raw(b"bpf_x\0\0\0");
        s.sideband(kind::KSYMBOL, 1, symbol, time);
    }
    let mut body = s.body();
    body.u32(7).u32(1).u32(8).u32(7).u64(95);
    s.sideband(kind::FORK, 0, body, 95);
    let mut body = s.body();
    body.u32(7).u32(7).raw(b"me\0\0\0\0\0\0");
    s.sideband(kind::COMM, 1 << 13, body, 96);

    // By frame pointers, the user part later.
    let kernel = [mark(-128), 0xffff_ffff_8100_0010, 0xffff_ffff_8100_0020];
    s.sample(0, 1, 7, 100, |b| b.u64(5).words(&kernel).words(&[mark(-640), 0x1_0000_0005]));
    // By registers and stack; 8 of 16 bytes are real; the kernel's registers too.
    s.sample(1, 1, 7, 101, |b| {
        b.u64(3).words(&kernel).u64(2).words(&[0x7ffc_0010, 0x7ffc_0000, 0x40_0123]);
        b.u64(16).raw(b"secret!!garbage.").u64(8).u64(2).words(&[1, 2])
    });
    // Nothing of a kernel thread's; 32-bit code, whose stack is full.
    s.sample(1, 1, 8, 102, |b| b.u64(0).u64(0).u64(0).u64(0));
    s.sample(1, 2, 8, 103, |b| {
        b.u64(0).u64(1).words(&[1, 2, 3]).u64(8).raw(b"8 bytes.").u64(8).u64(0)
    });
    // The last branches as calls; none; none, and no index either.
    s.sample(2, 2, 7, 104, |b| {
        b.u64(2).words(&[mark(-512), 0x40_1000]).words(&[2, 31]);
        b.words(&[0x40_0500, 0x40_0900, 0x1234, 0x40_0300, 0x40_0480, 0])
    });
    s.sample(2, 2, 7, 105, |b| b.u64(0).words(&[0, 31]));
    s.sample(2, 2, 7, 106, |b| b.u64(0).u64(0));
    // No stack was asked for.
    s.sample(3, 2, 7, 107, |b| b);
    let mut body = s.body();
    body.u64(0x1_0000_0005).u64(3).words(&[mark(-512), 0x40_0111, 0x40_0222]);
    s.sideband(kind::CALLCHAIN_DEFERRED, 2, body, 108);
    let mut body = s.body();
    body.u32(7).u32(7).u32(8).u32(8).u64(109);
    s.sideband(kind::EXIT, 0, body, 109);
    s
}
