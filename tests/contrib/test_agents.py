"""The programs for agents, each against a real client."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AGENTS = Path(__file__).resolve().parents[2] / "contrib" / "agents"
BIN = Path(sys.executable).parent


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    subprocess.run([BIN / "jvs", "init", tmp_path / "lab"], check=True, capture_output=True)
    main = tmp_path / "lab" / "main"
    (main / "a.txt").write_text("one\n")
    return main


def jvs(lab: Path, *words: str) -> Any:
    done = subprocess.run([BIN / "jvs", "--json", *words], cwd=lab, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def hook(lab: Path, event: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, AGENTS / "jvs-claude-hook"]
    return subprocess.run(command, input=json.dumps(event), check=False, capture_output=True, text=True, cwd="/")


def test_the_hook_takes_a_snapshot_before_and_after_a_tool_that_changes_files(lab: Path) -> None:
    event = {
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": "rm  a.txt"},
        "cwd": str(lab),
    }
    assert hook(lab, event).returncode == 0
    (lab / "a.txt").unlink()
    assert hook(lab, {**event, "hook_event_name": "PostToolUse"}).returncode == 0
    assert [s["note"] for s in jvs(lab, "history")] == ["after Bash: rm a.txt", "before Bash: rm a.txt"]
    assert all(s["tags"] == ["agent"] for s in jvs(lab, "history"))


def test_the_hook_leaves_reading_tools_and_other_places_alone(lab: Path, tmp_path: Path) -> None:
    assert hook(lab, {"hook_event_name": "PreToolUse", "tool_name": "Read", "cwd": str(lab)}).returncode == 0
    done = hook(lab, {"hook_event_name": "PreToolUse", "tool_name": "Bash", "cwd": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert jvs(lab, "history") == []


ODD_COMMANDS = ["a\0b", "\udcff", "\ud800", "--help", "-C/", "\x1b[2J", "x" * 100_000, "", " \n ", "ü" * 300]


@pytest.mark.parametrize("command", ODD_COMMANDS, ids=range(len(ODD_COMMANDS)))
@pytest.mark.parametrize("field", ["command", "description", "file_path"])
def test_the_hook_takes_its_snapshot_whatever_the_tool_is_to_do(lab: Path, command: str, field: str) -> None:
    event = {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {field: command}, "cwd": str(lab)}
    done = hook(lab, event)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(jvs(lab, "history")) == 1


@pytest.mark.parametrize(
    "cwd", ["/nowhere", "a\0b", "\udcff", "\ud800", "/etc/passwd", "", None, 7, [], {}, "x" * 5000]
)
@pytest.mark.parametrize("given", [{}, None, [], "text", 7, {"command": ["list"]}, {"command": {"a": None}}])
def test_the_hook_never_blocks_a_tool_whatever_the_event_is(lab: Path, cwd: Any, given: Any) -> None:
    done = hook(lab, {"hook_event_name": "PreToolUse", "tool_name": "Write", "tool_input": given, "cwd": cwd})
    assert done.returncode == 0 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"null", b"{", b'{"tool_name": {}}', b'{"tool_name": ["Bash"]}', b"[" * 100_000]
)
def test_the_hook_never_blocks_a_tool_whatever_it_reads(tmp_path: Path, data: bytes) -> None:
    done = subprocess.run([sys.executable, AGENTS / "jvs-claude-hook"], input=data, capture_output=True, cwd=tmp_path)
    assert done.returncode == 0 and b"Traceback" not in done.stderr


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_the_hook_never_blocks_a_tool_without_its_streams(lab: Path, streams: str) -> None:
    event = json.dumps({"tool_name": "Bash", "cwd": "/nowhere"})
    script = f"printf %s '{event}' | {sys.executable} {AGENTS}/jvs-claude-hook {streams}"
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0


def test_the_hook_works_from_a_deleted_directory(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    for cwd in (str(lab), "", "."):
        event = json.dumps({"tool_name": "Bash", "cwd": cwd})
        script = f"cd {tmp_path}/gone && rmdir {tmp_path}/gone; printf %s '{event}' | {AGENTS}/jvs-claude-hook"
        done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True)
        assert done.returncode == 0 and "Traceback" not in done.stderr
        (tmp_path / "gone").mkdir(exist_ok=True)
    assert len(jvs(lab, "history")) == 1


def test_the_guard_takes_back_what_a_failing_command_did(lab: Path) -> None:
    command = [AGENTS / "jvs-guard", "--rollback", "sh", "-c", "echo broken > a.txt; exit 9"]
    assert subprocess.run(command, cwd=lab, check=False, capture_output=True).returncode == 9
    assert (lab / "a.txt").read_text() == "one\n"


def test_the_mcp_server_serves_a_whole_session_to_the_official_client(lab: Path) -> None:
    asyncio.run(_session(lab))


def failed(answer: Any) -> bool:
    """Answer whether a tool failed; the SDK renamed the field in its second major version."""
    return bool(getattr(answer, "is_error", None) or getattr(answer, "isError", None))


async def _session(lab: Path) -> None:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    parameters = StdioServerParameters(
        command=sys.executable, args=[str(AGENTS / "jvs-mcp"), "--repo", str(lab)], env=dict(os.environ)
    )
    async with stdio_client(parameters) as (reader, writer), ClientSession(reader, writer) as session:
        await session.initialize()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert set(tools) == {
            *("snapshot", "restore", "undo", "status", "diff", "history", "show", "cat", "ls"),
            *("fork", "merge", "try", "tag", "note", "meta", "du"),
        }

        async def ask(name: str, /, **arguments: Any) -> dict[str, Any]:
            answer = await session.call_tool(name, arguments)
            value = json.loads(answer.content[0].text)
            assert value["ok"] is not failed(answer)
            return value

        made = await ask("snapshot", note="baseline", tags=["base"])
        assert made["ok"] and made["result"]["tags"] == ["base"]
        (lab / "a.txt").write_text("two\n")
        assert (await ask("status"))["result"]["clean"] is False
        assert (await ask("diff", from_snapshot="base"))["result"]["total_modified"] == 1
        assert (await ask("restore", target="base"))["ok"]
        assert (lab / "a.txt").read_text() == "one\n"
        assert (await ask("undo"))["ok"]
        assert (lab / "a.txt").read_text() == "two\n"
        assert (await ask("restore", target="base", paths=["a.txt"]))["ok"]
        assert (lab / "a.txt").read_text() == "one\n"
        forked = await ask("fork", name="try", snapshot="base")
        assert forked["ok"]
        assert (lab.parent / "worktrees" / "try" / "a.txt").read_text() == "one\n"
        assert len((await ask("history"))["result"]["snapshots"]) == 1
        refused = await ask("restore", target="no-such-snapshot")
        assert refused["ok"] is False and refused["error"]["class"] == "E_NOT_FOUND"
