//! Names of frames from files that were carried along: which files are believed, what they
//! are called, and what is said of those that are missing.
//!
//! The captures are made here, byte by byte: one program of a few functions
//! (`fixtures/workload/symbols`, whose symbols `nm` and `addr2line` tell), a kernel, and
//! code made at run time.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{Answer, root, run};

/// The build id of the program, as `readelf -n` prints it.
const BUILD: &str = "b4b15e2d94aa55327bed65af3c85df44ae6822c4";

/// Where the kernel of the capture begins.
const TEXT: u64 = 0xffff_ffff_8100_0000;

/// `PERF_CONTEXT_KERNEL` and `PERF_CONTEXT_USER`.
const KERNEL: u64 = -128_i64 as u64;
const USER: u64 = -512_i64 as u64;

/// In weigh(), inlined into pack(), inlined into take() (lines 9, 15 and 20), called by
/// serve() and _start().
const WEIGH: [u64; 4] = [USER, 0x40_0188, 0x40_014a, 0x40_015a];
/// In the function with a name of Rust's, called by _start().
const RUST: [u64; 3] = [USER, 0x40_010f, 0x40_0167];
/// In the function whose name a test replaces.
const HOSTILE: [u64; 3] = [USER, 0x40_0118, 0x40_0174];
/// In code made at run time, called by serve().
const JIT: [u64; 3] = [USER, 0x7f00_0000_1010, 0x40_014a];
/// In the kernel, called by _start().
const READ: [u64; 5] = [KERNEL, TEXT + 0x110, TEXT + 0x2010, USER, 0x40_015a];

// ---- a perf.data, byte by byte ----------------------------------------------------

/// A capture of one task, `shop`, process 71.
struct Recording {
    records: Vec<u8>,
    time: u64,
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn halves(halves: &[u32]) -> Vec<u8> {
    halves.iter().flat_map(|half| half.to_le_bytes()).collect()
}

fn padded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize((text.len() + 1).next_multiple_of(8), 0);
    bytes
}

impl Recording {
    fn new() -> Self {
        let mut new = Self { records: Vec::new(), time: 1000 };
        // [kernel.kallsyms]_text: from there on, with the symbol's address as offset.
        let kernel = [words(&[TEXT, 0x100_0000, TEXT]), padded("[kernel.kallsyms]_text")];
        new.record(1, 1, &[halves(&[u32::MAX, 0]), kernel.concat()].concat());
        new.record(3, 0, &[halves(&[71, 71]), padded("shop")].concat());
        new
    }

    fn record(&mut self, kind: u32, misc: u16, body: &[u8]) {
        self.time += 10;
        let trailer = [halves(&[71, 71]), words(&[self.time]), halves(&[0, 0])].concat();
        self.whole(kind, misc, &[body, &trailer].concat());
    }

    fn whole(&mut self, kind: u32, misc: u16, body: &[u8]) {
        let size = u16::try_from(body.len() + 8).expect("a small record");
        self.records.extend(kind.to_le_bytes());
        self.records.extend(misc.to_le_bytes());
        self.records.extend(size.to_le_bytes());
        self.records.extend(body);
    }

    /// `PERF_RECORD_MMAP2`, with a build id or with device and inode.
    fn mapping(&mut self, address: u64, len: u64, path: &str, build: Option<&str>) {
        self.mapped(2, &[71, 71], [address, len], path, build);
    }

    fn mapped(
        &mut self,
        mode: u16,
        ids: &[u32; 2],
        [address, len]: [u64; 2],
        path: &str,
        build: Option<&str>,
    ) {
        let (misc, file) = match build {
            None => (mode, [halves(&[8, 1]), words(&[77, 0])].concat()),
            Some(hex) => {
                let id = digits(hex);
                let mut file = vec![u8::try_from(id.len()).expect("20"), 0, 0, 0];
                file.extend(id);
                file.resize(24, 0);
                (mode | 1 << 14, file)
            }
        };
        let place = [halves(ids), words(&[address, len, 0])].concat();
        let rest = [halves(&[5, 2]), padded(path)].concat();
        self.record(10, misc, &[place, file, rest].concat());
    }

    fn program(&mut self, path: &str, build: Option<&str>) {
        self.mapping(0x40_0000, 0x2000, path, build);
    }

