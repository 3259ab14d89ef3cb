"""The MCP server in settings that are TOML, those of Codex CLI: a table of its own at the end of the file.

The text is edited, not written anew, so that comments and order stay; what comes of it is read again, and must hold
what was there and ours, nothing else. Source: jvs-agents(7).
"""

from __future__ import annotations

import os

from jvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TABLE, SERVER = "mcp_servers", "jvs"
OURS = ("jvs", "jvs-mcp")
_HEADER = f"[{TABLE}.{SERVER}]"
_BLOCK = f'{_HEADER}\ncommand = "jvs"\nargs = ["mcp"]\n'


def _parse(text: str, path: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{path}' is not valid TOML: {error}", hint="repair or move the file") from error


def _server(document: dict[str, Any]) -> object:
    servers = document.get(TABLE)
    return servers.get(SERVER) if isinstance(servers, dict) else None


def _is_ours(server: object) -> bool:
    command = server.get("command") if isinstance(server, dict) else None
    return isinstance(command, str) and os.path.basename(command) in OURS


def has(text: str, path: str) -> bool:
    """Answer whether the server is there. Errors: E_USAGE for text that is no TOML."""
    return _is_ours(_server(_parse(text, path)))


def add(text: str, path: str) -> str:
    """Return the text with the server; the same when it is there. Errors: E_USAGE."""
    before = _parse(text, path)
    found = _server(before)
    if _is_ours(found):
        return text
    if found is not None:
        raise UsageError(
            f"the settings have another MCP server '{SERVER}' already", hint="give that one another name, and try again"
        )
    after = (text if not text or text.endswith("\n") else text + "\n") + ("\n" if text.strip() else "") + _BLOCK
    wanted = {**before, TABLE: {**before.get(TABLE, {}), SERVER: {"command": "jvs", "args": ["mcp"]}}}
    return _checked(after, wanted, path, "added to")


def remove(text: str, path: str, *, look: bool = False) -> str:
    """Return the text without the server; the same when it is not there, or only `look`ed for. Errors: E_USAGE."""
    before = _parse(text, path)
    if look or not _is_ours(_server(before)):
        return text
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines) if line.split("#")[0].strip() == _HEADER), len(lines))
    end = next((i for i in range(start + 1, len(lines)) if lines[i].lstrip().startswith("[")), len(lines))
    if end == len(lines) and start and not lines[start - 1].strip():
        start -= 1  # the empty line that came with it
    kept = [*lines[:start], *([""] if end == len(lines) and start else []), *lines[end:]]
    wanted = {**before, TABLE: {key: value for key, value in before[TABLE].items() if key != SERVER}}
    if not wanted[TABLE]:
        del wanted[TABLE]
    return _checked("\n".join(kept), wanted, path, "removed from")


def _checked(text: str, wanted: dict[str, Any], path: str, what: str) -> str:
    try:
        fits = _parse(text, path) == wanted
    except UsageError:
        fits = False
    if not fits:
        raise UsageError(
            f"the MCP server cannot be {what} '{path}' without touching the rest",
            hint=f'write it by hand: {_HEADER}, command = "jvs", args = ["mcp"]',
        )
    return text
