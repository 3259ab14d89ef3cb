"""The tools that an agent gets over the Model Context Protocol: values in, values out, on the operations.

Arguments are values and never options: each is checked against the table of its tool, and what a command line would
take for an option is a name that nothing has. Answers are bounded: what is left out is counted in `truncated`, and
`rest` says how to get it.
Source: jvs-mcp(1); Model Context Protocol, Tools.
"""

from __future__ import annotations

import json
import os

from jvs import canon, progress
from jvs.errors import JvsError, UsageError, from_oserror, readable
from jvs.operations import looking, snapshots, worktrees
from jvs.store.settings import Settings
from jvs.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Value = dict[str, Any]
    """What a tool gets or answers: its schema or its command says what that is."""

MOST_ENTRIES = 1000
"""No answer holds more entries of a list than this, whatever `limit` says."""
MOST_CHARACTERS = 2000
"""Longer texts are cut."""
MOST_BYTES = 200_000
"""An answer that would be larger loses entries until it fits."""

_TEXT, _TEXTS, _BOOL, _COUNT = "string", "array", "boolean", "integer"
_PAGE = {
    "limit": (_COUNT, 200, f"how many entries the answer may hold, {MOST_ENTRIES} at the most"),
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
            "List the snapshots of this workspace, newest first.",
            {**_PAGE, "limit": (_COUNT, 20, _PAGE["limit"][2])},
            changes=False,
        ),
        Tool(
            "fork",
            "Make another workspace with the files of a snapshot; the answer says where it is.",
            {"name": (_TEXT, ..., "its name"), "snapshot": (_TEXT, "LATEST", _TARGET)},
        ),
    )
}


class Tools:
    """The tools of one workspace. `environment` is what settings and hooks get."""

    def __init__(
        self,
        directory: str,
        environment: Mapping[str, str],
        *,
        overrides: list[str] | None = None,
        wait: float | None = None,
    ) -> None:
        self._directory = directory
        self._environment = environment
        self._overrides = overrides or []
        self._wait = wait

    def call(self, name: str, arguments: Mapping[str, object] | None = None) -> tuple[Value, bool]:
        """Run a tool; return its answer, and whether it failed. Raises nothing but signals.

        Shape: `ok` true with `result` (bounded), or `ok` false with `error` (as in jvs-errors(7)); `remarks` if any.
        """
        remarks = _Remarks()
        before = progress.set_observer(remarks)
        try:
            answer: Value = {"ok": True, "result": self._run(name, dict(arguments or {}))}
        except JvsError as error:
            answer = {"ok": False, **error.as_json()}
        except OSError as error:
            answer = {"ok": False, **from_oserror(error, "the system refused").as_json()}
        except Exception as error:
            bug = JvsError(f"{type(error).__name__}: {error}", hint="this is a bug in jvs: please report it as shown")
            answer = {"ok": False, **bug.as_json()}
        finally:
            progress.set_observer(before)
        if remarks.texts:
            answer["remarks"] = remarks.texts
        return _bounded(answer), not answer["ok"]

    def _run(self, name: str, arguments: Value) -> Value:
        if name not in TOOLS:
            raise UsageError(f"there is no tool '{name}'", hint=f"one of: {', '.join(TOOLS)}")
        given = _checked(TOOLS[name], arguments)
        settings = Settings.from_environment(
            self._environment, overrides=self._overrides, wait=self._wait, command=f"jvs mcp {name}"
        )
        store = Store.open(self._directory, settings)
        try:
            work: Callable[..., Value] = getattr(self, f"_{name}")
            return work(store, **given)
        finally:
            store.close()

    def _snapshot(self, store: Store, note: str, tags: list[str], paths: list[str], if_changed: bool) -> Value:
        record, created = snapshots.snapshot(
            store,
            note=note,
            tags=tags,
            paths=_relative(paths),
            if_changed=if_changed,
            environment=self._environment,
        )
        return {**record, "changed": created}

    def _restore(self, store: Store, target: str, paths: list[str], dry_run: bool, limit: int, offset: int) -> Value:
        from jvs.ui import restore_text

        if dry_run:
            plan = snapshots.plan_restore(store, target, paths=_relative(paths))
            return _paged(restore_text.plan_facts(store.worktree_name(), plan), ("changes",), limit, offset)
        done = snapshots.restore(store, target, paths=_relative(paths), environment=self._environment)
        return _paged(restore_text.facts(store.worktree_name(), done), ("changes",), limit, offset, again=False)

    def _undo(self, store: Store, redo: bool, limit: int, offset: int) -> Value:
        from jvs.ui import restore_text

        record, done = snapshots.undo(store, redo=redo)
        return _paged(restore_text.undo_facts(store, record, done), ("changes",), limit, offset, again=False)

    def _status(self, store: Store, limit: int, offset: int) -> Value:
        found = looking.status(store).as_json()
        return _paged(found, ("added", "modified", "removed", "unreadable"), limit, offset)

    def _diff(self, store: Store, from_snapshot: str, to_snapshot: str, limit: int, offset: int) -> Value:
        found = looking.diff(store, from_snapshot or None, to_snapshot or None).as_json()
        return _paged(found, ("added", "removed", "modified", "renamed", "unreadable"), limit, offset)

    def _history(self, store: Store, limit: int, offset: int) -> Value:
        from itertools import islice

        limit = min(limit, MOST_ENTRIES)
        records = list(islice(looking.history(store), offset, offset + limit + 1))
        value: Value = {"snapshots": records[:limit]}
        if len(records) > limit:
            value |= {"truncated": True, "rest": f"call again with offset {offset + limit}"}
        return value

    def _fork(self, store: Store, name: str, snapshot: str) -> Value:
        return dict(worktrees.fork(store, name, target=snapshot))


