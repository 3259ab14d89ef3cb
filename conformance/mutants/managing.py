"""Mutants of worktrees, collections, errors and locks."""

from __future__ import annotations

from mutants.edits import Drop, Mutant, Swap

_TIDY = "    removal.remove_tree(store.layout.undo_dir(operation_id))\n    durable.fsync_dir(store.layout.undo)  # or"

WORKTREES = (
    Mutant(
        "fork-not-synced",
        "a fork gets its name before its files are durable",
        (
            Swap(
                "worktrees/fork.py",
                "                barrier.sync_trees([staged], [])\n        if excluded_of is not None:",
                "                pass\n        if excluded_of is not None:",
            ),
            Drop("worktrees/fork.py", "        first.take(staged, made, parts)"),
        ),
        ("model:fork",),
    ),
    Mutant(
        "fork-registered-first",
        "a fork is registered before its directory has its name",
        (
            Drop("worktrees/fork.py", "durable.publish(_staged(store, operation_id), store.layout.usual_dir(name))"),
            Swap(
                "worktrees/fork.py",
                _TIDY,
                "    if paths.exists(_staged(store, operation_id)):\n"
                "        durable.publish(_staged(store, operation_id), store.layout.usual_dir(name))\n" + _TIDY,
            ),
        ),
        ("kill:fork",),
    ),
    Mutant(
        "rename-unparked",
        "a rename registers the new name before the directory has it",
        (
            Swap(
                "worktrees/move.py",
                "    if not _is_elsewhere(store, parked, registration.config_dir(store, new)):\n"
                "        _move(store, pending, layout.usual_dir(old), layout.usual_dir(new))\n"
                "    if paths.exists(parked):\n",
                "    if paths.exists(parked):\n",
            ),
            Swap(
                "worktrees/move.py",
                "    _rename_rows(store, old, new)\n",
                "    _move(store, pending, layout.usual_dir(old), layout.usual_dir(new))\n"
                "    _rename_rows(store, old, new)\n",
            ),
        ),
        ("kill:rename",),
    ),
    Mutant(
        "names-not-synced",
        "what gets its final name is not durable there",
        (Drop("fs/durable.py", "fsync_dir(target.parent)  # a crash before this may undo the rename", 3),),
        ("model:snapshot", "model:remove", "model:rename"),
    ),
    Mutant(
        "init-not-synced",
        "the control directory has its name before it is durable",
        (Drop("store/init.py", "durable.sync_tree(staged, skip=_STAGED_MAIN)"),),
        ("model:init",),
    ),
    Mutant(
        "init-name-not-synced",
        "the repository's name is not durable in the directory around it",
        (
            Swap(
                "store/init.py",
                "        durable.fsync_dir(root.parent)\n        return True\n",
                "        return True\n",
            ),
            Swap("store/init.py", "    durable.fsync_dir(find_place(str(root)).parent)\n", ""),
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
                "gc/remove.py",
                "    for snapshot_id in ids:\n        durable.unlink(layout.descriptor(",
                "    for snapshot_id in ids:\n        move_payload(layout, snapshot_id)\n"
                "    for snapshot_id in ids:\n        durable.unlink(layout.descriptor(",
            ),
            Swap(
                "gc/remove.py",
                "    durable.fsync_dir(layout.snapshots)\n    for snapshot_id in ids:\n"
                "        with contextlib.suppress(PermissionError):  # immutable, or of somebody else: `is_stuck` "
                "until it can be moved\n            move_payload(layout, snapshot_id)\n",
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
                "gc/run.py",
                "            marked = gc_remove.mark(store, tombstones)\n",
                '            gc_remove.take_out(store.layout, pending["candidates"])\n'
                "            marked = gc_remove.mark(store, tombstones)\n",
            ),
        ),
        ("kill:gc",),
    ),
    Mutant(
        "gc-tombstones-not-synced",
        "snapshots are taken out before their tombstones are durable",
        (
            Drop("gc/remove.py", 'barrier.sync_trees([], [path.plus(".tmp") for path in final])'),
            Swap(
                "gc/remove.py",
                "the old or the new one\n    durable.fsync_dir(store.layout.tombstones)\n",
                "the old or the new one\n",
            ),
        ),
        ("model:gc",),
    ),
    Mutant(
        "gc-descriptors-not-synced",
        "payloads move before their descriptors are durably deleted",
        (
            Drop("gc/remove.py", "durable.fsync_dir(layout.descriptors)  # or a crash"),
            Swap(
                "gc/remove.py",
                "    durable.fsync_dir(layout.snapshots)\n    for snapshot_id in ids:\n        with",
                "    for snapshot_id in ids:\n        with",
            ),
        ),
        ("model:gc",),
    ),
    Mutant(
        "gc-clears-first",
        "a collection removes its intent before its audit record is there",
        (
            Swap(
                "gc/run.py",
                '        pending["audit"]["details"]["collected"] = sorted(taken)\n',
                '        pending["audit"]["details"]["collected"] = sorted(taken)\n'
                '        intent.clear(store.layout, pending["operation_id"])\n',
            ),
        ),
        ("kill:gc",),
    ),
)

ERRORS = (
    Mutant(
        "short-writes-taken-for-whole",
        "a short write is taken for a complete one",
        (
            Swap(
                "fs/durable.py",
                "    while view:\n        view = view[os.write(fd, view) :]\n",
                "    os.write(fd, view)\n",
            ),
        ),
        ("short:snapshot", "short:config"),
    ),
    Mutant(
        "barrier-errors-ignored",
        "an error of the barrier is taken for success",
        (
            Swap(
                "system.py",
                "    if _library().syncfs(fd) != 0:\n        raise _error()",
                "    _library().syncfs(fd)",
            ),
        ),
        ("EIO:snapshot",),
    ),
    Mutant(
        "sync-errors-ignored",
        "an error of fsync on a directory is taken for success",
        (
            Swap(
                "fs/durable.py",
                "    fd = paths.open_dir(path, dir_fd)\n    try:\n        os.fsync(fd)\n    finally:",
                "    fd = paths.open_dir(path, dir_fd)\n    try:\n        os.fsync(fd)\n"
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
                "publish/run.py",
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
                "store/changing.py",
                'store.layout.lock(f"worktree-{name}"), wait',
                'store.layout.lock(f"worktree-{name}"), exclusive=False, wait',
            ),
        ),
        ("check:_37_|_31_",),
    ),
    Mutant(
        "no-audit-lock",
        "two commands append to the log at a time",
        (
            Swap(
                "store/audit.py",
                "with locks.acquire_brief(self.lock, wait=self.wait):\n            self._rotate()",
                "with locks.acquire(self.lock, exclusive=False, wait=self.wait):\n            self._rotate()",
            ),
        ),
        ("interleave:snapshot+snapshot/two",),
    ),
)
