//! What lies at an address of a process, over time.

use agenttrace_model::parse::stack::ListedModule;
use agenttrace_model::parse::{BuildId, Pid};
use agenttrace_model::stacks::ModuleKind;

use crate::events::{USER, all, build, build_with, bytes, chain, comm, exit, fork, map, map_data};

/// The kernel writes the name first, then the new mappings (`perf script
/// --show-mmap-events --show-task-events` of a capture of Linux 6.18 shows it so).
#[test]
fn an_exec_takes_all_mappings_away() {
    let at = bytes(&[USER, 0x1010, 0x5010]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        map(2, 7, 0x5000, 0x1000, 0, "/lib/old.so"),
        comm(3, 7, 7, "git", true),
        map(4, 7, 0x1000, 0x1000, 0x2000, "/bin/git"),
        chain(5, 7, 7, &at),
    ]);
    assert_eq!(all(&stacks), ["git+0x2010", "-+0x5010<"]);
}

/// Between the record of an exec and the first instruction of the new program, the kernel
/// still has where the old one called `execve`. That is no reason to find callers there,
/// nor to look further back.
#[test]
fn an_exec_that_is_not_done() {
    let at = bytes(&[crate::events::KERNEL, 0xffff_ffff_8100_0010, USER, 0x5010, 0x5020]);
    let stacks = build(&[
        map(1, 7, 0x5000, 0x1000, 0, "/lib/old.so"),
        comm(3, 7, 7, "git", true),
        chain(4, 7, 7, &at),
        comm(5, 7, 7, "ssh", true),
        chain(6, 7, 7, &at),
    ]);
    let kernel = "[kernel.kallsyms]+0xffffffff81000010";
    assert_eq!(
        all(&stacks),
        [[kernel, "old.so+0x10", "-+0x5020<"], [kernel, "-+0x5010", "-+0x5020<"]].concat()
    );
}

#[test]
fn mappings_of_the_same_moment_belong_to_the_new_image() {
    let at = bytes(&[USER, 0x1010]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        map(3, 7, 0x1000, 0x1000, 0x2000, "/bin/git"),
        comm(3, 7, 7, "git", true),
        chain(5, 7, 7, &at),
    ]);
    assert_eq!(all(&stacks), ["git+0x2010"]);
}

/// A name that a task gives itself is no exec.
#[test]
fn another_name_changes_no_mapping() {
    let at = bytes(&[USER, 0x1010]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        comm(3, 7, 7, "worker", false),
        chain(5, 7, 7, &at),
    ]);
    assert_eq!(all(&stacks), ["sh+0x10"]);
}

#[test]
fn a_child_has_what_its_parent_had_and_not_what_it_maps_later() {
    let at = bytes(&[USER, 0x1010, 0x5010]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        fork(2, (8, 8), (7, 7)),
        map(3, 7, 0x5000, 0x1000, 0, "/lib/late.so"),
        chain(4, 8, 8, &at),
        chain(5, 7, 7, &at),
        // The child's own: not seen by the parent.
        map(6, 8, 0x5000, 0x1000, 0, "/lib/own.so"),
        chain(7, 8, 8, &at),
        chain(8, 7, 7, &at),
    ]);
    assert_eq!(
        all(&stacks),
        [
            ["sh+0x10", "-+0x5010<"],
            ["sh+0x10", "late.so+0x10<"],
            ["sh+0x10", "own.so+0x10<"],
            ["sh+0x10", "late.so+0x10<"],
        ]
        .concat()
    );
}

#[test]
fn threads_share() {
    let at = bytes(&[USER, 0x5010]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        fork(2, (7, 9), (7, 7)),
        map(3, 7, 0x5000, 0x1000, 0, "/lib/late.so"),
        chain(4, 7, 9, &at),
    ]);
    assert_eq!(all(&stacks), ["late.so+0x10"]);
}

