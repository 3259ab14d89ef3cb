"""The journal of what can be undone: one directory `undo/OP/` for each restore, undo, rename and removal.

`op.json` says what was done and how the worktree was before, `delta.cbor` each step, `files/` holds what was
displaced. An operation whose intent is pending is in flight and not listed. A directory without `op.json` and without
an intent is debris.
Source: jvs-format(5), Undo; jvs-protocol(7), Restore and Undo.
"""

from __future__ import annotations

import hashlib

from jvs import canon, clock, system
from jvs.errors import PartialSnapshot, from_oserror
from jvs.fs import durable, listing, paths
from jvs.names import is_operation_id
from jvs.restore import delta
from jvs.store import intent, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, NotRequired, TypedDict

    from jvs.canon import PathJSON
    from jvs.fs.rooted import Below
    from jvs.store.layout import Layout

    Kind = Literal["restore", "worktree_rename", "worktree_remove"]

    class Heads(TypedDict, total=False):
        """Head and latest of a worktree before or after an operation; of a worktree that moves also its base."""

        head: str | None
        latest: str | None
        base: str | None

    class LayerJSON(TypedDict):
        """A snapshot that a merge copies from, and which paths of it count; null: all. With `try_id`: that try."""

        snapshot_id: str
        paths: list[PathJSON] | None
        try_id: NotRequired[str]

    class Merging(TypedDict):
        """Which merged snapshots the next snapshot of a worktree names, before and after an operation."""

        before: list[str]
        after: list[str]

    class Details(TypedDict, total=False):
        """What only some kinds of operations note."""

        paths: list[PathJSON] | None
        excepted: list[PathJSON]
        added: int
        modified: int
        removed: int
        tree_before: str
        delta_sha256: str
        discard: bool
        asked_in: str | None
        new_name: str
        gone: bool
        changes: int | None
        skipped: list[PathJSON]
        mark: list[int]
        merging: Merging
        layers: list[LayerJSON]
        renamed: list[list[PathJSON]]

    class Clock(TypedDict, total=False):
        """When something was written, in a way that no setting of the clock changes."""

        boot: str
        boottime_ns: int

    class Operation(TypedDict):
        """The journal of an operation that can be undone, as `op.json` holds it."""

        version: int
        operation_id: str
        kind: Kind
        worktree: str
        identity: str | None
        created_at: str
        clock: Clock
        seq: int
        of: str | None
        root: str
        forward: bool
        undone_by: str | None
        target: str | None
        before: Heads
        after: Heads
        bytes: int
        details: Details


KINDS = ("restore", "worktree_rename", "worktree_remove")
_HEAD: records.Fields = {"head": records.is_id_or_null, "latest": records.is_id_or_null}
_HEADS = records.shaped(_HEAD, {"base": records.is_id_or_null})
FIELDS = {
    "version": records.is_count,
    "operation_id": records.is_id,
    "kind": records.one_of(*KINDS),
    "worktree": records.is_name,
    "created_at": records.is_time,
    "seq": records.is_count,
    "of": records.is_id_or_null,
    "root": records.is_id,
    "forward": records.is_bool,
    "undone_by": records.is_id_or_null,
    "target": records.is_id_or_null,
    "before": _HEADS,
    "after": _HEADS,
    "bytes": records.is_count,
    "details": records.shaped(
        {},
        {
            "paths": records.nullable(records.each(records.is_path)),
            "delta_sha256": records.is_hash,
            "discard": records.is_bool,
            "asked_in": records.is_text_or_null,
            "new_name": records.is_name,
            "gone": records.is_bool,
            "changes": records.nullable(records.is_count),
            "skipped": records.each(records.is_path),
            "mark": records.each(records.is_count),
            "merging": records.shaped({"before": records.are_ids, "after": records.are_ids}),
            "layers": records.each(
                records.shaped(
                    {"snapshot_id": records.is_id, "paths": records.nullable(records.each(records.is_path))},
                    {"try_id": records.is_id},
                )
            ),
            "renamed": records.each(records.each(records.is_path)),
        },
    ),
}
_SINCE = {
    "identity": records.is_text_or_null,
    "clock": records.shaped({}, {"boot": records.is_text, "boottime_ns": records.is_count}),
}
"""What journals of the first version do not have."""
MAX_DELTA_BYTES = 512 << 20
"""Of `delta.cbor`: the steps of some million entries."""


def new(
    kind: Kind,
    name: str,
    operation_id: str,
    *,
    identity: str,
    before: Heads,
    after: Heads,
    target: str | None = None,
    undoes: Operation | None = None,
    details: Details | None = None,
) -> Operation:
    """Return the journal of an operation.

    Shape: `kind` is what was done or undone; `forward` is true for a restore, rename or removal and for taking an undo
    back; `of` is the operation that this one took back, `root` the first one of that chain; `seq` the number of the
    last audit record before it, which orders operations and is set by `begin`; `before` and `after` hold head and
    latest; `identity` tells the worktree from others of its name (`store.worktree.identity`); `clock` says when it
    was in a way that no setting of the clock changes.
    """
    return {
        "version": 1,
        "operation_id": operation_id,
        "kind": kind,
        "worktree": name,
        "identity": identity,
        "created_at": clock.rfc3339(),
        "clock": {"boot": system.boot_id(), "boottime_ns": clock.boottime_ns()},
        "seq": 0,
        "of": None if undoes is None else undoes["operation_id"],
        "root": operation_id if undoes is None else undoes["root"],
        "forward": True if undoes is None else not undoes["forward"],
        "undone_by": None,
        "target": target,
        "before": before,
        "after": after,
        "bytes": 0,
        "details": details or {},
    }


