"""Mutants of publishing a snapshot: its steps in other orders, and its barriers."""

from __future__ import annotations

from mutants.edits import Drop, Mutant, Swap

_RENAME = "        steps.rename_ready(store, record)\n"
_HEAD = "        steps.update_head(store, record)\n"
_AUDIT = "        steps.chain_append(store, record)\n"
_CLEAR = "        steps.clear_intent(store, record)\n"
_SYNC = "            steps.sync_tree(store, record, context)\n"
_ANY_ORDER = Swap("publish/record.py", "for earlier in STEPS[: STEPS.index(step)]:", "for earlier in ():")


def _order(*steps: str) -> Swap:
    """Put the last steps of a publication into another order."""
    return Swap("publish/run.py", _RENAME + _HEAD + _AUDIT + _CLEAR, "".join(steps))


_LOAD = 'pending = intent.load(store.layout, record["snapshot_id"])\n'
_WRITE = "    write_ahead.begin(\n"
_WITHOUT_INTENT = (  # the steps pass the intent on in memory, so that its file may be missing
    Swap("publish/steps.py", _LOAD + "    worktree.move_head(", 'pending = record["pending"]\n    worktree.move_head('),
    Swap("publish/steps.py", _LOAD + "    appended", 'pending = record["pending"]\n    appended'),
)
_KEEP_INTENT = Swap("publish/steps.py", _WRITE, '    record["pending"] = write_ahead.begin(\n')
_WRITE_DESCRIPTOR = (
    '    _write(context, store.layout.descriptor_tmp(record["snapshot_id"]), canon.encode(built) + b"\\n")\n'
)
_WRITE_READY = '    _write(context, store.layout.ready(record["snapshot_id"]), canon.encode(ready) + b"\\n")\n'


def _unsynced(line: str, directory: str) -> Swap:
    """Let a step of its own write its file as it does, but without making the content durable."""
    written = line.replace("_write(context, ", "durable.create_file(").replace('b"\\n")\n', 'b"\\n", sync=False)\n')
    return Swap("publish/steps.py", line, f"{written}    durable.fsync_dir(store.layout.{directory})\n")


_MOVE_PAYLOAD = (
    "    if not fs_paths.is_dir(layout.payload(snapshot_id)):\n"
    "        durable.publish(layout.payload_tmp(snapshot_id), layout.payload(snapshot_id))\n"
)
_MOVE_DESCRIPTOR = (
    "    if not fs_paths.exists(layout.descriptor(snapshot_id)):\n"
    "        durable.publish(layout.descriptor_tmp(snapshot_id), layout.descriptor(snapshot_id))\n"
)
_KILL, _MODEL = ("kill:snapshot",), ("model:snapshot",)