    /// A sample of `cpu-clock` with this call chain.
    fn sample(&mut self, chain: &[u64]) {
        self.time += 10;
        let head = [words(&[chain[1]]), halves(&[71, 71]), words(&[self.time])].concat();
        let rest = [halves(&[0, 0]), words(&[1, chain.len() as u64]), words(chain)].concat();
        self.whole(9, if chain[0] == KERNEL { 1 } else { 2 }, &[head, rest].concat());
    }

    fn write(&self, to: &Path) {
        // struct perf_event_attr of 112 bytes: type, size, config, period, what samples
        // hold (ip, tid, time, callchain, cpu, period), how counts are read, flags (mmap,
        // comm, sample_id_all, mmap2).
        let flags = 1 << 8 | 1 << 9 | 1 << 18 | 1 << 23;
        let mut attr = [halves(&[1, 112]), words(&[0, 1, 0x1a7, 0, flags])].concat();
        attr.resize(112 + 16, 0);
        let attrs_at = 104_u64;
        let data_at = attrs_at + attr.len() as u64;
        let size = self.records.len() as u64;
        let mut file = b"PERFILE2".to_vec();
        file.extend(words(&[104, 128, attrs_at, 128, data_at, size, 0, 0]));
        // Features: HOSTNAME (3), ARCH (6), after the data, a table of their places first.
        file.extend(words(&[1 << 3 | 1 << 6, 0, 0, 0]));
        file.extend(&attr);
        file.extend(&self.records);
        let text = |text: &str| [halves(&[16]), format!("{text:\0<16}").into_bytes()].concat();
        let features = [text("another-machine"), text("x86_64")];
        let mut at = file.len() as u64 + 32;
        for feature in &features {
            file.extend(words(&[at, feature.len() as u64]));
            at += feature.len() as u64;
        }
        file.extend(features.concat());
        fs::write(to, file).expect("the capture is written");
    }
}

// ---- what is carried along ----------------------------------------------------------

