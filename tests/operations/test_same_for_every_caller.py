"""Hooks, pruning, locks, recovery and `--if-changed` are the same, whoever asks for an operation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from callers import CALLERS, Failed
from making import open_store, run, violations, write

from jvs.fs import locks
from jvs.store import lineage

SNAPSHOTS = sorted(CALLERS)
OTHERS = sorted(set(CALLERS) - {"run"})
"""`jvs run` takes snapshots and restores; the other operations it leaves to others."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "lab"
    assert run("init", str(root)).exit == 0
    write(root / "main", {"a": "one"})
    assert run("-C", str(root), "snapshot", "first", "-t", "base").exit == 0
    write(root / "main", {"a": "two"})
    return root


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file in which hooks of the user note what they are told."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    directory = tmp_path / "config" / "jvs" / "hooks"
    directory.mkdir(parents=True)
    for name in ("pre-snapshot", "post-snapshot", "pre-restore", "post-restore"):
        known = "${JVS_NOTE+N}${JVS_TARGET+T}${JVS_SNAPSHOT_ID+S}"
        (directory / name).write_text(f'#!/bin/sh\necho "$JVS_HOOK $JVS_WORKTREE {known}" >> {tmp_path}/said\n')
        (directory / name).chmod(0o700)
    return tmp_path / "said"


