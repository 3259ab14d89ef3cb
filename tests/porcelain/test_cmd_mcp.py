"""`jvs mcp` and its tools: values only, bounded answers, failures that are errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from making import run, write

from jvs.cli import mcp_table, mcp_tools


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "lab"
    assert run("init", str(root)).exit == 0
    write(root / "main", {"a": "one"})
    assert run("-C", str(root), "snapshot", "first", "-t", "base").exit == 0
    return root


@pytest.fixture
def tools(root: Path) -> mcp_tools.Tools:
    return mcp_tools.Tools(str(root / "main"), os.environ)


def ok(answer: tuple[dict[str, Any], bool]) -> dict[str, Any]:
    value, failed = answer
    assert value["ok"] and not failed, value
    return value["result"]


def error(answer: tuple[dict[str, Any], bool]) -> str:
    value, failed = answer
    assert failed and not value["ok"], value
    return value["error"]["class"]


def test_every_tool_says_what_it_does_to_the_workspace() -> None:
    marked = {name: (tool.read_only, tool.destructive) for name, tool in mcp_table.TOOLS.items()}
    assert marked == {
        "snapshot": (False, False),
        "restore": (False, True),
        "undo": (False, True),
        "status": (True, False),
        "diff": (True, False),
        "history": (True, False),
        "fork": (False, False),
        "merge": (False, True),
        "try": (False, True),
        "show": (True, False),
        "cat": (True, False),
        "ls": (True, False),
        "du": (True, False),
        "tag": (False, False),
        "note": (False, False),
        "meta": (False, False),
    }


@pytest.mark.parametrize("name", sorted(mcp_table.TOOLS))
def test_the_schema_of_a_tool_is_what_is_checked(tools: mcp_tools.Tools, name: str) -> None:
    schema = mcp_table.TOOLS[name].schema()
    assert error(tools.call(name, {**dict.fromkeys(schema["required"], "LATEST"), "--help": True})) == "E_USAGE"
    wrong = {"string": [], "array": "text", "boolean": "yes", "integer": -1}
    for argument, described in schema["properties"].items():
        needed = {key: "LATEST" for key in schema["required"] if key != argument}
        assert error(tools.call(name, {**needed, argument: wrong[described["type"]]})) == "E_USAGE", argument
        if described["type"] == "string":
            for text in ("a\0b", "\udcff"):
                assert error(tools.call(name, {**needed, argument: text})) == "E_USAGE", argument


def test_what_is_no_tool_is_an_error(tools: mcp_tools.Tools) -> None:
    for name in ("", "call", "_run", "--help", "gc"):
        assert error(tools.call(name)) == "E_USAGE"


def test_every_entry_of_a_long_answer_can_be_had(root: Path, tools: mcp_tools.Tools) -> None:
    write(root / "main", {f"d{i % 7}/f{i:04}": "x" for i in range(450)})
    for name, given in (("status", {}), ("diff", {"from_snapshot": "base"})):
        found: list[str] = []
        offset = 0
        while True:
            answer = ok(tools.call(name, {**given, "limit": 100, "offset": offset}))
            page = answer["added"]
            found += [item["path"] for item in page]
            assert len(page) <= 100
            if not answer.get("truncated"):
                break
            offset += 100
            assert str(offset) in answer["rest"]
        assert len([path for path in found if "/f" in path]) == 450
        assert len(found) == len(set(found))


def test_a_thousand_changes_are_an_answer_that_can_be_read(root: Path, tools: mcp_tools.Tools) -> None:
    names = [f"a_directory_with_some_name/file_number_{i:04}.txt" for i in range(1000)]
    write(root / "main", dict.fromkeys(names, "x"))
    ok(tools.call("snapshot", {"note": "before"}))
    write(root / "main", dict.fromkeys(names, "other"))
    for name, given in (("status", {}), ("diff", {"from_snapshot": "HEAD"})):
        found: list[str] = []
        for _ in range(2):
            answer = ok(tools.call(name, {**given, "offset": len(found)}))
            assert len(json.dumps(answer)) < 20_000
            found += [item["path"] for item in answer["modified"]]
            assert answer["rest"].endswith(f" {len(found)}")
        assert len(found) > 50 and found == names[: len(found)]
    answer = ok(tools.call("restore", {"target": "HEAD"}))
    assert len(json.dumps(answer)) < 20_000 and answer["truncated"]


def test_history_pages(root: Path, tools: mcp_tools.Tools) -> None:
    for number in range(5):
        ok(tools.call("snapshot", {"note": str(number), "if_changed": False}))
    first = ok(tools.call("history", {"limit": 4}))
    assert [s["note"] for s in first["snapshots"]] == ["4", "3", "2", "1"] and first["truncated"]
    rest = ok(tools.call("history", {"limit": 4, "offset": 4}))
    assert [s["note"] for s in rest["snapshots"]] == ["0", "first"] and "truncated" not in rest


def test_no_answer_is_too_large(root: Path, tools: mcp_tools.Tools) -> None:
    for number in range(3):
        ok(tools.call("snapshot", {"note": f"{number}" * 500_000, "if_changed": False}))
    write(root / "main", {f"{'long' * 50}{i:04}": "x" for i in range(1200)})
    for name in ("history", "status"):
        answer, _ = tools.call(name, {"limit": 5000})
        assert len(json.dumps(answer)) <= mcp_tools.MOST_BYTES
        assert answer["ok"] and (answer.get("cut") or answer["result"].get("truncated"))


def test_restore_tells_beforehand_and_undo_brings_back(root: Path, tools: mcp_tools.Tools) -> None:
    write(root / "main", {"a": "two"})
    planned = ok(tools.call("restore", {"target": "base", "dry_run": True}))
    assert [item["path"] for item in planned["changes"]] == ["a"] and planned["dry_run"]
    assert (root / "main" / "a").read_text() == "two"
    ok(tools.call("restore", {"target": "base", "paths": ["a"]}))
    assert (root / "main" / "a").read_text() == "one"
    ok(tools.call("undo"))
    assert (root / "main" / "a").read_text() == "two"
    ok(tools.call("undo", {"redo": True}))
    assert (root / "main" / "a").read_text() == "one"
    assert error(tools.call("restore", {"target": "base", "paths": ["../../x"]})) == "E_PATH_ESCAPE"


def test_values_are_no_options(root: Path, tmp_path: Path, tools: mcp_tools.Tools) -> None:
    assert run("init", str(tmp_path / "other")).exit == 0
    write(tmp_path / "other" / "main", {"secret": "s"})
    assert run("-C", str(tmp_path / "other"), "snapshot", "secret").exit == 0
    for value in (f"-C{tmp_path}/other", "-cengine.juicefs.binary=/bin/true", "--help", "-h", "--", "-"):
        for name, given in (
            ("diff", {"from_snapshot": value}),
            ("diff", {"from_snapshot": "base", "to_snapshot": value}),
            ("restore", {"target": value}),
            ("fork", {"name": "x", "snapshot": value}),
        ):
            assert error(tools.call(name, given)) == "E_NOT_FOUND"
        assert error(tools.call("fork", {"name": value})) == "E_NAME_INVALID"
    for value in ("--help", "-C/", "-"):
        assert ok(tools.call("snapshot", {"note": value, "if_changed": False}))["note"] == value


def test_a_workspace_that_went_away_is_an_error(root: Path, tools: mcp_tools.Tools) -> None:
    root.rename(root.parent / "moved")
    assert error(tools.call("status")) == "E_NOT_A_REPOSITORY"


def test_it_ends_when_stdin_ends_and_refuses_what_is_no_repository(root: Path, tmp_path: Path) -> None:
    code = "import sys; from jvs.porcelain.mcp import main; sys.exit(main())"
    words = [sys.executable, "-c", code]
    done = subprocess.run([*words, "--repo", str(root)], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    done = subprocess.run([*words, "--repo", str(tmp_path)], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 5 and b"E_NOT_A_REPOSITORY" in done.stderr
