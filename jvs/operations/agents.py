"""Wiring agents to jvs: hooks and an MCP server in their own settings files, without touching the rest of them.

Written for the settings of these versions. Claude Code 2: `hooks` in `.claude/settings.json`, `mcpServers` in
`.mcp.json` of a project or `~/.claude.json` of a user. Gemini CLI 0.1 and later: `mcpServers` in
`.gemini/settings.json`. opencode 1: `mcp` in `opencode.json`. Codex CLI 0.40 and later: `[mcp_servers.NAME]` in
`.codex/config.toml`; see `operations/agent_toml.py`.
Source: https://docs.anthropic.com/en/docs/claude-code/hooks, jvs-agents(7).
"""

from __future__ import annotations

import json
import os
import stat

from jvs.errors import UsageError, from_oserror
from jvs.fs import durable, locks, paths
from jvs.operations import agent_toml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypedDict

    Scope = Literal["project", "user"]
    Part = Literal["hooks", "server", "opencode", "toml"]
    Document = dict[str, Any]

    class Wired(TypedDict):
        """What was done, or found, in one settings file."""

        file: str
        part: Literal["hooks", "server"]
        installed: bool
        changed: bool


HOOK = "jvs-claude-hook"
SERVER = "jvs"
_COMMAND = {"command": "jvs", "args": ["mcp"]}
_EVENTS = ("PreToolUse", "PostToolUse")
_TOOLS = "Bash|Edit|MultiEdit|Write|NotebookEdit"
_MAX_BYTES = 64 << 20


AGENTS = ("claude", "codex", "gemini", "opencode")
_FILES: dict[str, dict[Scope, tuple[tuple[str, Part], ...]]] = {
    "claude": {
        "project": ((".claude/settings.json", "hooks"), (".mcp.json", "server")),
        "user": ((".claude/settings.json", "hooks"), (".claude.json", "server")),
    },
    "gemini": {
        "project": ((".gemini/settings.json", "server"),),
        "user": ((".gemini/settings.json", "server"),),
    },
    "opencode": {
        "project": (("opencode.json", "opencode"),),
        "user": ((".config/opencode/opencode.json", "opencode"),),
    },
    "codex": {
        "project": ((".codex/config.toml", "toml"),),
        "user": ((".codex/config.toml", "toml"),),
    },
}
"""Which settings each agent reads, below the project or the home, and what of ours belongs there."""


def files(scope: Scope, directory: str, home: str | None, agent: str = "claude") -> list[tuple[str, Part]]:
    """Return the settings files of a scope, each with what of ours belongs there. Errors: E_USAGE without a home."""
    if scope == "user" and not home:
        raise UsageError("there is no place for the user's settings", hint="set HOME, or use --project")
    base = directory if scope == "project" else home or ""
    return [(os.path.join(base, name), part) for name, part in _FILES[agent][scope]]


def install(
    scope: Scope, directory: str, home: str | None, agent: str = "claude", *, dry_run: bool = False
) -> list[Wired]:
    """Add what is missing. Can be repeated. Durable: yes. Errors: E_USAGE for a file that cannot be read so, E_IO."""
    return [_change(path, part, "add", dry_run=dry_run) for path, part in files(scope, directory, home, agent)]


def uninstall(
    scope: Scope, directory: str, home: str | None, agent: str = "claude", *, dry_run: bool = False
) -> list[Wired]:
    """Remove what `install` adds, and nothing else. Can be repeated. Durable: yes. Errors: as `install`."""
    return [_change(path, part, "remove", dry_run=dry_run) for path, part in files(scope, directory, home, agent)]


def status(scope: Scope, directory: str, home: str | None, agent: str = "claude") -> list[Wired]:
    """Say what is there. Writes nothing. Errors: as `install`."""
    return [_change(path, part, "look", dry_run=True) for path, part in files(scope, directory, home, agent)]


def _change(path: str, part: Part, what: Literal["add", "remove", "look"], *, dry_run: bool) -> Wired:
    path = os.path.realpath(path)  # a link of the user's own, to where they keep their settings
    try:
        after = _edited("", path, part, what)  # what comes of a file that is not there yet
        if not os.path.isdir(os.path.dirname(path)) and (dry_run or not after):
            return _wired(path, part, after, changed=bool(after))
        above = durable.open_directory(os.path.dirname(path), make=not dry_run)
        with locks.acquire_directory(above.here, wait=locks.DEFAULT_WAIT_SECONDS):
            before, mode = _read(path, above / os.path.basename(path))
            after = _edited(before, path, part, what)
            if after != before and not dry_run:
                _write(above / os.path.basename(path), after.encode("utf-8"), mode)
    except OSError as error:
        raise from_oserror(error, f"changing '{path}'") from error
    return _wired(path, part, after, changed=after != before)


def _edited(text: str, path: str, part: Part, what: Literal["add", "remove", "look"]) -> str:
    """Return the text of a settings file with ours added or removed; the same text when there is nothing to do."""
    if part == "toml":
        return agent_toml.add(text, path) if what == "add" else agent_toml.remove(text, path, look=what == "look")
    document = _parse(text, path)
    if what != "look":
        (_ADD if what == "add" else _REMOVE)[part](document)
    return text if document == _parse(text, path) else _encode(document, text)