fn program(name: &str) -> Vec<u8> {
    let path = root().join("fixtures/workload/symbols").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Replaces bytes by as many others; there must be some.
fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> =
        (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!places.is_empty(), "nothing to replace");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

fn digits(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits");
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// The program as another build of it.
fn other_build(name: &str) -> Vec<u8> {
    replaced(program(name), &digits(BUILD), &[0x11; 20])
}

/// A folder with a capture, and nothing of this machine's to be found: an empty build-id
/// cache is given to every run.
struct Case {
    folder: TempDir,
}

impl Case {
    /// A capture of the program at `/opt/shop`, with these stacks.
    fn new(build: Option<&str>, chains: &[&[u64]]) -> Self {
        let mut recording = Recording::new();
        recording.program("/opt/shop", build);
        Self::of(recording, chains)
    }

    fn of(mut recording: Recording, chains: &[&[u64]]) -> Self {
        chains.iter().for_each(|chain| recording.sample(chain));
        let case = Self { folder: TempDir::new().expect("a folder") };
        recording.write(&case.folder.path().join("perf.data"));
        fs::create_dir(case.folder.path().join("cache")).expect("a folder");
        case
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("the file is written");
    }

    fn run(&self, command: &[&str], more: &[&str]) -> Answer {
        let arguments = [command, &["perf.data", "--debug-dir", "cache"], more].concat();
        run(self.folder.path(), &arguments)
    }

    /// Folded stacks without the task's name and the counts, and what is said.
    fn folded(&self, more: &[&str]) -> (String, String) {
        let answer =
            self.run(&["flamegraph", "--whole-capture", "--kind", "cpu", "--folded"], more);
        assert_eq!(answer.code, 0, "{}", answer.err);
        let stack = |line: &str| {
            let line = line.strip_prefix("shop;").expect("the task's name");
            line.strip_suffix(" 1").expect("one sample").to_owned()
        };
        // Without the note that stands in the picture too.
        let said = answer.err.lines().filter(|line| !line.ends_with("places in code have no name"));
        let said: String = said.map(|line| format!("{line}\n")).collect();
        (answer.out.lines().map(stack).collect::<Vec<_>>().join("\n"), said)
    }
}

const NAMED: &str = "_start;serve;shop::Shelf<long>::take;pack;weigh";
const PLAIN: &str = "_start;serve;shop::Shelf<long>::take";
/// Without names: offsets in the file, of calls the address they return to.
const BARE: &str = "shop+0x15a;shop+0x14a;shop+0x188";

// ---- programs -----------------------------------------------------------------------

#[test]
fn a_file_in_symfs_names_functions_and_what_was_inlined() {
    let case = Case::new(Some(BUILD), &[&WEIGH]);
    case.put("sym/opt/shop", &program("shop"));
    assert_eq!(case.folded(&["--symfs", "sym"]), (NAMED.to_owned(), String::new()));
    let plain = case.folded(&["--symfs", "sym", "--no-inline"]);
    assert_eq!(plain, (PLAIN.to_owned(), String::new()));
    // By its name alone, and by its build id.
    let case = Case::new(Some(BUILD), &[&WEIGH]);
    case.put("sym/shop", &program("shop"));
    assert_eq!(case.folded(&["--symfs", "sym"]).0, NAMED);
    let case = Case::new(Some(BUILD), &[&WEIGH]);
    case.put(&format!("sym/.build-id/{}/{}.debug", &BUILD[..2], &BUILD[2..]), &program("shop"));
    assert_eq!(case.folded(&["--symfs", "sym"]).0, NAMED);
}

#[test]
fn names_of_rust_are_demangled() {
    let case = Case::new(Some(BUILD), &[&RUST]);
    case.put("sym/opt/shop", &program("shop"));
    assert_eq!(case.folded(&["--symfs", "sym"]).0, "_start;shop::store::count");
}

#[test]
fn the_cache_of_perf_is_searched_by_build_id() {
    let case = Case::new(Some(BUILD), &[&WEIGH]);
    case.put(&format!("cache/.build-id/{}/{}/elf", &BUILD[..2], &BUILD[2..]), &program("shop"));
    assert_eq!(case.folded(&[]), (NAMED.to_owned(), String::new()));
    // perf before 5.9 pads every build id with zeros to 20 bytes.
    let short = &BUILD[..32];
    let note = [&16_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"GNU\0"].concat();
    let long = [&20_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"GNU\0"].concat();
    let of_16_bytes = replaced(program("shop"), &long, &note);
    let padded = format!("{short}00000000");
    let case = Case::new(Some(&padded), &[&WEIGH]);
    case.put(&format!("cache/.build-id/{}/{}/elf", &short[..2], &short[2..]), &of_16_bytes);
    assert_eq!(case.folded(&[]).0, NAMED);
}

/// A file without symbols does not end the search for them.
#[test]
fn symbols_of_a_stripped_file_come_from_elsewhere() {
    let id = format!(".build-id/{}/{}", &BUILD[..2], &BUILD[2..]);
    let debug = format!("sym/usr/lib/debug/{id}.debug");
    for (path, file) in [(debug, "shop.debug"), (format!("cache/{id}/elf"), "shop")] {
        let case = Case::new(Some(BUILD), &[&WEIGH]);
        case.put("sym/opt/shop", &program("shop.stripped"));
        case.put(&path, &program(file));
        assert_eq!(case.folded(&["--symfs", "sym"]), (NAMED.to_owned(), String::new()), "{path}");
    }
}

#[test]
fn a_stripped_file_is_told_and_leaves_offsets() {
    let case = Case::new(Some(BUILD), &[&WEIGH, &RUST]);
    case.put("sym/opt/shop", &program("shop.stripped"));
    let (stacks, said) = case.folded(&["--symfs", "sym"]);
    assert_eq!(stacks, format!("{BARE}\nshop+0x167;shop+0x10f"));
    assert_eq!(
        said,
        "5 of 5 frames in the stacks have no name:\n  \
           /opt/shop: 5 frames in 2 samples; sym/opt/shop has no symbols for them\n\
         here: install the debug packages of the stripped files, or give the files as they were \
         before stripping with --symfs\n"
    );
}

#[test]
fn another_build_is_never_used() {
    let case = Case::new(Some(BUILD), &[&WEIGH]);
    case.put("sym/opt/shop", &other_build("shop"));
    let (stacks, said) = case.folded(&["--symfs", "sym"]);
    assert_eq!(stacks, BARE);
    let ones = "11".repeat(20);
    assert_eq!(
        said,
        format!(
            "3 of 3 frames in the stacks have no name:\n  \
               /opt/shop: 3 frames in 1 sample; sym/opt/shop is build {ones}, not {BUILD}\n\
             on the traced machine: perf archive perf.data   (then put perf.data.tar.bz2 beside \
             the capture, or give it with --archive)\n"
        )
    );
    // Not by the name of its build id either: the content counts.
    case.put(&format!("cache/.build-id/{}/{}/elf", &BUILD[..2], &BUILD[2..]), &other_build("shop"));
    assert_eq!(case.folded(&["--symfs", "sym"]).0, BARE);
}

#[test]
fn a_file_at_its_own_path_counts_by_its_build_id_alone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("shop");
    let at = path.to_str().expect("UTF-8").to_owned();
    let case = |build| {
        let mut recording = Recording::new();
        recording.program(&at, build);
        Case::of(recording, &[&WEIGH])
    };
    fs::write(&path, program("shop")).expect("written");
    assert_eq!(case(Some(BUILD)).folded(&[]).0, NAMED);
    // Its build is not known: the file may have been replaced since.
    let (stacks, said) = case(None).folded(&[]);
    assert_eq!(stacks, BARE);
    assert_eq!(
        said,
        format!(
            "3 of 3 frames in the stacks have no name:\n  \
               {at}: 3 frames in 1 sample; its build is not known\n\
             on the traced machine: cp --parents {at} symfs/   (then give it with --symfs)\n\
             when recording next time: perf record --buildid-all ...\n"
        )
    );
    // The path names it, and with --symfs the user does: it is used, and said.
    let (stacks, said) = case(None).folded(&["--symfs", "/"]);
    assert_eq!(stacks, NAMED);
    assert_eq!(
        said,
        format!(
            "note: the capture has no build id of {at}: {at} is taken for it, because --symfs \
             names it\n"
        )
    );
    fs::write(&path, other_build("shop")).expect("written");
    let (stacks, said) = case(Some(BUILD)).folded(&[]);
    assert_eq!(stacks, BARE);
    assert!(said.contains(&format!("{at} is build {}, not {BUILD}", "11".repeat(20))), "{said}");
}

// ---- archives -------------------------------------------------------------------------

/// A tar as `perf archive` writes it: links by build id, and the folders they lead to.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    let name = format!(".build-id/{}/{}", &BUILD[..2], &BUILD[2..]);
    tar.append_link(&mut link, name, format!("../../opt/shop/{BUILD}")).expect("a link");
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *bytes).expect("a file");
    }
    tar.into_inner().expect("the archive")
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packed.write_all(bytes).expect("packed");
    packed.finish().expect("packed")
}

