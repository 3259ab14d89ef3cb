"""What a person can do by a command, a program can by `Repository`, and an agent by a tool."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest
from making import main_of, make_store, run, snapshot, write

from jvs.cli import commands, mcp_table, mcp_tools
from jvs.repository import Repository

EVERYWHERE = {
    *("snapshot", "restore", "undo", "status", "diff", "history", "show", "cat", "ls", "du"),
    *("tag", "note", "meta", "fork", "merge", "try"),
}
"""What all three can do, under the same word."""
METHODS = {"try": "try_command"}
"""Methods whose word belongs to Python."""
OTHER_WORDS = {
    "snapshot": "target",
    "from_snapshot": "start",
    "to_snapshot": "after",
    "text": "text",
    "snapshots": "targets",
}
ONLY_TOOLS = {"limit", "offset", "dry_run", "if_changed", "ours", "theirs", "both"}
"""Arguments of tools that page answers or choose, which a program does by itself or names otherwise."""


def test_all_three_know_the_same_words() -> None:
    assert {*commands.COMMANDS, *commands.ALIASES} >= EVERYWHERE
    assert {name for name in EVERYWHERE if not callable(getattr(Repository, METHODS.get(name, name), None))} == set()
    assert set(mcp_table.TOOLS) == EVERYWHERE, "name a new tool here, and give it a command and a method"


@pytest.mark.parametrize("name", sorted(EVERYWHERE - {"diff", "fork", "status"}))
def test_what_a_tool_takes_the_method_takes_as_well(name: str) -> None:
    taken = set(inspect.signature(getattr(Repository, METHODS.get(name, name))).parameters)
    given = {OTHER_WORDS.get(word, word) for word in mcp_table.TOOLS[name].arguments} - ONLY_TOOLS
    assert given - taken == set()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    store = make_store(tmp_path / "repo")
    monkeypatch.chdir(main_of(store))
    for number in range(3):
        write(main_of(store), {"a": str(number), "d/b": "same"})
        snapshot(store, f"step {number}", tags=["t"], meta={"loss": str(5 - number)})
    return store.root


def tool(name: str, **arguments: Any) -> Any:
    answer, failed = mcp_tools.Tools(os.getcwd(), os.environ).call(name, arguments)
    assert not failed, answer
    return answer["result"]


def test_all_three_give_the_same_answers(root: str) -> None:
    repo = Repository.open(root, environment=os.environ)
    by_loss = [record["snapshot_id"] for record in repo.history(sort="loss")]
    assert by_loss == [r["snapshot_id"] for r in run("history", "--sort", "loss", "--json").json]
    assert by_loss == [r["snapshot_id"] for r in tool("history", sort="loss")["snapshots"]]
    changed = [record["path_changes"] for record in repo.history(paths=["a"])]
    assert changed == [r["path_changes"] for r in run("history", "--json", "--", "a").json]
    assert changed == [r["path_changes"] for r in tool("history", paths=["a"])["snapshots"]]
    assert repo.cat("t", "a") == run("cat", "t:a").out == tool("cat", snapshot="t", path="a")["lines"][0].encode()
    assert repo.ls("t", "d") == run("ls", "t:d", "--json").json == tool("ls", snapshot="t", path="d")["entries"]
    for number, change in enumerate(
        (
            lambda: repo.tag("LATEST", "x"),
            lambda: run("tag", "LATEST", "x"),
            lambda: tool("tag", snapshot="LATEST", tags=["x"]),
            lambda: repo.meta("LATEST", {"n": 1}),
            lambda: run("meta", "LATEST", "n=1"),
            lambda: tool("meta", snapshot="LATEST", values=["n=1"]),
            lambda: repo.note("LATEST", "said"),
            lambda: run("note", "LATEST", "said"),
            lambda: tool("note", snapshot="LATEST", text="said"),
        )
    ):
        change()
        said = repo.show("LATEST")
        assert said["tags"] == ["t", "x"], number
        assert tool("show")["tags"] == run("show", "--json").json["tags"] == said["tags"]
    assert (said["meta"]["n"], said["note"]) == ("1", "said")


def test_all_three_merge_and_refuse_alike(root: str) -> None:
    from jvs.errors import Conflict

    repo = Repository.open(root, environment=os.environ)
    for name in ("one", "two", "three"):
        repo.fork("LATEST", name)
        write(Path(repo.path(name)), {"a": name, name: name})
        repo.snapshot(name, worktree=name)
    assert repo.merge("one").snapshot is not None
    with pytest.raises(Conflict) as refused:
        repo.merge("two")
    answer, failed = mcp_tools.Tools(os.getcwd(), os.environ).call("merge", {"source": "two"})
    assert failed and answer["error"]["class"] == "E_CONFLICT"
    assert answer["error"]["facts"]["conflicts"] == refused.value.facts["conflicts"]
    assert run("merge", "two", "--json").json["conflicts"] == refused.value.facts["conflicts"]
    assert tool("merge", source="two", theirs=["*"])["decided"][0]["path"] == "a"
    assert repo.merge("three", choices={"both": [""]}).snapshot is not None
    assert Path("a").read_text() == "two" and Path("a.theirs").read_text() == "three"