def refuse(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config" / "jvs" / "hooks" / name
    path.write_text("#!/bin/sh\nexit 3\n")


def ids(root: Path) -> list[str]:
    return lineage.visible_ids(open_store(root).layout)


def caller(name: str, root: Path, **settings: str) -> Any:
    return CALLERS[name](root, **settings)


@pytest.mark.parametrize("who", SNAPSHOTS)
def test_hooks_run_around_a_snapshot(root: Path, hooks: Path, who: str) -> None:
    caller(who, root).snapshot("second")
    assert hooks.read_text().splitlines() == ["pre-snapshot main N", "post-snapshot main NS"]


@pytest.mark.parametrize("who", OTHERS)
def test_hooks_run_around_a_restore(root: Path, hooks: Path, who: str) -> None:
    caller(who, root).restore("base")
    assert hooks.read_text().splitlines() == ["pre-restore main T", "post-restore main TS"]


def test_hooks_run_around_the_rollback_of_a_command(root: Path, hooks: Path) -> None:
    assert run("-C", str(root), "run", "--rollback", "--", "sh", "-c", f"echo x > {root}/main/a; exit 4").exit == 4
    names = [line.split()[0] for line in hooks.read_text().splitlines()]
    assert names == ["pre-snapshot", "post-snapshot", "pre-restore", "post-restore"]


@pytest.mark.parametrize("who", SNAPSHOTS)
def test_a_pre_hook_that_refuses_stops_a_snapshot(root: Path, hooks: Path, tmp_path: Path, who: str) -> None:
    refuse(tmp_path, "pre-snapshot")
    before = ids(root)
    with pytest.raises(Failed, match="E_DIRTY"):
        caller(who, root).snapshot("second")
    assert ids(root) == before


@pytest.mark.parametrize("who", OTHERS)
def test_a_pre_hook_that_refuses_stops_a_restore(root: Path, hooks: Path, tmp_path: Path, who: str) -> None:
    refuse(tmp_path, "pre-restore")
    with pytest.raises(Failed, match="E_DIRTY"):
        caller(who, root).restore("base")
    assert (root / "main" / "a").read_text() == "two"


@pytest.mark.parametrize("who", SNAPSHOTS)
def test_nothing_is_taken_when_nothing_changed(root: Path, hooks: Path, who: str) -> None:
    first = caller(who, root).snapshot("second", if_changed=True)
    hooks.unlink()
    assert caller(who, root).snapshot("third", if_changed=True) == first == ids(root)[-1]
    assert hooks.read_text().splitlines() == ["pre-snapshot main N"]  # what it prepared was compared


@pytest.mark.parametrize("who", SNAPSHOTS)
def test_what_a_hook_changes_counts_as_changed(root: Path, hooks: Path, tmp_path: Path, who: str) -> None:
    first = caller(who, root).snapshot("second", if_changed=True)
    path = tmp_path / "config" / "jvs" / "hooks" / "pre-snapshot"
    path.write_text("#!/bin/sh\necho dump > dump\n")
    assert caller(who, root).snapshot("third", if_changed=True) != first


@pytest.mark.parametrize("who", SNAPSHOTS)
def test_whether_something_changed_is_decided_under_the_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    from jvs.store import worktree_scan

    held = []
    unchanged_since = worktree_scan.unchanged_since

    def watched(store: Any, name: str, paths: Any = None) -> str | None:
        try:
            with locks.acquire(store.layout.lock(f"worktree-{name}"), wait=0):
                held.append(False)
        except Exception as error:
            held.append(getattr(error, "name", "") == "E_BUSY")
        return unchanged_since(store, name, paths)

    monkeypatch.setattr(worktree_scan, "unchanged_since", watched)
    caller(who, root).snapshot("second", if_changed=True)
    assert held == [True]


@pytest.mark.parametrize("who", SNAPSHOTS)
def test_a_snapshot_waits_for_the_lock_and_says_busy(root: Path, who: str) -> None:
    with (
        locks.acquire(open_store(root).layout.lock("worktree-main"), wait=0),
        pytest.raises(Failed, match="E_BUSY"),
    ):
        caller(who, root, wait="0").snapshot("second") if who in ("api", "mcp") else _impatient(who, root)


def _impatient(who: str, root: Path) -> None:
    asked = caller(who, root)
    asked.options += ["--wait", "0"]
    asked.snapshot("second")


@pytest.mark.parametrize("who", OTHERS)
def test_operations_that_are_too_many_are_pruned(root: Path, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    from jvs.restore import pruning

    pruned = []
    monkeypatch.setattr(pruning, "prune", lambda store, name: pruned.append(name) or 0)
    asked = caller(who, root)
    asked.restore("base")
    asked.undo()
    assert pruned == ["main", "main"]


def test_the_rollback_of_a_command_is_pruned_as_any_restore(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jvs.restore import pruning

    pruned = []
    monkeypatch.setattr(pruning, "prune", lambda store, name: pruned.append(name) or 0)
    assert run("-C", str(root), "run", "--rollback", "--", "sh", "-c", f"echo x > {root}/main/a; exit 4").exit == 4
    assert pruned == ["main"]


@pytest.mark.parametrize("who", OTHERS)
def test_renames_and_removals_are_pruned(root: Path, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    from jvs import Repository
    from jvs.restore import pruning

    pruned = []
    monkeypatch.setattr(pruning, "prune", lambda store, name: pruned.append(name) or 0)
    caller(who, root).fork("side", "base")
    if who == "command":
        assert run("-C", str(root), "worktree", "rename", "side", "other").exit == 0
        assert run("-C", str(root), "worktree", "remove", "other").exit == 0
    else:
        Repository.open(root).rename("side", "other")
        Repository.open(root).remove("other")
    assert pruned == ["other", "other"]


@pytest.mark.parametrize("who", SNAPSHOTS)
def test_what_a_dead_operation_left_is_recovered_first(root: Path, who: str) -> None:
    from jvs.publish import record as publish_record
    from jvs.publish import steps
    from jvs.store import intent

    store = open_store(root)
    record = publish_record.new(store.root, "main", None)
    steps.check_worktree(store, record)
    steps.write_intent(store, record, owner={**intent.owner(locked=True), "pid": 2**22 - 3})
    caller(who, root).snapshot("second")
    assert intent.list_ids(store.layout) == []
    assert violations(root) == []


HOSTILE = ["-C/other", "--help", "-x", "a\0b", "\udcff", "", "x" * 300, "../x", "$(touch x)"]


@pytest.mark.parametrize("who", OTHERS)
@pytest.mark.parametrize("value", HOSTILE)
def test_names_that_cannot_be_one_are_refused_with_a_class(root: Path, who: str, value: str) -> None:
    if who == "command" and value.startswith("-"):
        pytest.skip("an option, on a command line")
    before = sorted(os.listdir(root / "worktrees"))
    with pytest.raises(Failed) as caught:
        caller(who, root).fork(value, "base")
    assert caught.value.name in ("E_NAME_INVALID", "E_USAGE", "E_NOT_FOUND")
    assert sorted(os.listdir(root / "worktrees")) == before


@pytest.mark.parametrize("who", OTHERS)
@pytest.mark.parametrize("value", HOSTILE)
def test_targets_that_name_nothing_are_not_found(root: Path, who: str, value: str) -> None:
    if who == "command" and value.startswith("-"):
        pytest.skip("an option, on a command line")
    with pytest.raises(Failed) as caught:
        caller(who, root).restore(value)
    assert caught.value.name in ("E_NOT_FOUND", "E_USAGE")
    assert (root / "main" / "a").read_text() == "two"


@pytest.mark.parametrize("who", SNAPSHOTS)
@pytest.mark.parametrize("note", ["a\0b", "\udcff"])
def test_notes_that_are_no_text_are_refused(root: Path, hooks: Path, who: str, note: str) -> None:
    before = ids(root)
    with pytest.raises(Failed, match="E_USAGE"):
        caller(who, root).snapshot(note)
    assert ids(root) == before
    assert not hooks.exists()


def test_one_text_is_not_a_list(root: Path) -> None:
    from jvs import Repository, errors
    from jvs.gc import retention

    repo = Repository.open(root)
    before = ids(root)
    for work in (
        lambda: repo.snapshot(tags="abc"),
        lambda: repo.snapshot(tags=b"abc"),
        lambda: repo.snapshot(paths="abc"),
        lambda: repo.restore("base", paths="abc"),
        lambda: repo.doctor(repair="clean_tmp"),
        lambda: retention.Policy({"keep_tag": "abc"}),
    ):
        with pytest.raises(errors.UsageError):
            work()
    assert ids(root) == before


@pytest.mark.parametrize("word", ["LATEST", "HEAD", "LATEST~1", "HEAD~1"])
@pytest.mark.parametrize("who", OTHERS)
def test_latest_is_the_same_as_head(root: Path, who: str, word: str) -> None:
    asked = caller(who, root)
    asked.snapshot("second")
    asked.restore(word)
    assert (root / "main" / "a").read_text() == ("one" if "~" in word else "two")
    with pytest.raises(Failed, match="E_NAME_INVALID"):
        asked.snapshot("third", tags=["LATEST"])