#[test]
fn an_archive_is_found_beside_the_capture_or_by_its_option() {
    let elf = format!("opt/shop/{BUILD}/elf");
    let tar = archive(&[("opt/shop/other/elf", b"no"), (&elf, &program("shop"))]);
    let case = Case::new(Some(BUILD), &[&WEIGH]);
    case.put("perf.data.tar.bz2", &bzip2(&tar));
    assert_eq!(case.folded(&[]), (NAMED.to_owned(), String::new()));
    let case = Case::new(Some(BUILD), &[&WEIGH]);
    case.put("carried.tar", &tar);
    assert_eq!(case.folded(&["--archive", "carried.tar"]).0, NAMED);
    case.put("carried.tar.zst", &zstd::encode_all(&tar[..], 1).expect("packed"));
    assert_eq!(case.folded(&["--archive", "carried.tar.zst"]).0, NAMED);
    let answer = case.run(&["check"], &["--archive", "carried.tar"]);
    assert!(answer.out.contains("  found    /opt/shop in carried.tar\n"), "{}", answer.out);
    // Of another build, whatever the path says.
    case.put("carried.tar", &archive(&[(&elf, &other_build("shop"))]));
    let (stacks, said) = case.folded(&["--archive", "carried.tar"]);
    assert_eq!(stacks, BARE);
    assert!(said.contains("; carried.tar is build 1111"), "{said}");
}

