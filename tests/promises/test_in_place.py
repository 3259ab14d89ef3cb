"""A repository in place: the directory itself is main, no file of it moves, and `.jvs` is in no snapshot."""

from __future__ import annotations

import os
from pathlib import Path

import making
import pytest
import zoo
from crashing import dies_before

from jvs.store import init_in_place

FILES = {"src/a.py": "a = 1\n", "src/b.py": "b = 2\n", ".git/HEAD": "ref: x\n", "README": "read me\n", "node/x/y": "y"}


def facts(root: Path) -> dict:
    """Return what is known of every entry of a project but of what jvs put there, which moves the times of the root."""
    found = zoo.describe_tree(os.fsencode(root))
    return {name: fact for name, fact in found.items() if name and not name.startswith(b".jvs")}


def project(root: Path, files: dict | None = None) -> Path:
    """Make a project and a repository in place out of it."""
    making.write(root, files or FILES)
    said = making.run("init", "--here", str(root))
    assert said.exit == 0, said.err
    return root


def run(root: Path, *words: str) -> making.Said:
    said = making.run("-C", str(root), *words)
    assert said.exit == 0, said.err
    return said


def names(root: Path) -> list[str]:
    return sorted(os.listdir(root))


def payload(root: Path) -> Path:
    """Return the payload of the newest snapshot."""
    return root / ".jvs/snapshots" / run(root, "show", "--json", "LATEST").json["snapshot_id"]


def test_the_directory_stays_what_it_is_and_says_what_it_will_hold(fs_dir: Path):
    root = fs_dir / "project"
    making.write(root, FILES)
    os.chdir(root)
    inode, before = os.stat(root).st_ino, facts(root)
    said = making.run("init", "--json")
    assert said.exit == 0, said.err
    assert said.json["captures"] == {"entries": 9, "bytes": sum(map(len, FILES.values())), "excluded": []}
    assert os.stat(root).st_ino == inode
    assert os.stat(".").st_ino == inode
    assert zoo.diff_trees(before, facts(root)) == []
    assert set(os.listdir(root)) == {"src", ".git", "README", "node", ".jvs"}
    assert os.stat(".jvs").st_mode & 0o777 == 0o700


def test_a_day_in_a_project(fs_dir: Path):
    root = project(fs_dir / "project")
    os.chdir(root / "src")
    first = making.run("snapshot", "--json", "first").json
    assert first["payload"] == {"files": 5, "dirs": 4, "symlinks": 0, "others": 0, "bytes": 28}
    assert set(os.listdir(payload(root))) == {"src", ".git", "README", "node"}
    assert making.run("status", "--json").json["clean"]
    assert making.run("snapshot", "--json", "--if-changed").json["changed"] is False
    before = facts(root)

    (root / "src/a.py").write_text("broken")
    (root / "README").unlink()
    (root / "new").mkdir()
    (root / "new/file").write_text("new")
    broken = facts(root)
    status = making.run("status", "--json").json
    assert [status["counts"][word] for word in ("added", "modified", "removed")] == [2, 1, 1]
    inode = os.stat(root / "src/b.py").st_ino
    assert making.run("restore", "first").exit == 0
    assert zoo.diff_trees(before, facts(root)) == []
    assert os.stat(root / "src/b.py").st_ino == inode
    assert making.run("undo").exit == 0
    assert zoo.diff_trees(broken, facts(root)) == []
    assert making.run("undo", "--redo").exit == 0
    assert zoo.diff_trees(before, facts(root)) == []
    run(root, "snapshot", "second")
    run(root, "verify", "--all")
    run(root, "doctor", "--strict")
    assert making.violations(root) == []


def test_forks_are_worktrees_of_their_own(fs_dir: Path):
    root = project(fs_dir / "project")
    run(root, "snapshot", "first")
    made = run(root, "fork", "--json", "one").json
    run(root, "fork", "two")
    path = Path(made["path"])
    assert path == root / ".jvs/forks/one"
    assert names(path) == names_of_project(root)
    os.chdir(path / "src")
    (path / "src/a.py").write_text("in the fork")
    assert making.run("status", "--json").json["worktree"] == "one"
    assert making.run("snapshot", "in the fork").exit == 0
    assert (root / "src/a.py").read_text() == FILES["src/a.py"]
    os.chdir(root)
    listed = {item["name"]: item["path"] for item in making.run("worktree", "list", "--json").json}
    assert listed == {"main": str(root), "one": str(path), "two": str(root / ".jvs/forks/two")}
    run(root, "restore", "-w", "main", "LATEST")
    run(root, "worktree", "rename", "two", "three")
    run(root, "worktree", "remove", "three")
    run(root, "undo")
    assert names(root / ".jvs/forks/three") == names_of_project(root)
    run(root, "doctor", "--strict")
    assert making.violations(root) == []


def names_of_project(root: Path) -> list[str]:
    return [name for name in names(root) if name != ".jvs"]


