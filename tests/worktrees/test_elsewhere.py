"""Worktrees outside of their repository: made, moved, attached, found again; and never taken for what they are not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from crashing import dies_at, dies_before
from making import Said, main_of, make_store, open_store, run, snapshot, violations, write
from zoo import describe_tree, diff_trees, make_zoo

from jvs import system
from jvs.store import placement, worktree
from jvs.store.store import Store

EACH = 1 if os.environ.get("JVS_FUZZ_EXAMPLES") else 4
"""How many changes lie between two of which a crash is tried before."""


@pytest.fixture
def lab(tmp_path: Path) -> tuple[Path, Path]:
    """A repository with two snapshots, and a worktree `side` of the first next to it."""
    store = make_store(tmp_path / "lab")
    write(main_of(store), {"a": "a", "dir/b": "b"})
    first = snapshot(store, "one")["snapshot_id"]
    write(main_of(store), {"a": "changed"})
    snapshot(store, "two")
    store.close()
    os.chdir(tmp_path / "lab/main")
    done("fork", first, "side", "--path", str(tmp_path / "side"))
    return tmp_path / "lab", tmp_path / "side"


def call(*words: str) -> Said:
    """Run a command; -C is for that command alone."""
    here = os.getcwd()
    try:
        return run(*words)
    finally:
        if "-C" in words:
            os.chdir(here)


def done(*words: str) -> str:
    said = call(*words)
    assert said.exit == 0, said.err
    return said.text


def refused(*words: str) -> str:
    said = call(*words, "--json")
    assert said.exit != 0, said.out
    return said.error["class"]


def places(root: Path) -> dict[str, str]:
    return {item["name"]: item["path"] for item in json.loads(done("--repo", str(root), "worktree", "list", "--json"))}


def pointer_of(path: Path) -> dict:
    return json.loads((path / ".jvs").read_text())


def test_a_fork_elsewhere_is_a_worktree_like_any_other(fs_dir: Path):
    store = make_store(fs_dir / "lab")
    juicefs = "juicefs" in str(fs_dir)
    make_zoo(main_of(store), many=20, skip=("xattrs",) if juicefs else ())
    first = snapshot(store)["snapshot_id"]
    store.close()
    side = fs_dir / "side"
    os.chdir(main_of(store))
    made = json.loads(done("fork", "side", "--path", str(side), "--json"))
    if not made["degraded"]:
        left = describe_tree(str(side))
        left = {name: what for name, what in left.items() if os.fsencode(name) != b".jvs"}
        assert diff_trees(describe_tree(str(store.layout.payload(first))), left, ["data", "links"]) == []
    os.chdir(side)
    assert json.loads(done("status", "--json"))["clean"]
    write(side, {"new": "n"})
    os.unlink(side / "many/0000") if (side / "many/0000").exists() else None
    second = json.loads(done("snapshot", "--json"))
    assert second["worktree_name"] == "side"
    assert b".jvs" not in {entry["path"].encode() for entry in json.loads(done("ls", "LATEST", "--json"))}
    done("restore", first)
    assert not (side / "new").exists()
    done("undo")
    assert (side / "new").exists()
    assert (side / ".jvs").is_file()
    os.chdir(fs_dir)
    done("--repo", str(fs_dir / "lab"), "worktree", "remove", "side")
    assert not side.exists()
    done("--repo", str(fs_dir / "lab"), "undo")
    assert (side / "new").exists()
    os.chdir(side)
    assert json.loads(done("status", "--json"))["clean"]
    done("worktree", "move", "side", str(fs_dir / "other"))
    os.chdir(fs_dir / "other")
    assert json.loads(done("status", "--json"))["clean"]
    assert run("doctor", "--strict").exit == 0, run("doctor", "--strict").out
    assert done("worktree", "path").strip() == str(fs_dir / "other")


def test_a_rename_changes_the_name_and_not_the_place(lab):
    root, side = lab
    done("worktree", "rename", "side", "new")
    assert places(root) == {"main": str(root / "main"), "new": str(side)}
    done("undo")
    assert places(root) == {"main": str(root / "main"), "side": str(side)}


def test_a_worktree_moves_out_and_back(lab, tmp_path):
    root, side = lab
    inode = side.stat().st_ino
    done("worktree", "move", "side")
    inside = root / "worktrees/side"
    assert (inside.stat().st_ino, (inside / ".jvs").exists(), side.exists()) == (inode, False, False)
    done("-C", str(inside), "snapshot", "inside")
    done("worktree", "move", "side", str(tmp_path / "again"))
    assert json.loads(done("-C", str(tmp_path / "again"), "status", "--json"))["clean"]
    assert refused("worktree", "move", "main", str(tmp_path / "main")) == "E_USAGE"
    assert refused("worktree", "move", "side", str(tmp_path / "again")) in ("E_EXISTS", "E_USAGE")


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("lab/inside", "E_PATH_ESCAPE"),
        ("lab/main/inside", "E_PATH_ESCAPE"),
        ("side/inside", "E_PATH_ESCAPE"),
        ("lab/.jvs/undo/x", "E_PATH_ESCAPE"),
        ("side", "E_EXISTS"),
        ("nowhere/x", "E_IO"),
        ("link/x", "E_PATH_ESCAPE"),
    ],
)
def test_roots_do_not_lie_in_each_other(lab, tmp_path, where, why):
    (tmp_path / "link").symlink_to(tmp_path / "lab/main")
    assert refused("fork", "new", "--path", str(tmp_path / where)) == why
    assert sorted(places(tmp_path / "lab")) == ["main", "side"]
    assert violations(tmp_path / "lab") == []


def test_another_filesystem_is_refused(lab, fs_at, tmp_path):
    other = fs_at("tmpfs") / "x"
    fd = os.open(other.parent, os.O_RDONLY)
    same = system.mount_id(fd) == system.mount_id(os.open(tmp_path, os.O_RDONLY))
    os.close(fd)
    if same:
        pytest.skip("it is the same filesystem here")
    assert refused("fork", "new", "--path", str(other)) == "E_PATH_ESCAPE"
    assert refused("worktree", "move", "side", str(other)) == "E_PATH_ESCAPE"
    assert not other.exists()


def test_the_setting_says_where_forks_are_made(lab, tmp_path):
    done("config", "set", "worktrees.path", "{repo}.worktrees/{name}")
    assert json.loads(done("fork", "third", "--json"))["path"] == str(tmp_path / "lab.worktrees/third")
    assert json.loads(done("-C", str(tmp_path / "lab.worktrees/third"), "status", "--json"))["clean"]


def test_a_copy_and_its_original_are_refused_until_one_is_attached(lab, tmp_path):
    root, side = lab
    copy = tmp_path / "copy"
    shutil.copytree(side, copy, symlinks=True)
    assert refused("-C", str(copy), "status") == "E_PATH_ESCAPE"
    assert refused("-C", str(side), "snapshot") == "E_PATH_ESCAPE"
    write(copy, {"only": "here"})
    done("worktree", "attach", str(copy))
    assert not json.loads(done("-C", str(copy), "status", "--json"))["clean"]
    assert refused("-C", str(side), "status") == "E_PATH_ESCAPE"
    assert places(root)["side"] == str(copy)
    done("--repo", str(root), "worktree", "attach", str(side), "side")
    assert json.loads(done("-C", str(side), "status", "--json"))["clean"]
    assert refused("-C", str(copy), "status") == "E_PATH_ESCAPE"


def test_a_copy_that_is_gone_hinders_nobody(lab, tmp_path):
    _, side = lab
    shutil.copytree(side, tmp_path / "copy")
    assert refused("-C", str(tmp_path / "copy"), "status") == "E_PATH_ESCAPE"
    shutil.rmtree(tmp_path / "copy")
    done("-C", str(side), "snapshot", "goes on")


def test_a_directory_moved_by_hand_says_so_and_is_attached(lab, tmp_path):
    root, side = lab
    side.rename(tmp_path / "moved")
    assert refused("-C", str(tmp_path / "moved"), "status") == "E_PATH_ESCAPE"
    item = next(i for i in json.loads(done("worktree", "list", "--json")) if i["name"] == "side")
    assert (item["offline"], item["missing"]) == (True, True)
    done("worktree", "attach", str(tmp_path / "moved"))
    done("-C", str(tmp_path / "moved"), "snapshot", "there")
    (tmp_path / "deep").mkdir()
    (tmp_path / "moved").rename(tmp_path / "deep/moved")
    assert refused("-C", str(tmp_path / "deep/moved"), "status") == "E_NOT_A_REPOSITORY"
    done("--repo", str(root), "worktree", "attach", str(tmp_path / "deep/moved"))
    done("-C", str(tmp_path / "deep/moved"), "snapshot", "and there")


def test_an_offline_worktree_is_kept_and_not_made_again(lab, tmp_path):
    root, side = lab
    away = side.rename(tmp_path / "away")
    for words in (("restore", "-w", "side", "LATEST"), ("snapshot", "-w", "side"), ("worktree", "remove", "side")):
        assert refused(*words) == "E_NOT_FOUND", words
    head = Store.open(str(root), open_store(root).settings).head_of("side")[0]
    done("gc", "auto", "--keep-last", "1")
    assert head in {item["snapshot_id"] for item in json.loads(done("history", "-w", "side", "--json"))}
    assert not side.exists()
    away.rename(side)
    assert json.loads(done("-C", str(side), "status", "--json"))["clean"]


def test_something_else_in_the_place_is_left_alone(lab, tmp_path):
    root, side = lab
    side.rename(tmp_path / "away")
    side.mkdir()
    write(side, {"mine": "not jvs's"})
    for words in (
        ("snapshot", "-w", "side"),
        ("restore", "-w", "side", "LATEST"),
        ("worktree", "remove", "side"),
        ("worktree", "remove", "side", "--discard"),
        ("worktree", "move", "side", str(tmp_path / "elsewhere")),
    ):
        assert refused(*words) == "E_PATH_ESCAPE", words
    assert (side / "mine").read_text() == "not jvs's"
    assert run("doctor").exit != 0
    done("snapshot", "main goes on")
    done("worktree", "attach", str(tmp_path / "away"))
    assert places(root)["side"] == str(tmp_path / "away")


def test_a_copied_repository_does_not_take_the_worktree(lab, tmp_path):
    root, side = lab
    shutil.copytree(root, tmp_path / "lab2", symlinks=True)
    assert refused("--repo", str(tmp_path / "lab2"), "snapshot", "-w", "side") == "E_PATH_ESCAPE"
    assert refused("--repo", str(tmp_path / "lab2"), "worktree", "remove", "side", "--discard") == "E_PATH_ESCAPE"
    done("-C", str(side), "snapshot", "mine")
    assert places(root)["side"] == str(side)


@pytest.mark.parametrize("path", ["../../etc", "..", "../", "/etc", "../x/../..", "x", "../a\0b", 7])
def test_a_record_leads_only_to_what_agrees(lab, tmp_path, path):
    root, _ = lab
    victim = tmp_path / "victim"
    write(victim, {"f": "precious"})
    config = root / ".jvs/worktrees/side/config.json"
    value = json.loads(config.read_text())
    for wanted in (path, "../victim"):
        config.write_text(json.dumps({**value, "path": wanted}))
        for words in (("worktree", "remove", "side", "--discard"), ("restore", "-w", "side", "LATEST")):
            said = call("--repo", str(root), *words)
            assert said.exit != 0 or wanted != "../victim"
        config.parent.mkdir(exist_ok=True)
    assert (victim / "f").read_text() == "precious"


def test_a_removed_worktree_comes_back_outside_only_where_it_was(lab, tmp_path):
    root, _ = lab
    done("worktree", "remove", "side")
    parked = next((root / ".jvs/undo").glob("*/config/config.json"))
    value = json.loads(parked.read_text())
    parked.write_text(json.dumps({**value, "path": "../victim"}))
    done("undo")
    assert not (tmp_path / "victim").exists()
    assert (root / "worktrees/side/a").read_text() == "a"
    done("-C", str(root / "worktrees/side"), "snapshot", "inside now")


class TestMemory:
    """What the user's own state says of a workspace comes before what the workspace says."""

    def test_another_pointer_is_refused(self, lab, tmp_path):
        root, side = lab
        evil = make_store(tmp_path / "evil")
        evil.close()
        value = pointer_of(side)
        (side / ".jvs").write_text(json.dumps({**value, "control": "../evil/.jvs", "repo_id": evil.repo_id}))
        assert refused("-C", str(side), "status") == "E_PATH_ESCAPE"
        done("--repo", str(root), "worktree", "attach", str(side), "side")
        assert json.loads(done("-C", str(side), "status", "--json"))["clean"]

    def test_a_directory_in_place_of_the_pointer_is_refused(self, lab, tmp_path):
        _, side = lab
        evil = make_store(tmp_path / "evil")
        evil.close()
        (side / ".jvs").unlink()
        shutil.copytree(tmp_path / "evil/.jvs", side / ".jvs")
        assert refused("-C", str(side), "status") == "E_PATH_ESCAPE"

    def test_a_control_directory_inside_a_workspace_is_ignored(self, lab, tmp_path):
        root, side = lab
        done("-C", str(root / "main"), "snapshot", "known by now")
        evil = make_store(tmp_path / "evil")
        evil.close()
        for inner in (root / "main/sub", side / "sub", root / "main"):
            inner.mkdir(exist_ok=True)
            shutil.copytree(tmp_path / "evil/.jvs", inner / ".jvs")
            assert json.loads(done("-C", str(inner), "info", "--json"))["repo_root"] == str(root)
        assert places(root / "main/sub") == {"main": str(root / "main/sub/main")}

    def test_another_repository_in_the_same_place_is_refused_until_it_is_attached(self, lab, tmp_path):
        root, _ = lab
        shutil.rmtree(root / ".jvs")
        evil = make_store(tmp_path / "evil")
        evil.close()
        shutil.copytree(tmp_path / "evil/.jvs", root / ".jvs")
        assert refused("-C", str(root), "status") == "E_PATH_ESCAPE"
        done("worktree", "attach", str(root))
        done("-C", str(root), "status")

    def test_without_a_home_it_is_said_that_there_is_none(self, lab, tmp_path, monkeypatch):
        for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)
        said = run("fork", "new", "--path", str(tmp_path / "new"))
        assert (said.exit, "nothing outside remembers" in said.err) == (0, True)
        done("-C", str(tmp_path / "new"), "status")


