"""The tools that an agent gets over the Model Context Protocol: values in, values out, on the operations.

Arguments are values and never options: each is checked against the table of its tool, and what a command line would
take for an option is a name that nothing has. Answers are bounded: what is left out is counted in `truncated`, and
`rest` says how to get it.
Source: jvs-mcp(1); Model Context Protocol, Tools.
"""

from __future__ import annotations

import json
import os
from itertools import accumulate

from jvs import canon, names, progress
from jvs.cli.mcp_table import MOST_ENTRIES, SOME_ENTRIES, TOOLS, checked
from jvs.errors import JvsError, UsageError, from_oserror, readable
from jvs.operations import annotating, looking, snapshots, worktrees
from jvs.store.settings import Settings
from jvs.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Value = dict[str, Any]
    """What a tool gets or answers: its schema or its command says what that is."""

MOST_CHARACTERS = 2000
"""Longer texts are cut."""
PAGE_BYTES = 16_000
"""What a list may take of an answer, of JSON, where nobody asked for more: agents read all of it."""
MOST_BYTES = 200_000
"""An answer that would be larger loses entries until it fits."""


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
        given = checked(TOOLS[name], arguments)
        settings = Settings.from_environment(
            self._environment, overrides=self._overrides, wait=self._wait, command=f"jvs mcp {name}"
        )
        store = Store.open(self._directory, settings)
        try:
            work: Callable[..., Value] = getattr(self, f"_{name}")
            return work(store, **given)
        finally:
            store.close()

    def _snapshot(
        self, store: Store, note: str, tags: list[str], meta: list[str], paths: list[str], if_changed: bool
    ) -> Value:
        record, created = snapshots.snapshot(
            store,
            note=note,
            tags=tags,
            meta=names.split_meta(meta),
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

    def _history(
        self,
        store: Store,
        paths: list[str],
        from_snapshot: str,
        meta: list[str],
        sort: str,
        limit: int,
        offset: int,
    ) -> Value:
        from itertools import islice

        limit = min(limit, MOST_ENTRIES)
        found = looking.history(
            store,
            start=from_snapshot or None,
            paths=_relative(paths),
            meta={**names.split_meta(meta)},
            sort=sort or None,
        )
        records = list(islice(found, offset, offset + limit + 1))
        value: Value = {"snapshots": records[:limit]}
        if len(records) > limit:
            value |= {"truncated": True, "rest": f"call again with offset {offset + limit}"}
        return value

    def _merge(
        self,
        store: Store,
        source: str,
        now: bool,
        paths: list[str],
        ours: list[str],
        theirs: list[str],
        both: list[str],
        base: str,
        note: str,
        dry_run: bool,
        limit: int,
        offset: int,
    ) -> Value:
        from jvs.operations import merging
        from jvs.ui import merge_text

        wanted, chosen = _relative(paths), {"ours": ours, "theirs": theirs, "both": both}
        if dry_run:
            found = merging.plan_merge(store, source, base=base or None, paths=wanted, choices=chosen)
            return _paged(merge_text.facts(found, dry_run=True), ("changes", "conflicts"), limit, offset)
        found = merging.merge(
            store,
            source,
            base=base or None,
            paths=wanted,
            now=now,
            choices=chosen,
            note=note or None,
            environment=self._environment,
        )
        complaint = found.complaint()
        if complaint is not None:
            raise complaint
        return _paged(merge_text.facts(found, dry_run=False), ("changes", "decided"), limit, offset, again=False)

    def _try(
        self, store: Store, command: list[str], try_id: str, then: str, name: str, limit: int, offset: int
    ) -> Value:
        from jvs.operations import trying
        from jvs.ui import try_text

        wanted: Any = then
        if try_id and command:
            raise UsageError("a command or a pending try, not both", hint="leave one of them out")
        if not try_id and not command:
            return _paged({"tries": try_text.listed(trying.pending(store))}, ("tries",), limit, offset)
        if try_id:
            found = trying.decide(store, try_id, wanted, name or None, environment=self._environment)
        else:
            more: Value = {"then": wanted, "name": name or None, "environment": self._environment}
            found = trying.run_quietly(store, command, **more)
        value = {
            **try_text.facts(found.or_conflict(), command),
            "output": found.output.decode("utf-8", "backslashreplace"),
        }
        return _paged(value, ("changes",), limit, offset, again=False)

    def _du(self, store: Store, snapshots: list[str], limit: int, offset: int) -> Value:
        from jvs.operations import collection

        return _paged(collection.usage(store, snapshots), ("snapshots",), limit, offset)

    def _show(self, store: Store, snapshot: str) -> Value:
        return dict(annotating.shown(store, snapshot))

    def _cat(self, store: Store, snapshot: str, path: str, limit: int, offset: int) -> Value:
        data = looking.cat(store, snapshot, os.fsencode(path))
        lines = data.decode("utf-8", "backslashreplace").splitlines(keepends=True)
        return _paged({"path": path, "size": len(data), "lines": lines}, ("lines",), limit, offset)

    def _ls(self, store: Store, snapshot: str, path: str, recursive: bool, limit: int, offset: int) -> Value:
        from jvs.ui import listing_text

        found = looking.ls(store, snapshot, os.fsencode(path), recursive=recursive)
        return _paged({"entries": listing_text.facts(found)}, ("entries",), limit, offset)

    def _tag(self, store: Store, snapshot: str, tags: list[str], delete: bool) -> Value:
        return dict(annotating.tag(store, snapshot, tags, delete=delete))

    def _note(self, store: Store, snapshot: str, text: str) -> Value:
        return dict(annotating.note(store, snapshot, text))

    def _meta(self, store: Store, snapshot: str, values: list[str], delete: list[str]) -> Value:
        return dict(annotating.meta(store, snapshot, names.split_meta(values), delete=delete))

    def _fork(self, store: Store, name: str, snapshot: str) -> Value:
        return dict(worktrees.fork(store, name, target=snapshot))


class _Remarks(progress.Observer):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def remark(self, text: str) -> None:
        self.texts.append(text)


def _relative(paths: list[str]) -> list[bytes] | None:
    """Return paths below the workspace; None without any, which means all of it. Errors: E_PATH_ESCAPE."""
    from jvs.fs import paths as fs_paths

    return [b"/".join(fs_paths.split_relative(os.fsencode(path))) for path in paths] or None


# Bounds


def _paged(value: Mapping[str, object], keys: tuple[str, ...], limit: int, offset: int, *, again: bool = True) -> Value:
    """Return a value whose lists together hold at most `limit` entries, from `offset` on, in the order of the keys.

    Who did not ask for a number gets no more than `PAGE_BYTES` of them.
    """
    paged: Value = dict(value)
    entries = [(key, entry) for key in keys for entry in paged[key]]
    chosen = entries[offset : offset + min(limit, MOST_ENTRIES)]
    if limit == SOME_ENTRIES:
        sizes = accumulate(len(json.dumps(entry)) for _, entry in chosen)
        chosen = chosen[: max(sum(size <= PAGE_BYTES for size in sizes), 1)]
    for key in keys:
        paged[key] = [entry for where, entry in chosen if where == key]
    end = offset + len(chosen)
    if end < len(entries):
        rest = f"call again with offset {end}" if again else "'jvs history' and 'diff' compare what is there"
        paged |= {"truncated": True, "total": len(entries), "rest": rest}
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