def _wired(path: str, part: Part, text: str, *, changed: bool) -> Wired:
    there = agent_toml.has(text, path) if part == "toml" else _IS_THERE[part](_parse(text, path))
    return {"file": path, "part": "hooks" if part == "hooks" else "server", "installed": there, "changed": changed}


def _read(path: str, place: Any) -> tuple[str, int]:
    if not paths.exists(place):
        return "", 0o600
    try:
        mode = stat.S_IMODE(paths.lstat(place).st_mode)
        return paths.read_file(place, _MAX_BYTES).decode("utf-8"), mode
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not valid UTF-8", hint="repair or move the file") from error


def _parse(text: str, path: str) -> Document:
    try:
        document = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{path}' is not valid JSON: {error}", hint="repair or move the file") from error
    if not isinstance(document, dict):
        raise UsageError(f"'{path}' does not hold a JSON object", hint="repair or move the file")
    return document


def _encode(document: Document, before: str) -> str:
    """Return a document indented as the file was, two blanks when it was not."""
    lines = before.split("\n")
    indent = next((line[: len(line) - len(line.lstrip())] for line in lines if line[:1] in (" ", "\t")), "  ")
    return json.dumps(document, indent=indent, ensure_ascii=False) + "\n"


def _write(place: Any, data: bytes, mode: int) -> None:
    """Replace a file in one step; it keeps its mode. Durable: yes."""
    temporary = place.parent / f".{place.name}.jvs-{os.getpid()}"
    durable.unlink(temporary, missing_ok=True)
    try:
        durable.create_file(temporary, data, mode=mode)
        durable.rename(temporary, place)
    except BaseException:
        durable.unlink(temporary, missing_ok=True)
        raise
    durable.fsync_dir(place.parent)


def _section(document: Document, key: str, kind: type) -> Any:
    """Return a part of a document, made when it is missing. Errors: E_USAGE when it is of another kind."""
    found = document.setdefault(key, kind())
    if not isinstance(found, kind):
        raise UsageError(f"'{key}' in the settings is not what the agent takes", hint="repair the file")
    return found


def _is_ours(hook: object) -> bool:
    command = hook.get("command") if isinstance(hook, dict) else None
    words = command.split() if isinstance(command, str) else []
    return bool(words) and os.path.basename(words[0]) == HOOK


def _hooks_of(entry: object) -> list[Any]:
    found = entry.get("hooks") if isinstance(entry, dict) else None
    return found if isinstance(found, list) else []


def _has_hook(document: Document, event: str) -> bool:
    hooks = document.get("hooks")
    entries = hooks.get(event) if isinstance(hooks, dict) else None
    return any(_is_ours(hook) for entry in (entries if isinstance(entries, list) else []) for hook in _hooks_of(entry))


def _add_hooks(document: Document) -> None:
    for event in _EVENTS:
        if not _has_hook(document, event):
            entries = _section(_section(document, "hooks", dict), event, list)
            entries.append({"matcher": _TOOLS, "hooks": [{"type": "command", "command": HOOK}]})


def _remove_hooks(document: Document) -> None:
    for event in _EVENTS:
        if not _has_hook(document, event):
            continue
        hooks = document["hooks"]
        for entry in list(hooks[event]):
            ours = [hook for hook in _hooks_of(entry) if _is_ours(hook)]
            for hook in ours:
                entry["hooks"].remove(hook)
            if ours and not entry["hooks"]:
                hooks[event].remove(entry)
        if not hooks[event]:
            del hooks[event]
        if not hooks:
            del document["hooks"]


def _has_server(document: Document, key: str = "mcpServers") -> bool:
    servers = document.get(key)
    server = servers.get(SERVER) if isinstance(servers, dict) else None
    command = server.get("command") if isinstance(server, dict) else None
    first = command[0] if isinstance(command, list) and command else command
    return isinstance(first, str) and os.path.basename(first) in agent_toml.OURS


def _add_server(document: Document, key: str = "mcpServers", server: Document | None = None) -> None:
    if _has_server(document, key):
        return
    servers = _section(document, key, dict)
    if SERVER in servers:
        raise UsageError(
            f"the settings have another MCP server '{SERVER}' already", hint="give that one another name, and try again"
        )
    servers[SERVER] = {**_COMMAND} if server is None else server


def _remove_server(document: Document, key: str = "mcpServers") -> None:
    if _has_server(document, key):
        del document[key][SERVER]
        if not document[key]:
            del document[key]


_OPENCODE = "mcp"
_LOCAL = {"type": "local", "command": ["jvs", "mcp"], "enabled": True}
_ADD: dict[str, Callable[[Document], None]] = {
    "hooks": _add_hooks,
    "server": _add_server,
    "opencode": lambda document: _add_server(document, _OPENCODE, {**_LOCAL}),
}
_REMOVE: dict[str, Callable[[Document], None]] = {
    "hooks": _remove_hooks,
    "server": _remove_server,
    "opencode": lambda document: _remove_server(document, _OPENCODE),
}
_IS_THERE: dict[str, Callable[[Document], bool]] = {
    "hooks": lambda document: all(_has_hook(document, event) for event in _EVENTS),
    "server": _has_server,
    "opencode": lambda document: _has_server(document, _OPENCODE),
}