#[test]
fn a_damaged_or_endless_archive_ends_where_it_does() {
    let elf = format!("opt/shop/{BUILD}/elf");
    let whole = archive(&[(&elf, &program("shop")), ("rest", &[7; 400_000])]);
    let case = Case::new(Some(BUILD), &[&WEIGH]);
    case.put("cut.tar", &whole[..whole.len() / 2]);
    let (stacks, said) = case.folded(&["--archive", "cut.tar"]);
    assert_eq!(stacks, NAMED);
    assert!(said.starts_with("note: cut.tar: ") && said.lines().count() == 1, "{said}");
    case.put("text.tar.bz2", b"no archive");
    let (stacks, said) = case.folded(&["--archive", "text.tar.bz2"]);
    assert_eq!(stacks, BARE);
    assert!(said.starts_with("note: text.tar.bz2: "), "{said}");
    // Nothing is written outside of the temporary folder, which is gone after.
    let leading_out = archive(&[(&elf, &program("shop"))]);
    let path = format!("opt/shop/{BUILD}/elf").into_bytes();
    let mut to = format!("/tmp/{}/elf", &BUILD).into_bytes();
    to.resize(path.len(), 0);
    case.put("out.tar", &leading_out);
    case.folded(&["--archive", "out.tar"]);
    assert!(!Path::new(&format!("/tmp/{BUILD}")).exists());
    // More than is allowed.
    let bomb = bzip2(&archive(&[(&elf, &vec![0; 100 << 20]), (&elf, &program("shop"))]));
    case.put("bomb.tar.bz2", &bomb);
    let (stacks, said) = case.folded(&["--archive", "bomb.tar.bz2"]);
    assert_eq!(stacks, BARE);
    assert!(said.contains("it expands to more than is allowed"), "{said}");
    let answer = run(case.folder.path(), &["check", "perf.data", "--archive", "none.tar"]);
    assert_eq!((answer.code, answer.err.as_str()), (2, "agenttrace: none.tar: no such file\n"));
}

// ---- the kernel -----------------------------------------------------------------------

fn kallsyms(text: u64) -> String {
    format!(
        "{text:016x} T startup_64\n{text:016x} T _stext\n{text:016x} T _text\n\
         {:016x} t vfs_read\n{:016x} T ksys_read\n{:016x} t do_syscall_64\n{:016x} D data\n\
         ffffffffc0000000 t probe\t[module]\n",
        text + 0x100,
        text + 0x200,
        text + 0x2000,
        text + 0x3000,
    )
}

#[test]
fn a_kallsyms_of_the_same_boot_names_the_kernel() {
    let case = Case::new(Some(BUILD), &[&READ]);
    case.put("sym/opt/shop", &program("shop"));
    case.put("kallsyms", kallsyms(TEXT).as_bytes());
    case.put("kallsyms.zst", &zstd::encode_all(kallsyms(TEXT).as_bytes(), 1).expect("packed"));
    for name in ["kallsyms", "kallsyms.zst"] {
        let named = case.folded(&["--symfs", "sym", "--kallsyms", name]);
        assert_eq!(named, ("_start;do_syscall_64;vfs_read".to_owned(), String::new()));
    }
}

#[test]
fn a_kallsyms_of_another_boot_is_refused() {
    let case = Case::new(Some(BUILD), &[&READ]);
    case.put("sym/opt/shop", &program("shop"));
    case.put("kallsyms", kallsyms(TEXT + 0x1a0_0000).as_bytes());
    let (stacks, said) = case.folded(&["--symfs", "sym", "--kallsyms", "kallsyms"]);
    assert_eq!(
        stacks,
        "_start;[kernel.kallsyms]+0xffffffff81002010;[kernel.kallsyms]+0xffffffff81000110"
    );
    let why = "kallsyms is of another boot or kernel: its _text is at 0xffffffff82a00000, the \
               capture's at 0xffffffff81000000";
    assert_eq!(
        said,
        format!(
            "note: {why}; it is not used\n\
             2 of 3 frames in the stacks have no name:\n  \
               [kernel.kallsyms]: 2 frames in 1 sample; {why}\n\
             on the traced machine, before it starts again: sudo cat /proc/kallsyms > kallsyms   \
             (then give it with --kallsyms)\n"
        )
    );
    let hidden: String = kallsyms(0).lines().map(|l| format!("{:016x}{}\n", 0, &l[16..])).collect();
    case.put("hidden", hidden.as_bytes());
    let (_, said) = case.folded(&["--symfs", "sym", "--kallsyms", "hidden"]);
    let first = said.lines().next().unwrap_or_default();
    assert_eq!(
        first,
        "note: hidden: all its addresses are zero, as users other than root see them; copy \
         /proc/kallsyms as root"
    );
}

