"""Mounts are not ours: what would capture, move or remove one is refused before anything changes, and names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from making import run, write

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

KINDS = ("bind", "tmpfs", "file")
_IN_NAMESPACE = ["unshare", "-m", "--propagation", "private", sys.executable, "-c"]
_SCRIPT = """
import json, os, subprocess, sys
kind, outside, target, cwd, words = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], json.loads(sys.argv[5])
if kind == "tmpfs":
    subprocess.run(["mount", "-t", "tmpfs", "none", target], check=True)
    open(target + "/file", "w").write("theirs")
elif kind == "file":
    os.rmdir(target)
    open(target, "w").close()
    subprocess.run(["mount", "--bind", outside + "/file", target], check=True)
else:
    subprocess.run(["mount", "--bind", outside if kind == "bind" else target, target], check=True)
from jvs.cli import run as cli
os.chdir(cwd)
code = cli.main(words)
sys.stdout.flush()
kept = open(target if kind == "file" else target + "/file").read() if kind != "itself" else "theirs"
os._exit(code if kept == "theirs" and f" {target} " in open("/proc/self/mountinfo").read() else 99)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository with two snapshots, a fork, and data of somebody else's next to it."""
    root = tmp_path / "repo"
    assert run("init", str(root)).exit == 0
    for content, more in (("one", {}), ("two", {"more/x": "x"})):
        write(root / "main", {"d/f": content, **more})
        assert run("-C", str(root), "snapshot", content, "-t", content).exit == 0
    assert run("-C", str(root), "worktree", "fork", "two", "side").exit == 0
    write(tmp_path, {"outside/file": "theirs"})
    return root


def content(root: Path) -> dict[str, int]:
    """Return the inode of everything in a repository but locks and the index."""
    found = {}
    for here, directories, files in os.walk(root):
        if Path(here) == root / ".jvs":
            directories.remove("locks")
            files = [name for name in files if not name.startswith("index.sqlite")]
        found.update({os.path.join(here, name): os.lstat(os.path.join(here, name)).st_ino for name in files})
        found.update({os.path.join(here, name): 0 for name in directories})
    return found


def attempt(root: Path, kind: str, where: str, words: tuple[str, ...]) -> tuple[int, str, set[str]]:
    """Mount inside a repository, in a namespace of its own, and run a command; return exit, stderr, what changed."""
    target = root / where
    if kind != "itself":
        target.mkdir(parents=True, exist_ok=True)
    before = content(root)
    arguments = [kind, str(root.parent / "outside"), str(target), str(root / "main"), json.dumps(words)]
    done = subprocess.run([*_IN_NAMESPACE, _SCRIPT, *arguments], capture_output=True, text=True, timeout=120)
    ignored = {str(target)} if kind == "file" else set()
    changed = {path for path, inode in content(root).items() ^ before.items()} - ignored
    return done.returncode, done.stderr, changed


def nothing(root: Path) -> None:
    """Prepare nothing."""


def restored(root: Path) -> None:
    """Leave a restore that can be undone."""
    assert run("-C", str(root / "main"), "restore", "one").exit == 0


def undone(root: Path) -> None:
    """Leave an undo that can be redone."""
    restored(root)
    assert run("-C", str(root / "main"), "undo").exit == 0


