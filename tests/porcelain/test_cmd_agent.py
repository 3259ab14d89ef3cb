"""jvs agent: an agent's own settings get two hooks and a server, and nothing else in them changes."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import making
import pytest

OTHERS: dict[str, Any] = {
    "model": "é",
    "hooks": {
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "other --flag"}]}],
        "Stop": [{"hooks": [{"type": "command", "command": "say done"}]}],
    },
}


def settings(root: Path, name: str) -> Any:
    return json.loads((root / name).read_text())


def agent(*words: str) -> making.Said:
    said = making.run("agent", *words, "--json")
    assert said.exit == 0, said.err
    return said


@pytest.mark.parametrize("scope", ["--project", "--user"])
def test_installed_twice_and_taken_away_all_is_as_before(own_world: Path, scope: str):
    root = own_world if scope == "--user" else Path.cwd()
    servers = ".claude.json" if scope == "--user" else ".mcp.json"
    (root / ".claude").mkdir()
    before = json.dumps(OTHERS, indent=4, ensure_ascii=False) + "\n"
    (root / ".claude/settings.json").write_text(before)
    os.chmod(root / ".claude/settings.json", 0o640)
    (root / servers).write_text('{"mcpServers": {"mine": {"command": "x"}}}')
    assert [item["installed"] for item in agent("status", "claude", scope).json] == [False, False]
    assert [item["changed"] for item in agent("install", "claude", scope, "--dry-run").json] == [True, True]
    assert (root / ".claude/settings.json").read_text() == before

    assert [item["changed"] for item in agent("install", "claude", scope).json] == [True, True]
    hooks = settings(root, ".claude/settings.json")["hooks"]
    assert [entry["hooks"][0]["command"] for entry in hooks["PreToolUse"]] == ["other --flag", "jvs-claude-hook"]
    assert hooks["Stop"] == OTHERS["hooks"]["Stop"]
    assert settings(root, servers)["mcpServers"]["jvs"] == {"command": "jvs", "args": ["mcp"]}
    assert settings(root, servers)["mcpServers"]["mine"] == {"command": "x"}
    assert (root / ".claude/settings.json").stat().st_mode & 0o777 == 0o640
    once = (root / ".claude/settings.json").read_bytes()
    assert [item["changed"] for item in agent("install", "claude", scope).json] == [False, False]
    assert (root / ".claude/settings.json").read_bytes() == once
    assert [item["installed"] for item in agent("status", "claude", scope).json] == [True, True]

    assert [item["changed"] for item in agent("uninstall", "claude", scope).json] == [True, True]
    assert (root / ".claude/settings.json").read_text() == before
    assert settings(root, servers) == {"mcpServers": {"mine": {"command": "x"}}}
    assert [item["changed"] for item in agent("uninstall", "claude", scope).json] == [False, False]
    assert sorted(os.listdir(root / ".claude")) == ["settings.json"]


def test_a_person_reads_what_was_done():
    assert making.run("agent", "install", "claude").text.count("added to") == 2
    assert "not in" not in making.run("agent", "status", "claude").text
    assert making.run("agent", "uninstall", "claude").text.count("removed from") == 2


def test_nothing_there_yet(own_world: Path):
    assert [item["changed"] for item in agent("uninstall", "claude").json] == [False, False]
    assert [item["changed"] for item in agent("install", "claude", "-n").json] == [True, True]
    assert os.listdir(".") == []
    agent("install", "claude")
    assert set(settings(Path.cwd(), ".claude/settings.json")["hooks"]) == {"PreToolUse", "PostToolUse"}
    agent("uninstall", "claude")
    assert settings(Path.cwd(), ".claude/settings.json") == {}


@pytest.mark.parametrize("text", ["[]", "{", "\xff", '{"hooks": []}', '{"hooks": {"PreToolUse": {}}}'])
def test_settings_that_are_not_understood_stay_as_they_are(text: str):
    Path(".claude").mkdir()
    Path(".claude/settings.json").write_bytes(text.encode("latin-1"))
    said = making.run("agent", "install", "claude")
    assert (said.exit, "settings" in said.err) == (2, True), said.err
    assert Path(".claude/settings.json").read_bytes() == text.encode("latin-1")
    assert os.listdir(".claude") == ["settings.json"]


def test_a_server_of_that_name_that_is_another_one_stays():
    Path(".mcp.json").write_text('{"mcpServers": {"jvs": {"command": "theirs"}}}')
    assert making.run("agent", "install", "claude").exit == 2
    agent("uninstall", "claude")
    assert settings(Path.cwd(), ".mcp.json") == {"mcpServers": {"jvs": {"command": "theirs"}}}


def test_whatever_else_is_in_the_hooks_stays_as_it_is():
    chance = random.Random(1)
    for _ in range(20):
        entries = [
            {"matcher": chance.choice(["*", "Bash"]), "hooks": [{"command": chance.choice(["a", "b c"])}] * 2}
            for _ in range(chance.randint(0, 3))
        ]
        before = {"hooks": {"PreToolUse": entries, "Other": [1, None]}} if entries else {"x": 1}
        Path(".claude").mkdir(exist_ok=True)
        Path(".claude/settings.json").write_text(json.dumps(before))
        agent("install", "claude")
        agent("uninstall", "claude")
        assert settings(Path.cwd(), ".claude/settings.json") == before