/// The program stands for a kernel: its function serve() is called `_text`.
#[test]
fn a_vmlinux_names_the_kernel_wherever_it_was_loaded() {
    let weigh = TEXT + 0x40_0188 - 0x40_011c;
    let case = Case::new(Some(BUILD), &[&[KERNEL, weigh, USER, 0x40_015a]]);
    case.put("sym/opt/shop", &program("shop"));
    case.put("vmlinux", &replaced(program("shop"), b"serve\0", b"_text\0"));
    let (stacks, said) = case.folded(&["--symfs", "sym", "--vmlinux", "vmlinux"]);
    assert_eq!(stacks, "_start;shop::Shelf<long>::take;pack;weigh");
    assert_eq!(
        said,
        "note: nothing tells whether vmlinux is the capture's kernel: it is used because --vmlinux \
         names it\n"
    );
    case.put("other", &program("shop"));
    let (_, said) = case.folded(&["--symfs", "sym", "--vmlinux", "other"]);
    let why = "note: other is not used: it has no symbol _text, so where the kernel was loaded is \
               not known\n";
    assert!(said.starts_with(why), "{said}");
}

/// depot_fetch() is at 8 in `.text`, which has 13 bytes; depot_fail() at 0 in
/// `.text.unlikely`, which the kernel puts after that.
#[test]
fn a_kernel_module_is_named_by_its_file() {
    const DEPOT: &str = "93ebe00e03a35e680eb00860aac01664c7b2db91";
    const MODULE: u64 = 0xffff_ffff_c010_0000;
    let case = |build: &str| {
        let mut recording = Recording::new();
        let path = "/lib/modules/6.1.0/kernel/depot.ko.xz";
        recording.mapped(1, &[u32::MAX, 0], [MODULE, 0x1000], path, Some(build));
        recording.program("/opt/shop", Some(BUILD));
        let stacks = [&[KERNEL, MODULE + 0x9][..], &[KERNEL, MODULE + 0xd, MODULE + 0x0d]];
        let case = Case::of(recording, &stacks);
        case.put(
            "modules/extra/depot.ko.zst",
            &zstd::encode_all(&program("depot.ko")[..], 1).unwrap(),
        );
        case.folded(&["--modules", "modules"])
    };
    let (stacks, said) = case(DEPOT);
    // The second frame's call lies before the address that it returns to.
    assert_eq!(stacks, "depot_fetch\ndepot_fetch;depot_fail");
    assert_eq!(said, "");
    let (stacks, _) = case(&"33".repeat(20));
    assert!(stacks.starts_with("depot.ko.xz+0xffffffffc0100009\n"), "{stacks}");
}

// ---- code made at run time ---------------------------------------------------------------

#[test]
fn a_perf_map_counts_where_it_was_carried_along() {
    let case = || {
        let mut recording = Recording::new();
        recording.program("/opt/shop", Some(BUILD));
        recording.mapping(0x7f00_0000_0000, 0x10000, "//anon", None);
        let case = Case::of(recording, &[&JIT]);
        case.put("sym/opt/shop", &program("shop"));
        case
    };
    let map = "7f0000001000 20 JS:<script>\"'; total\u{1b}[31m 7\n";
    let named = case();
    named.put("sym/tmp/perf-71.map", map.as_bytes());
    let (stacks, said) = named.folded(&["--symfs", "sym"]);
    assert_eq!(stacks, "serve;JS:<script>\"'\\x3b total\\x1b[31m\\x207");
    assert_eq!(said, "");
    // Of another process.
    let other = case();
    other.put("sym/tmp/perf-72.map", map.as_bytes());
    let (stacks, said) = other.folded(&["--symfs", "sym"]);
    assert_eq!(stacks, "serve;//anon+0x7f0000001010");
    assert_eq!(
        said,
        "1 of 2 frames in the stacks have no name:\n  \
           //anon: 1 frame in 1 sample; code that process 71 made at run time, without a perf map\n\
         on the traced machine: cp --parents /tmp/perf-71.map symfs/   (then give it with --symfs; \
         node writes it with --perf-basic-prof, Python 3.12 with -X perf)\n"
    );
    // A long name, cut nowhere, and no endless line.
    let long = case();
    let name = "n".repeat(4096);
    long.put("sym/perf-71.map", format!("7f0000001000 20 {name}\n").as_bytes());
    assert_eq!(long.folded(&["--symfs", "sym"]).0, format!("serve;{name}"));
}

