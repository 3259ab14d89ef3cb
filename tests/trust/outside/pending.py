"""A small repository with every kind of record, and copies in which each kind of operation was stopped half way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import sandbox
from supervisor import seccomp, supervise
from supervisor.standby import Standby


class Operation(NamedTuple):
    """How a kind of operation is begun; `prepare` changes the copy first."""

    words: tuple[str, ...]
    cwd: str = "main"
    prepare: Callable[[Path], None] | None = None


def _edit(root: Path) -> None:
    (root / "main" / "dir" / "b").write_text("changed since")
    (root / "main" / "new").write_text("new")


def operations(root: Path) -> dict[str, Operation]:
    """Return every kind of operation that leaves an intent while it runs."""
    plan = max((root / ".jvs/gc/plans").iterdir(), key=lambda path: path.stat().st_mtime_ns).stem
    pinned = sorted((root / ".jvs/gc/pins").iterdir())[0].stem
    return {
        "snapshot": Operation(("snapshot", "pending"), prepare=_edit),
        "restore": Operation(("restore", "HEAD~1"), prepare=_edit),
        "undo": Operation(("undo",)),
        "worktree_create": Operation(("worktree", "create", "made")),
        "worktree_fork": Operation(("worktree", "fork", "HEAD", "forked")),
        "worktree_rename": Operation(("worktree", "rename", "side", "aside")),
        "worktree_remove": Operation(("worktree", "remove", "side")),
        "discard": Operation(("worktree", "remove", "side", "--discard")),
        "gc_run": Operation(("gc", "run", "--plan-id", plan, "--keep-last", "1", "--drop-tagged")),
        "pin": Operation(("gc", "pin", "HEAD", "--reason", "r")),
        "unpin": Operation(("gc", "unpin", pinned)),
        "config": Operation(("config", "set", "retention.keep_last", "7")),
    }


OPERATIONS = (
    *("snapshot", "restore", "undo", "worktree_create", "worktree_fork", "worktree_rename", "worktree_remove"),
    *("discard", "gc_run", "pin", "unpin", "config"),
)


def jvs(cwd: Path, *words: str, stdin: bytes = b"") -> str:
    """Run jvs, which must succeed, and return what it printed."""
    done = sandbox.command(words, cwd=cwd, stdin=stdin, seconds=60)
    assert done.exit == 0, (words, done.err)
    return done.out.decode()


def build(root: Path) -> None:
    """Make the repository: snapshots, worktrees, a pin, a plan, a tombstone, settings, and operations to undo."""
    jvs(root.parent, "init", root.name)
    main = root / "main"
    (main / "dir").mkdir()
    for name in ("a", "dir/b", "dir/c"):
        (main / name).write_text(name)
    os.link(main / "a", main / "linked")
    (main / "link").symlink_to("a")
    for note in ("one", "two", "three"):
        (main / "a").write_text(note)
        jvs(main, "snapshot", note, "-t", note)
    first = jvs(main, "jvs-resolve", "one").strip()
    jvs(main, "config", "set", "audit.remember", "true")
    jvs(main, "worktree", "fork", "three", "side")
    (root / "worktrees/side/work").write_text("work")
    jvs(root / "worktrees/side", "snapshot", "of side")
    jvs(root / "worktrees/side", "restore", "HEAD~1")
    (root / "worktrees/side/unsaved").write_text("unsaved")
    jvs(main, "restore", "two")
    jvs(main, "undo")
    jvs(main, "restore", "two")
    jvs(main, "worktree", "fork", "two", "spare")
    jvs(main, "worktree", "rename", "spare", "renamed")
    jvs(main, "worktree", "fork", "two", "removed")
    jvs(main, "worktree", "remove", "removed")
    jvs(main, "gc", "pin", first, "--reason", "why")
    jvs(main, "snapshot", "four")
    jvs(main, "gc", "unpin", first)
    plan = jvs(main, "gc", "plan", "--keep-last", "1", "--drop-tagged", "--json")
    if json.loads(plan)["candidate_count"]:
        jvs(main, "gc", "run", "--plan-id", json.loads(plan)["plan_id"])
    jvs(main, "gc", "pin", "HEAD", "--reason", "why")
    for note in ("five", "between", "six"):
        (main / "a").write_text(note)
        jvs(main, "snapshot", note, "-t", note)
    jvs(main, "note", "five", "another")
    jvs(main, "tag", "five", "more")
    jvs(main, "meta", "six", "loss=0.5")
    jvs(main, "restore", "five")
    jvs(main, "gc", "plan", "--keep-last", "1", "--drop-tagged")


def stop(base: Path, made: Path, name: str, standby: Standby) -> None:
    """Copy the repository and stop an operation in the middle of what lies between its intent and its end.

    Errors: seccomp.Unsupported.
    """
    calls = [str(event) for event in _run(base, made, name, None, standby).events]
    inside = [n for n, event in enumerate(calls, 1) if "/.jvs/intents/" in event and "rename" in event]
    ends = [n for n, event in enumerate(calls, 1) if "/.jvs/intents/" in event and "unlink" in event]
    after = [n for n in ends if n > inside[0]]
    where = (inside[0] + after[-1] + 1) // 2 if name not in ("pin", "unpin", "config") else after[-1]
    for at in range(where, after[-1] + 1):
        _run(base, made, name, supervise.Action("kill", at), standby)
        if any(path.suffix == ".json" for path in (made / ".jvs/intents").iterdir()):
            return
    raise AssertionError(f"'{name}' leaves no intent when it is stopped")


def _run(base: Path, made: Path, name: str, action: supervise.Action | None, standby: Standby) -> supervise.Outcome:
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(base, made, symlinks=True)
    what = operations(made)[name]
    if what.prepare is not None:
        what.prepare(made)
    return supervise.run(
        [standby.program, *what.words],
        root=str(made),
        cwd=str(made / what.cwd),
        action=action,
        timeout=60,
        standby=standby,
    )


def build_all(directory: Path) -> dict[str, Path]:
    """Return `clean`, and a repository for each kind of operation. Errors: seccomp.Unsupported."""
    seccomp.numbers()
    made = {"clean": directory / "clean"}
    build(made["clean"])
    standby = Standby(sandbox.program("jvs"))
    try:
        for name in OPERATIONS:
            made[name] = directory / name
            stop(made["clean"], made[name], name, standby)
    finally:
        standby.close()
    return made
