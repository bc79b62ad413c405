//! Stacks of a small program, laid out by hand, and why they end where they do.

use agenttrace_model::parse::stack::UserMemory;
use agenttrace_model::stacks::{Short, StackBuilder, Stacks, elf};

use crate::events::{all, bytes, frames, info, map, memory};
use crate::tiny::{self, BUILD_ID, Function, Machine, TEXT, With, cfa, function};

/// Where the program is mapped, and where its stack is.
const BASE: u64 = 0x5500_0000_0000;
const STACK: u64 = 0x7ffc_0000_0000;

/// What perf records of x86-64: ax, bx, bp, sp and ip, by their numbers.
const REGISTERS: u64 = 1 << 1 | 1 << 6 | 1 << 7 | 1 << 8;

/// The program's functions by their place.
const LEAF: u64 = TEXT;
const MIDDLE: u64 = TEXT + 0x100;
const START: u64 = TEXT + 0x200;

/// `_start` calls `middle`, which has a frame pointer and calls `leaf`.
fn program(with: With) -> Vec<u8> {
    let functions = [
        function(LEAF, cfa::SUB_24),
        function(MIDDLE, cfa::FRAME_POINTER),
        function(START, cfa::UNDEFINED),
    ];
    tiny::elf(&functions, with, &[MIDDLE + 0x20, START + 0x20])
}

struct State<'s> {
    ip: u64,
    bp: u64,
    bx: u64,
    stack: &'s [u64],
    asked: u32,
}

/// One sample of the program, with its file or without.
fn unwound(file: Option<&[u8]>, state: &State<'_>) -> Stacks {
    let regs = bytes(&[state.bx, state.bp, STACK, state.ip]);
    let stack = bytes(state.stack);
    let user = UserMemory {
        bits32: false,
        mask: REGISTERS,
        regs: &regs,
        stack: &stack,
        asked: state.asked,
    };
    let events = [map(1, 7, BASE + TEXT, 0x1000, TEXT, "/bin/program"), memory(2, 7, user)];
    let mut builder = StackBuilder::new(&info("x86_64"), Vec::new());
    builder.push(&events, &|_| true);
    builder.finish(&|_| file)
}

/// In `leaf`, behind its `sub`: 24 bytes of its own, then the return into `middle`, whose
/// frame pointer is at word 6.
const IN_LEAF: State<'static> = State {
    ip: BASE + LEAF + 8,
    bp: STACK + 48,
    bx: 0,
    stack: &[1, 2, 3, BASE + MIDDLE + 0x20, 5, 6, 0, BASE + START + 0x20, 9],
    asked: 8192,
};

const WHOLE: [&str; 3] = ["program+0x1008", "program+0x1120<", "program+0x1220<"];

#[test]
fn a_stack_down_to_the_first_function() {
    for with in [With::Everything, With::NoIndex, With::DebugFrame] {
        let stacks = unwound(Some(&program(with)), &IN_LEAF);
        assert_eq!(all(&stacks), WHOLE);
        assert_eq!(stacks.samples[0].short, None);
    }
}

/// At each instruction of the prologues, the same callers.
#[test]
fn inside_prologues() {
    let file = program(With::Everything);
    let before_sub =
        State { ip: BASE + LEAF + 2, stack: &IN_LEAF.stack[3..], bp: STACK + 24, ..IN_LEAF };
    let pushed = State {
        ip: BASE + MIDDLE + 1,
        bp: 0x77,
        stack: &[0x77, BASE + START + 0x20, 9],
        ..IN_LEAF
    };
    let entered =
        State { ip: BASE + MIDDLE, bp: 0x77, stack: &[BASE + START + 0x20, 9], ..IN_LEAF };
    assert_eq!(all(&unwound(Some(&file), &before_sub))[1..], WHOLE[1..]);
    assert_eq!(all(&unwound(Some(&file), &pushed))[1..], WHOLE[2..]);
    assert_eq!(all(&unwound(Some(&file), &entered))[1..], WHOLE[2..]);
}

