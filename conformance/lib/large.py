"""Operations on a file of several leaves, of which one changed, ready to be interrupted.

On a filesystem that shares storage only that leaf is read; the others are known by the snapshot before.
"""

from __future__ import annotations

import os
import random

from lib.before import base
from lib.harness import Env, write

Words = tuple[str, ...]

LEAF = 4 << 20


def _history(env: Env) -> str:
    root, _ = base(env)
    data = random.Random(7).randbytes(LEAF)
    path = f"{root}/main/large"
    write(path, data * 2 + data[: LEAF // 2])
    first = str(env.snapshot(root, "large"))
    for byte in (b"1", b"2"):
        with open(path, "r+b") as file:
            os.pwrite(file.fileno(), byte, LEAF + LEAF // 2)
            os.fsync(file.fileno())
        if byte == b"1":
            env.jvs("snapshot", "changed", cwd=f"{root}/main")
    return first


def snapshot(env: Env) -> Words:
    _history(env)
    return ("snapshot", "N")


def restore(env: Env) -> Words:
    return ("restore", _history(env))


BUILDS = {"large-snapshot": snapshot, "large-restore": restore}