/// One page in the middle is replaced: offsets on its right still count from the start.
#[test]
fn a_later_mapping_splits_what_it_lies_in() {
    let ends = bytes(&[USER, 0x1fff, 0x3001, 0x2000, 0x2fff]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x4000, 0x10000, "/lib/a.so"),
        map(2, 7, 0x2000, 0x1000, 0, "/lib/b.so"),
        chain(3, 7, 7, &ends),
    ]);
    // 0x2000 as a return address: the call before it ends in a.so.
    assert_eq!(all(&stacks), ["a.so+0x10fff", "a.so+0x12001<", "a.so+0x11000<", "b.so+0xfff<"]);
}

/// Data that is mapped over code is no code any more; data beside it changes nothing.
#[test]
fn data_takes_the_place_of_code() {
    let at = bytes(&[USER, 0x1010, 0x2010, 0x3010]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x3000, 0, "/lib/a.so"),
        map_data(2, 7, 0x2000, 0x1000, "//anon"),
        map_data(3, 7, 0x4000, 0x1000, "//anon"),
        chain(4, 7, 7, &at),
    ]);
    assert_eq!(all(&stacks), ["a.so+0x10", "-+0x2010<", "a.so+0x2010<"]);
}

/// Records at time 0 say what was there: a fork among them is no copy of the parent, which
/// may have executed another program since.
#[test]
fn before_the_capture_a_process_has_its_own_mappings_alone() {
    let at = bytes(&[USER, 0x1010, 0x5010]);
    let stacks = build(&[
        comm(0, 7, 7, "sh", true),
        map(0, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        fork(0, (8, 8), (7, 7)),
        map(0, 8, 0x5000, 0x1000, 0, "/bin/git"),
        chain(5, 8, 8, &at),
        chain(6, 7, 7, &at),
    ]);
    assert_eq!(all(&stacks), ["-+0x1010", "git+0x10<", "sh+0x10", "-+0x5010<"]);
}

/// Samples come until after the exit (the last switch); an id that comes again has nothing
/// of who had it before, where its parent is not known.
#[test]
fn ids_come_again() {
    let at = bytes(&[USER, 0x1010]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        exit(2, 7, 7),
        chain(3, 7, 7, &at),
        fork(4, (7, 7), (5, 5)),
        chain(5, 7, 7, &at),
    ]);
    assert_eq!(all(&stacks), ["sh+0x10", "-+0x1010"]);
}

/// perf writes -1 as the process of a task that has exited.
#[test]
fn the_process_of_a_task_is_remembered() {
    let at = bytes(&[USER, 0x1010]);
    let stacks = build(&[
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        fork(2, (7, 9), (7, 7)),
        chain(3, -1, 9, &at),
    ]);
    assert_eq!(all(&stacks), ["sh+0x10"]);
    assert_eq!(stacks.samples[0].pid, Pid(7));
}

