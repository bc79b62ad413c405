//! Stacks in texts, each with the event that it belongs to.

use super::{PERF, TRACE, TRACE_CMD};
use crate::stack::{Mode, StackRecord};
use crate::{Capture, Diagnostics, Error, ReadOptions, Unpacked};

/// Each sample, then its frames; and each record of perf's.
fn stacks(text: &str) -> Result<String, Error> {
    let unpacked = Unpacked::of(text.as_bytes())?;
    let capture = Capture::open(&unpacked, &ReadOptions::default())?;
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let mut out = format!("{}\n", capture.has_stacks());
    capture.read_stacks(&mut Diagnostics::default(), &mut |events| {
        for event in events {
            let (time, tid) = (event.time.0, event.tid.0);
            let what = match &event.what {
                StackRecord::Sample(sample) => {
                    let name = &capture.info().event_types[sample.event_type].name;
                    out += &format!("{time} {tid} {name} x{}\n", sample.period);
                    for frame in sample.chain.frames() {
                        let mode = match frame.mode {
                            Mode::Kernel => "k",
                            Mode::User => "u",
                            Mode::Other | Mode::Unknown => "?",
                        };
                        let ip = frame.ip.map_or("-".to_owned(), |ip| format!("{ip:x}"));
                        let named = frame.named.map(|n| (text(n.symbol), text(n.module)));
                        let (symbol, module) = named.unwrap_or_default();
                        out += &format!("  {mode} {ip} {symbol} {module}\n");
                    }
                    continue;
                }
                StackRecord::Comm(comm) => format!("comm {}", comm.comm.to_text()),
                StackRecord::Fork(fork) => format!("fork {}", fork.tid.0),
                StackRecord::Exit(exit) => format!("exit {}", exit.tid.0),
                StackRecord::Mapping(_)
                | StackRecord::KernelSymbol(_)
                | StackRecord::Deferred(_) => "?".to_owned(),
            };
            out += &format!("{time} {what}\n");
        }
    })?;
    Ok(out)
}

#[test]
fn texts_without_stacks_say_so() {
    for (text, expected) in [(TRACE, false), (TRACE_CMD, false), (PERF, true)] {
        assert!(stacks(text).unwrap().starts_with(&format!("{expected}\n")), "{text}");
    }
}

#[test]
fn frames_of_perf_script() {
    let text = "\
              me  2958/2958  [001]     0.000000000: PERF_RECORD_COMM: me:2958/2958
              me  2958/2958  [001]     1.000000100:    1003009 cpu-clock:pppH: 
\tffffffff821f8298 vfs_statx+0x18 ([kernel.kallsyms])
\t    55e7c8a2b1c9 inner(int) (inlined)
  inner.h:12
\t    55e7c8a2b1c9 outer+0x19 (/opt/me (deleted))
  outer.c:7
\t    55e7c8a20000 [unknown] (/opt/me (deleted))

              me  2958/2958  [001]     1.000000200:          7 minor-faults: 
\t    7f0000001000 memset+0x4 (/lib/libc.so.6)

              me  2958/2958  [001]     1.000000300: PERF_RECORD_FORK(2959:2959):(2958:2958)
              me  2958/2958  [001]     1.000000400:          1 raw_syscalls:sys_exit: NR 1 = 32
              me  2958/2958  [001]     1.000000500: PERF_RECORD_EXIT(2959:2959):(2958:2958)
";
    let expected = "\
true
0 comm me
1000000100 2958 cpu-clock:pppH x1003009
  k ffffffff821f8298 vfs_statx [kernel.kallsyms]
  u 55e7c8a2b1c9 inner(int) 
  u 55e7c8a2b1c9 outer /opt/me (deleted)
  u 55e7c8a20000  /opt/me (deleted)
1000000200 2958 software:minor-faults x7
  u 7f0000001000 memset /lib/libc.so.6
1000000300 fork 2959
1000000400 2958 raw_syscalls:sys_exit x1
1000000500 exit 2959
";
    // Lines of sources are no lines of events: the pass over events counts them.
    assert_eq!(
        stacks(&text.replace("  inner.h:12\n", "").replace("  outer.c:7\n", "")).unwrap(),
        expected
    );
    let many = (0..80).map(|n| format!("              me  2958/2958  [001]     2.{n:09}:          1 raw_syscalls:sys_exit: NR 1 = 32\n"));
    let with = stacks(&(text.to_owned() + &many.collect::<String>())).unwrap();
    assert!(with.starts_with(expected), "{with}");
}

