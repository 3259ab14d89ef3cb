"""jvs agent: an agent's own settings get two hooks and a server, and nothing else in them changes."""

from __future__ import annotations

import json
import os
import random
import tomllib
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


SERVERS = {
    "gemini": (
        ".gemini/settings.json",
        ".gemini/settings.json",
        '{\n  "theme": "x",\n  "mcpServers": {"o": {"command": "o"}}\n}\n',
    ),
    "opencode": (
        "opencode.json",
        ".config/opencode/opencode.json",
        '{\n  "model": "x/y",\n  "mcp": {"o": {"type": "remote"}}\n}\n',
    ),
    "codex": (
        ".codex/config.toml",
        ".codex/config.toml",
        '# mine\nmodel = "o3" # fast\n\n[mcp_servers.other]\ncommand = "o"\n\n[tui]\ntheme = "dark"\n',
    ),
}
"""Settings as Gemini CLI 0.1, opencode 1 and Codex CLI 0.40 write them: of a project, of a user, with other content."""


def _loads(path: Path) -> dict:
    text = path.read_text()
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)


@pytest.mark.parametrize("scope", ["--project", "--user"])
@pytest.mark.parametrize("name", SERVERS)
def test_other_agents_get_the_server_and_keep_the_rest(own_world: Path, name: str, scope: str):
    of_project, of_user, before = SERVERS[name]
    file = Path.cwd() / of_project if scope == "--project" else own_world / of_user
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(before)
    assert [item["installed"] for item in agent("status", name, scope).json] == [False]
    assert [item["changed"] for item in agent("install", name, scope, "-n").json] == [True]
    assert file.read_text() == before
    assert [item["changed"] for item in agent("install", name, scope).json] == [True]
    once = _loads(file)
    servers = once[{"gemini": "mcpServers", "opencode": "mcp", "codex": "mcp_servers"}[name]]
    assert set(servers) == {"jvs", "other" if name == "codex" else "o"}
    if name == "opencode":
        assert servers["jvs"] == {"type": "local", "command": ["jvs", "mcp"], "enabled": True}
    else:
        assert (servers["jvs"]["command"], servers["jvs"]["args"]) == ("jvs", ["mcp"])
    assert [item["changed"] for item in agent("install", name, scope).json] == [False]
    assert [item["installed"] for item in agent("status", name, scope).json] == [True]
    assert [item["changed"] for item in agent("uninstall", name, scope).json] == [True]
    assert _loads(file) == (tomllib.loads(before) if name == "codex" else json.loads(before))
    if name == "codex":
        assert file.read_text() == before
    assert [item["changed"] for item in agent("uninstall", name, scope).json] == [False]


@pytest.mark.parametrize("name", SERVERS)
def test_other_agents_without_settings_and_with_a_server_of_that_name(name: str):
    file = Path(SERVERS[name][0])
    agent("uninstall", name)
    assert not file.exists()
    agent("install", name)
    assert _loads(file)
    agent("uninstall", name)
    assert _loads(file) == {}
    key = {"gemini": "mcpServers", "opencode": "mcp", "codex": "mcp_servers"}[name]
    other = f'[{key}.jvs]\ncommand = "x"\n' if name == "codex" else json.dumps({key: {"jvs": {"command": "x"}}})
    file.write_text(other)
    assert making.run("agent", "install", name).exit == 2
    agent("uninstall", name)
    assert file.read_text() == other


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = {other = {command = "o"}}\n',
        '[mcp_servers]\njvs = {command = "jvs"}\n',
        '[mcp_servers.jvs]\ncommand = "jvs"\n[mcp_servers.jvs.env]\nA = "1"\n',
        'x = """\n[mcp_servers.jvs]\n"""\n[mcp_servers.jvs]\ncommand = "jvs"\n',
        "not = [toml",
    ],
)
def test_toml_that_cannot_be_edited_safely_stays_as_it_is(text: str):
    Path(".codex").mkdir()
    Path(".codex/config.toml").write_text(text)
    codes = [making.run("agent", word, "codex").exit for word in ("install", "uninstall")]
    left = Path(".codex/config.toml").read_text()
    assert left == text or tomllib.loads(left).get("mcp_servers", {}).get("jvs") is None
    assert 2 in codes


def test_status_without_an_agent_looks_at_all_and_products_have_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = making.run("agent", "status", "--json").json
    assert [item["installed"] for item in found] == [False] * 5
    assert making.run("agent", "install", "claude-code").exit == 0
    assert making.run("agent", "install", "gemini-cli").exit == 0
    found = making.run("agent", "status", "--json").json
    assert sorted(os.path.relpath(item["file"], tmp_path) for item in found if item["installed"]) == [
        ".claude/settings.json",
        ".gemini/settings.json",
        ".mcp.json",
    ]
