"""jvs init: a repository is there whole or not at all, and nothing that was there is touched."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import hostile
import making
import pytest
import zoo

from jvs.fs import durable
from jvs.store import init, layout


def test_it_says_where_and_makes_three_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = making.run("init", "lab")
    assert said.exit == 0
    assert said.text.split("\n")[0] == f"Initialized JVS repository in {tmp_path}/lab"
    assert sorted(os.listdir(tmp_path / "lab")) == [".jvs", "main", "worktrees"]
    assert os.listdir(tmp_path / "lab/main") == []
    assert making.violations(tmp_path / "lab") == []


def test_json_names_root_format_id_and_engine(tmp_path):
    said = making.run("init", "--json", str(tmp_path / "lab"))
    value = said.json
    assert {"repo_root", "format_version", "repo_id", "engine"} <= set(value)
    assert value["repo_root"] == str(tmp_path / "lab")
    assert value["format_version"] == 2
    assert (tmp_path / "lab/.jvs/repo_id").read_text() == value["repo_id"] + "\n"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_the_control_directory_is_private_whatever_the_umask(tmp_path, mask):
    root = tmp_path / "lab"
    root.mkdir()
    os.umask(mask)
    said = making.run("init", str(root))
    os.umask(0o022)
    assert said.exit == 0, said.err
    for at, dirs, files in os.walk(root / ".jvs"):
        for name in [*dirs, *files]:
            assert stat.S_IMODE(os.lstat(os.path.join(at, name)).st_mode) & 0o077 == 0, name
    assert stat.S_IMODE(os.lstat(root / ".jvs").st_mode) == 0o700
    assert stat.S_IMODE(os.lstat(root / "main").st_mode) == 0o777 & ~mask


@pytest.mark.parametrize("name", [n for n in hostile.BAD_WORKTREE_NAMES if "/" not in n and "\0" not in n and n])
def test_bad_names_are_refused_and_nothing_is_made(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name in (".", ".."):
        return
    said = making.run("init", "--", name) if name.startswith("-") else making.run("init", name)
    assert said.exit in (2, 10), said.err
    assert os.listdir(tmp_path) == []


def test_a_repository_in_the_way_or_around_is_refused(tmp_path):
    making.make_store(tmp_path / "lab")
    before = zoo.describe_tree(os.fsencode(tmp_path))
    for path in ("lab", "lab/main/inner", "lab/.jvs/snapshots/x", "lab/main"):
        said = making.run("init", str(tmp_path / path))
        assert said.exit == 7, path
        assert "E_EXISTS" in said.err
        assert "hint: " in said.err
    assert zoo.diff_trees(before, zoo.describe_tree(os.fsencode(tmp_path))) == []


def test_files_in_the_way_are_refused_with_the_way_on(tmp_path):
    making.write(tmp_path / "work", {"a": "1"})
    said = making.run("init", str(tmp_path / "work"))
    assert said.exit == 7
    assert "--from" in said.err
    (tmp_path / "file").touch()
    assert making.run("init", str(tmp_path / "file")).exit == 7
    assert sorted(os.listdir(tmp_path / "work")) == ["a"]


def test_the_root_and_the_home_directory_are_refused(own_world):
    assert making.run("init", "/").exit == 2
    assert making.run("init", str(own_world)).exit == 2


def test_parents_are_not_made(tmp_path):
    said = making.run("init", str(tmp_path / "none/lab"))
    assert said.exit == 4
    assert os.listdir(tmp_path) == []


def test_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "lab").mkdir()
    assert making.run("init", str(tmp_path / "lab")).exit == 0
    assert making.violations(tmp_path / "lab") == []


def test_from_a_directory_begins_with_its_files(fs_dir):
    zoo.make_zoo(fs_dir / "src", many=5, skip=("socket", "xattrs", "deep"))
    before = zoo.describe_tree(os.fsencode(fs_dir / "src"))
    said = making.run("init", "--json", str(fs_dir / "lab"), "--from", str(fs_dir / "src"))
    assert said.exit == 0, said.err
    hash_tree = making.oracle_module("treehash").hash_tree
    if not said.json["degraded"]:
        assert hash_tree(str(fs_dir / "lab/main")).entries == hash_tree(str(fs_dir / "src")).entries
    assert zoo.diff_trees(before, zoo.describe_tree(os.fsencode(fs_dir / "src"))) == []
    os.chdir(fs_dir / "lab")
    assert making.run("snapshot", "first").exit == 0
    assert making.violations(fs_dir / "lab") == []


def test_from_what_cannot_be_cloned_is_refused(tmp_path):
    making.write(tmp_path / "src", {"sub/a": "1"})
    for path, source, code in (
        ("lab", "none", 2),
        ("lab", "src/sub/a", 2),
        ("src/lab", "src", 11),
        ("src", "src/sub", 11),
    ):
        said = making.run("init", str(tmp_path / path), "--from", str(tmp_path / source))
        assert said.exit == code, (path, source, said.err)
    assert sorted(os.listdir(tmp_path)) == ["src"]
    assert os.listdir(tmp_path / "src") == ["sub"]


def test_an_engine_that_does_not_work_here_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("JVS_SNAPSHOT_ENGINE", "juicefs-clone")
    said = making.run("init", str(tmp_path / "lab"))
    assert said.exit == 4, said.err
    assert not (tmp_path / "lab").exists()
    monkeypatch.setenv("JVS_SNAPSHOT_ENGINE", "magic")
    assert making.run("init", str(tmp_path / "lab2")).exit == 2
    assert not (tmp_path / "lab2").exists()


@pytest.mark.parametrize("stop", range(0, 40, 3))
def test_a_crash_at_any_point_leaves_none_or_a_whole_one(tmp_path, stop):
    """The process really dies, in a child, before its n-th durable change."""
    root = tmp_path / "lab"
    pid = os.fork()
    if pid == 0:
        try:
            _die_before(stop)
            init.create(str(root), making.settings())
            os._exit(0)
        finally:
            os._exit(2)  # whatever was raised, the child never goes on as a second pytest
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, 1)
    if (root / ".jvs").exists():
        assert making.violations(root) == []
    else:
        assert making.run("init", str(root)).exit == 0
        assert sorted(os.listdir(root)) == [".jvs", "main", "worktrees"]
        assert making.violations(root) == []


def _die_before(stop):
    left = [stop]

    def wrap(real):
        def call(*args, **more):
            if left[0] == 0:
                os._exit(1)
            left[0] -= 1
            return real(*args, **more)

        return call

    for name in ("mkdir", "rename", "fsync", "chmod", "write"):
        setattr(os, name, wrap(getattr(os, name)))


def test_an_error_leaves_nothing_behind(tmp_path, monkeypatch):
    for stop in range(12):
        left = [stop]
        real = durable.create_file

        def create_file(*args, _left=left, _real=real, **more):
            if _left[0] == 0:
                raise OSError(28, "No space left on device")
            _left[0] -= 1
            return _real(*args, **more)

        with monkeypatch.context() as patch:
            patch.setattr(durable, "create_file", create_file)
            said = making.run("init", str(tmp_path / "lab"))
        if said.exit == 0:
            break
        assert said.exit == 4, said.err
        assert os.listdir(tmp_path) == []
    assert stop >= 4


def test_the_first_audit_record_is_the_init(tmp_path):
    store = making.make_store(tmp_path / "lab")
    (line,) = Path(str(store.layout.audit_log)).read_text().splitlines()
    record = json.loads(line)
    assert (record["operation"], record["seq"], record["worktree"]) == ("init", 1, "main")
    assert all(os.path.isdir(os.path.join(str(store.layout.jvs), name)) for name in layout.DIRECTORIES)


def test_the_stage_is_durable_before_main_leaves_it(tmp_path, monkeypatch):
    """Otherwise a power cut may keep `main` and lose the stage, and nothing could finish the repository."""
    said = []
    for call in ("fsync_dir", "publish"):
        real = getattr(durable, call)

        def noting(*args, _real=real, _call=call, **more):
            said.append((_call, args[0].name))
            return _real(*args, **more)

        monkeypatch.setattr(durable, call, noting)
    init.create(str(tmp_path / "lab"), making.settings())
    moved = said.index(("publish", "main"))
    assert ("fsync_dir", "lab") in said[:moved]
