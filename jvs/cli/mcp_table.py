"""The tools that an agent gets: what each is called and does, its arguments, and checking what was sent.

Source: jvs-mcp(1); Model Context Protocol, Tools.
"""

from __future__ import annotations

from jvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Value = dict[str, Any]
    """What a tool gets or answers: its schema or its command says what that is."""

SOME_ENTRIES = 200
"""So many where nobody asks for a number, and fewer when they are long."""
MOST_ENTRIES = 1000
"""No answer holds more entries of a list than this, whatever `limit` says."""
_TEXT, _TEXTS, _BOOL, _COUNT = "string", "array", "boolean", "integer"
_PAGE = {
    "limit": (_COUNT, SOME_ENTRIES, f"how many entries the answer may hold, {MOST_ENTRIES} at the most"),
    "offset": (_COUNT, 0, "how many entries to leave out, to get the rest of an answer that was truncated"),
}

Argument = tuple[str, object, str]
"""Shape: JSON type, default (Ellipsis: it must be given), meaning."""


class Tool:
    """One tool: what it is called and does, its arguments, and whether it changes or displaces anything."""

    def __init__(
        self, name: str, text: str, arguments: dict[str, Argument], *, changes: bool = True, displaces: bool = False
    ) -> None:
        self.name = name
        self.text = text
        self.arguments = arguments
        self.read_only = not changes
        self.destructive = displaces

    def schema(self) -> Value:
        """Return the JSON schema of the arguments."""
        properties: Value = {}
        for name, (kind, default, text) in self.arguments.items():
            properties[name] = {"type": kind, "description": text}
            if kind == _TEXTS:
                properties[name]["items"] = {"type": _TEXT}
            if kind == _COUNT:
                properties[name]["minimum"] = 0
            if default is not ...:
                properties[name]["default"] = default
        required = [name for name, argument in self.arguments.items() if argument[1] is ...]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_TARGET = "a snapshot: an id, a tag, a note, LATEST, LATEST~1, @{2h}"
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "snapshot",
            "Take a snapshot of the workspace. With if_changed none is taken when nothing changed.",
            {
                "note": (_TEXT, "", "a remark"),
                "tags": (_TEXTS, [], "names for it"),
                "meta": (_TEXTS, [], "facts about it, each as KEY=VALUE: loss=0.12"),
                "paths": (_TEXTS, [], "only these paths, relative to the workspace"),
                "if_changed": (_BOOL, True, "take none when nothing changed since the last one"),
            },
        ),
        Tool(
            "restore",
            "Bring the workspace, or some paths of it, back to a snapshot. What is displaced is kept for undo.",
            {
                "target": (_TEXT, ..., _TARGET),
                "paths": (_TEXTS, [], "only these paths or patterns, relative to the workspace"),
                "dry_run": (_BOOL, False, "only say what would change"),
                **_PAGE,
            },
            displaces=True,
        ),
        Tool(
            "undo",
            "Undo the last restore, undo, rename or removal. What is displaced is kept for redo.",
            {"redo": (_BOOL, False, "undo the last undo instead"), **_PAGE},
            displaces=True,
        ),
        Tool("status", "Say what changed in the workspace since its head.", dict(_PAGE), changes=False),
        Tool(
            "diff",
            "Compare two snapshots; one snapshot with the files now; or, with neither, the two newest snapshots.",
            {
                "from_snapshot": (_TEXT, "", f"{_TARGET}; empty: the one before the latest"),
                "to_snapshot": (_TEXT, "", f"{_TARGET}; empty: the files now"),
                **_PAGE,
            },
            changes=False,
        ),
        Tool(
            "history",
            "List the snapshots of this workspace, newest first; with paths only those that changed their content.",
            {
                "paths": (_TEXTS, [], "only what changed these paths or patterns, relative to the workspace"),
                "from_snapshot": (_TEXT, "", f"where to begin: {_TARGET}; empty: the latest"),
                "meta": (_TEXTS, [], "only those with these facts, each as KEY=VALUE"),
                "sort": (_TEXT, "", "sort by this fact, numbers as numbers; '-KEY': the largest first"),
                **_PAGE,
                "limit": (_COUNT, 20, _PAGE["limit"][2]),
            },
            changes=False,
        ),
        Tool(
            "merge",
            "Merge a fork, or a snapshot, into this workspace and take a snapshot. When both sides changed the same"
            " paths differently nothing is changed, and the error names them. What is displaced is kept for undo.",
            {
                "source": (_TEXT, ..., f"the name of the fork, or {_TARGET}"),
                "now": (_BOOL, False, "merge the files of the fork as they are now"),
                "paths": (_TEXTS, [], "only these paths or patterns, relative to the workspace"),
                "ours": (_TEXTS, [], "patterns of conflicts that this workspace wins; '*' for all"),
                "theirs": (_TEXTS, [], "patterns of conflicts that the other side wins; '*' for all"),
                "both": (_TEXTS, [], "patterns of conflicts of which both are kept, the other as NAME.theirs"),
                "base": (_TEXT, "", f"compare both sides with this one: {_TARGET}; empty: where they meet"),
                "note": (_TEXT, "", "the note of the snapshot"),
                "dry_run": (_BOOL, False, "only say what would change, and the conflicts"),
                **_PAGE,
            },
            displaces=True,
        ),
        Tool(
            "try",
            "Run a command on a throwaway copy of the workspace at its own path, and say what it changed; or apply,"
            " keep or discard a pending try; with neither, list those that are pending.",
            {
                "command": (_TEXTS, [], "the program and its arguments, one text each; no shell reads them"),
                "try_id": (_TEXT, "", "the id of a pending try, in place of a command"),
                "then": (_TEXT, "pending", "what becomes of it: pending, apply, discard, or keep (as a fork)"),
                "name": (_TEXT, "", "with keep: the name of the new fork"),
                **_PAGE,
            },
            displaces=True,
        ),
        Tool(
            "du",
            "Say what takes the space: each snapshot, what comes free with it and what protects it, and what else is"
            " kept.",
            {"snapshots": (_TEXTS, [], f"only these, each {_TARGET}"), **_PAGE},
            changes=False,
        ),
        Tool("show", "Say all about one snapshot.", {"snapshot": (_TEXT, "LATEST", _TARGET)}, changes=False),
        Tool(
            "cat",
            "Read a text file as a snapshot holds it, line by line.",
            {
                "snapshot": (_TEXT, ..., _TARGET),
                "path": (_TEXT, ..., "the file, relative to the workspace"),
                **_PAGE,
            },
            changes=False,
        ),
        Tool(
            "ls",
            "List a directory as a snapshot holds it.",
            {
                "snapshot": (_TEXT, "LATEST", _TARGET),
                "path": (_TEXT, "", "the directory, relative to the workspace; empty: all"),
                "recursive": (_BOOL, False, "also what lies in subdirectories"),
                **_PAGE,
            },
            changes=False,
        ),
        Tool(
            "tag",
            "Give a snapshot tags, or take them away.",
            {
                "snapshot": (_TEXT, ..., _TARGET),
                "tags": (_TEXTS, ..., "the tags"),
                "delete": (_BOOL, False, "take them away instead"),
            },
        ),
        Tool(
            "note",
            "Give a snapshot another note.",
            {"snapshot": (_TEXT, ..., _TARGET), "text": (_TEXT, ..., "its note from now on")},
        ),
        Tool(
            "meta",
            "Give a snapshot facts, such as metrics; 'history' sorts by them.",
            {
                "snapshot": (_TEXT, ..., _TARGET),
                "values": (_TEXTS, [], "the facts, each as KEY=VALUE: loss=0.12"),
                "delete": (_TEXTS, [], "keys of facts to take away"),
            },
        ),
        Tool(
            "fork",
            "Make another workspace with the files of a snapshot; the answer says where it is.",
            {"name": (_TEXT, ..., "its name"), "snapshot": (_TEXT, "LATEST", _TARGET)},
        ),
    )
}


