"""Making worktrees: whole or not at all, complete, with the best engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import main_of, make_store, run, snapshot, violations, write
from zoo import describe_tree, diff_trees, make_zoo

from jvs import errors
from jvs.engine import base as engine
from jvs.fs import durable
from jvs.store import changing
from jvs.store.store import Store
from jvs.worktrees import fork


@pytest.fixture
def lab(tmp_path: Path) -> tuple[Store, str]:
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "a", ".git/config": "c", ".venv/bin/python": "p", "ignored.pyc": "i"})
    made = snapshot(store, "base note", tags=["base"])
    os.chdir(main_of(store))
    return store, made["snapshot_id"]


def make(store: Store, target: str, name: str, **more) -> dict:
    with changing.worktree(store, name):
        return fork.fork(store, target, name, **more)


def test_a_fork_is_complete_and_its_own(fs_dir: Path):
    store = make_store(fs_dir / "repo")
    juicefs = "juicefs" in str(fs_dir)
    make_zoo(main_of(store), many=20, skip=("xattrs",) if juicefs else ())
    first = snapshot(store)["snapshot_id"]
    made = make(store, first, "side")
    ignored = ["data", "links"] if juicefs else ["data"]
    payload = describe_tree(str(store.layout.payload(first)))
    if not made["degraded"]:
        assert diff_trees(payload, describe_tree(made["path"]), ignored) == []
    write(made["path"], {"new": "n"})
    second = snapshot(store, name="side")
    assert second["parent_id"] == first
    assert not (main_of(store) / "new").exists()
    assert violations(store.root) == []


def test_a_fork_on_btrfs_is_one_ioctl(btrfs_dir: Path):
    store = make_store(btrfs_dir / "repo")
    write(main_of(store), {"a": "a"})
    made = make(store, snapshot(store)["snapshot_id"], "side")
    assert made["engine"] == engine.BTRFS


@pytest.mark.parametrize("word", ["base", "LATEST-1", "ID", "SHORT", "brand-new"])
def test_one_word_is_the_name_whatever_snapshots_are_called(lab, word):
    _, first = lab
    word = {"ID": first, "SHORT": first[14:21]}.get(word, word)
    made = run("fork", word, "--json").json
    assert (made["name"], made["snapshot_id"]) == (word, first)


def test_a_snapshot_is_the_first_of_two_words_or_an_option(lab):
    _, first = lab
    for number, words in enumerate((["base", "w0"], ["--at", "base", "w1"], ["w2", "--at", "LATEST"])):
        made = run("fork", *words, "--json").json
        assert (made["name"], made["snapshot_id"]) == (f"w{number}", first)
    assert run("fork", "--at", "base", "--json").json["name"] == f"fork-{first[14:21]}"
    assert run("fork", "nothing", "x").exit == 5
    assert run("fork", "a", "b", "c").exit == run("fork", "a", "b", "--at", "base").exit == 2


@pytest.mark.parametrize("word", ["HEAD", "LATEST", "HEAD~0", "LATEST~0"])
def test_a_word_that_can_only_be_a_snapshot_is_refused_with_the_way_to_say_it(lab, word):
    store, _ = lab
    said = run("fork", word)
    assert said.exit == 10 and f"--at {word}" in said.err
    assert os.listdir(Path(store.root) / "worktrees") == []


def test_command_says_what_was_made(lab):
    store, first = lab
    said = run("fork", "experiment")
    assert said.text.startswith(f"Created worktree 'experiment' from snapshot {first}\n")
    assert (Path(store.root) / "worktrees/experiment/.venv/bin/python").read_text() == "p"
    assert run("worktree", "fork", "experiment").exit == 7
    assert run("fork", "bad/name").exit == 10


def test_it_works_from_anywhere_in_the_repository(lab):
    store, _ = lab
    os.chdir(store.root)
    assert run("fork", "one").exit == 0
    os.chdir("worktrees/one/.git")
    assert run("fork", "two").exit == 0
    assert run("worktree", "path", "two").text == f"{store.root}/worktrees/two\n"


def test_tampered_snapshots_are_refused_and_nothing_is_left(lab):
    store, first = lab
    Path(str(store.layout.payload(first)), "a").write_text("bad")
    with pytest.raises(errors.PayloadHashMismatch):
        make(store, first, "side", verify=True)
    with pytest.raises(errors.PayloadHashMismatch):
        make(store, first, "side")
    assert (
        os.listdir(str(store.layout.forks))
        == os.listdir(str(store.layout.intents))
        == os.listdir(str(store.layout.undo))
        == []
    )


@pytest.mark.parametrize("call", ["publish", "create_file", "fsync_dir"])
def test_an_error_leaves_nothing(lab, monkeypatch: pytest.MonkeyPatch, call: str):
    store, first = lab
    real, armed = getattr(durable, call), []

    def failing(path, *args, **more):
        if (armed and "undo" in str(path)) or (armed and call == "publish"):
            armed.clear()  # once: while a directory cannot be synced, the intent has to stay
            raise OSError(28, "No space left on device")
        return real(path, *args, **more)

    monkeypatch.setattr(durable, call, failing)
    armed.append(1)
    with pytest.raises(errors.NoSpace):
        make(store, first, "side")
    armed.clear()
    assert (
        os.listdir(str(store.layout.forks))
        == os.listdir(str(store.layout.intents))
        == os.listdir(str(store.layout.undo))
        == []
    )
    make(store, first, "side")
    assert violations(store.root) == []
