//! Stacks of a built perf.data against values worked out by hand, and against another
//! reader.

use linux_perf_data::linux_perf_event_reader::EventRecord;
use linux_perf_data::{PerfFileReader, PerfFileRecord};

use super::captures;
use super::stack_build::{
    BRANCHES, Bytes, CALL_STACK, CALLCHAIN, HW_INDEX, INTR, MASK, PLAIN, Stacks, USER, small,
};
use crate::events::{CommRecord, Exit, Fork};
use crate::perf_data::record::kind;
use crate::stack::{
    Branch, Branches, Chain, DeferredChain, KernelSymbol, ListedModule, Mapping, Mode, Sample,
    StackEvent, StackRecord, UserMemory,
};
use crate::{
    Addr, BuildId, Capture, Comm, Cpu, Diagnostics, Error, Nanos, Pid, Problem, ReadOptions,
    Redactor, Tid, Unpacked, cut,
};

/// Passes every event of the stack pass to `each`.
fn with_stacks(bytes: &[u8], mut each: impl FnMut(&StackEvent<'_>)) -> Diagnostics {
    let unpacked = Unpacked::of(bytes).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let mut diagnostics = Diagnostics::default();
    let mut sink = |events: &[StackEvent<'_>]| events.iter().for_each(&mut each);
    capture.read_stacks(&mut diagnostics, &mut sink).unwrap();
    diagnostics
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// (time, process, thread, what); a sample's own values are in `sample`.
fn expect_small(seen: &[StackEvent<'_>]) {
    let mark = |n: i64| n as u64;
    let kernel = [mark(-128), 0xffff_ffff_8100_0010, 0xffff_ffff_8100_0020];
    let whole = words(&[&kernel[..], &[mark(-640), 0x1_0000_0005]].concat());
    let kernel = words(&kernel);
    let user = words(&[mark(-512), 0x40_1000]);
    let (regs, regs32) = (words(&[0x7ffc_0010, 0x7ffc_0000, 0x40_0123]), words(&[1, 2, 3]));
    let branches = words(&[0x40_0500, 0x40_0900, 0x1234, 0x40_0300, 0x40_0480, 0]);
    let later = words(&[mark(-512), 0x40_0111, 0x40_0222]);
    let sample = |event_type, mode, chain, user, branches: &'static [u8], call_stack| {
        StackRecord::Sample(Sample {
            event_type,
            period: 1_003_009,
            mode,
            ip: Some(Addr(0x40_1000)),
            addr: None,
            kind: None,
            chain,
            user,
            branches: Branches { bytes: branches, call_stack },
        })
    };
    let map = Mapping {
        pid: Pid(7),
        tid: Tid(7),
        addr: Addr(0x40_0000),
        len: 0x2000,
        pgoff: 0x1000,
        dev: (8, 1),
        ino: 99,
        build_id: None,
        exec: true,
        kernel: false,
        filename: b"/bin/me",
    };
    let symbol =
        KernelSymbol { addr: 0xffff_ffff_c000_0000, len: 0x40, gone: false, name: b"bpf_x" };
    let dwarf =
        UserMemory { bits32: false, mask: MASK, regs: &regs, stack: b"secret!!", asked: 16 };
    let full = UserMemory { bits32: true, mask: MASK, regs: &regs32, stack: b"8 bytes.", asked: 8 };
    let lbr = StackRecord::Sample(Sample {
        event_type: 1,
        period: 1_003_009,
        mode: Mode::User,
        ip: Some(Addr(0x40_1000)),
        addr: None,
        kind: None,
        chain: Chain::Words(&user),
        user: None,
        branches: Branches { bytes: &branches, call_stack: true },
    });
    let none = (Pid(-1), Tid(-1));
    let on = (Pid(7), Tid(7));
    let expected: Vec<(u64, (Pid, Tid), StackRecord<'_>)> = vec![
        (
            0,
            none,
            StackRecord::Mapping(Mapping {
                pid: Pid(-1),
                tid: Tid(0),
                addr: Addr(0xffff_ffff_8100_0000),
                len: 0x100_0000,
                pgoff: 0xffff_ffff_8100_0000,
                dev: (0, 0),
                ino: 0,
                kernel: true,
                filename: b"[kernel.kallsyms]_text",
                ..map
            }),
        ),
        (0, none, StackRecord::Mapping(map)),
        (
            91,
            on,
            StackRecord::Mapping(Mapping {
                addr: Addr(0x60_0000),
                len: 0x1000,
                pgoff: 0,
                dev: (0, 0),
                ino: 0,
                exec: false,
                filename: b"//anon",
                ..map
            }),
        ),
        (
            92,
            on,
            StackRecord::Mapping(Mapping {
                tid: Tid(8),
                addr: Addr(0x7f00_0000),
                len: 0x1000,
                pgoff: 0,
                dev: (0, 0),
                ino: 0,
                build_id: BuildId::from_hex("0a0b0c0d"),
                filename: b"/lib/x",
                ..map
            }),
        ),
        (93, on, StackRecord::KernelSymbol(symbol)),
        (94, on, StackRecord::KernelSymbol(KernelSymbol { gone: true, ..symbol })),
        (95, on, StackRecord::Fork(Fork { pid: Pid(7), ppid: Pid(1), tid: Tid(8), ptid: Tid(7) })),
        (
            96,
            on,
            StackRecord::Comm(CommRecord {
                pid: Pid(7),
                tid: Tid(7),
                exec: true,
                comm: Comm::new(b"me"),
            }),
        ),
        (100, on, sample(0, Mode::Kernel, Chain::Words(&whole), None, &[], false)),
        (101, on, sample(0, Mode::Kernel, Chain::Words(&kernel), Some(dwarf), &[], false)),
        (102, (Pid(7), Tid(8)), sample(0, Mode::Kernel, Chain::None, None, &[], false)),
        (103, (Pid(7), Tid(8)), sample(0, Mode::User, Chain::None, Some(full), &[], false)),
        (104, on, lbr),
        (105, on, sample(1, Mode::User, Chain::None, None, &[], true)),
        (106, on, sample(1, Mode::User, Chain::None, None, &[], true)),
        (107, on, sample(2, Mode::User, Chain::None, None, &[], false)),
        (108, on, StackRecord::Deferred(DeferredChain { cookie: 0x1_0000_0005, words: &later })),
        (109, on, StackRecord::Exit(Exit { pid: Pid(7), tid: Tid(8) })),
    ];
    for (seen, (time, task, what)) in seen.iter().zip(&expected) {
        assert_eq!((seen.time, (seen.pid, seen.tid)), (Nanos(*time), *task));
        assert_eq!(seen.what, *what, "at {time}");
        let cpu = if task.0.0 == -1 { Cpu::NONE } else { Cpu(1) };
        assert_eq!(seen.cpu, cpu, "at {time}");
    }
    assert_eq!(seen.len(), expected.len());
}

/// Files, streams and both orders of bytes hold the same.
#[test]
fn every_field_of_every_record() {
    for big in [false, true] {
        for bytes in [small(big).finish(), small(big).pipe()] {
            let unpacked = Unpacked::of(&bytes).unwrap();
            let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
            assert!(capture.has_stacks());
            let mut seen = Vec::new();
            let mut diagnostics = Diagnostics::default();
            capture
                .read_stacks(&mut diagnostics, &mut |events| seen.extend_from_slice(events))
                .unwrap();
            expect_small(&seen);
            assert_eq!(diagnostics.iter().count(), 0);
        }
    }
}

#[test]
fn registers_and_branches_one_by_one() {
    let bytes = small(false).finish();
    let mut memory = Vec::new();
    let mut branches = Vec::new();
    with_stacks(&bytes, |event| {
        if let StackRecord::Sample(sample) = &event.what {
            memory.extend(sample.user.map(|user| [5, 6, 7, 8, 64].map(|n| user.reg(n))));
            branches.extend(sample.branches.entries());
        }
    });
    assert_eq!(
        memory,
        [
            [None, Some(0x7ffc_0010), Some(0x7ffc_0000), Some(0x40_0123), None],
            [None, Some(1), Some(2), Some(3), None],
        ]
    );
    let branch = |from, to| Branch { from, to };
    assert_eq!(branches, [branch(0x40_0500, 0x40_0900), branch(0x40_0300, 0x40_0480)]);
}

#[test]
fn a_capture_without_stacks_says_so() {
    let bytes = Stacks::new(false, &[(1, 0, PLAIN, 0)]).finish();
    let unpacked = Unpacked::of(&bytes).unwrap();
    assert!(!Capture::open(&unpacked, &ReadOptions::default()).unwrap().has_stacks());
    // Branches that are not calls are no stack.
    let bytes = Stacks::new(false, &[(1, 0, PLAIN | 1 << 11, 1 << 3)]).finish();
    let unpacked = Unpacked::of(&bytes).unwrap();
    assert!(!Capture::open(&unpacked, &ReadOptions::default()).unwrap().has_stacks());
}

#[test]
fn samples_that_contradict_themselves_are_counted() {
    let mut s = Stacks::new(false, &[(1, 0, PLAIN | CALLCHAIN, 0)]);
    s.sample(0, 1, 7, 1, |b| b.u64(2).u64(5));
    s.sample(0, 1, 7, 2, |b| b.u64(u64::MAX).u64(5));
    s.sample(0, 1, 7, 3, |b| b.u64(1).u64(5));
    let mut times = Vec::new();
    let diagnostics = with_stacks(&s.finish(), |event| times.push(event.time.0));
    assert_eq!(times, [3]);
    assert_eq!(diagnostics.count(Problem::BadSample), 2);
}

fn listed(bytes: &[u8]) -> Vec<ListedModule> {
    let unpacked = Unpacked::of(bytes).unwrap();
    Capture::open(&unpacked, &ReadOptions::default()).unwrap().listed_modules()
}

#[test]
fn modules_that_perf_lists() {
    const SIZED: u16 = 1 << 15;
    let module = |path: &str, id: &str, kernel| ListedModule {
        path: path.to_owned(),
        build_id: BuildId::from_hex(id).unwrap(),
        kernel,
    };
    let long = "0102030405060708090a0b0c0d0e0f1011121314";
    for big in [false, true] {
        let rows = [
            Stacks::build_id(big, 1, &(1..=20).collect::<Vec<u8>>(), b"[kernel.kallsyms]"),
            Stacks::build_id(big, 2 | SIZED, &[0xab; 8], b"/lib/libc.so.6"),
            // An id that is longer than there is room for, and none at all.
            Stacks::build_id(big, 2 | SIZED, &[7; 21], b"/long"),
            Stacks::build_id(big, 2, &[0; 20], b"/none"),
        ];
        let expected = [
            module("[kernel.kallsyms]", long, true),
            module("/lib/libc.so.6", "abababababababab", false),
        ];
        let mut file = small(big);
        for row in &rows {
            file.build_ids.raw(&row.out);
        }
        assert_eq!(listed(&file.finish()), expected);
        // In a stream they are records.
        let mut pipe = small(big);
        for row in &rows {
            let misc = if big {
                u16::from_be_bytes([row.out[4], row.out[5]])
            } else {
                u16::from_le_bytes([row.out[4], row.out[5]])
            };
            let body = Bytes { big, out: row.out[8..].to_vec() };
            pipe.record(kind::HEADER_BUILD_ID, misc, &body);
        }
        assert_eq!(listed(&pipe.pipe()), expected);
    }
}

/// Call chain, registers and stack of each sample: (time, words, ip register, stack).
type Fact = (u64, Vec<u64>, Option<u64>, Vec<u8>);

fn ours(bytes: &[u8]) -> Vec<Fact> {
    let mut facts = Vec::new();
    with_stacks(bytes, |event| {
        if let StackRecord::Sample(sample) = &event.what {
            let chain = match sample.chain {
                Chain::Words(words) => words,
                Chain::None | Chain::Script(_) | Chain::Ftrace { .. } | Chain::Trace { .. } => &[],
            };
            let chain = chain.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w)).collect();
            let ip = sample.user.and_then(|user| user.reg(8));
            let stack = sample.user.map_or(Vec::new(), |user| user.stack.to_vec());
            facts.push((event.time.0, chain, ip, stack));
        }
    });
    facts
}

fn theirs(bytes: &[u8]) -> Vec<Fact> {
    let PerfFileReader { mut perf_file, mut record_iter } =
        PerfFileReader::parse_file(std::io::Cursor::new(bytes)).unwrap();
    let mut facts = Vec::new();
    while let Some(record) = record_iter.next_record(&mut perf_file).unwrap() {
        let PerfFileRecord::EventRecord { record, .. } = record else { continue };
        let Ok(EventRecord::Sample(sample)) = record.parse() else { continue };
        let chain = sample
            .callchain
            .map_or(Vec::new(), |chain| (0..chain.len()).filter_map(|n| chain.get(n)).collect());
        let ip = sample.user_regs.as_ref().and_then(|regs| regs.get(8));
        // It keeps a stack without registers; nothing can be unwound there.
        let stack = sample.user_stack.filter(|_| sample.user_regs.is_some());
        let stack = stack.map_or(Vec::new(), |(bytes, real)| {
            let bytes = bytes.as_slice();
            bytes[..bytes.len().min(real as usize)].to_vec()
        });
        facts.push((sample.timestamp.unwrap(), chain, ip, stack));
    }
    facts
}

fn compare(bytes: &[u8], name: &str) -> usize {
    let (mut ours, mut theirs) = (ours(bytes), theirs(bytes));
    ours.sort_unstable();
    theirs.sort_unstable();
    for (our, their) in ours.iter().zip(&theirs) {
        assert!(our == their, "{name}: {our:x?}, {their:x?}");
    }
    assert_eq!(ours.len(), theirs.len(), "{name}");
    ours.len()
}

/// Without HEADER_EVENT_DESC the other reader knows one attribute, so each has a file.
#[test]
fn as_another_reader_reads_them() {
    let kernel = [-128_i64 as u64, 0xffff_ffff_8100_0010];
    let mut s = Stacks::new(false, &[(1, 0, PLAIN | CALLCHAIN | USER | INTR, 0)]);
    s.sample(0, 1, 7, 101, |b| {
        b.u64(2).words(&kernel).u64(2).words(&[1, 2, 3]).u64(16).raw(b"0123456789abcdef");
        b.u64(8).u64(2).words(&[1, 2])
    });
    s.sample(0, 1, 8, 102, |b| b.u64(0).u64(0).u64(0).u64(0));
    s.sample(0, 2, 8, 103, |b| {
        b.u64(0).u64(1).words(&[4, 5, 6]).u64(8).raw(b"8 bytes.").u64(8).u64(0)
    });
    assert_eq!(compare(&s.finish(), "registers and stacks"), 3);
    let mut s =
        Stacks::new(false, &[(0, 0, PLAIN | CALLCHAIN | BRANCHES | USER, CALL_STACK | HW_INDEX)]);
    s.sample(0, 2, 7, 104, |b| {
        b.u64(2).words(&kernel).words(&[2, 31, 1, 2, 3, 4, 5, 6]);
        b.u64(2).words(&[7, 8, 9]).u64(8).raw(b"8 bytes.").u64(8)
    });
    assert_eq!(compare(&s.finish(), "branches"), 1);
    for path in captures() {
        let bytes = std::fs::read(&path).unwrap();
        if bytes.len() < 64 << 20 {
            assert!(compare(&bytes, &path.display().to_string()) > 0);
        }
    }
}

struct Own(bool);

impl Redactor for Own {
    fn comm(&mut self, _pid: Pid, _tid: Tid, _comm: &[u8]) -> Option<Vec<u8>> {
        Some(b"x".to_vec())
    }
    fn path(&mut self, _pid: Pid, path: &[u8]) -> Option<Vec<u8>> {
        (path == b"/lib/x").then(|| b"/other/1".to_vec())
    }
    fn keeps_stack(&mut self, pid: Pid, tid: Tid) -> bool {
        self.0 && (pid, tid) == (Pid(7), Tid(7))
    }
}

fn redacted(bytes: &[u8], keep: bool) -> Result<Vec<u8>, Error> {
    cut(&Unpacked::of(bytes)?, &|_| true, Some(&mut Own(keep)))
}

/// Chains stay; registers and stacks only where told; build ids with their paths.
#[test]
fn redaction_of_stacks() {
    let mut file = small(false);
    for (path, id) in [(&b"/bin/me"[..], 1), (b"/lib/x", 2), (b"[kernel.kallsyms]", 3)] {
        file.build_ids.raw(&Stacks::build_id(false, 2, &[id; 20], path).out);
    }
    let bytes = file.finish();
    for keep in [false, true] {
        let out = redacted(&bytes, keep).unwrap();
        let (before, after) = (ours(&bytes), ours(&out));
        let chains = |facts: &[Fact]| -> Vec<(u64, Vec<u64>)> {
            facts.iter().map(|f| (f.0, f.1.clone())).collect()
        };
        assert_eq!(chains(&before), chains(&after));
        let memory: Vec<(u64, Option<u64>, &[u8])> = after
            .iter()
            .filter(|f| f.2.is_some() || !f.3.is_empty())
            .map(|f| (f.0, f.2, f.3.as_slice()))
            .collect();
        let own = (101, Some(0x40_0123), &b"secret!!"[..]);
        assert_eq!(memory, if keep { vec![own] } else { vec![] });
        let found = |what: &[u8]| memchr::memmem::find(&out, what).is_some();
        assert_eq!([found(b"secret!!"), found(b"8 bytes.")], [keep, false]);
        // The id of a file whose name is replaced is in neither place.
        let modules: Vec<String> = listed(&out).into_iter().map(|m| m.path).collect();
        assert_eq!(modules, ["/bin/me", "[kernel.kallsyms]"]);
        assert!(!found(&[0xa, 0xb, 0xc, 0xd]));
        assert!(!found(b"bpf_x"));
        let mut deferred = 0;
        let diagnostics = with_stacks(&out, |event| {
            deferred += usize::from(matches!(event.what, StackRecord::Deferred(_)));
        });
        assert_eq!((deferred, diagnostics.iter().count()), (1, 0));
        // What was redacted once is left as it is.
        assert_eq!(redacted(&out, keep).unwrap(), out);
    }
}

/// Without redaction a cut holds what it was told to keep, as it was.
#[test]
fn a_cut_keeps_stacks() {
    let mut file = small(false);
    file.build_ids.raw(&Stacks::build_id(false, 2, &[9; 20], b"/bin/me").out);
    let bytes = file.finish();
    let out = cut(&Unpacked::of(&bytes).unwrap(), &|_| true, None).unwrap();
    let unpacked = Unpacked::of(&out).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let mut seen = Vec::new();
    capture
        .read_stacks(&mut Diagnostics::default(), &mut |events| seen.extend_from_slice(events))
        .unwrap();
    expect_small(&seen);
    assert_eq!(listed(&bytes), listed(&out));
}