def test_a_second_snapshot_reads_only_what_changed(fs_dir: Path):
    root = project(fs_dir / "project", {f"d{i}/f{j}": f"{i} {j}" for i in range(4) for j in range(4)})
    run(root, "snapshot", "first")
    (root / "d1/f1").write_text("changed")
    (root / "top").write_text("new")
    second = run(root, "snapshot", "--json", "second").json
    assert second["changes"] == {"added": 1, "removed": 0, "modified": 1, "bytes": 10}
    (root / "top").unlink()
    run(root, "snapshot", "third")
    run(root, "verify", "--all")
    assert set(os.listdir(payload(root))) == {"d0", "d1", "d2", "d3"}


def test_the_zoo_in_place(fs_dir: Path):
    root = fs_dir / "project"
    skip = ("deep", "xattrs") if "juicefs" in str(fs_dir) else ("deep",)
    zoo.make_zoo(root, many=5, skip=skip)
    assert making.run("init", "--here", str(root)).exit == 0
    before = facts(root)
    run(root, "snapshot", "first")
    assert zoo.diff_trees(before, facts(root)) == []
    making.write(root, {"more": "1"})
    run(root, "restore", "LATEST")
    assert not (root / "more").exists()
    assert making.violations(root) == []


@pytest.mark.parametrize("place", [".", "main", ".jvs/snapshots/x", "src/deep"])
def test_repositories_do_not_nest(tmp_path: Path, place: str):
    root = project(tmp_path / "project", {"src/deep/a": "1", "main/b": "2"})
    (root / ".jvs/snapshots/x").mkdir()
    for words in (["--here", str(root / place)], [str(root / place / "lab")]):
        said = making.run("init", *words)
        assert (said.exit, "E_EXISTS" in said.err) == (7, True), said.err
    (root / ".jvs/snapshots/x").rmdir()
    said = making.run("init", "--here", str(tmp_path))
    assert said.exit == 7
    assert "project" in said.err
    assert not (tmp_path / ".jvs").exists()


def test_what_cannot_become_one_is_refused_and_left_alone(tmp_path: Path, own_world: Path):
    making.write(tmp_path / "own", {".jvs": "mine"})
    (tmp_path / "file").touch()
    for path, code in (("/", 2), (str(own_world), 2), ("file", 2), ("none", 2), ("own", 7)):
        said = making.run("init", "--here", path if path[0] == "/" else str(tmp_path / path))
        assert said.exit == code, said.err
        assert "hint: " in said.err
    assert making.run("init", "--here", str(tmp_path / "own"), "--from", str(tmp_path)).exit == 2
    assert making.run("init", "--from", str(tmp_path)).exit == 2
    assert making.run("init", "name", "--here").exit == 2
    assert (tmp_path / "own/.jvs").read_text() == "mine"
    assert names(tmp_path) == ["file", "own"]


def test_a_directory_with_files_names_both_ways(tmp_path: Path):
    making.write(tmp_path / "work", {"a": "1"})
    said = making.run("init", str(tmp_path / "work"))
    assert said.exit == 7
    assert "--here" in said.err
    assert "--from" in said.err


@pytest.mark.parametrize("stop", range(0, 40, 3))
def test_a_crash_at_any_point_leaves_none_or_a_whole_one(tmp_path: Path, stop: int):
    """The process really dies, in a child, before its n-th durable change."""
    root = tmp_path / "project"
    making.write(root, FILES)
    before = facts(root)
    calls = ("make_dir", "create_file", "publish", "fsync_dir", "fsync_file")
    dies_before(stop, calls, lambda: init_in_place.create(str(root), making.settings()))
    if not (root / ".jvs").exists():
        assert making.run("init", "--here", str(root)).exit == 0
    assert zoo.diff_trees(before, facts(root)) == []
    assert [name for name in names(root) if name.startswith(".jvs")] == [".jvs"]
    run(root, "snapshot", "first")
    run(root, "doctor", "--strict")
    assert making.violations(root) == []


# The reserved name


def test_a_name_of_the_user_s_own_in_a_classic_main_is_to_be_moved(tmp_path: Path):
    store = making.make_store(tmp_path / "lab")
    making.write(tmp_path / "lab/main", {".jvs/mine": "kept", "a": "1"})
    said = making.run("-C", str(store.root), "snapshot", "x")
    assert (said.exit, "E_PATH_ESCAPE" in said.err, "move it" in said.err) == (11, True, True)
    assert "'.jvs" not in run(tmp_path / "lab", "status", "-s").text
    os.rename(tmp_path / "lab/main/.jvs", tmp_path / "lab/main/jvs")
    run(tmp_path / "lab", "snapshot", "x")
    run(tmp_path / "lab", "verify", "--all")