PUBLISHING = (
    Mutant(
        "head-first",
        "the head moves before the descriptor has its name",
        (
            _ANY_ORDER,
            Drop(
                "publish/steps.py", 'descriptor.check_agreement(store.layout, descriptor.load(store.layout, record["sn'
            ),
            _order(_HEAD, _RENAME, _AUDIT, _CLEAR),
        ),
        ("kill:snapshot", "kill:first-snapshot", "model:snapshot"),
    ),
    Mutant(
        "audit-before-head",
        "the audit record comes before the head moves",
        (_ANY_ORDER, _order(_RENAME, _AUDIT, _HEAD, _CLEAR)),
        ("kill:snapshot", "model:snapshot"),
        "both are between the intent and its removal, and recovery does whichever is missing",
    ),
    Mutant(
        "clear-before-audit",
        "the intent goes before the audit record comes",
        (_ANY_ORDER, _KEEP_INTENT, *_WITHOUT_INTENT, _order(_RENAME, _HEAD, _CLEAR, _AUDIT)),
        _KILL,
    ),
    Mutant(
        "clear-before-head",
        "the intent goes before the head moves",
        (_ANY_ORDER, _KEEP_INTENT, *_WITHOUT_INTENT, _order(_RENAME, _CLEAR, _HEAD, _AUDIT)),
        _KILL,
    ),
    Mutant(
        "descriptor-before-payload",
        "the descriptor has its name before the payload has its own",
        (Swap("publish/steps.py", _MOVE_PAYLOAD + _MOVE_DESCRIPTOR, _MOVE_DESCRIPTOR + _MOVE_PAYLOAD),),
        _KILL,
    ),
    Mutant(
        "no-intent",
        "a snapshot begins without an intent",
        (Swap("publish/steps.py", _WRITE, '    record["pending"] = write_ahead._new(\n'), *_WITHOUT_INTENT),
        _KILL,
    ),
    Mutant(
        "intent-not-synced",
        "the intent is not durable before the work begins",
        (
            Swap(
                "store/intent.py",
                'operation_id"]), canon.encode(record) + b"\\n")',
                'operation_id"]), canon.encode(record) + b"\\n", sync=False)',
            ),
        ),
        ("model:snapshot", "model:restore", "model:fork"),
    ),
    Mutant(
        "no-barrier",
        "nothing is flushed before the names are given",
        (Drop("publish/steps.py", "barrier.sync_trees([] if committed else"),),
        _MODEL,
    ),
    Mutant(
        "barrier-after-rename",
        "the barrier comes after the renames",
        (_ANY_ORDER, Swap("publish/run.py", _SYNC, "    " + _RENAME + _SYNC), _order(_HEAD, _AUDIT, _CLEAR)),
        _MODEL,
    ),
    Mutant(
        "payload-not-synced-alone",
        "the step that syncs the payload, as a program of its own, does nothing",
        (Drop("publish/steps.py", "barrier.sync_trees([] if committed else"),),
        ("model:pipeline",),
    ),
    Mutant(
        "descriptor-not-synced-alone",
        "the step that writes the descriptor, as a program of its own, does not sync it",
        (_unsynced(_WRITE_DESCRIPTOR, "descriptors"),),
        ("model:pipeline",),
    ),
    Mutant(
        "ready-not-synced-alone",
        "the step that writes the marker, as a program of its own, does not sync it",
        (_unsynced(_WRITE_READY, "snapshots"),),
        ("model:pipeline",),
    ),
    Mutant(
        "snapshots-not-synced",
        "the payload's name is not durable before the descriptor has its own",
        (Swap("publish/steps.py", "durable.publish(layout.payload_tmp(", "durable.rename(layout.payload_tmp("),),
        _MODEL,
    ),
    Mutant(
        "descriptors-not-synced",
        "the descriptor's name is not durable before the head moves",
        (Swap("publish/steps.py", "durable.publish(layout.descriptor_tmp(", "durable.rename(layout.descriptor_tmp("),),
        _MODEL,
    ),
    Mutant(
        "records-not-synced",
        "heads and other records are replaced without any sync",
        (Swap("store/records.py", 'canon.encode(record) + b"\\n")', 'canon.encode(record) + b"\\n", sync=False)'),),
        ("model:snapshot", "model:rename", "model:pin"),
    ),
    Mutant(
        "content-not-synced",
        "a record has its name before its content is durable",
        (
            Swap(
                "fs/durable.py",
                "create_file(temporary, data, mode=mode, sync=sync)",
                "create_file(temporary, data, mode=mode, sync=False)",
            ),
        ),
        ("model:snapshot", "model:config"),
    ),
    Mutant(
        "replace-without-rename",
        "a record is written in place of the old one, under its name",
        (
            Swap("fs/durable.py", '    temporary = path.plus(".tmp")\n', "    temporary = path\n"),
            Drop("fs/durable.py", "_rename(temporary, path)"),
        ),
        _KILL,
    ),
    Mutant(
        "audit-not-synced",
        "the audit record is not durable before the intent goes",
        (Drop("fs/durable.py", "os.fsync(fd)  # the record must be there before the intent"),),
        _MODEL,
    ),
    Mutant(
        "clear-not-synced",
        "the removal of the intent is not durable when success is reported",
        (Drop("store/intent.py", "durable.fsync_dir(layout.intents)"),),
        _MODEL,
    ),
    Mutant(
        "roll-back-not-synced",
        "what a roll-back removes may come back when its intent is removed",
        (Drop("publish/run.py", "durable.fsync_dir(layout.descriptors)  # or a crash brings back", 2),),
        ("model:snapshot-rolls-back",),
    ),
)
