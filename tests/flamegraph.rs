//! `agenttrace flamegraph` from a capture made by hand to lines and pictures.

use std::path::{Path, PathBuf};

use crate::support::{Answer, fixtures, run};

/// Text of `perf script`: an agent with two steps, [1.000, 1.010) and [1.020, 1.030) s, in
/// the first of which it sleeps over [1.005, 1.006), and a worker that belongs to neither.
const CAPTURE: &str = "\
           agent   100 [000]     0.000000000: PERF_RECORD_COMM: agent:100/100
          worker   200 [001]     0.000000000: PERF_RECORD_COMM: worker:200/200
         swapper     0 [000]     0.900000000:                        sched:sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=agent next_pid=100 next_prio=120

           agent   100 [000]     1.001000000:    1003009 cpu-clock: 
\t    55d000001010 parse+0x10 (/usr/bin/agent)
\t    55d000001500 main+0x100 (/usr/bin/agent)

           agent   100 [000]     1.002000000:    1003009 cpu-clock: 
\t    55d000001010 parse+0x10 (/usr/bin/agent)
\t    55d000001500 main+0x100 (/usr/bin/agent)

           agent   100 [000]     1.003000000:    1003009 cpu-clock: 
\t    ffffffff81000010 vfs_read+0x10 ([kernel.kallsyms])
\t    55d000001500 main+0x100 (/usr/bin/agent)

          worker   200 [001]     1.004000000:    1003009 cpu-clock: 
\t    55d000009000 spin+0x0 (/usr/bin/worker)

           agent   100 [000]     1.005000000:                        sched:sched_switch: prev_comm=agent prev_pid=100 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
\t    ffffffff81000100 do_nanosleep+0x20 ([kernel.kallsyms])
\t    55d000001600 main+0x200 (/usr/bin/agent)

         swapper     0 [000]     1.006000000:                        sched:sched_waking: comm=agent pid=100 prio=120 target_cpu=000
         swapper     0 [000]     1.006000000:                        sched:sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=agent next_pid=100 next_prio=120

           agent   100 [000]     1.015000000:    1003009 cpu-clock: 
\t    55d000001700 between+0x0 (/usr/bin/agent)

           agent   100 [000]     1.021000000:    1003009 cpu-clock: 
\t    55d000001010 parse+0x10 (/usr/bin/agent)
\t    55d000001500 main+0x100 (/usr/bin/agent)

           agent   100 [000]     1.022000000:    1003009 cpu-clock: 
\t    55d000001900 <script>;\"hash\"+0x4 (/usr/bin/agent)
\t    55d000001500 main+0x100 (/usr/bin/agent)

           agent   100 [000]     1.100000000:                        sched:sched_waking: comm=worker pid=200 prio=120 target_cpu=001
";

