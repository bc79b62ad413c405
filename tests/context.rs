//! A context of the traced machine: what `agenttrace context` writes, and what `--context` names with it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::json::Json;
use crate::support::{Answer, run};

/// A step that faults on a file, waits for a disk, and for a kworker; none has a name. The
/// file is 254:1 inode 12, the disk 254:0, the kworker's function begins at 0xffffffff81000100.
const EVENTS: &str = r#"# agenttrace.events/1
# clock monotonic
# hostname box
# release 6.18.0
# arch x86_64
# cpus 2
0 - 100/100 - record:comm pid=100 tid=100 exec=0 comm="agent"
500000 0 0/0 d sched:sched_switch prev_comm="swapper/0" prev_pid=0 prev_state=R next_comm="agent" next_pid=100
600000 1 0/0 d sched:sched_switch prev_comm="swapper/1" prev_pid=0 prev_state=R next_comm="kworker/1:2" next_pid=70
900000 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0
900500 0 100/100 . raw_syscalls:sys_exit id=39 ret=100
900508 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0
901000 0 100/100 . raw_syscalls:sys_exit id=39 ret=100
1500000 0 100/100 . exceptions:page_fault_user address=0x7001000 ip=0x400000 error_code=0x4
1550000 0 100/100 . filemap:mm_filemap_fault i_ino=12 s_dev=266338305 index=1
1600000 0 100/100 . block:block_bio_queue dev=266338304 sector=4096 nr_sector=8 rwbs=RA
1700000 0 100/100 . block:block_rq_issue dev=266338304 sector=4096 nr_sector=8 bytes=4096 rwbs=RA
1800000 0 100/100 d sched:sched_switch prev_comm="agent" prev_pid=100 prev_state=D next_comm="swapper/0" next_pid=0
2800000 0 0/0 dh block:block_rq_complete dev=266338304 sector=4096 nr_sector=8 error=0 rwbs=RA
2810000 0 0/0 dh sched:sched_waking comm="agent" pid=100 target_cpu=0
2900000 0 0/0 d sched:sched_switch prev_comm="swapper/0" prev_pid=0 prev_state=R next_comm="agent" next_pid=100
3000000 0 100/100 . software:major-faults addr=0x7001000 period=1
3000008 0 100/100 . raw_syscalls:sys_enter id=74 args=3,0,0,0,0,0
3050000 1 70/70 . workqueue:workqueue_execute_start work=0xff00 function=0xffffffff81000100
3100000 0 100/100 d sched:sched_switch prev_comm="agent" prev_pid=100 prev_state=D next_comm="swapper/0" next_pid=0
3900000 1 70/70 d sched:sched_waking comm="agent" pid=100 target_cpu=0
3950000 1 70/70 . workqueue:workqueue_execute_end work=0xff00
4000000 0 0/0 d sched:sched_switch prev_comm="swapper/0" prev_pid=0 prev_state=R next_comm="agent" next_pid=100
4100000 0 100/100 . raw_syscalls:sys_exit id=74 ret=0
5500000 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0
5501000 0 100/100 . raw_syscalls:sys_exit id=39 ret=100
"#;

const STEPS: &str = "{\"step_id\":1,\"tool\":\"search\",\"pid\":100,\"tid\":100,\"start_ns\":1000000,\"end_ns\":5000000}\n";

