//! A few lines of every text dialect.

pub(crate) const TEXTS: &[(&str, &str)] = &[
    (
        "tracefs trace",
        "# tracer: nop\n#\n# entries-in-buffer/entries-written: 4/9   #P:2\n#\n\
         #                                _-----=> irqs-off/BH-disabled\n\
         #                               / _----=> need-resched\n\
         #                              | / _---=> hardirq/softirq\n\
         #                              || / _--=> preempt-depth\n\
         #                              ||| / _-=> migrate-disable\n\
         #                              |||| /     delay\n\
         #           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n\
         #              | |         |   |||||     |         |\n\
         \x20    my - odd> n-5180    [001] .....  1524.005689: sys_enter: NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)\n\
         \x20         <idle>-0       [000] d.h2.  1524.005700: sched_waking: comm=my - odd> n pid=5180 prio=120 target_cpu=001\n\
         \x20          <...>-5181    [000] dNs3.  1524.005710: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=a:b next_pid=5181 next_prio=120\n\
         \x20             sh-5182    [001] .....  1524.005720: tracing_mark_write: agenttrace:B|1|tool\n",
    ),
    (
        "tracefs trace with tgid",
        "# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/2   #P:2\n#\n\
         #           TASK-PID     TGID     CPU#  |||||  TIMESTAMP  FUNCTION\n\
         \x20             sh-6576    (   6576) [000] .....  1618.739802: sys_exit: NR 1 = 2\n\
         \x20         <idle>-0       (-------) [001] d..2.  1618.893229: block_rq_issue: 254,0 RA 4096 () 2048 + 8 [sh]\n",
    ),
    (
        "trace_pipe",
        "             sh-5168    [000] .....  1533.218333: sys_enter: NR 202 (561d0957270c, 81, 7fffffff, 0, 561d095726e0, 561d09572700)\n\
         CPU:1 [LOST 168 EVENTS]\n\
         \x20            sh-5168    [001] .N...  1533.218338: sys_exit: NR 202 = 1\n",
    ),
    (
        "trace-cmd report",
        "cpus=2\nCPU:1 [146259 EVENTS DROPPED]\n\
         \x20    my - odd> n-5180  [001]  1524.005689: sys_enter:            NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)\n\
         \x20             sh-5165  [001]  1532.287135: sched_switch:         sh:5165 [120] S ==> my - odd> n:5180 [120]\n\
         \x20             sh-5165  [000]  1532.287140: page_fault_user:      address=0x7f3f39da51d8 ip=0x55b68a7a7a50 error_code=0x6\n",
    ),
    (
        "trace-cmd report -t, a named buffer, -w's trailer",
        "cpus=2\n\
         \x20             sh-5180  [001]  1524.005688663: sys_enter:            NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)\n\
         buf:              sh-5180  [001]  1524.005689044: sys_exit:             NR 8 = -29\n\
         \x20             sh-5180  [000]  1524.005745959: sched_wakeup:         sh:5181 [120] CPU:001 Latency: 12.345 usecs\n",
    ),
    (
        "trace-cmd report -R",
        "cpus=2\n\
         \x20             sh-5180  [001]  1524.005689: sys_enter:             id=8 args=ARRAY[03, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 01, 00, 00, 00, 00, 00, 00, 00, d8, 51, da, 39, 3f, 7f, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00]\n\
         \x20             sh-5180  [001]  1524.005690: sys_exit:              id=8 ret=-29\n",
    ),
    (
        "trace-cmd report --ts-diff",
        "cpus=2\n\
         \x20             sh-5180  [001]  1524.005689: (+3)     sys_enter:            NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)\n\
         \x20             sh-5180  [001]  1524.005689: (+0)     sys_exit:             NR 8 = -29\n",
    ),
    (
        "perf script",
        "              sh  2958 [001]  2307.244841:     raw_syscalls:sys_enter: NR 1 (3, 5598309b51b0, 20, 7fca2d6374f0, 0, 0)\n\
         \x20             sh  2958 [001]  2307.244847:      raw_syscalls:sys_exit: NR 1 = 32\n\
         \x20        swapper     0 [000]  2307.244850:        1 minor-faults:  7fca2cea91b0 [unknown] ([unknown])\n",
    ),
    (
        "perf script --ns, call chains, records",
        "              sh  2958/2958  [000]  2306.900639516: PERF_RECORD_COMM exec: sh:2958/2958\n\
         \x20             sh  2958/2958  [000]  2306.900668850: PERF_RECORD_MMAP2 2958/2958: [0x7ffd1e88c000(0x21000) @ 0x7ffffffde000 fe:00 12 0]: rw-p /bin/sh\n\
         \x20             sh  2958/2958  [001]  2309.631966123: sched:sched_switch: prev_comm=sh prev_pid=3048 prev_prio=120 prev_state=S ==> next_comm=my - odd> n next_pid=3020 next_prio=120\n\
         \tffffffff821f8298 __schedule+0x618 ([kernel.kallsyms])\n\
         \tffffffff821f8c03 schedule+0x23 ([kernel.kallsyms])\n\n\
         \x20             sh  2958/2958  [001]  2309.631970456: PERF_RECORD_LOST lost 7\n\
         \x20             sh  2958/2958  [001]  2309.631980456: PERF_RECORD_FORK(2959:2959):(2958:2958)\n",
    ),
    (
        "tracefs trace with stacks",
        "# tracer: nop\n#\n# entries-in-buffer/entries-written: 6/6   #P:2\n#\n\
         \x20             sh-5180  [001] .....  1524.005689: sys_enter: NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)\n\
         \x20             sh-5180  [001] d.h2.  1524.005690: irq_handler_entry: irq=24 name=virtio\n\
         \x20             sh-5180  [001] d.h2.  1524.005690: <stack trace>\n => handle_irq+0x12/0x50\n => common_interrupt [a_module]\n\
         \x20             sh-5180  [001] .....  1524.005691: <stack trace>\n => do_syscall_64\n => entry_SYSCALL_64_after_hwframe\n\
         \x20             sh-5180  [001] .....  1524.005692: <user stack trace>\n => /bin/sh[+0x2f9ee] <000055d000000001>\n =>  <00007f6c3423caa7>\n => ??\n",
    ),
    (
        "trace-cmd report with stacks",
        "cpus=2\n\
         \x20             sh-5180  [000]  1524.005689: sys_enter:            NR 8 (3, 0, 1, 7f3f39da51d8, 0, 0)\n\
         \x20             sh-5180  [000]  1524.005690: kernel_stack:         <stack trace >\n=> do_syscall_64 (ffffffff821ed69a)\n=> entry_SYSCALL_64_after_hwframe (ffffffff81000130)\n\
         \x20             sh-5180  [000]  1524.005691: user_stack:           \t=> 0x7f6c3423caa7\n\t=> 0x5645cb3159ee\n\t=> 0x0\n",
    ),
    (
        "perf script, inlined functions and sources",
        "              sh  2958 [001]  2307.244841:    1003009 cpu-clock:pppH: \n\
         \tffffffff821f8298 __schedule+0x618 ([kernel.kallsyms])\n\
         \t    55e7c8a2b1c9 inner(int) (inlined)\n\
         \t    55e7c8a2b1c9 outer+0x19 (/opt/My App (x86)/a (deleted))\n\n\
         \x20             sh  2958 [001]  2307.244847:      raw_syscalls:sys_exit: NR 1 = 32\n",
    ),
    (
        "events of agenttrace",
        "# agenttrace.events/1\n# clock monotonic\n# node 0 0-1\n# wall 1 2\n\
         100 0 7/7 . raw_syscalls:sys_enter id=0 args=3,7f00,1000,0,0,0\n\
         200 1 7/8 dh irq:irq_handler_entry name=\"virtio\\x20\" irq=24 agent_step_id=1\n",
    ),
];
