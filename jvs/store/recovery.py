"""Recovery: what dead operations left is completed or undone by the next command that changes something.

Each kind of operation knows how to recover itself; here is only who may: an intent whose worktree lock we hold, or
can take at once, and whose owner is not alive.
Source: jvs-protocol(7), Recovery.
"""

from __future__ import annotations

import importlib

from jvs import progress
from jvs.errors import Busy, JvsError, NoSpace, PartialSnapshot, from_oserror
from jvs.fs import durable, locks, paths
from jvs.names import check_worktree_name
from jvs.store import intent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.shapes import Intent
    from jvs.store.store import Store

HANDLERS = {
    "snapshot": "jvs.publish.run",
    "head_update": "jvs.worktrees.heads",
    "restore": "jvs.restore.run",
    "undo": "jvs.restore.run",
    "merge": "jvs.restore.run",
    "try": "jvs.restore.run",
    "undo_forget": "jvs.worktrees.forget",
    "worktree_create": "jvs.worktrees.fork",
    "worktree_fork": "jvs.worktrees.fork",
    "worktree_rename": "jvs.worktrees.move",
    "worktree_remove": "jvs.worktrees.move",
    "worktree_move": "jvs.worktrees.elsewhere",
    "worktree_attach": "jvs.worktrees.elsewhere",
    "gc_run": "jvs.gc.run",
    "pin": "jvs.gc.pins",
    "unpin": "jvs.gc.pins",
    "annotate": "jvs.store.annotation",
    "receive": "jvs.stream.receiving",
    "config": "jvs.store.settings_file",
}
"""Operation -> the module whose `recover(store, intent)` completes or undoes it and returns a sentence."""


def recover_all(store: Store, held: str | None) -> list[str]:
    """Recover every dead operation that we can lock; `held` is the worktree whose lock the caller holds.

    One that can be neither completed nor undone stops only what has its worktree: others say so and go on.
    Errors: E_PARTIAL_SNAPSHOT when an intent is damaged; what the handlers raise.
    """
    done = []
    for record in intent.load_all(store.layout):
        try:
            sentence = _recover_one(store, record, held)
        except NoSpace:
            if record["worktree"] == held:
                raise
            # Another worktree's operation waits for space: a collection, which makes some, must get past it.
            sentence = f"an operation in worktree '{record['worktree']}' waits for space on the disk"
        except (JvsError, OSError) as error:
            if record["worktree"] == held or record["worktree"] is None:
                raise
            sentence = f"an operation in worktree '{record['worktree']}' could not be recovered: {error}"
        if sentence:
            done.append(sentence)
    intent.sweep(store.layout)
    return done


def _recover_one(store: Store, record: Intent, held: str | None) -> str | None:
    name = record["worktree"]
    if name is None or name == held:
        return _run(store, record)
    try:
        lock = locks.acquire(store.layout.lock(f"worktree-{check_worktree_name(name)}"), wait=0, command="recover")
    except Busy:
        return None  # somebody is at work there, and will recover it or is its owner
    with lock:
        return _run(store, record)


def _run(store: Store, record: Intent) -> str | None:
    if not paths.exists(store.layout.intent(record["operation_id"])):
        return None  # recovered by somebody else before we had the lock
    if intent.is_alive(record, lock_held=True):
        return None
    if record["operation"] not in HANDLERS:
        raise PartialSnapshot(
            f"intent '{record['operation_id']}' is of an unknown kind '{record['operation']}'",
            hint="use the version of jvs that wrote it, or 'jvs doctor --repair clean_intents'",
        )
    _make_durable(store)
    with progress.others():
        done: str = importlib.import_module(HANDLERS[record["operation"]]).recover(store, record)
        return done


def _make_durable(store: Store) -> None:
    """Sync what a dead process did: a recovery does not repeat what it finds done, and then the intent goes.

    Where syncfs(2) flushes nothing (JuiceFS), each change of a name is durable by itself. Errors: E_NO_SPACE, E_IO.
    """
    try:
        with durable.Barrier(store.layout.jvs) as barrier:
            if barrier.whole_filesystem:
                barrier.flush()
    except OSError as error:
        raise from_oserror(error, "making durable what a dead operation did") from error