/// A folder for one test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("agenttrace-context-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("ctx")).expect("a folder");
        fs::write(path.join("events.txt"), EVENTS).expect("written");
        fs::write(path.join("steps.jsonl"), STEPS).expect("written");
        Self(path)
    }

    /// Writes a file of the context.
    fn put(&self, name: &str, lines: &str) {
        let text = format!("# agenttrace.context/1 {name}\n{lines}");
        fs::write(self.0.join("ctx").join(name), text).expect("written");
    }

    fn machine(&self, hostname: &str, release: &str) {
        self.put("machine", &format!("hostname {hostname}\nrelease {release}\ncpu_flags pcid\n"));
    }

    fn whole(name: &str) -> Self {
        let folder = Self::new(name);
        folder.machine("box", "6.18.0");
        folder.put(
            "files",
            "d 254:1 /srv/a\\040b\nf 11 other.db\nf 12 in\\012dex\\033[31m.db\np 254:1 12 /later\n",
        );
        folder.put("devices", "254:0 vda scheduler=none rotational=1 nr_requests=256 write_cache=write\\040back\n254:1 vda1\n");
        folder.put("mounts", "29 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n30 1 254:0 / /x rw - xfs /dev/vda rw\n");
        folder.put("cgroups", "/agent cpu.stat nr_throttled 12\n/agent memory.events high 0\n");
        folder.put("kallsyms", "ffffffff81000000 T _text\nffffffff81000100 t blk_mq_run_work_fn\n");
        folder
    }

    fn analyze(&self, more: &[&str]) -> Answer {
        let mut arguments = vec!["analyze", "events.txt", "--markers", "steps.jsonl"];
        arguments.extend(more);
        run(&self.0, &arguments)
    }

    fn report(&self, more: &[&str]) -> Json {
        let mut arguments = vec!["--format", "json"];
        arguments.extend(more);
        let answer = self.analyze(&arguments);
        assert_eq!(answer.code, 0, "{}", answer.err);
        Json::parse(&answer.out).expect("JSON")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn file(report: &Json) -> (Option<String>, Option<String>) {
    let steps = report.get("steps");
    let faults = steps.list()[0].get("inclusive").get("faults");
    let file = faults.get("files");
    let text = |key: &str| file.list()[0].get(key).text().map(str::to_owned);
    (text("path"), text("source"))
}

fn notes(report: &Json) -> Vec<String> {
    let notes = report.get("notes");
    notes.list().iter().filter_map(|n| n.text().map(str::to_owned)).collect()
}

#[test]
fn names_come_from_the_context_and_it_is_said() {
    let folder = Folder::whole("whole");
    let report = folder.report(&["--context", "ctx"]);
    let name = "/srv/a b/in\ndex\u{1b}[31m.db".to_owned();
    assert_eq!(file(&report), (Some(name), Some("context".to_owned())));
    let steps = report.get("steps");
    let block = steps.list()[0].get("inclusive").get("block");
    assert_eq!(block.list()[0].get("name").text(), Some("vda"));
    let said = notes(&report).join("\n");
    for part in [
        "1 of 1 files that the capture does not name are among the 3 of ctx",
        "device 254:0 is vda: scheduler none, rotational 1, nr_requests 256, write_cache write back, filesystem xfs",
        "cgroup /agent: cpu.stat nr_throttled is 12",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(!said.contains("memory.events high"), "a limit that was not met: {said}");
    let text = folder.analyze(&["--context", "ctx", "--step", "1"]);
    assert!(text.out.contains("in\\ndex\\x1b[31m.db"), "{}", text.out);
    assert!(!text.out.contains('\u{1b}'), "a name moves no cursor");
    let path = run(
        &folder.0,
        &[
            "dump",
            "--stage",
            "attribution",
            "events.txt",
            "--markers",
            "steps.jsonl",
            "--context",
            "ctx",
        ],
    );
    assert!(path.out.contains("block read vda"), "{}", path.out);
    assert!(path.out.contains("kworker/1:2 (blk_mq_run_work_fn)"), "{}", path.out);
}

#[test]
fn without_a_context_there_is_a_hint() {
    let folder = Folder::new("none");
    let report = folder.report(&[]);
    assert_eq!(file(&report), (None, None));
    let said = notes(&report).join("\n");
    assert!(said.contains("agenttrace context --out DIR"), "{said}");
    assert!(said.contains("for 1 file with page faults"), "{said}");
}

#[test]
fn a_context_of_another_machine_names_nothing() {
    let folder = Folder::whole("other");
    folder.machine("elsewhere", "6.18.0");
    let report = folder.report(&["--context", "ctx"]);
    assert_eq!(file(&report), (None, None));
    let said = notes(&report).join("\n");
    assert!(
        said.contains("is of machine elsewhere and the capture of box: it is not used"),
        "{said}"
    );
    assert!(!said.contains("vda"), "{said}");
}

#[test]
fn a_context_of_another_kernel_says_so_and_lends_no_symbols() {
    let folder = Folder::whole("release");
    folder.machine("box", "6.17.9");
    let report = folder.report(&["--context", "ctx"]);
    assert_eq!(file(&report).1.as_deref(), Some("context"));
    let said = notes(&report).join("\n");
    assert!(said.contains("under Linux 6.17.9 and the capture under 6.18.0"), "{said}");
    let text = folder.analyze(&["--context", "ctx", "--step", "1"]);
    assert!(!text.out.contains("blk_mq_run_work_fn"), "{}", text.out);
}

#[test]
fn symbols_of_another_boot_are_seen_by_where_functions_begin() {
    let folder = Folder::whole("boot");
    folder.put("kallsyms", "ffffffff81000000 T _text\nffffffff81000080 t blk_mq_run_work_fn\n");
    let report = folder.report(&["--context", "ctx"]);
    let said = notes(&report).join("\n");
    assert!(said.contains("is of another boot: 0 of the 1 functions"), "{said}");
}

#[test]
fn what_is_no_context_is_refused() {
    let folder = Folder::new("bad");
    let answer = folder.analyze(&["--context", "ctx"]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("no folder that `agenttrace context` wrote"), "{}", answer.err);
    folder.machine("box", "6.18.0");
    fs::write(folder.0.join("ctx/files"), "# agenttrace.context/9 files\nd").expect("written");
    let answer = folder.analyze(&["--context", "ctx"]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("files: line 1 is not"), "{}", answer.err);
}

/// The names that a `files` gives to inodes, by a reader of its own.
fn named(files: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(files).expect("text");
    let mut folder = String::new();
    let mut names = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["d", _, path] => path.clone_into(&mut folder),
            ["f", ino, name] => {
                names.push((ino.parse().expect("a number"), format!("{folder}/{name}")))
            }
            ["p", _, ino, path] => names.push((ino.parse().expect("a number"), path.to_owned())),
            _ => {}
        }
    }
    names
}