// ---- hostile files -------------------------------------------------------------------------

#[test]
fn a_hostile_symbol_is_escaped_everywhere() {
    let case = Case::new(Some(BUILD), &[&HOSTILE]);
    let name: &[u8; 32] = b"<script>\x1b[31m\"'&;\n</script>____\xff";
    let file = replaced(program("shop"), b"hostile_name_of_thirty_two_bytes", name);
    case.put("sym/opt/shop", &file);
    let (stacks, _) = case.folded(&["--symfs", "sym"]);
    assert!(!stacks.contains('\u{1b}') && stacks.lines().count() == 1, "{stacks}");
    let svg = case.run(&["flamegraph", "--whole-capture", "--kind", "cpu"], &["--symfs", "sym"]);
    assert_eq!(svg.code, 0, "{}", svg.err);
    assert!(!svg.out.contains("<script>\\x1b") && svg.out.contains("&lt;script&gt;"));
}

/// Damage at every place of the file: an answer each time, and never a panic's word.
#[test]
fn damaged_files_give_an_answer() {
    let case = Case::new(Some(BUILD), &[&WEIGH, &RUST]);
    let whole = program("shop");
    for at in (0..whole.len()).step_by(29) {
        let mut bytes = whole.clone();
        for byte in bytes.iter_mut().skip(at).take(8) {
            *byte = 0xff;
        }
        case.put("sym/opt/shop", &bytes);
        let (stacks, said) = case.folded(&["--symfs", "sym"]);
        assert_eq!(stacks.lines().count(), 2, "damaged at {at}");
        assert!(!said.contains("panicked"), "damaged at {at}: {said}");
    }
    for len in (0..whole.len()).step_by(97) {
        case.put("sym/opt/shop", &whole[..len]);
        let (stacks, said) = case.folded(&["--symfs", "sym"]);
        assert_eq!(stacks.lines().count(), 2, "cut at {len}");
        assert!(!said.contains("panicked"), "cut at {len}: {said}");
    }
}

// ---- check ------------------------------------------------------------------------------------

#[test]
fn check_tells_what_is_there_and_how_to_bring_the_rest() {
    let mut recording = Recording::new();
    recording.program("/opt/shop", Some(BUILD));
    recording.mapping(0x50_0000, 0x1000, "/opt/lib\u{1b}.so", Some(&"22".repeat(20)));
    let case = Case::of(recording, &[&WEIGH, &READ, &[USER, 0x50_0010, 0x40_014a]]);
    case.put("sym/opt/shop", &program("shop"));
    let answer = case.run(&["check"], &["--symfs", "sym"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    let from = answer.out.find("\nstacks\n").expect("a section");
    let to = answer.out.find("\nto record everything").expect("a section");
    assert_eq!(
        &answer.out[from..to],
        format!(
            "\nstacks\n           3 software:cpu-clock: kernel 1, user by frame pointers 3\n\
             \nsymbols\n  found    /opt/shop in sym/opt/shop\n  \
             missing  [kernel.kallsyms]: 2 frames in 1 sample; its build is not known\n  \
             missing  /opt/lib\\x1b.so: 1 frame in 1 sample; no file of build {} in --symfs sym, \
             the build-id cache cache, /opt/lib\\x1b.so\n\
             \nto bring the missing names\n  on the traced machine\n    \
             perf archive perf.data   (then put perf.data.tar.bz2 beside the capture, or give it \
             with --archive)\n  on the traced machine, before it starts again\n    \
             sudo cat /proc/kallsyms > kallsyms   (then give it with --kallsyms)\n",
            "22".repeat(20)
        )
    );
}
