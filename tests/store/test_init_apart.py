"""A workspace whose history is elsewhere: whoever sees the workspace alone can neither read nor change it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from crashing import dies_at
from making import run, settings, write

from jvs import Repository
from jvs.store import init_apart

EACH = 1 if os.environ.get("JVS_FUZZ_EXAMPLES") else 5
"""How many changes lie between two of which a crash is tried before."""


def done(*words: str) -> str:
    here = os.getcwd()
    try:
        said = run(*words)
    finally:
        os.chdir(here)
    assert said.exit == 0, said.err
    return said.text


def refused(*words: str) -> str:
    here = os.getcwd()
    try:
        said = run(*words, "--json")
    finally:
        os.chdir(here)
    assert said.exit != 0, said.out
    return said.error["class"]


@pytest.fixture
def work(tmp_path: Path) -> tuple[Path, Path]:
    """A workspace with one snapshot, and its control directory next to it."""
    work, control = tmp_path / "work", tmp_path / "history"
    write(work, {"a": "a", "dir/b": "b"})
    done("init", "--here", str(work), "--control", str(control))
    done("-C", str(work), "snapshot", "one")
    return work, control


def test_it_works_like_any_other_on_every_filesystem(fs_dir: Path):
    work, control = fs_dir / "work", fs_dir / "history"
    write(work, {"a": "a", "dir/b": "b"})
    inode = work.stat().st_ino
    done("init", "--here", str(work), "--control", str(control))
    assert sorted(os.listdir(work)) == [".jvs", "a", "dir"]
    assert (work.stat().st_ino, (work / ".jvs").is_file()) == (inode, True)
    os.chdir(work / "dir")
    first = json.loads(done("snapshot", "one", "--json"))["snapshot_id"]
    write(work, {"a": "changed", "new": "n"})
    done("restore", first)
    assert ((work / "a").read_text(), (work / "new").exists()) == ("a", False)
    done("undo")
    assert (work / "a").read_text() == "changed"
    done("fork", "--now", "inside")
    done("fork", "outside", "--path", str(fs_dir / "outside"))
    for place in (control / "forks/inside", fs_dir / "outside"):
        assert json.loads(done("-C", str(place), "status", "--json"))["clean"]
    assert json.loads(done("info", "--json"))["layout"] == "apart"
    assert "findings" in done("doctor", "--strict", "--json")
    done("worktree", "remove", "inside")
    done("worktree", "remove", "outside")
    done("undo")
    assert (fs_dir / "outside/new").exists()
    done("worktree", "remove", "outside", "--discard")
    os.chdir(work)
    done("detach", "--delete-history")
    assert (sorted(os.listdir(work)), control.exists()) == (["a", "dir", "new"], False)
    assert [name for name in os.listdir(fs_dir) if name.startswith(".jvs")] == []


def test_the_api_makes_one(tmp_path):
    write(tmp_path / "work", {"a": "a"})
    repo = Repository.init(tmp_path / "work", control=tmp_path / "history")
    assert repo.snapshot("one")["note"] == "one"
    assert (repo.root, repo.path()) == (str(tmp_path / "history"), str(tmp_path / "work"))


@pytest.mark.parametrize("control", ["work/inside", "work", "other/.jvs/x", ".", "missing/x", "file"])
def test_places_that_cannot_be_are_refused(tmp_path, control):
    write(tmp_path / "work", {"a": "a"})
    write(tmp_path, {"file": "f"})
    done("init", "--here", str(tmp_path / "other")) if (tmp_path / "other").mkdir() is None else None
    assert refused("init", "--here", str(tmp_path / "work"), "--control", str(tmp_path / control))
    assert os.listdir(tmp_path / "work") == ["a"]
    assert sorted(os.listdir(tmp_path)) == ["file", "other", "work"]


def test_workspaces_do_not_nest(work, tmp_path):
    inner, _ = work
    assert refused("init", "--here", str(inner / "dir"), "--control", str(tmp_path / "second")) == "E_EXISTS"
    assert refused("init", "--here", str(inner / "dir")) == "E_EXISTS"
    assert refused("init", str(inner / "new")) == "E_EXISTS"
    assert refused("fork", "x", "--path", str(inner / "x")) != ""


EVIL = """
import json, os, shutil, sys
work = sys.argv[1]
seen = sorted(os.listdir(os.path.dirname(work)))
value = json.load(open(f"{work}/.jvs"))
control = os.path.normpath(os.path.join(work, value["control"]))
try:
    os.listdir(control)
    print("SEEN")