/// The recorded piece ends between the two return addresses.
#[test]
fn a_stack_that_was_cut_off() {
    let file = program(With::Everything);
    let cut = State { stack: &IN_LEAF.stack[..6], asked: 48, ..IN_LEAF };
    let stacks = unwound(Some(&file), &cut);
    assert_eq!(all(&stacks), WHOLE[..2]);
    assert_eq!(stacks.samples[0].short, Some(Short::StackEnds));
    // All that there was, says the recorder: then what points behind it is wrong.
    let damaged = unwound(Some(&file), &State { asked: 8192, ..cut });
    assert_eq!(damaged.samples[0].short, Some(Short::Damaged));
}

/// Registers without a stack: where it was, and no more. A chain's user part tells more.
#[test]
fn registers_alone() {
    let file = program(With::Everything);
    let stacks = unwound(Some(&file), &State { stack: &[], ..IN_LEAF });
    assert_eq!(all(&stacks), WHOLE[..1]);
    assert_eq!(stacks.samples[0].short, Some(Short::StackEnds));
}

#[test]
fn without_a_file_frame_pointers_are_followed_as_far_as_they_lead() {
    // `leaf` has none of its own: `middle`'s leads to `_start`.
    let stacks = unwound(None, &IN_LEAF);
    assert_eq!(all(&stacks), ["program+0x1008", "program+0x1220<"]);
    // 0 there: the outermost frame.
    assert_eq!(stacks.samples[0].short, None);
    let used_otherwise = State { bp: 0x1234, ..IN_LEAF };
    let stacks = unwound(None, &used_otherwise);
    assert_eq!(all(&stacks), WHOLE[..1]);
    assert_eq!(stacks.samples[0].short, Some(Short::NoFile));
}

/// Where a file has no tables, a frame pointer is believed only if it leads to a call.
#[test]
fn what_no_call_precedes_is_no_caller() {
    let no_calls = tiny::elf(&[], With::Nothing, &[]);
    let stacks = unwound(Some(&no_calls), &IN_LEAF);
    assert_eq!(all(&stacks), WHOLE[..1]);
    assert_eq!(stacks.samples[0].short, Some(Short::NoUnwindInfo));
    let calls = tiny::elf(&[], With::Nothing, &[START + 0x20]);
    let stacks = unwound(Some(&calls), &IN_LEAF);
    assert_eq!(all(&stacks), ["program+0x1008", "program+0x1220<"]);
}

/// The innermost code is covered by no table (a stub of the linker): its return address is
/// on top of the stack.
#[test]
fn a_stub_without_a_table() {
    let file = program(With::Everything);
    let stub =
        State { ip: BASE + TEXT + 0x800, stack: &IN_LEAF.stack[3..], bp: STACK + 24, ..IN_LEAF };
    let stacks = unwound(Some(&file), &stub);
    assert_eq!(all(&stacks), ["program+0x1800", WHOLE[1], WHOLE[2]]);
    assert_eq!(stacks.samples[0].short, None);
}

#[test]
fn a_return_to_nowhere() {
    let file = program(With::Everything);
    let words = [1, 2, 3, 0xdead_0000, 5];
    let stacks = unwound(Some(&file), &State { stack: &words, ..IN_LEAF });
    assert_eq!(all(&stacks), ["program+0x1008", "-+0xdead0000<"]);
    assert_eq!(stacks.samples[0].short, Some(Short::NoModule));
}

/// `leaf`'s frame points at itself: the table gives the same frame again and again.
#[test]
fn a_stack_that_does_not_grow() {
    // `middle` called by itself, its frame pointer below.
    let file = program(With::Everything);
    let words = [STACK, BASE + MIDDLE + 0x20, 5];
    let stacks = unwound(
        Some(&file),
        &State { ip: BASE + MIDDLE + 0x30, bp: STACK, stack: &words, ..IN_LEAF },
    );
    assert_eq!(all(&stacks), ["program+0x1130", "program+0x1120<"]);
    assert_eq!(stacks.samples[0].short, Some(Short::Damaged));
}

/// 8 KB of the same return address: 1,024 frames, and then the stack ends.
#[test]
fn deep_recursion_and_its_bound() {
    let file = tiny::elf(&[function(LEAF, &[])], With::Everything, &[]);
    let deep = |words: usize| {
        let stack = vec![BASE + LEAF + 0x20; words];
        let asked = u32::try_from(words * 8).expect("small");
        let stacks = unwound(Some(&file), &State { stack: &stack, asked, ..IN_LEAF });
        let sample = stacks.samples[0];
        (frames(&stacks, &sample).len(), sample.short)
    };
    assert_eq!(deep(1024), (1025, Some(Short::StackEnds)));
    assert_eq!(deep(8000), (2048, Some(Short::TooDeep)));
}

