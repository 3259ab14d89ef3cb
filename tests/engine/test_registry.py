"""Choosing an engine, and never another one than was asked for."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import making
import pytest
from conftest import FsAt

from jvs.engine import base as engine
from jvs.engine import registry, traits
from jvs.errors import IOFailure, UsageError


def test_names_are_in_order_of_preference():
    assert engine.NAMES == ("juicefs-clone", "btrfs-snapshot", "reflink-copy", "copy")
    assert [registry.get(name, making.engine_options()).name for name in engine.NAMES] == list(engine.NAMES)


def test_unknown_engine_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        registry.pick("zfs", making.at(tmp_path), making.at(tmp_path), making.engine_options())
    assert "copy" in caught.value.hint


@pytest.mark.parametrize("name", ["juicefs-clone", "btrfs-snapshot", "reflink-copy"])
def test_engine_that_does_not_work_is_an_error_with_a_reason(name: str, ext4_dir: Path):
    with pytest.raises(IOFailure) as caught:
        registry.pick(name, making.at(ext4_dir), making.at(ext4_dir), making.engine_options())
    assert caught.value.facts["engine"] == name
    assert caught.value.facts["reason"] in caught.value.message
    assert caught.value.hint


def test_probe_all_answers_for_each_and_leaves_nothing(fs_dir: Path):
    source, store = fs_dir / "source", fs_dir / "store"
    source.mkdir()
    store.mkdir()
    os.utime(source, ns=(1, 2))
    before = os.stat(source)
    answers = registry.probe_all(making.at(source), making.at(store), making.engine_options())
    assert [answer.engine for answer in answers] == list(engine.NAMES)
    assert all(answer.works or answer.why for answer in answers)
    assert answers[-1].works
    assert os.stat(source) == before
    assert os.listdir(source) == os.listdir(store) == []


def test_probe_works_for_a_worktree_that_is_not_there_yet(fs_dir: Path):
    repo = making.at(fs_dir) / "repo"
    answers = registry.probe_all(repo / "main", repo / ".jvs" / "snapshots", making.engine_options())
    assert answers[-1].works


def test_different_filesystems_are_only_copied(fs_at: FsAt):
    one, other = fs_at("xfs"), fs_at("ext4")
    assert registry.pick(None, making.at(one), making.at(other), making.engine_options()).name == "copy"


def test_scan_flags(fs_at: FsAt):
    assert traits.scan_flags(making.at(fs_at("ext4"))) == (True, False)
    assert traits.scan_flags(making.at(fs_at("btrfs"))) == (True, True)


def test_scan_flags_on_juicefs(juicefs_dir: Path):
    assert traits.scan_flags(making.at(juicefs_dir)) == (False, False)


def test_bad_control_setting_is_a_usage_error():
    with pytest.raises(UsageError):
        registry.get("juicefs-clone", making.engine_options(control="sometimes"))


def test_remove_any_of_files_links_and_nothing(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    os.symlink("kept", tmp_path / "link")
    for name in ("file", "link", "nothing"):
        registry.remove_any(making.at(tmp_path / name), making.engine_options())
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_no_engine_reads_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "juicefs").write_text("#!/bin/sh\n")
    (tmp_path / "juicefs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "elsewhere" / "python"))
    for path in (None, ""):
        engine = registry.get("juicefs-clone", making.engine_options(search_path=path))
        assert engine.find_binary() in (None, "/bin/juicefs", "/usr/bin/juicefs")


def test_options_cannot_be_forgotten(tmp_path: Path):
    for call in (registry.get, registry.pick, registry.probe_all, registry.remove_any, registry.best_for):
        needed = inspect.signature(call).parameters["options"]
        assert needed.default is inspect.Parameter.empty, call
    with pytest.raises(TypeError):
        registry.EngineOptions()
