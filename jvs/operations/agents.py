"""Wiring Claude Code to jvs: two hooks and an MCP server in its own settings files, without touching the rest of them.

Written for the settings of Claude Code 2: `hooks` in `.claude/settings.json`, `mcpServers` in `.mcp.json` of a project
or `~/.claude.json` of a user.
Source: https://docs.anthropic.com/en/docs/claude-code/hooks, jvs-agents(7).
"""

from __future__ import annotations

import json
import os
import stat

from jvs.errors import UsageError, from_oserror
from jvs.fs import durable, locks, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypedDict

    Scope = Literal["project", "user"]
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
_OURS = ("jvs", "jvs-mcp")
_EVENTS = ("PreToolUse", "PostToolUse")
_TOOLS = "Bash|Edit|MultiEdit|Write|NotebookEdit"
_MAX_BYTES = 64 << 20


def files(scope: Scope, directory: str, home: str | None) -> list[tuple[str, Literal["hooks", "server"]]]:
    """Return the settings files of a scope, each with what of ours belongs there. Errors: E_USAGE without a home."""
    if scope == "project":
        return [
            (os.path.join(directory, ".claude", "settings.json"), "hooks"),
            (os.path.join(directory, ".mcp.json"), "server"),
        ]
    if not home:
        raise UsageError("there is no place for the user's settings", hint="set HOME, or use --project")
    return [(os.path.join(home, ".claude", "settings.json"), "hooks"), (os.path.join(home, ".claude.json"), "server")]


def install(scope: Scope, directory: str, home: str | None, *, dry_run: bool = False) -> list[Wired]:
    """Add what is missing. Can be repeated. Durable: yes. Errors: E_USAGE for a file that is no JSON object, E_IO."""
    return [_change(path, part, _ADD[part], dry_run=dry_run) for path, part in files(scope, directory, home)]


def uninstall(scope: Scope, directory: str, home: str | None, *, dry_run: bool = False) -> list[Wired]:
    """Remove what `install` adds, and nothing else. Can be repeated. Durable: yes. Errors: as `install`."""
    return [_change(path, part, _REMOVE[part], dry_run=dry_run) for path, part in files(scope, directory, home)]


def status(scope: Scope, directory: str, home: str | None) -> list[Wired]:
    """Say what is there. Writes nothing. Errors: as `install`."""
    return [_change(path, part, lambda _: None, dry_run=True) for path, part in files(scope, directory, home)]


def _change(path: str, part: Literal["hooks", "server"], edit: Callable[[Document], None], *, dry_run: bool) -> Wired:
    path = os.path.realpath(path)  # a link of the user's own, to where they keep their settings
    try:
        document: Document = {}
        edit(document)  # what comes of a file that is not there yet
        if not os.path.isdir(os.path.dirname(path)) and (dry_run or not document):
            return {"file": path, "part": part, "installed": _IS_THERE[part](document), "changed": bool(document)}
        above = durable.open_directory(os.path.dirname(path), make=not dry_run)
        with locks.acquire_directory(above.here, wait=locks.DEFAULT_WAIT_SECONDS):
            text, mode = _read(path, above / os.path.basename(path))
            document = _parse(text, path)
            edit(document)
            changed = document != _parse(text, path)
            if changed and not dry_run:
                _write(above / os.path.basename(path), _encode(document, text), mode)
    except OSError as error:
        raise from_oserror(error, f"changing '{path}'") from error
    return {"file": path, "part": part, "installed": _IS_THERE[part](document), "changed": changed}


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


def _encode(document: Document, before: str) -> bytes:
    """Return a document indented as the file was, two blanks when it was not."""
    lines = before.split("\n")
    indent = next((line[: len(line) - len(line.lstrip())] for line in lines if line[:1] in (" ", "\t")), "  ")
    return (json.dumps(document, indent=indent, ensure_ascii=False) + "\n").encode("utf-8")


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
        raise UsageError(f"'{key}' in the settings is not what Claude Code takes", hint="repair the file")
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


def _has_server(document: Document) -> bool:
    servers = document.get("mcpServers")
    server = servers.get(SERVER) if isinstance(servers, dict) else None
    command = server.get("command") if isinstance(server, dict) else None
    return isinstance(command, str) and os.path.basename(command) in _OURS


def _add_server(document: Document) -> None:
    if _has_server(document):
        return
    servers = _section(document, "mcpServers", dict)
    if SERVER in servers:
        raise UsageError(
            f"the settings have another MCP server '{SERVER}' already", hint="give that one another name, and try again"
        )
    servers[SERVER] = {**_COMMAND}


def _remove_server(document: Document) -> None:
    if _has_server(document):
        del document["mcpServers"][SERVER]
        if not document["mcpServers"]:
            del document["mcpServers"]


_ADD: dict[str, Callable[[Document], None]] = {"hooks": _add_hooks, "server": _add_server}
_REMOVE: dict[str, Callable[[Document], None]] = {"hooks": _remove_hooks, "server": _remove_server}
_IS_THERE: dict[str, Callable[[Document], bool]] = {
    "hooks": lambda document: all(_has_hook(document, event) for event in _EVENTS),
    "server": _has_server,
}