const STEPS: &str = "\
{\"step_id\":1,\"tool\":\"fetch\",\"pid\":100,\"start_ns\":1000000000,\"end_ns\":1010000000}
{\"step_id\":2,\"tool\":\"read\",\"pid\":100,\"start_ns\":1020000000,\"end_ns\":1030000000}
";

/// A folder with the capture, its marks and a copy of both.
fn folder(name: &str) -> PathBuf {
    let dir =
        std::env::temp_dir().join(format!("agenttrace-flamegraph-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the folder can be made");
    std::fs::write(dir.join("script.txt"), CAPTURE).expect("the capture can be written");
    std::fs::write(dir.join("steps.jsonl"), STEPS).expect("the marks can be written");
    dir
}

fn flamegraph(dir: &Path, more: &[&str]) -> Answer {
    let mut all = vec!["flamegraph", "script.txt", "--trace-clock", "mono"];
    all.extend(more);
    run(dir, &all)
}

/// Folded lines with marks.
fn folded(dir: &Path, more: &[&str]) -> String {
    let mut all = vec!["--markers", "steps.jsonl", "--folded"];
    all.extend(more);
    let answer = flamegraph(dir, &all);
    assert_eq!(answer.code, 0, "{}", answer.err);
    answer.out
}

#[test]
fn each_kind_by_step_tool_cause_and_name() {
    let dir = folder("kinds");
    let all = "fetch;step 1;agent;main;parse 2\n\
               fetch;step 1;agent;main;vfs_read 1\n\
               read;step 2;agent;main;<script>\\x3b\"hash\" 1\n\
               read;step 2;agent;main;parse 1\n";
    assert_eq!(folded(&dir, &["--kind", "cpu"]), all);
    let (first, second) = all.split_at(all.find("read;").unwrap());
    assert_eq!(folded(&dir, &["--kind", "cpu", "--step", "1"]), first);
    assert_eq!(folded(&dir, &["--kind", "cpu", "--tool", "read"]), second);
    assert_eq!(folded(&dir, &["--kind", "cpu", "--comm", "agent"]), all);
    assert_eq!(folded(&dir, &["--kind", "cpu", "--cause", "user_cpu"]), all);
    assert_eq!(
        folded(&dir, &["--kind", "off-cpu"]),
        "fetch;step 1;agent;main;do_nanosleep 1000000\n"
    );
    // Running time, before and after the wait, is shared by the three samples in it.
    assert_eq!(
        folded(&dir, &["--step", "1"]),
        "fetch;step 1;main;do_nanosleep;unknown: unknown 1000000\n\
         fetch;step 1;user;main;parse;user_cpu: cpu_user 6000000\n\
         fetch;step 1;user;main;vfs_read;user_cpu: cpu_user 3000000\n"
    );
    std::fs::remove_dir_all(dir).expect("the folder can be removed");
}

#[test]
fn a_capture_as_a_whole() {
    let dir = folder("whole");
    let all = "agent;between 1\n\
               agent;main;<script>\\x3b\"hash\" 1\n\
               agent;main;parse 3\n\
               agent;main;vfs_read 1\n\
               worker;spin 1\n";
    // Without marks there is nothing else.
    for more in [&["--whole-capture"][..], &[]] {
        let mut arguments = vec!["--folded", "--kind", "cpu"];
        arguments.extend(more);
        let answer = flamegraph(&dir, &arguments);
        assert_eq!((answer.code, answer.out.as_str()), (0, all), "{}", answer.err);
    }
    let worker = flamegraph(&dir, &["--folded", "--kind", "cpu", "--comm", "worker"]);
    assert_eq!(worker.out, "worker;spin 1\n", "{}", worker.err);
    // Of the path a name makes a step of the task's life, as before.
    let wall = flamegraph(&dir, &["--folded", "--comm", "agent"]);
    let sum: u64 =
        wall.out.lines().map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 200_000_000, "from its first event at 0.9 s to the last at 1.1 s");
    std::fs::remove_dir_all(dir).expect("the folder can be removed");
}

#[test]
fn steps_tools_and_captures_compare() {
    let dir = folder("diff");
    let want = "agent;main;<script>\\x3b\"hash\" 1 0\n\
                agent;main;parse 1 2\n\
                agent;main;vfs_read 0 1\n";
    for more in [
        &["--step", "1", "--diff", "2"][..],
        &["--step", "1", "--diff", "step:2"],
        &["--step", "1", "--diff", "tool:read"],
        &["--tool", "fetch", "--diff", "read"],
    ] {
        let mut arguments = vec!["--kind", "cpu"];
        arguments.extend(more);
        assert_eq!(folded(&dir, &arguments), want, "{more:?}");
    }
    // Another capture, in which a sample of step 1 is another function's.
    let other = CAPTURE.replacen("parse+0x10", "render+0x10", 1);
    std::fs::write(dir.join("other.txt"), other).expect("the capture can be written");
    std::fs::write(dir.join("later.jsonl"), STEPS.replace("fetch", "load")).expect("written");
    let by = |markers: &str| {
        folded(
            &dir,
            &[
                "--kind",
                "cpu",
                "--step",
                "1",
                "--diff",
                "capture:other.txt",
                "--diff-markers",
                markers,
            ],
        )
    };
    let want = "agent;main;parse 1 2\nagent;main;render 1 0\nagent;main;vfs_read 1 1\n";
    assert_eq!(by("steps.jsonl"), want);
    assert_eq!(by("later.jsonl"), want, "the tools' names do not matter for a step");
    let picture = flamegraph(
        &dir,
        &["--markers", "steps.jsonl", "--kind", "cpu", "--step", "1", "--diff", "2"],
    );
    assert!(
        picture.out.contains("cpu: fetch, step 1 (3 samples) against read, step 2 (2 samples)"),
        "{}",
        picture.err
    );
    std::fs::remove_dir_all(dir).expect("the folder can be removed");
}

#[test]
fn a_picture_goes_to_a_file_or_to_standard_output() {
    let dir = folder("out");
    let arguments = ["--markers", "steps.jsonl", "--kind", "cpu", "--step", "1"];
    let printed = flamegraph(&dir, &[&arguments[..], &["--out", "-"]].concat());
    assert_eq!(printed.code, 0, "{}", printed.err);
    assert!(printed.out.contains("cpu: fetch, step 1: 3 samples, cpu-clock at 997 Hz"));
    for option in ["--out", "--svg"] {
        let written = flamegraph(&dir, &[&arguments[..], &[option, "x.svg"]].concat());
        assert_eq!((written.code, written.out.as_str()), (0, ""), "{}", written.err);
        let file = std::fs::read_to_string(dir.join("x.svg")).expect("the picture is there");
        assert_eq!(file, printed.out);
        std::fs::remove_file(dir.join("x.svg")).expect("it can be removed");
    }
    let all = run(
        &dir,
        &[
            "analyze",
            "script.txt",
            "--trace-clock",
            "mono",
            "--markers",
            "steps.jsonl",
            "--out",
            "o",
            "--step",
            "1",
        ],
    );
    assert_eq!(all.code, 0, "{}", all.err);
    let mut pictures: Vec<String> = std::fs::read_dir(dir.join("o"))
        .expect("the folder is there")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("flamegraph"))
        .collect();
    pictures.sort();
    assert_eq!(
        pictures,
        [
            "flamegraph-cpu.svg",
            "flamegraph-off-cpu.svg",
            "flamegraph-step-1-cpu.svg",
            "flamegraph-step-1-off-cpu.svg",
            "flamegraph-step-1.svg",
            "flamegraph.svg",
        ]
    );
    std::fs::remove_dir_all(dir).expect("the folder can be removed");
}