/// A function that aligned its stack anew: where its frame begins is told by memory.
#[test]
fn a_realigned_stack() {
    let functions = [function(LEAF, cfa::REALIGNED), function(START, cfa::UNDEFINED)];
    let file = tiny::elf(&functions, With::Everything, &[]);
    // rbp at word 3, the CFA is stored at word 2: STACK + 48, with the return below it.
    let words = [1, 2, STACK + 48, 4, 5, BASE + START + 0x20, 7];
    let stacks = unwound(Some(&file), &State { bp: STACK + 24, stack: &words, ..IN_LEAF });
    assert_eq!(all(&stacks), [WHOLE[0], WHOLE[2]]);
    assert_eq!(stacks.samples[0].short, None);
}

/// A caller that keeps its frame in rbx, which the callee saved: as a lazy binding's
/// resolver does.
#[test]
fn a_frame_in_another_register() {
    let functions = [
        function(LEAF, cfa::SAVES_RBX),
        function(MIDDLE, cfa::BY_RBX),
        function(START, cfa::UNDEFINED),
    ];
    let file = tiny::elf(&functions, With::Everything, &[]);
    let words = [STACK + 32, BASE + MIDDLE + 0x20, 3, 4, 5, BASE + START + 0x20, 7];
    let stacks = unwound(Some(&file), &State { bx: 0x66, stack: &words, ..IN_LEAF });
    assert_eq!(all(&stacks), WHOLE);
    assert_eq!(stacks.samples[0].short, None);
}

/// The kernel put a context on the stack; the code that it interrupted is exact: it is the
/// first instruction of `middle`, not what follows a call.
#[test]
fn through_a_signal() {
    let signal = Function { signal: true, ..function(LEAF, cfa::SIGNAL) };
    let functions = [signal, function(MIDDLE, cfa::FRAME_POINTER), function(START, cfa::UNDEFINED)];
    let file = tiny::elf(&functions, With::Everything, &[]);
    let mut words = [0; 30];
    words[160 / 8] = STACK + 224;
    words[168 / 8] = BASE + MIDDLE;
    words[28] = BASE + START + 0x20;
    let stacks = unwound(Some(&file), &State { stack: &words, ..IN_LEAF });
    assert_eq!(all(&stacks), ["program+0x1008", "program+0x1100", "program+0x1220<"]);
    assert_eq!(stacks.samples[0].short, None);
}

/// What made framehop loop or overflow: an expression that jumps to itself, a CFA of 0, and
/// offsets whose sum does not fit 64 bits.
#[test]
fn tables_that_lie() {
    for lie in [cfa::ENDLESS, cfa::NOTHING, cfa::FAR] {
        for with in [With::Everything, With::NoIndex, With::DebugFrame] {
            let file = tiny::elf(&[function(LEAF, lie)], with, &[]);
            let stacks = unwound(Some(&file), &State { bp: 0, ..IN_LEAF });
            assert_eq!(frames(&stacks, &stacks.samples[0])[0], WHOLE[0]);
        }
    }
}

/// A count of rows, or a pointer, that the index does not have: the tables are read without
/// it.
#[test]
fn an_index_that_lies() {
    let file = program(With::Everything);
    for (at, byte) in [(0x3008, 0xff), (0x300b, 0x7f), (0x3004, 0x55), (0x3007, 0x80)] {
        let mut file = file.clone();
        file[at] = byte;
        assert_eq!(all(&unwound(Some(&file), &IN_LEAF)), WHOLE);
    }
}