def checked(tool: Tool, arguments: Value) -> Value:
    """Return all arguments of a tool, each a value of its type. Errors: E_USAGE."""
    unknown = [name for name in arguments if name not in tool.arguments]
    if unknown:
        raise UsageError(f"{tool.name}: unknown argument '{unknown[0]}'", hint=f"one of: {', '.join(tool.arguments)}")
    given = {}
    for name, (kind, default, _) in tool.arguments.items():
        value: Any = arguments.get(name)
        if value is None:
            if default is ...:
                raise UsageError(f"{tool.name}: the argument '{name}' is missing", hint="see the tool's description")
            value = default
        if not _fits(kind, value):
            raise UsageError(f"{tool.name}: the argument '{name}' is not of type {kind}", hint="send it as described")
        for text in [value] if kind == _TEXT else value if kind == _TEXTS else []:
            _check_text(tool.name, name, text)
        given[name] = value
    return given


def _fits(kind: str, value: object) -> bool:
    if kind == _COUNT:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
    if kind == _TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, bool if kind == _BOOL else str)


def _check_text(tool: str, name: str, text: str) -> None:
    if "\0" in text:
        raise UsageError(f"{tool}: the argument '{name}' holds a NUL character", hint="send text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"{tool}: the argument '{name}' is not valid UTF-8", hint="send text") from error