OPERATIONS: dict[str, Callable[[Path, Path], list[str]]] = {
    "fork": lambda root, side: ["fork", "new", "--path", str(side.parent / "new")],
    "move": lambda root, side: ["worktree", "move", "side", str(side.parent / "new")],
    "move back": lambda root, side: ["worktree", "move", "side"],
    "rename": lambda root, side: ["worktree", "rename", "side", "new"],
    "remove": lambda root, side: ["worktree", "remove", "side"],
    "undo": lambda root, side: ["undo"],
    "attach": lambda root, side: ["worktree", "attach", str(side.parent / "moved")],
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_a_crash_leaves_it_where_it_was_or_where_it_was_to_go(lab, tmp_path, kind):
    root, side = lab
    if kind == "attach":
        side.rename(tmp_path / "moved")
    if kind == "undo":
        done("worktree", "remove", "side")
    template = tmp_path.parent / f"{tmp_path.name}-template"
    tmp_path.rename(template)
    words = ["--repo", str(root), *OPERATIONS[kind](root, side)]
    number, died = 1, True
    while died:
        shutil.copytree(template, tmp_path, symlinks=True)
        os.chdir(root / "main")
        died = dies_at(number, lambda: done(*words))
        os.chdir(root / "main")
        done("snapshot", "after")
        assert kind == "attach" or violations(root) == []
        check_whole(root, tmp_path, kind, number)
        shutil.rmtree(tmp_path)
        number += EACH
    template.rename(tmp_path)


def check_whole(root: Path, top: Path, kind: str, number: int) -> None:
    """Each worktree that is registered works where it is said to be, and there is no other directory with files."""
    known = places(root)
    for name, path in known.items():
        if not (kind == "attach" and not os.path.exists(path)):
            assert json.loads(done("-C", path, "status", "--json"))["worktree"] == name, (kind, number)
    there = {str(path) for path in top.iterdir() if path.name != "lab"}
    expected = set(known.values()) - {str(root / "main")} - {str(path) for path in (root / "worktrees").iterdir()}
    if kind == "attach":
        assert there == {str(top / "moved")}
    else:
        assert there == expected, (kind, number)
    assert [path for path in top.rglob(".jvs-tmp-*") if ".jvs" not in path.parts] == []
    if kind != "attach":
        assert json.loads(done("--repo", str(root), "doctor", "--json"))["findings"] == []


def test_the_way_back_is_relative_so_that_both_may_be_mounted_elsewhere(lab, tmp_path):
    _, side = lab
    assert pointer_of(side)["control"] == "../lab/.jvs"
    top = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(top)
    os.chdir(top)
    assert json.loads(done("-C", str(top / "side"), "status", "--json"))["clean"]
    os.chdir("/")
    top.rename(tmp_path)


def test_what_is_checked_before_a_place_is_believed(lab):
    root, side = lab
    store = open_store(root)
    config = worktree.load(store.layout, "side")
    placed = placement.find(store.root, store.layout.control, config)
    assert (placed.state, str(placed.directory)) == (placement.BOUND, str(side))
    os.chmod(side / ".jvs", 0o000)
    if os.geteuid() != 0:
        assert store.layout.is_strange("side")
    (side / ".jvs").unlink()
    assert store.layout.is_strange("side")
    (side / ".jvs").symlink_to(root / ".jvs")
    assert store.layout.is_strange("side")


@pytest.fixture
def apart(lab, fs_at) -> tuple[Path, Path]:
    """The repository, and a place on another filesystem."""
    return lab[0], fs_at("tmpfs") / "away"


def test_a_fork_may_be_copied_to_another_filesystem(apart):
    root, away = apart
    assert refused("fork", "away", "--path", str(away)) == "E_PATH_ESCAPE"
    assert json.loads(done("fork", "away", "--copy", "--path", str(away), "--json"))["path"] == str(away)
    assert sorted(os.listdir(away)) == [".jvs", "a", "dir"] and os.listdir(away.parent) == ["away"]
    write(away, {"a": "mine", "new": "n"})
    done("-C", str(away), "snapshot", "there")
    (away / "dir/b").unlink()
    done("-C", str(away), "restore", "HEAD~1")
    assert ((away / "a").read_text(), (away / "new").exists()) == ("changed", False)
    done("-C", str(away), "undo")
    assert (away / "a").read_text() == "mine" and not (away / "dir/b").exists()
    done("worktree", "remove", "away")
    assert os.listdir(away.parent) == []
    done("undo")
    assert (root / "worktrees/away/a").read_text() == "mine"
    done("doctor", "--strict")
    assert violations(root) == []


@pytest.mark.parametrize("words", [("fork", "away", "--copy", "--path"), ("worktree", "remove", "away")])
def test_killed_anywhere_it_is_done_or_undone(apart, words):
    root, away = apart
    calls = ("create_file", "make_dir", "rename", "publish", "unlink", "rmdir", "append")
    number = 0
    while True:
        made = words[0] == "worktree"
        if made and "away" not in places(root):
            done("fork", "away", "--copy", "--path", str(away))
            write(away, {"only": "here"})
        line = words if made else (*words, str(away))
        alive = not dies_before(number, calls, lambda line=line: call(*line))
        done("snapshot", f"after {number}")
        done("doctor", "--strict")
        assert violations(root) == []
        if "away" in places(root):
            assert (away / "a").exists() and os.listdir(away.parent) == ["away"]
            assert not made or (away / "only").exists()
            done("worktree", "remove", "--discard", "away")
        assert [path for path in away.parent.rglob("*") if path.is_file()] == []
        if away.exists():
            away.rmdir()  # the last thing that a removal does
        if alive:
            break
        number += 3
    assert number > 8
