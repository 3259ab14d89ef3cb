"""Commands that run at the same time, and commands that a signal ends."""

from __future__ import annotations

import json
import os
import subprocess
import time

from lib.harness import Env, write
from lib.violations import Expect


def check_37_concurrent_snapshots_stand_in_one_line(env: Env) -> None:
    """Eight snapshots started at once all succeed, and history from the head reaches every one."""
    root = env.repository()
    env.snapshot(root, "first")
    started = [
        subprocess.Popen(
            [f"{env.bin}/jvs", "snapshot", f"number {number}", "--json"],
            cwd=f"{root}/main",
            env=env.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(8)
    ]
    ids = []
    for process in started:
        out, err = process.communicate(timeout=120)
        env.equal(process.returncode, 0, f"exit of a concurrent snapshot ({err.decode()})")
        ids.append(json.loads(out)["snapshot_id"])
    line = [d["snapshot_id"] for d in env.jvs("history", "--json", cwd=root).json()]
    env.equal(len(line), 9, "snapshots in the line")
    env.check(set(ids) < set(line), "an acknowledged snapshot is not in the line")
    env.sound(root, expect=Expect(linear=True))
    env.healthy(root)


def check_38_readers_raise_no_false_alarms_next_to_writers(env: Env) -> None:
    """While snapshots and restores run, verify --all and history find nothing wrong and do not block them."""
    root = env.repository()
    ids = env.history(root)
    script = (
        "set -e; for i in 1 2 3 4 5 6; do echo $i > new; jvs snapshot s$i; jvs restore HEAD~1; jvs restore HEAD; done"
    )
    writer = subprocess.Popen(
        ["sh", "-c", script],
        cwd=f"{root}/main",
        env=env.variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    rounds = 0
    while writer.poll() is None:
        env.jvs("verify", "--all", cwd=root)
        listed = {d["snapshot_id"] for d in env.jvs("history", "--all", "--json", cwd=root).json()}
        env.check(set(ids) <= listed, "history lost an acknowledged snapshot")
        env.jvs("status", cwd=f"{root}/main")
        rounds += 1
    errors = writer.stderr.read() if writer.stderr else b""
    env.equal(writer.returncode, 0, f"exit of the writer ({errors.decode()})")
    env.check(rounds > 2, "too few rounds to show anything")
    env.healthy(root)


def check_50_a_signal_ends_a_command_cleanly(env: Env) -> None:
    """INT and TERM end a snapshot with 128+n and roll it back, or it is whole."""
    root = env.repository()
    env.snapshot(root, "one")
    write(f"{root}/main/big", os.urandom(64 << 20))
    for number in (2, 15):
        process = subprocess.Popen(
            [f"{env.bin}/jvs", "snapshot", "--engine", "copy", "cut short"],
            cwd=f"{root}/main",
            env=env.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 20
        while not os.listdir(f"{root}/.jvs/intents") and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        env.check(process.returncode in (0, 128 + number), f"exit {process.returncode} after signal {number}: {err!r}")
        env.check(b"Traceback" not in err, f"after signal {number}: {err!r}")
        if process.returncode:
            env.equal(out, b"", "stdout of an interrupted snapshot")
        env.sound(root)
    env.healthy(root)