SIDE = "worktrees/side/data"
CASES: dict[str, tuple[str, tuple[str, ...], Callable[[Path], None]]] = {
    "snapshot": ("main/data", ("snapshot", "x"), nothing),
    "snapshot deep": ("main/d/data", ("snapshot", "x"), nothing),
    "snapshot of paths": ("main/d/data", ("snapshot", "x", "--", "d"), nothing),
    "restore": ("main/more/data", ("restore", "one"), nothing),
    "restore of paths": ("main/more/data", ("restore", "one", "--", "more"), nothing),
    "restore discarding": ("main/more/data", ("restore", "one", "--discard"), nothing),
    "run": ("main/data", ("run", "--rollback", "--", "false"), nothing),
    "undo": ("main/d/data", ("undo",), restored),
    "redo": ("main/more/data", ("undo", "--redo"), undone),
    "remove": (SIDE, ("worktree", "remove", "--force", "side"), nothing),
    "remove discarding": (SIDE, ("worktree", "remove", "--force", "--discard", "side"), nothing),
    "rename": (SIDE, ("worktree", "rename", "side", "aside"), nothing),
    "gc": (".jvs/snapshots/data", ("gc", "run", "--keep-last", "1"), nothing),
    "doctor": (".jvs/gc/trash/data", ("doctor", "--repair-runtime"), nothing),
    "undo kept": (".jvs/undo/data", ("snapshot", "x"), nothing),
    "restore kept": (".jvs/undo/data", ("restore", "one"), nothing),
}
SMALL = ("snapshot", "undo", "remove discarding", "gc")
LARGE = bool(os.environ.get("JVS_TEST_LONG"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in CASES for kind in KINDS if LARGE or kind == "bind" or name in SMALL],
)
def test_a_mount_is_refused_by_name_before_anything_changes(root, name, kind):
    where, words, prepare = CASES[name]
    prepare(root)
    if words[:2] == ("gc", "run"):
        plan = run("-C", str(root / "main"), "gc", "plan", "--keep-last", "1", "--json").json
        words = (*words, "--plan-id", plan["plan_id"])
    code, said, changed = attempt(root, kind, where, words)
    assert code == 11, said
    assert changed == set()
    assert f"{root}/{where}" in said, said


@pytest.mark.parametrize(
    ("where", "words"),
    (
        ("main", ("restore", "one")),
        ("main", ("undo",)),
        ("worktrees/side", ("worktree", "remove", "--force", "side")),
        ("worktrees/side", ("worktree", "rename", "side", "aside")),
        (".jvs/snapshots", ("snapshot", "x")),
        (".jvs/intents", ("snapshot", "x")),
        (".jvs/undo", ("restore", "one")),
        (".jvs/gc", ("gc", "plan")),
    ),
)
def test_a_part_of_the_repository_that_is_a_mount_itself(root, where, words):
    restored(root)
    code, said, changed = attempt(root, "itself", where, words)
    if words == ("gc", "plan"):
        assert code in (0, 11), said
        return
    assert code == 11 and changed == set(), said
    assert str(root / where) in said


@pytest.mark.parametrize(
    "words", [("snapshot", "x"), ("history",), ("gc", "pin", "HEAD"), ("doctor",)], ids=lambda w: w[0]
)
@pytest.mark.parametrize("where", ["locks", "intents", "snapshots", "descriptors", "audit", "worktrees", "gc/pins"])
def test_nothing_is_written_into_what_is_mounted_in_place_of_a_directory(root, where, words):
    """A lock that is made there would be the first thing that somebody else's directory gets."""
    outside = root.parent / "outside"
    code, said, changed = attempt(root, "bind", f".jvs/{where}", words)
    assert code != 70 and changed == set(), said
    assert code != 0 or words == ("history",), said  # which needs not all of them
    assert [path.name for path in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "theirs"


@pytest.mark.parametrize("words", [("snapshot", "x"), ("doctor", "--repair-runtime"), ("gc", "plan"), ("status",)])
@pytest.mark.parametrize("where", ["locks/repo.lock", "locks/worktree-main.lock", "audit/audit.jsonl"])
def test_nothing_is_written_into_a_file_that_is_mounted_in_place_of_ours(root, where, words):
    """Whoever takes a lock writes who they are into it."""
    outside = root.parent / "outside"
    before = (root / ".jvs" / where).read_bytes()
    (outside / "file").write_text("theirs")
    script = _SCRIPT.replace('    os.rmdir(target)\n    open(target, "w").close()\n', "")
    arguments = ["file", str(outside), str(root / ".jvs" / where), str(root / "main"), json.dumps(words)]
    done = subprocess.run([*_IN_NAMESPACE, script, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode not in (70, 99), done.stderr
    assert (outside / "file").read_text() == "theirs" and (root / ".jvs" / where).read_bytes() == before


def test_a_worktree_that_is_a_mount_can_be_snapshotted(root):
    code, said, _ = attempt(root, "itself", "main", ("snapshot", "x"))
    assert code == 0, said


def test_without_mounts_all_goes_on(root):
    for words in (("snapshot", "x"), ("restore", "one"), ("undo",), ("worktree", "remove", "--force", "side")):
        assert run("-C", str(root / "main"), *words).exit == 0