def test_an_old_payload_that_holds_the_name_can_be_restored_without_it(tmp_path: Path, monkeypatch):
    from jvs.store import reserved
    from jvs.tree.exclusion import Exclusion

    store = making.make_store(tmp_path / "lab")
    main = tmp_path / "lab/main"
    making.write(main, {".jvs/mine": "kept", "a": "1", "d/b": "2"})
    with monkeypatch.context() as before_it_was_reserved:
        before_it_was_reserved.setattr(reserved, "check_worktree", lambda layout, name: None)
        before_it_was_reserved.setattr(Exclusion, "rest", lambda self, fd, path, names, stats: (names, stats))
        making.snapshot(store, "old")
    store.close()
    run(tmp_path / "lab", "verify", "--all")
    making.write(main, {"a": "changed"})
    said = making.run("-C", str(main), "restore", "old")
    assert said.exit == 11, said.err
    assert "--except .jvs" in said.err
    assert (main / "a").read_text() == "changed"
    run(main, "restore", "old", "--except", ".jvs")
    assert (main / "a").read_text() == "1"
    assert (main / ".jvs/mine").read_text() == "kept"
    run(main, "restore", "old", "--", "d")
    making.remove(main / ".jvs")
    run(tmp_path / "lab", "snapshot", "new")
    run(tmp_path / "lab", "doctor", "--strict")


@pytest.mark.parametrize("words", [["snapshot", "x", "--", ".jvs"], ["restore", "HEAD", "--", ".jvs/repo_id"]])
def test_the_control_directory_cannot_be_named(tmp_path: Path, words: list[str]):
    root = project(tmp_path / "project")
    run(root, "snapshot", "first")
    said = making.run("-C", str(root), *words)
    assert said.exit == 11, said.err


def test_a_journal_that_names_the_control_directory_is_not_carried_out(tmp_path: Path):
    from jvs.errors import PathEscape
    from jvs.restore import delta
    from jvs.restore import run as restoring

    root = project(tmp_path / "project")
    run(root, "snapshot", "first")
    store = making.open_store(root)
    steps = delta.Delta()
    steps.steps = [delta.Step(b".jvs/repo_id", delta.DROP, None, None)]
    record = {"operation_id": "1700000000000-0a1b2c3d", "worktree": "main", "of": None, "target": None}
    with pytest.raises(PathEscape):
        restoring._applier(store, record, steps)
    assert (root / ".jvs/repo_id").exists()


# What a restore leaves as it is


@pytest.mark.parametrize(
    ("excepted", "kept"),
    [
        (["keep"], {"keep/a": "now"}),
        (["keep/a"], {"keep/a": "now", "keep/new": None}),
        (["*.log"], {"x.log": "now", "deep/in/y.log": "now"}),
        (["deep/in/y.log"], {"deep/in/y.log": "now", "deep/in/new": None}),
        (["gone/deep/*"], {"gone/deep/f": None, "gone/g": "then"}),
    ],
)
def test_what_is_excepted_stays_as_it_is(tmp_path: Path, excepted: list[str], kept: dict):
    then = {"keep/a": "then", "x.log": "then", "deep/in/y.log": "then", "gone/deep/f": "then", "gone/g": "then"}
    root = project(tmp_path / "project", then)
    run(root, "snapshot", "first")
    making.remove(root / "gone")
    making.write(root, {"keep/a": "now", "keep/new": "now", "x.log": "now", "deep/in/y.log": "now", "deep/in/new": "n"})
    words = [word for pattern in excepted for word in ("--except", pattern)]
    run(root, "restore", "first", *words)
    expected = {**then, **kept}
    for name, content in expected.items():
        found = (root / name).read_text() if (root / name).exists() else None
        assert found == content, name
    run(root, "undo")
    assert not (root / "gone").exists()
    assert (root / "deep/in/new").read_text() == "n"


def test_commits_since_a_snapshot_are_counted_and_can_be_kept(tmp_path: Path):
    line = "0000000 1111111 A <a@b> 1 +0000\t{}\n"
    log = line.format("commit (initial): one")
    root = project(tmp_path / "project", {"a": "1", ".git/logs/HEAD": log})
    run(root, "snapshot", "first")
    more = log + line.format("commit: two") + line.format("checkout: moving") + line.format("commit (amend): three")
    making.write(root, {"a": "2", ".git/logs/HEAD": more})
    assert "commit" not in run(root, "restore", "first", "--except", ".git").err
    said = run(root, "restore", "first")
    assert "2 commits in '.git'" in said.err
    assert (root / ".git/logs/HEAD").read_text() == log


def test_a_directory_goes_but_for_what_is_excepted_in_it(tmp_path: Path):
    root = project(tmp_path / "project", {"a": "1"})
    run(root, "snapshot", "first")
    making.write(root, {"new/keep/k": "k", "new/drop/d": "d", "new/x": "x"})
    run(root, "restore", "first", "--except", "keep")
    assert not (root / "new").exists()
    run(root, "undo")
    run(root, "restore", "first", "--except", "new/keep")
    assert sorted(str(p.relative_to(root)) for p in (root / "new").rglob("*")) == ["new/keep", "new/keep/k"]