/// perf's numbers on arm64: x29 is 29, lr 30, sp 31, pc 32. The innermost function has not
/// saved its link register, whose upper bits sign it; its caller has.
#[test]
fn a_stack_of_arm64() {
    let functions = [
        function(LEAF, &[]),
        function(MIDDLE, cfa::ARM_FRAME),
        function(START, cfa::ARM_UNDEFINED),
    ];
    for with in [With::Everything, With::NoIndex] {
        let file = tiny::elf_for(Machine::Aarch64, &functions, with, &[]);
        let signed = 0x00ab_0000_0000_0000 | (BASE + MIDDLE + 0x20);
        let regs = bytes(&[STACK + 64, signed, STACK, BASE + LEAF + 8]);
        let stack = bytes(&[STACK + 64, 0x00cd_0000_0000_0000 | (BASE + START + 0x20), 3, 4, 5]);
        let user = UserMemory {
            bits32: false,
            mask: 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32,
            regs: &regs,
            stack: &stack,
            asked: 8192,
        };
        let events = [map(1, 7, BASE + TEXT, 0x1000, TEXT, "/bin/program"), memory(2, 7, user)];
        let mut builder = StackBuilder::new(&info("aarch64"), Vec::new());
        builder.push(&events, &|_| true);
        let stacks = builder.finish(&|_| Some(file.as_slice()));
        assert_eq!(all(&stacks), WHOLE);
        assert_eq!(stacks.samples[0].short, None);
    }
}

/// The same at every number of threads, and whatever they have found before.
#[test]
fn the_number_of_threads_changes_nothing() {
    let functions = [
        function(LEAF, cfa::SUB_24),
        function(MIDDLE, cfa::FRAME_POINTER),
        function(START, cfa::UNDEFINED),
        function(TEXT + 0x300, cfa::REALIGNED),
        function(TEXT + 0x400, cfa::NOTHING),
    ];
    let file = tiny::elf(&functions, With::Everything, &[]);
    let mut seed = 1_u64;
    let samples: Vec<(Vec<u8>, Vec<u8>)> = (0..400)
        .map(|_| {
            let mut random = |limit: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) % limit
            };
            let code = |at: u64| BASE + TEXT + at;
            let regs = [0, STACK + 8 * random(16), STACK, code(random(0x500))];
            let words: Vec<u64> = (0..32)
                .map(|_| match random(2) {
                    0 => code(random(0x500)),
                    _ => STACK + 8 * random(32),
                })
                .collect();
            (bytes(&regs), bytes(&words))
        })
        .collect();
    let unwound = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let mut builder = StackBuilder::new(&info("x86_64"), Vec::new());
        builder.push(&[map(1, 7, BASE + TEXT, 0x1000, TEXT, "/bin/program")], &|_| true);
        for (regs, stack) in &samples {
            let user = UserMemory { bits32: false, mask: REGISTERS, regs, stack, asked: 256 };
            builder.push(&[memory(2, 7, user)], &|_| true);
        }
        pool.install(|| builder.finish(&|_| Some(file.as_slice())))
    };
    let alone = unwound(1);
    assert!(alone.chains.len() > 400, "the stacks are too much alike: {}", alone.chains.len());
    assert_eq!(unwound(2), alone);
    assert_eq!(unwound(7), alone);
}

#[test]
fn code_of_32_bits_has_its_place_alone() {
    let regs = bytes(&[0, 0, STACK, BASE + LEAF]);
    let user =
        UserMemory { bits32: true, mask: REGISTERS, regs: &regs, stack: &[0; 64], asked: 64 };
    let events = [map(1, 7, BASE + TEXT, 0x1000, TEXT, "/bin/program"), memory(2, 7, user)];
    let mut builder = StackBuilder::new(&info("x86_64"), Vec::new());
    builder.push(&events, &|_| true);
    let stacks = builder.finish(&|_| None);
    assert_eq!(all(&stacks), ["program+0x1000"]);
    assert_eq!(stacks.samples[0].short, Some(Short::NoUnwindInfo));
}

#[test]
fn what_a_file_says_of_itself() {
    let file = program(With::Everything);
    let id = elf::build_id(&file).map(|id| id.as_bytes().to_vec());
    assert_eq!(id, Some(BUILD_ID.to_vec()));
    let parsed = elf::ElfFile::parse(&file).expect("an ELF file");
    assert!(!parsed.has_symbols && !parsed.has_debug_info);
    assert_eq!(parsed.address_at(0x1008), Some(0x1008));
    assert_eq!(parsed.address_at(0x4000), None);
    assert_eq!(elf::build_id(b"\x7fELF"), None);
    assert_eq!(elf::build_id(&file[..0x100]), None);
}