#[test]
fn what_cannot_be_drawn_says_what_to_record() {
    let dir = folder("absent");
    let fails = |more: &[&str], says: &[&str]| {
        let answer = flamegraph(&dir, &[&["--markers", "steps.jsonl"], more].concat());
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{more:?}");
        for word in says {
            assert!(answer.err.contains(word), "{more:?}: {}", answer.err);
        }
    };
    fails(&["--kind", "locks"], &["no waits for locks", "perf record", "lock:contention_begin"]);
    fails(&["--kind", "faults"], &["no page faults", "perf record", "-e page-faults"]);
    fails(
        &["--kind", "cpu", "--comm", "worker"],
        &["no samples of running code; all steps have 5 samples"],
    );
    fails(&["--kind", "cpu", "--step", "9"], &["no step 9 was analyzed; there are 2: 1, 2"]);
    fails(&["--kind", "cpu", "--tool", "walk"], &["no step has the tool", "fetch, read"]);
    fails(&["--kind", "cpu", "--event", "cycles"], &["no event \"cycles\"", "cpu-clock"]);
    fails(
        &["--kind", "off-cpu", "--step", "2"],
        &["read, step 2: no blocked time; all steps have 1.0 ms"],
    );
    fails(&["--kind", "on-fire"], &["cpu, wall, off-cpu, locks, faults"]);
    fails(&["--cause", "gremlins"], &["major_fault"]);
    fails(&["--step", "1", "--tool", "fetch"], &["--tool"]);
    fails(&["--step", "1", "--diff", "2", "--diff-markers", "x"], &["capture:FILE"]);
    // A capture without any stacks.
    let plain = fixtures("crafted").into_iter().find(|f| f.name.ends_with("/contention"));
    let plain = plain.expect("the fixture is there");
    let mut arguments = vec!["flamegraph", "--kind", "cpu"];
    arguments.extend(plain.arguments());
    let answer = run(&plain.dir, &arguments);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("no call stacks") && answer.err.contains("--call-graph fp"));
    let whole = flamegraph(&dir, &["--whole-capture"]);
    assert_eq!(whole.code, 2);
    assert!(whole.err.contains("no critical path"), "{}", whole.err);
    std::fs::remove_dir_all(dir).expect("the folder can be removed");
}

#[test]
fn folded_stacks_go_to_a_file_too() {
    let dir = folder("file");
    let asked = ["--markers", "steps.jsonl", "--kind", "cpu", "--folded"];
    let shown = flamegraph(&dir, &asked);
    let kept = flamegraph(&dir, &[&asked[..], &["--out", "cpu.folded"]].concat());
    assert_eq!((kept.code, kept.out.as_str()), (0, ""), "{}", kept.err);
    let written = std::fs::read_to_string(dir.join("cpu.folded")).expect("it was written");
    assert_eq!(written, shown.out);
    assert!(written.contains(";main;parse "), "{written}");
    std::fs::remove_dir_all(dir).expect("the folder can be removed");
}
