//! Any bytes as registers, stack and ELF file: unwound, on both machines.

use agenttrace_model::parse::stack::{
    Branches, Chain, Mapping, Mode, Sample, StackEvent, StackRecord, UserMemory,
};
use agenttrace_model::parse::{Addr, CaptureInfo, Cpu, Nanos, Pid, Tid};
use agenttrace_model::stacks::StackBuilder;
use agenttrace_model::stacks::elf::ElfFile;

/// Where the file is mapped.
pub(crate) const CODE: u64 = 0x5500_0000_0000;

/// Bytes before the stack: what is asked for, and six registers.
pub(crate) const HEAD: usize = 2 + 6 * 8;

/// The first byte chooses the machine, the second the size of the stack in 16 bytes; then
/// come values for six registers, the stack, and the file.
///
/// # Panics
/// Where a frame is given that no chain can have.
pub(crate) fn unwind(data: &[u8]) {
    let Some((head, rest)) = data.split_at_checked(HEAD) else { return };
    let arm = head[0] & 1 == 1;
    let (stack, file) = rest.split_at(rest.len().min(usize::from(head[1]) * 16));
    // ax, bx, bp, sp, ip, r8; x0, x1, x29, x30, sp, pc.
    let mask: u64 =
        if arm { 0b11 | 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32 } else { 0b1_0000_0001_1100_0011 };
    let user = UserMemory {
        bits32: head[0] & 2 == 2,
        mask,
        regs: &head[2..],
        stack,
        asked: if head[0] & 4 == 4 { u32::MAX } else { 0 },
    };
    let event = |time, what| StackEvent {
        record: time,
        time: Nanos(time),
        cpu: Cpu(0),
        pid: Pid(7),
        tid: Tid(7),
        what,
    };
    let mapping = Mapping {
        pid: Pid(7),
        tid: Tid(7),
        addr: Addr(CODE),
        len: 0x10_0000,
        pgoff: 0,
        dev: (0, 0),
        ino: 0,
        build_id: None,
        exec: true,
        kernel: false,
        filename: b"/bin/program",
    };
    let sample = Sample {
        event_type: 0,
        period: 1,
        mode: Mode::User,
        ip: None,
        addr: None,
        kind: None,
        chain: Chain::None,
        user: Some(user),
        branches: Branches::default(),
    };
    let arch = if arm { "aarch64" } else { "x86_64" };
    let info = CaptureInfo { arch: Some(arch.to_owned()), ..CaptureInfo::default() };
    let mut builder = StackBuilder::new(&info, Vec::new());
    let sample = event(2, StackRecord::Sample(sample));
    builder.push(&[event(1, StackRecord::Mapping(mapping)), sample, sample], &|_| true);
    let stacks = builder.finish(&|_| Some(file));
    // The second sample finds what the first has left in caches, and must not differ.
    let [one, two] = stacks.samples.as_slice() else { panic!("two samples") };
    assert_eq!((one.chain, one.short), (two.chain, two.short));
    assert!(stacks.frames_of(one.chain).count() <= 2048, "more frames than the bound");
    std::hint::black_box(ElfFile::parse(file));
}