class _Remarks(progress.Observer):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def remark(self, text: str) -> None:
        self.texts.append(text)


def _checked(tool: Tool, arguments: Value) -> Value:
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


def _relative(paths: list[str]) -> list[bytes] | None:
    """Return paths below the workspace; None without any, which means all of it. Errors: E_PATH_ESCAPE."""
    from jvs.fs import paths as fs_paths

    return [b"/".join(fs_paths.split_relative(os.fsencode(path))) for path in paths] or None


# Bounds


def _paged(value: Mapping[str, object], keys: tuple[str, ...], limit: int, offset: int, *, again: bool = True) -> Value:
    """Return a value whose lists together hold at most `limit` entries, from `offset` on, in the order of the keys."""
    limit = min(limit, MOST_ENTRIES)
    paged: Value = dict(value)
    total = sum(len(paged[key]) for key in keys)
    start, left = offset, limit
    for key in keys:
        count = len(paged[key])
        paged[key] = paged[key][start : start + left] if left else []
        start = max(start - count, 0)
        left -= len(paged[key])
    if offset + limit < total:
        rest = f"call again with offset {offset + limit}" if again else "'jvs history' and 'diff' compare what is there"
        paged |= {"truncated": True, "total": total, "rest": rest}
    return paged


def _bounded(answer: Value) -> Value:
    """Return an answer that is valid UTF-8 and not larger than `MOST_BYTES`, whatever names and notes are like."""
    most = MOST_ENTRIES
    while True:
        cut: list[str] = []
        bounded: Value = _cut(answer, most, "", cut)
        if cut:
            bounded["cut"] = sorted(set(cut))[:20]
            bounded.setdefault("rest", "ask with a smaller 'limit', or run the command 'jvs' with '--json'")
        if most <= 1 or len(json.dumps(bounded)) <= MOST_BYTES:
            return bounded
        most //= 2


def _cut(value: Any, most: int, where: str, cut: list[str]) -> Any:
    if isinstance(value, str):
        text = readable(value)
        if len(text) <= MOST_CHARACTERS:
            return text
        cut.append(where)
        return f"{text[:MOST_CHARACTERS]} [{len(text) - MOST_CHARACTERS} more characters]"
    if isinstance(value, dict):
        return {str(key): _cut(item, most, f"{where}.{key}".lstrip("."), cut) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if len(value) > most:
            cut.append(where)
        return [_cut(item, most, where, cut) for item in value[:most]]
    return value if value is None or isinstance(value, bool | int | float) else canon.path_json(bytes(value))["path"]