except OSError:
    pass
try:
    os.makedirs(f"{control}/snapshots")
except OSError:
    pass
shutil.copytree(f"{work}/evil.jvs", f"{work}/x/.jvs")
value["control"] = "x/.jvs"
value["repo_id"] = open(f"{work}/x/.jvs/repo_id").read().strip()
open(f"{work}/.jvs", "w").write(json.dumps(value))
for name in ("a", "dir"):
    shutil.rmtree(f"{work}/{name}") if os.path.isdir(f"{work}/{name}") else os.unlink(f"{work}/{name}")
"""


def test_a_sandbox_that_sees_the_workspace_alone_cannot_change_history(work, tmp_path):
    inner, control = work
    before = {path: path.read_bytes() for path in control.rglob("*") if path.is_file() and path.suffix != ".lock"}
    done("init", str(tmp_path / "evil"))
    shutil.copytree(tmp_path / "evil/.jvs", inner / "evil.jvs")
    shutil.copytree(tmp_path / "evil/main", inner / "main")
    shutil.rmtree(tmp_path / "evil")
    parent = tmp_path
    script = (
        f"mount --bind {inner} /mnt && mount -t tmpfs none {parent} && mkdir {inner} && mount --move /mnt {inner} && "
        f'exec {sys.executable} -c "$EVIL" {inner}'
    )
    sandbox = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    ended = subprocess.run(sandbox, env={**os.environ, "EVIL": EVIL}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert not (inner / "a").exists()
    assert {path: path.read_bytes() for path in before} == before
    assert refused("-C", str(inner), "status") == "E_PATH_ESCAPE"
    assert refused("-C", str(inner), "snapshot", "no") == "E_PATH_ESCAPE"
    done("--repo", str(control), "verify", "--all")
    done("--repo", str(control), "worktree", "attach", str(inner), "main")
    done("-C", str(inner), "restore", "LATEST")
    assert ((inner / "a").read_text(), (inner / "dir/b").read_text()) == ("a", "b")


def test_a_crash_leaves_nothing_or_what_the_same_command_completes(tmp_path):
    number, died = 1, True
    while died:
        top = tmp_path / str(number)
        write(top / "work", {"a": "a"})

        def make(top: Path = top) -> None:
            init_apart.create(str(top / "work"), str(top / "history"), settings())

        died = dies_at(number, make)
        if died and not (top / "work/.jvs").exists():
            make()
        done("-C", str(top / "work"), "snapshot", "one")
        done("-C", str(top / "work"), "doctor", "--strict")
        done("-C", str(top / "work"), "snapshot", "two")
        left = [name for name in os.listdir(top) if name.startswith(".jvs")] + sorted(os.listdir(top / "work"))
        assert left == [".jvs", "a"], number
        number += EACH


def test_a_damaged_configuration_never_makes_the_control_directory_the_workspace(work):
    inner, control = work
    config = control / "worktrees/main/config.json"
    value = json.loads(config.read_text())
    for broken in ({**value, "path": None}, {**value, "path": "."}, {**value, "path": "../nowhere"}, {}):
        config.write_text(json.dumps(broken))
        before = sorted(os.listdir(control))
        for words in (("restore", "LATEST"), ("snapshot", "x"), ("undo",)):
            assert refused("--repo", str(control), *words)
        assert sorted(os.listdir(control)) == before
    config.write_text(json.dumps(value))
    done("-C", str(inner), "snapshot", "well again")
