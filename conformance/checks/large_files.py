"""Files of several leaves: their hash is that of all their bytes, whatever was read for it."""

from __future__ import annotations

import os

from lib.harness import Env
from lib.reader import payload_hash, read_file
from lib.treehash import LEAF_BYTES

SIZE = 3 * LEAF_BYTES + 12345


def check_65_large_files_are_hashed_as_they_are(env: Env) -> None:
    """Small changes inside a large file, and holes, give the hash of all its bytes; damage is found and placed."""
    root = env.repository()
    path = f"{root}/main/large"
    with open(path, "wb") as file:
        for number in range(SIZE // 1000 + 1):
            file.write(b"%999d\n" % number)
        file.truncate(SIZE)
    taken = [env.snapshot(root, "first")]
    for at, what in ((0, b"x"), (LEAF_BYTES - 1, b"xy"), (2 * LEAF_BYTES + 7, b""), (SIZE - 1, b"\0"), (SIZE, b"more")):
        with open(path, "r+b") as file:
            if what:
                file.seek(at)
                file.write(what)
            else:
                file.truncate(at)
                file.truncate(SIZE)
        taken.append(env.snapshot(root, f"at {at}"))
        env.equal(payload_hash(root, taken[-1]), env.tree(f"{root}/main"), f"hash after a change at {at}")
    lists = f"{root}/.jvs/snapshots/{taken[-1]}.leaves"
    if os.path.exists(lists):  # it may be missing; what is wrong in it must not count
        data = bytearray(read_file(lists))
        data[-20] ^= 1
        with open(lists, "wb") as file:
            file.write(data)
    with open(path, "r+b") as file:
        file.write(b"again")
    env.equal(payload_hash(root, env.snapshot(root, "last")), env.tree(f"{root}/main"), "hash after a damaged list")
    if os.path.exists(lists):
        os.unlink(lists)
    env.healthy(root)
    env.jvs("restore", taken[0], cwd=root)
    env.equal(env.tree(f"{root}/main"), payload_hash(root, taken[0]), "hash after restore")