#[test]
fn a_real_snapshot_names_a_tree_and_itself() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = Folder::new("real");
    let tree = folder.0.join("tree");
    fs::create_dir_all(tree.join("deep/er")).expect("folders");
    let odd = tree.join("deep/er/a b\nc\u{1b}\\.txt");
    for path in [&odd, &tree.join("plain.txt")] {
        fs::write(path, "x").expect("written");
    }
    std::os::unix::fs::symlink("/", tree.join("link")).expect("a link");
    let answer = run(&folder.0, &["context", "--out", "snap", "--tree", "tree"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(answer.out.contains("2 in 3 folders of tree"), "{}", answer.out);
    let names = named(&folder.0.join("snap/files"));
    let ino = |path: &Path| fs::metadata(path).expect("it is there").ino();
    let real = fs::canonicalize(&tree).expect("it is there");
    let escaped = format!("{}/deep/er/a\\040b\\012c\\033\\134.txt", real.display());
    assert!(names.contains(&(ino(&odd), escaped)), "{names:?}");
    // The program itself is mapped, by its own process.
    let own = Path::new(env!("CARGO_BIN_EXE_agenttrace"));
    assert!(names.iter().any(|(i, path)| *i == ino(own) && path.ends_with("agenttrace")));
    for (name, holds) in [("machine", "release "), ("topology", "# CPU,Core"), ("mounts", " / ")] {
        let text = fs::read_to_string(folder.0.join("snap").join(name)).expect(name);
        assert!(text.starts_with(&format!("# agenttrace.context/1 {name}\n")), "{name}");
        assert!(text.contains(holds), "{name}: {text}");
    }
    // What it wrote can be read.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("it is there");
    let events = EVENTS.replace("hostname box", &format!("hostname {}", host.trim()));
    fs::write(folder.0.join("events.txt"), events).expect("written");
    let report = folder.report(&["--context", "snap"]);
    assert!(notes(&report).join("\n").contains("among the"), "{:?}", notes(&report));
    // At most so many.
    let answer =
        run(&folder.0, &["context", "--out", "snap", "--tree", "tree", "--most-files", "1"]);
    assert!(answer.out.contains("left out: at most 1 are named"), "{}", answer.out);
}
