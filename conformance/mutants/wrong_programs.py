"""The list of mutants: what each lacks, the edits that take it away, and the proofs that must notice.

Source: jvs-protocol(7): every barrier, order, lock and settling step there has one here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Drop:
    """Take `lines` lines out of a file of the package, from the only one that holds `text`; `pass` stands there."""

    file: str
    text: str
    lines: int = 1


@dataclass(frozen=True)
class Swap:
    """Put `new` in the place of `old`, which stands in the file once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One wrong program. `judges` are asked in their order; `equivalent` says why none of them can notice."""

    name: str
    what: str
    edits: tuple[Drop | Swap, ...]
    judges: tuple[str, ...]
    equivalent: str = ""


_RENAME = '        _timed("rename-ready", rename_ready, store, record)\n'
_HEAD = '        _timed("update-head", update_head, store, record)\n'
_AUDIT = '        _timed("chain-append", append_audit, store, record)\n'
_CLEAR = '        _timed("clear-intent", clear_intent, store, record)\n'
_SYNC = '            _timed("sync-tree", sync_payload, store, record, local)\n'
_ANY_ORDER = Swap("publish_record.py", "for earlier in STEPS[: STEPS.index(step)]:", "for earlier in ():")


def _order(*steps: str) -> Swap:
    """Put the last steps of a publication into another order."""
    return Swap("publish.py", _RENAME + _HEAD + _AUDIT + _CLEAR, "".join(steps))


_LOAD = 'pending = intent.load(store.layout, record["snapshot_id"])\n'
_WRITE = "    intent.write(store.layout, pending)\n"
_WITHOUT_INTENT = (  # the steps pass the intent on in memory, so that its file may be gone
    Swap("publish.py", _LOAD + "    worktree.move_head(", 'pending = record["pending"]\n    worktree.move_head('),
    Swap("publish.py", _LOAD + '    record["audit_hash"]', 'pending = record["pending"]\n    record["audit_hash"]'),
)
_KEEP_INTENT = Swap("publish.py", _WRITE, _WRITE + '    record["pending"] = pending\n')
_MOVE_PAYLOAD = (
    "    if not os.path.isdir(layout.payload(snapshot_id)):\n"
    "        durable.publish(layout.payload_tmp(snapshot_id), layout.payload(snapshot_id))\n"
)
_MOVE_DESCRIPTOR = (
    "    if not os.path.lexists(layout.descriptor(snapshot_id)):\n"
    "        durable.publish(layout.descriptor_tmp(snapshot_id), layout.descriptor(snapshot_id))\n"
)
_WHEN_DONE = "    if os.path.lexists(layout.descriptor(snapshot_id)):\n        return False\n"
_KILL, _MODEL = ("kill:snapshot",), ("model:snapshot",)

PUBLISHING = (
    Mutant(
        "head-first",
        "the head moves before the descriptor has its name",
        (
            _ANY_ORDER,
            Drop("publish.py", 'descriptor.check_agreement(store.layout, descriptor.load(store.layout, record["sn'),
            _order(_HEAD, _RENAME, _AUDIT, _CLEAR),
        ),
        ("kill:snapshot", "kill:first-snapshot", "model:snapshot"),
    ),
    Mutant(
        "audit-before-head",
        "the audit record comes before the head moves",
        (_ANY_ORDER, _order(_RENAME, _AUDIT, _HEAD, _CLEAR)),
        ("kill:snapshot", "model:snapshot"),
        "both lie between the intent and its removal, and settling does whichever is missing",
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
        (Swap("publish.py", _MOVE_PAYLOAD + _MOVE_DESCRIPTOR, _MOVE_DESCRIPTOR + _MOVE_PAYLOAD),),
        _KILL,
    ),
    Mutant(
        "no-intent",
        "a snapshot begins without an intent",
        (Swap("publish.py", _WRITE, '    record["pending"] = pending\n'), *_WITHOUT_INTENT),
        _KILL,
    ),
    Mutant(
        "intent-not-synced",
        "the intent is not durable before the work begins",
        (
            Swap(
                "intent.py",
                'operation_id"]), canon.encode(record) + b"\\n")',
                'operation_id"]), canon.encode(record) + b"\\n", sync=False)',
            ),
        ),
        ("model:snapshot", "model:restore", "model:fork"),
    ),
    Mutant(
        "no-barrier",
        "nothing is flushed before the names are given",
        (Drop("payload.py", "barrier.sync_trees([] if committed else"),),
        _MODEL,
    ),
    Mutant(
        "barrier-after-rename",
        "the barrier comes behind the renames",
        (_ANY_ORDER, Swap("publish.py", _SYNC, "    " + _RENAME + _SYNC), _order(_HEAD, _AUDIT, _CLEAR)),
        _MODEL,
    ),
    Mutant(
        "payload-not-synced-alone",
        "the step that syncs the payload, as a program of its own, does nothing",
        (Drop("payload.py", "barrier.sync_trees([] if committed else"),),
        ("model:pipeline",),
    ),
    Mutant(
        "descriptor-not-synced-alone",
        "the step that writes the descriptor, as a program of its own, does not sync it",
        (
            Swap(
                "publish.py",
                'canon.encode(built) + b"\\n", sync=local is None)',
                'canon.encode(built) + b"\\n", sync=False)',
            ),
        ),
        ("model:pipeline",),
    ),
    Mutant(
        "ready-not-synced-alone",
        "the step that writes the marker, as a program of its own, does not sync it",
        (
            Swap(
                "publish.py", '["descriptor"])) + b"\\n", sync=local is None)', '["descriptor"])) + b"\\n", sync=False)'
            ),
        ),
        ("model:pipeline",),
    ),
    Mutant(
        "snapshots-not-synced",
        "the payload's name is not durable before the descriptor has its own",
        (Swap("publish.py", "durable.publish(layout.payload_tmp(", "durable.rename(layout.payload_tmp("),),
        _MODEL,
    ),
    Mutant(
        "descriptors-not-synced",
        "the descriptor's name is not durable before the head moves",
        (Swap("publish.py", "durable.publish(layout.descriptor_tmp(", "durable.rename(layout.descriptor_tmp("),),
        _MODEL,
    ),
    Mutant(
        "records-not-synced",
        "heads and other records are replaced without any sync",
        (Swap("records.py", 'canon.encode(record) + b"\\n")', 'canon.encode(record) + b"\\n", sync=False)'),),
        ("model:snapshot", "model:rename", "model:pin"),
    ),
    Mutant(
        "content-not-synced",
        "a record has its name before its content is durable",
        (
            Swap(
                "durable.py",
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
            Swap("durable.py", '    temporary = path + ".tmp"\n', "    temporary = path\n"),
            Drop("durable.py", "os.rename(temporary, path)"),
        ),
        _KILL,
    ),
    Mutant(
        "audit-not-synced",
        "the audit record is not durable before the intent goes",
        (Drop("durable.py", "os.fsync(fd)  # the record must be there before the intent"),),
        _MODEL,
    ),
    Mutant(
        "clear-not-synced",
        "the removal of the intent is not durable when success is said",
        (Drop("intent.py", "durable.fsync_dir(layout.intents)"),),
        _MODEL,
    ),
    Mutant(
        "roll-back-not-synced",
        "what a roll-back removes may come back when its intent has gone",
        (Drop("publish.py", "durable.fsync_dir(layout.descriptors)  # or a crash brings back", 2),),
        ("model:snapshot-rolls-back",),
    ),
)

SETTLING = (
    Mutant(
        "no-settling",
        "nobody settles what died",
        (Swap("store.py", "if not os.listdir(self.layout.intents):", "if True:"),),
        _KILL,
    ),
    Mutant(
        "settling-forgets-audit",
        "a completed snapshot gets no audit record",
        (Drop("publish.py", '    _append(store, pending, record["descriptor_checksum"])'),),
        _KILL,
    ),
    Mutant(
        "settling-forgets-head",
        "a completed snapshot does not become the head",
        (
            Swap(
                "publish.py",
                '    try:\n        worktree.move_head(\n            layout,\n            record["worktree_name"]',
                '    try:\n        0 and worktree.move_head(\n            layout,\n            record["worktree_name"]',
            ),
        ),
        _KILL,
    ),
    Mutant(
        "settling-forward-early",
        "a snapshot whose descriptor has no name yet is taken for done",
        (
            Swap(
                "publish.py",
                _WHEN_DONE,
                "    if os.path.lexists(layout.descriptor_tmp(snapshot_id)):\n        return False\n" + _WHEN_DONE,
            ),
        ),
        _KILL,
    ),
    Mutant(
        "settling-back-late",
        "a snapshot whose descriptor has its name is rolled back",
        (Swap("publish.py", _WHEN_DONE, "    durable.unlink(layout.descriptor(snapshot_id), missing_ok=True)\n"),),
        _KILL,
    ),
    Mutant(
        "settling-keeps-payload",
        "a roll-back leaves the half-made payload",
        (Drop("publish.py", "engine.remove_any(os.path.join(layout.snapshots, entry))"),),
        _KILL,
    ),
    Mutant(
        "settling-appends-twice",
        "settling does not look whether the audit record is there already",
        (Swap("audit.py", "            if after_seq is not None:\n", "            if False:\n"),),
        _KILL,
    ),
    Mutant(
        "torn-tail-kept",
        "a torn last line of the log is not set aside",
        (Swap("audit.py", "            if torn:\n", "            if False:\n"),),
        _MODEL,
    ),
)

RESTORING = (
    Mutant(
        "restore-clears-first",
        "a restore removes its intent before the head moves",
        (
            Swap(
                "restore.py",
                '    layout, name = store.layout, record["worktree"]\n    if record["after"]',
                '    layout, name = store.layout, record["worktree"]\n'
                '    intent.clear(layout, record["operation_id"])\n    if record["after"]',
            ),
        ),
        ("kill:restore",),
    ),
    Mutant(
        "restore-without-journal",
        "a restore changes files before its journal is there",
        (
            Swap("restore.py", "        journal.begin(layout, record, steps)\n", "        pass\n"),
            Swap(
                "restore.py",
                "    return _apply(store, pending, record, steps, resume=False)\n",
                "    import os\n    os.makedirs(journal.files(layout, operation_id))\n"
                "    return _apply(store, pending, record, steps, resume=False)\n",
            ),
        ),
        ("kill:restore",),
    ),
    Mutant(
        "journal-not-synced",
        "the journal of a restore is not durable before files move",
        (
            Drop("journal.py", "durable.fsync_dir(layout.undo)  # or op.json could be there"),
            Swap("journal.py", '"delta.cbor"), data)', '"delta.cbor"), data, sync=False)'),
        ),
        ("model:restore",),
    ),
    Mutant(
        "restore-not-synced",
        "a restore says that it is done before the files are durable",
        (Swap("apply.py", "apply_dirs(after=True)\n        self.work.sync()\n", "apply_dirs(after=True)\n"),),
        ("model:restore",),
    ),
    Mutant(
        "new-contents-not-synced",
        "names lead to restored files before their contents are durable",
        (
            Swap(
                "apply.py",
                'step("durable"):\n                self.work.sync_new()\n',
                'step("durable"):\n                pass\n',
            ),
        ),
        ("model:restore",),
    ),
    Mutant(
        "rooms-not-synced",
        "files move below undo/ before the directories there are durable",
        (
            Swap(
                "apply.py",
                "if any(self.delta.steps[i].how == MAKE for i in left):\n                    self.work.sync_new()\n",
                "if any(self.delta.steps[i].how == MAKE for i in left):\n                    pass\n",
            ),
        ),
        ("model:restore-directory",),
    ),
    Mutant(
        "restore-overwrites",
        "a restore removes what it displaces",
        (
            Swap(
                "switch.py",
                "durable.rename(name, last, source_fd=parent, target_fd=there)\n            self.switched",
                "durable.remove_tree(name, dir_fd=parent)\n            self.switched",
            ),
        ),
        ("kill:restore",),
    ),
    Mutant(
        "restore-gives-up",
        "a restore that died is not carried on",
        (
            Swap(
                "restore.py",
                "    _apply(store, pending, record, steps, resume=True)\n",
                "    _give_up(store, operation_id)\n",
            ),
        ),
        ("kill:restore",),
    ),
    Mutant(
        "restore-does-all-again",
        "settling a restore does not look what was done already",
        (Swap("apply.py", "if not recovery.was_done(self.work, i)]", "if True]"),),
        ("kill:restore", "kill:undo"),
    ),
    Mutant(
        "restore-forgets-head",
        "settling a restore leaves the head where it was",
        (
            Swap(
                "restore.py",
                "    _apply(store, pending, record, steps, resume=True)\n",
                '    record["after"] = record["before"]\n    _apply(store, pending, record, steps, resume=True)\n',
            ),
        ),
        ("kill:restore",),
    ),
)

_TIDY = "    durable.remove_tree(store.layout.undo_dir(operation_id))\n    durable.fsync_dir(store.layout.undo)  # or"

WORKTREES = (
    Mutant(
        "fork-not-synced",
        "a fork gets its name before its files are durable",
        (
            Swap(
                "fork.py",
                "                barrier.sync_trees([staged], [])\n        return made.engine",
                "                pass\n        return made.engine",
            ),
        ),
        ("model:fork",),
    ),
    Mutant(
        "fork-registered-first",
        "a fork is registered before its directory has its name",
        (
            Drop("fork.py", "durable.publish(_staged(store, operation_id), store.layout.worktree_dir(name))"),
            Swap(
                "fork.py",
                _TIDY,
                "    if os.path.lexists(_staged(store, operation_id)):\n"
                "        durable.publish(_staged(store, operation_id), store.layout.worktree_dir(name))\n" + _TIDY,
            ),
        ),
        ("kill:fork",),
    ),
    Mutant(
        "rename-unparked",
        "a rename registers the new name before the directory has it",
        (
            Swap(
                "relocate.py",
                "    if os.path.lexists(layout.worktree_dir(old)) and not os.path.lexists(layout.worktree_dir(new)):\n"
                "        durable.publish(layout.worktree_dir(old), layout.worktree_dir(new))\n"
                "    if os.path.lexists(parked):\n",
                "    if os.path.lexists(parked):\n",
            ),
            Swap(
                "relocate.py",
                "    _rename_rows(store, old, new)\n",
                "    if os.path.lexists(layout.worktree_dir(old)) and not os.path.lexists(layout.worktree_dir(new)):\n"
                "        durable.publish(layout.worktree_dir(old), layout.worktree_dir(new))\n"
                "    _rename_rows(store, old, new)\n",
            ),
        ),
        ("kill:rename",),
    ),
    Mutant(
        "names-not-synced",
        "what gets its final name is not durable there",
        (Drop("durable.py", "fsync_dir(os.path.dirname(target))  # a crash before this may undo the rename", 3),),
        ("model:snapshot", "model:remove", "model:rename"),
    ),
    Mutant(
        "init-not-synced",
        "the control directory has its name before it is durable",
        (Drop("create.py", "durable.sync_tree(staged, skip=_STAGED_MAIN)"),),
        ("model:init",),
    ),
    Mutant(
        "init-name-not-synced",
        "the repository's name is not durable in the directory around it",
        (
            Swap(
                "create.py",
                "        durable.fsync_dir(os.path.dirname(root))\n        return True\n",
                "        return True\n",
            ),
            Swap("create.py", "    durable.fsync_dir(os.path.dirname(root))\n    return {", "    return {"),
        ),
        ("model:init",),
    ),
)

COLLECTING = (
    Mutant(
        "gc-payload-first",
        "payloads go before their descriptors",
        (
            Swap(
                "gc_take.py",
                "    for snapshot_id in ids:\n        durable.unlink(layout.descriptor(",
                "    for snapshot_id in ids:\n        _move_payload(layout, snapshot_id)\n"
                "    for snapshot_id in ids:\n        durable.unlink(layout.descriptor(",
            ),
            Swap(
                "gc_take.py",
                "    durable.fsync_dir(layout.snapshots)\n    for snapshot_id in ids:\n"
                "        _move_payload(layout, snapshot_id)\n",
                "    durable.fsync_dir(layout.snapshots)\n",
            ),
        ),
        ("kill:gc", "model:gc"),
    ),
    Mutant(
        "gc-without-tombstone",
        "snapshots are taken out before their tombstones are there",
        (
            Swap(
                "gc.py",
                "            marked = gc_take.mark(store, stones)\n",
                '            gc_take.take_out(store.layout, pending["candidates"])\n'
                "            marked = gc_take.mark(store, stones)\n",
            ),
        ),
        ("kill:gc",),
    ),
    Mutant(
        "gc-tombstones-not-synced",
        "snapshots are taken out before their tombstones are durable",
        (
            Drop("gc_take.py", 'barrier.sync_trees([], [path + ".tmp" for path in paths])'),
            Swap(
                "gc_take.py",
                "the old or the new one\n    durable.fsync_dir(store.layout.tombstones)\n",
                "the old or the new one\n",
            ),
        ),
        ("model:gc",),
    ),
    Mutant(
        "gc-descriptors-not-synced",
        "payloads move before their descriptors are durably gone",
        (
            Drop("gc_take.py", "durable.fsync_dir(layout.descriptors)  # or a crash"),
            Swap(
                "gc_take.py",
                "    durable.fsync_dir(layout.snapshots)\n    for snapshot_id in ids:\n        _move",
                "    for snapshot_id in ids:\n        _move",
            ),
        ),
        ("model:gc",),
    ),
    Mutant(
        "gc-clears-first",
        "a collection removes its intent before its audit record is there",
        (
            Swap(
                "gc.py",
                '    _append(store, pending, out)\n    intent.clear(layout, pending["operation_id"])\n    if failure',
                '    intent.clear(layout, pending["operation_id"])\n    _append(store, pending, out)\n    if failure',
            ),
        ),
        ("kill:gc",),
    ),
)

ERRORS = (
    Mutant(
        "short-writes-taken-for-whole",
        "a short write is taken for a whole one",
        (
            Swap(
                "durable.py", "    while view:\n        view = view[os.write(fd, view) :]\n", "    os.write(fd, view)\n"
            ),
        ),
        ("short:snapshot", "short:config"),
    ),
    Mutant(
        "barrier-errors-ignored",
        "an error of the barrier is taken for success",
        (
            Swap(
                "durable.py",
                "            raise OSError(number, os.strerror(number))\n\n    def sync_trees",
                "            return\n\n    def sync_trees",
            ),
        ),
        ("EIO:snapshot",),
    ),
    Mutant(
        "sync-errors-ignored",
        "an error of fsync on a directory is taken for success",
        (
            Swap(
                "durable.py",
                "    fd = safepath.open_dir(path, dir_fd)\n    try:\n        os.fsync(fd)\n    finally:",
                "    fd = safepath.open_dir(path, dir_fd)\n    try:\n        os.fsync(fd)\n"
                "    except OSError:\n        pass\n    finally:",
            ),
        ),
        ("EIO:snapshot",),
    ),
    Mutant(
        "no-roll-back",
        "an error removes the intent and leaves the rest",
        (
            Swap(
                "publish.py",
                '    except BaseException:\n        roll_back(store, record["snapshot_id"])\n',
                '    except BaseException:\n        intent.clear(store.layout, record["snapshot_id"])\n',
            ),
        ),
        ("EIO:snapshot",),
    ),
)

LOCKS = (
    Mutant(
        "no-worktree-lock",
        "two commands change one worktree at a time",
        (
            Swap(
                "store.py",
                'self.layout.lock(f"worktree-{name}"), wait',
                'self.layout.lock(f"worktree-{name}"), exclusive=False, wait',
            ),
        ),
        ("check:_37_|_31_",),
    ),
    Mutant(
        "no-audit-lock",
        "two commands append to the log at a time",
        (
            Swap(
                "audit.py",
                "with locks.acquire_brief(self.lock, wait=self.wait):\n            self._rotate()",
                "with locks.acquire(self.lock, exclusive=False, wait=self.wait):\n            self._rotate()",
            ),
        ),
        ("interleave:snapshot+snapshot/two",),
    ),
)

MUTANTS = (*PUBLISHING, *SETTLING, *RESTORING, *WORKTREES, *COLLECTING, *ERRORS, *LOCKS)
