"""The states of several worktrees: the same, whoever looks at which of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import making
import pytest
from making import main_of, make_store, open_store, run, snapshot, write

from jvs import progress
from jvs.errors import JvsError
from jvs.operations import looking, states
from jvs.store import worktree
from jvs.store.store import Store
from jvs.tree import parallel

NAMES = ["main", "a", "b", "c"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with four worktrees of the same size, of which two changed; three processes look."""
    monkeypatch.setattr(parallel, "LEAST_ENTRIES", 1)
    monkeypatch.setattr(parallel, "has_threads", lambda: False)
    monkeypatch.setattr(states, "processes", 3)
    store = make_store(tmp_path / "repo")
    write(main_of(store), {f"{d}/{i}": f"{d}{i}" for d in "xyz" for i in range(3)})
    snapshot(store, "one")
    forks = tmp_path / "repo" / "worktrees"
    for name in NAMES[1:]:
        assert run("-C", store.root, "worktree", "fork", name).exit == 0
    write(forks / "a", {"x/0": "new", "more": "1"})
    shutil.rmtree(forks / "c/y")
    store.close()
    return tmp_path / "repo"


def alone(store: Store) -> dict[str, Any]:
    found = {name: looking.status(store, name) for name in NAMES}
    return {name: (state.clean, len(state.diff.changes)) for name, state in found.items()}


def forks_of(patch: pytest.MonkeyPatch) -> list[int]:
    """Count what is forked here."""
    made: list[int] = []
    real = os.fork

    def fork() -> int:
        made.append(1)
        return real()

    patch.setattr(os, "fork", fork)
    return made


def test_it_is_what_looking_at_each_tells(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(root)
    wanted = alone(store)
    assert wanted["main"] == wanted["b"] == (True, 0)
    assert wanted["a"][0] is wanted["c"][0] is False
    made = forks_of(monkeypatch)
    descriptors, children = len(making.descriptors()), making.children()
    assert states.states(store, NAMES) == wanted
    assert len(made) == 2  # and none for the directories of one worktree
    store.close()
    assert len(making.descriptors()) <= descriptors
    assert making.children() <= children
    said = run("-C", str(root), "worktree", "list", "--status", "--json").json
    assert {item["name"]: (item["clean"], item["changes"]) for item in said} == wanted


@pytest.mark.parametrize("why", ["setting", "threads", "small", "one is large"])
def test_one_process_looks_where_more_do_not_pay(root: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(root, *(["engine.jobs=1"] if why == "setting" else []))
    monkeypatch.setattr(parallel.Sweeper, "processes", 1)
    match why:
        case "setting":
            monkeypatch.setattr(states, "processes", 0)
        case "threads":
            monkeypatch.setattr(parallel, "has_threads", lambda: True)
        case "small":
            monkeypatch.setattr(parallel, "LEAST_ENTRIES", 1000)
        case _:
            write(main_of(store), {f"large/{i}": "" for i in range(200)})
            snapshot(store, "large")
    wanted, made = alone(store), forks_of(monkeypatch)
    assert states.states(store, NAMES) == wanted
    assert made == []


def test_no_more_processes_is_no_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    store = open_store(root)
    wanted = alone(store)
    monkeypatch.setattr(os, "fork", refuse)
    assert states.states(store, NAMES) == wanted


def test_a_process_that_dies_leaves_its_share_to_the_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(store: Store, names: list[str]) -> Any:
        os._exit(9)

    store = open_store(root)
    wanted = alone(store)
    monkeypatch.setattr(states, "_look_away", die)
    assert states.states(store, NAMES) == wanted


def test_an_error_is_that_of_the_first_worktree_that_has_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(root)
    for name in ("b", "c"):
        config = Path(str(store.layout.worktree_config(name)))
        config.write_text(config.read_text().replace(f'"{worktree.load(store.layout, name)["name"]}"', '"other"'))
    errors = set()
    for processes in (1, 2, 3, 4):
        monkeypatch.setattr(states, "processes", processes)
        with pytest.raises(JvsError) as error:
            states.states(store, NAMES)
        errors.add((error.value.name, error.value.message))
    assert len(errors) == 1
    assert "'b'" in errors.pop()[1]


def test_remarks_and_progress_are_heard(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Observer(progress.Observer):
        def __init__(self) -> None:
            self.heard: list[str] = []
            self.entries = 0

        def remark(self, text: str) -> None:
            self.heard.append(text)

        def advance(self, phase: str, amount: int, total: int | None = None, unit: str = "files") -> None:
            self.entries += amount

    def state(store: Store, name: str) -> tuple[bool, int]:
        progress.remark(name)
        progress.advance("scan", 10)
        return True, 0

    observer = Observer()
    before = progress.set_observer(observer)
    monkeypatch.setattr(states, "_state", state)
    try:
        states.states(open_store(root), NAMES)
    finally:
        progress.set_observer(before)
    assert sorted(observer.heard) == sorted(NAMES)
    assert observer.entries >= 40