/// An interrupt's event and stack between a task's; stacks that no event waits for.
#[test]
fn stacks_of_tracefs() {
    let text = "\
# tracer: nop
#
# entries-in-buffer/entries-written: 9/9   #P:2
#
              sh-5180    [001] .....  1.000001: sys_enter: NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)
              sh-5180    [001] d.h2.  1.000002: irq_handler_entry: irq=24 name=virtio
              sh-77      [000] .....  1.000002: sys_exit: NR 1 = 2
              sh-5180    [001] d.h2.  1.000003: <stack trace>
 => handle_irq
 => common_interrupt [a_module]
              sh-5180    [001] .....  1.000004: <stack trace>
 => do_syscall_64+0x12/0x50 <ffffffff81415972>
              sh-5180    [001] .....  1.000005: <user stack trace>
 => /bin/sh[+0x2f9ee]
 =>  <00007f6c3423caa7>
              sh-5180    [001] .....  1.000006: sys_exit: NR 8 = 3
              sh-77      [000] .....  1.000007: <stack trace>
 => last
              sh-77      [000] .....  1.000008: <stack trace>
 => lost
";
    let expected = "\
true
0 comm sh
0 comm sh
1000001000 5180 raw_syscalls:sys_enter x1
  k ffffffff81415972 do_syscall_64 
  u - sh[+0x2f9ee] /bin/sh
  u 7f6c3423caa7  
1000002000 5180 irq:irq_handler_entry x1
  k - handle_irq 
  k - common_interrupt a_module
1000002000 77 raw_syscalls:sys_exit x1
  k - last 
1000006000 5180 raw_syscalls:sys_exit x1
1000008000 77 ftrace:kernel_stack x1
  k - lost 
";
    assert_eq!(stacks(text).unwrap(), expected);
    // As events they are of types that nobody uses, not lines that cannot be read.
    let read = super::read(text.as_bytes()).unwrap();
    assert_eq!(read.diagnostics.count(crate::Problem::BadLine), 0);
    assert_eq!(read.diagnostics.count(crate::Problem::UnknownEvent), 5);
    assert_eq!(read.totals.events, 9);
    assert_eq!(stacks(&text.replace('\n', "\r\n")).unwrap(), expected);
}

/// trace-cmd names the events, and begins a user's stack in the same line.
#[test]
fn stacks_of_trace_cmd() {
    let text = "\
cpus=2
              sh-5180  [000]  1.000001: sys_enter:            NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)
              sh-5180  [000]  1.000002: kernel_stack:         <stack trace >
=> do_syscall_64 (ffffffff821ed69a)
=> entry_SYSCALL_64_after_hwframe (ffffffff81000130)
              sh-5180  [000]  1.000003: user_stack:           \t=> 0x7f6c3423caa7
\t=> 0x5645cb3159ee
\t=> 0x0
\t=> 0x0
";
    let expected = "\
true
0 comm sh
1000001000 5180 raw_syscalls:sys_enter x1
  k ffffffff821ed69a do_syscall_64 
  k ffffffff81000130 entry_SYSCALL_64_after_hwframe 
  u 7f6c3423caa7  
  u 5645cb3159ee  
";
    assert_eq!(stacks(text).unwrap(), expected);
    assert_eq!(stacks(&text.replace('\n', "\r\n")).unwrap(), expected);
}

/// The pass over stacks may be the only one: it refuses what that over events does.
#[test]
fn lines_that_cannot_be_read() {
    let text = format!("{PERF}what is this\nand this\nand that\n");
    let error = |result: Result<String, Error>| result.map(|_| ()).unwrap_err().to_string();
    let events = super::read(text.as_bytes()).map(|_| String::new());
    assert_eq!(error(stacks(&text)), error(events));
}
