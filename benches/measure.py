#!/usr/bin/env python3
"""Runs a command, with its output to /dev/null: its times, or its peak memory.

    benches/measure.py COMMAND...             prints seconds: WALL CPU
    benches/measure.py --memory COMMAND...    prints KB: VmHWM RssAnon

Memory is sampled from /proc each 2 ms, which costs the command a little time.
"""
import os
import sys
import time

arguments = sys.argv[1:]
sample = arguments[:1] == ["--memory"]
if sample:
    arguments = arguments[1:]
begin = time.monotonic()
pid = os.fork()
if pid == 0:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    try:
        os.execvp(arguments[0], arguments)
    except OSError:
        os._exit(127)
own = open("/proc/self/comm").read().strip()
peak = {"VmHWM": 0, "RssAnon": 0}
done = 0
while sample and not done:
    try:
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    except (FileNotFoundError, ProcessLookupError):
        status = {}
    # Before its exec, the child is this program still.
    if status.get("Name", own).strip() != own:
        for key in peak:
            peak[key] = max(peak[key], int(status.get(key, "0").split()[0]))
    time.sleep(0.002)
    done, state, usage = os.wait4(pid, os.WNOHANG)
if not done:
    done, state, usage = os.wait4(pid, 0)
wall = time.monotonic() - begin
if state != 0:
    sys.exit(f"measure.py: {' '.join(arguments)} failed: {os.waitstatus_to_exitcode(state)}")
if sample:
    print(peak["VmHWM"], peak["RssAnon"])
else:
    print(f"{wall:.4f} {usage.ru_utime + usage.ru_stime:.4f}")