/// Hundreds of mappings, in an order that is not theirs, over and over: as a plain list of
/// pages has it.
#[test]
fn many_mappings_over_each_other() {
    let mut plain = [None; 512];
    let mut events = Vec::new();
    let paths: Vec<String> = (0..8).map(|n| format!("/lib/{n}.so")).collect();
    let mut seed = 1_u64;
    for time in 1..2000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = |shift: u32, limit: u64| (seed >> shift) % limit;
        let (page, file) = (random(20, 500), random(50, 9));
        let len = 1 + random(33, 12);
        let path = paths.get(file as usize);
        for (at, slot) in plain.iter_mut().enumerate().skip(page as usize).take(len as usize) {
            *slot = path.map(|path| (path.as_str(), (at as u64 - page) * 0x1000));
        }
        let (addr, len) = (0x10_0000 + page * 0x1000, len * 0x1000);
        events.push(match path {
            Some(path) => map(time, 7, addr, len, 0, path),
            None => map_data(time, 7, addr, len, "//anon"),
        });
    }
    let words: Vec<u64> = (0..512).map(|page| 0x10_0004 + page * 0x1000).collect();
    let words = bytes(&[&[USER], words.as_slice()].concat());
    events.push(chain(3000, 7, 7, &words));
    let found = all(&build(&events));
    let expected = plain.iter().enumerate().map(|(at, slot)| {
        let caller = if at > 0 { "<" } else { "" };
        match slot {
            Some((path, offset)) => format!("{}+{:#x}{caller}", &path[5..], offset + 4),
            None => format!("-+{:#x}{caller}", 0x10_0004 + at * 0x1000),
        }
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert!(plain.iter().flatten().count() > 100, "too little is mapped to show anything");
}

#[test]
fn kinds_of_modules() {
    let names = [
        ("/bin/sh", ModuleKind::File, "/bin/sh"),
        ("/lib/a.so (deleted)", ModuleKind::Deleted, "/lib/a.so"),
        ("[vdso]", ModuleKind::Vdso, "[vdso]"),
        ("//anon", ModuleKind::Jit, "//anon"),
        ("[heap]", ModuleKind::Jit, "[heap]"),
        ("/memfd:jit (deleted)", ModuleKind::Jit, "/memfd:jit"),
        ("/dev/zero (deleted)", ModuleKind::Jit, "/dev/zero"),
        // Near misses.
        ("/dev/zeros/lib.so", ModuleKind::File, "/dev/zeros/lib.so"),
        ("/srv/memfd:x", ModuleKind::File, "/srv/memfd:x"),
    ];
    let mut events = Vec::new();
    for (number, (path, _, _)) in names.iter().enumerate() {
        events.push(map(1, 7, 0x1000 * (number as u64 + 1), 0x1000, 0, path));
    }
    let at = bytes(&[USER, 0x2010, 0x4010]);
    events.push(chain(2, 7, 7, &at));
    let stacks = build(&events);
    let found: Vec<_> = stacks.modules.iter().map(|m| (m.kind, m.path.as_str())).collect();
    let expected: Vec<_> = names.iter().map(|(_, kind, path)| (*kind, *path)).collect();
    assert_eq!(found, expected);
    // Code that a program made has no offset: its address is what perf maps tell.
    assert_eq!(all(&stacks), ["a.so+0x10", "anon+0x4010<"]);
    assert_eq!(stacks.modules[3].pid, Some(Pid(7)));
}

#[test]
fn build_ids_by_the_list_of_the_recorder() {
    let id = |text| BuildId::from_hex(text).expect("a build id");
    let listed = |path: &str, text, kernel| ListedModule {
        path: path.to_owned(),
        build_id: id(text),
        kernel,
    };
    let at = bytes(&[crate::events::KERNEL, 0xffff_ffff_8100_0010, 0xffff_ffff_c000_0010]);
    let stacks = build_with(
        &[
            map(
                0,
                -1,
                0xffff_ffff_8100_0000,
                0x1000,
                0xffff_ffff_8100_0000,
                "[kernel.kallsyms]_text",
            ),
            map(
                0,
                -1,
                0xffff_ffff_c000_0000,
                0x1000,
                0,
                "/lib/modules/6.1/kernel/net/nf-nat.ko.xz",
            ),
            map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
            map(1, 7, 0x2000, 0x1000, 0, "/bin/other"),
            chain(2, 7, 7, &at),
        ],
        vec![
            listed("[kernel.kallsyms]", "0a0a", true),
            listed("[nf_nat]", "0b0b", true),
            listed("/bin/sh", "0c0c", false),
        ],
    );
    let found: Vec<_> = stacks.modules.iter().map(|m| (m.kind, m.build_id, m.start)).collect();
    assert_eq!(
        found,
        [
            (ModuleKind::Kernel, Some(id("0a0a")), 0),
            (ModuleKind::KernelModule, Some(id("0b0b")), 0xffff_ffff_c000_0000),
            (ModuleKind::File, Some(id("0c0c")), 0),
            (ModuleKind::File, None, 0),
        ]
    );
    assert_eq!(
        all(&stacks),
        ["[kernel.kallsyms]+0xffffffff81000010", "nf-nat.ko.xz+0xffffffffc0000010<"]
    );
}