def directory(layout: Layout, operation_id: str) -> Below:
    """Return the directory of an operation."""
    return layout.undo_dir(operation_id)


def files(layout: Layout, operation_id: str) -> Below:
    """Return where an operation keeps the files that it displaced."""
    return layout.undo_dir(operation_id) / "files"


def begin(layout: Layout, record: Operation, steps: delta.Delta | None = None, *, seq: int) -> None:
    """Write a journal; from here on the operation is carried out, whatever happens. Durable: yes.

    `seq` is that of the intent: the last record in the log when the operation began.

    `op.json` comes last and in one step, so that its presence says that all of the journal is there.
    """
    record["seq"] = seq
    home = layout.undo_dir(record["operation_id"])
    durable.make_dir(home)
    if steps is not None:
        data = steps.encode()
        record["details"]["delta_sha256"] = hashlib.sha256(data).hexdigest()
        durable.create_file(home / "delta.cbor", data)
        record["details"]["mark"] = _mark(home / "delta.cbor")
    durable.make_dir(home / "files")
    durable.fsync_dir(home)  # op.json says that these two are there: a crash must not keep it and lose one of them
    save(layout, record)
    durable.fsync_dir(layout.undo)  # or op.json could be there after a crash, in a directory that is not


def _mark(path: Below) -> list[int]:
    """Return what no copy of a file has: its inode number together with the time of its last change."""
    st = paths.lstat(path)
    return [st.st_ino, st.st_ctime_ns]


def is_original(layout: Layout, record: Operation) -> bool:
    """Answer whether a journal is where it was written, so that the inode numbers in it are those of its files."""
    mark = record["details"].get("mark")
    return mark is None or mark == _mark(layout.undo_dir(record["operation_id"]) / "delta.cbor")


def save(layout: Layout, record: Operation) -> None:
    """Write `op.json` in one step. Durable: yes."""
    records.save(layout.undo_dir(record["operation_id"]) / "op.json", record)


def load(layout: Layout, operation_id: str) -> Operation:
    """Read the journal of an operation. Errors: FileNotFoundError; E_PARTIAL_SNAPSHOT when damaged."""
    path = layout.undo_dir(operation_id) / "op.json"
    found = {"identity": None, "clock": {}, **records.load(path, FIELDS, PartialSnapshot)}
    record: Operation = records.check(found, path, _SINCE, PartialSnapshot)
    fits = {
        "restore": record["of"] is not None or record["target"] is not None,
        "worktree_rename": "new_name" in record["details"],
    }
    if record["operation_id"] != operation_id or not fits.get(record["kind"], True):
        raise PartialSnapshot(
            f"'undo/{operation_id}/op.json' is not the journal of that operation",
            hint="what it kept is still below that directory; move it away to go on without",
        )
    return record


def load_steps(layout: Layout, record: Operation) -> delta.Delta:
    """Read the steps of an operation that are to be done, or were. Errors: E_PARTIAL_SNAPSHOT when damaged."""
    path = layout.undo_dir(record["operation_id"]) / "delta.cbor"
    try:
        data = paths.read_file(path, MAX_DELTA_BYTES)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise from_oserror(error, f"reading '{path}'") from error
    if hashlib.sha256(data).hexdigest() != record["details"].get("delta_sha256"):
        raise PartialSnapshot(
            f"'undo/{record['operation_id']}/delta.cbor' is damaged",
            hint="what the operation displaced is below that directory, in 'files': copy from there what you need",
        )
    steps = delta.Delta.decode(data)
    skipped = {canon.path_from_json(path) for path in record["details"].get("skipped", [])}
    if skipped:
        steps.steps = [step for step in steps.steps if step.path not in skipped]
    return steps


def note_skipped(layout: Layout, record: Operation, skipped: list[bytes]) -> None:
    """Write down, before anything is done, which steps are not carried out. Durable: yes."""
    before = record["details"].get("skipped", [])
    record["details"]["skipped"] = [*before, *(canon.path_json(path) for path in skipped)]
    save(layout, record)


def ids(layout: Layout) -> list[str]:
    """Return the ids of all directories below `undo/`."""
    return sorted(name for name in listing.names(layout.undo) if is_operation_id(name))


def load_all(layout: Layout) -> list[Operation]:
    """Return the journals of all operations that are done, newest first; damaged ones are left out."""
    pending = set(intent.list_ids(layout))
    found = []
    for operation_id in ids(layout):
        if operation_id in pending:
            continue
        try:
            found.append(load(layout, operation_id))
        except (FileNotFoundError, NotADirectoryError, PartialSnapshot):
            continue
    return sorted(found, key=lambda record: (record["seq"], record["operation_id"]), reverse=True)


def describe(record: Operation) -> str:
    """Return an operation as a phrase: `restore of 'main' to ID`, `undo of the removal of 'x'`."""
    name, kind = record["worktree"], record["kind"]
    if kind == "worktree_rename":
        phrase = f"rename of '{name}' to '{record['details']['new_name']}'"
    elif kind == "worktree_remove":
        phrase = f"removal of '{name}'"
    elif any("try_id" in layer for layer in record["details"].get("layers", [])):
        phrase = f"try on {record['target']} in '{name}'"
    elif "layers" in record["details"]:
        phrase = f"merge of {record['target']} into '{name}'"
    else:
        phrase = f"restore of '{name}' to {record['target']}"
    if kind == "restore" and not record["forward"]:
        return f"undo of the {phrase}"
    if kind == "worktree_remove" and not record["details"].get("gone", True):
        return f"undo of the {phrase}"
    return phrase
