"""Streams ready to be received: of a line of another repository, and of changes of what is there."""

from __future__ import annotations

import os

from lib.before import base
from lib.harness import Env, copy_repository, remove_repository, write

Words = tuple[str, ...]
STREAM = "../../source/stream"


def receive(env: Env) -> Words:
    """Two snapshots of another repository, the second one with a note that came later, and a line that was cut."""
    base(env)
    source = env.repository("source")
    ids = env.history(source, 3)
    os.link(f"{source}/main/a.txt", f"{source}/main/dir/again")
    ids.append(env.snapshot(source, "linked"))
    env.jvs("note", ids[2], "said later", cwd=source)
    return _sent(env, source, "--only", ids[2], ids[3])


def receive_changes(env: Env) -> Words:
    """Two snapshots as changes of one that is there, with every kind of change."""
    root, ids = base(env)
    source = f"{env.work}/source"
    copy_repository(root, source)
    main = f"{source}/main"
    env.jvs("restore", ids[2], cwd=main)
    write(f"{main}/dir/deep/new", "new\n")
    write(f"{main}/a.txt", "changed elsewhere\n")
    os.unlink(f"{main}/only-1")
    os.rename(f"{main}/dir/b.txt", f"{main}/moved")
    env.snapshot(source, "elsewhere", "--tag", "far")
    os.symlink("moved", f"{main}/points")
    last = env.snapshot(source, "and again")
    return _sent(env, source, "--since", ids[2], last)


def _sent(env: Env, source: str, *words: str) -> Words:
    """Write a stream, and leave nothing of the source but that."""
    env.jvs("send", *words, "-o", f"{env.work}/stream", cwd=source)
    remove_repository(source)
    os.mkdir(source)
    os.rename(f"{env.work}/stream", f"{source}/stream")
    return ("receive", STREAM)


BUILDS = {"receive": receive, "receive-changes": receive_changes}
