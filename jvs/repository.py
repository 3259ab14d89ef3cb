"""The public Python API: one class over everything that the commands do, with the same errors as exceptions.

    from jvs import Repository

    repo = Repository.open(".")
    with repo.checkpoint("before the tool call"):
        run_the_tool()

Nothing here prints, reads the environment on its own, or exits. Every method takes and gives up the locks it needs, so
that a Repository may live as long as the program; it is to be used by one thread at a time.
Source: jvs-agents(7).
"""

from __future__ import annotations

import contextlib
import os

from jvs.store import changing
from jvs.store.settings import Settings
from jvs.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from jvs.check.verify import SnapshotReport
    from jvs.compare.diff import Diff
    from jvs.compare.status import Status
    from jvs.gc.plan import Plan
    from jvs.gc.retention import Policy
    from jvs.gc.run import Collected
    from jvs.restore.journal import Operation
    from jvs.restore.run import Done
    from jvs.store.descriptor import Descriptor
    from jvs.store.shapes import Pin
    from jvs.worktrees.fork import Made
    from jvs.worktrees.move import Removed

Path = str | os.PathLike[str]


class Repository:
    """An opened repository.

    `worktree` is the one that methods work on when they are not told another: the one around the directory that was
    opened, or main.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def init(
        cls, path: Path, *, source: Path | None = None, environment: Mapping[str, str] | None = None, **options: Any
    ) -> Repository:
        """Make a repository and open it; `source` is a directory whose content main begins with.

        `options` are settings with `_` for `.`, and `wait` (seconds): `Repository.init("lab", durability="each")`.
        Durable: yes. Errors: E_EXISTS, E_USAGE, E_NAME_INVALID, E_PATH_ESCAPE, E_IO, E_NO_SPACE.
        """
        from jvs.store import init as store_init

        settings = _settings(environment, options)
        store_init.create(os.fspath(path), settings, source=None if source is None else os.fspath(source))
        return cls.open(path, environment=environment, **options)

    @classmethod
    def open(cls, path: Path = ".", *, environment: Mapping[str, str] | None = None, **options: Any) -> Repository:
        """Open the repository at or above a directory.

        Without `environment` only defaults and the repository's own settings count; pass `os.environ` to take over
        what a command would. Errors: E_NOT_A_REPOSITORY, E_FORMAT_UNSUPPORTED, E_PATH_ESCAPE, E_USAGE.
        """
        return cls(Store.open(os.fspath(path), _settings(environment, options)))

    def close(self) -> None:
        """Let go of the index. Using the repository again opens it again."""
        self._store.close()

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def root(self) -> str:
        """Where the repository is."""
        return self._store.root

    @property
    def worktree(self) -> str:
        """The worktree that methods work on by default."""
        return self._store.worktree_name()

    def path(self, worktree: str | None = None) -> str:
        """Return where the files of a worktree are. Errors: E_NOT_FOUND, E_NAME_INVALID."""
        return str(self._store.require_worktree(self._store.worktree_name(worktree)))

    def worktrees(self) -> list[str]:
        """Return the names of all worktrees, main first."""
        from jvs.store import worktree

        return worktree.names(self._store.layout)

    def head(self, worktree: str | None = None) -> str | None:
        """Return the snapshot that a worktree's files were last snapshotted or restored to."""
        return self._store.head_of(self._store.worktree_name(worktree))[0]

    def latest(self, worktree: str | None = None) -> str | None:
        """Return the newest snapshot of a worktree's line."""
        return self._store.head_of(self._store.worktree_name(worktree))[1]

    def resolve(self, target: str, worktree: str | None = None) -> str:
        """Return the id of the snapshot that a target names. Errors: E_NOT_FOUND, E_AMBIGUOUS."""
        from jvs.store import refs

        return refs.resolve(self._store, target, worktree)

    def snapshot(
        self,
        note: str = "",
        *,
        tags: Iterable[str] = (),
        worktree: str | None = None,
        paths: Iterable[Path | bytes] | None = None,
        if_changed: bool = False,
        allow_unreadable: bool = False,
    ) -> Descriptor:
        """Take a snapshot and return its descriptor; with `if_changed` maybe that of the head, which has it all.

        `paths` are relative to the worktree. Durable: yes.
        Errors: E_BUSY, E_DETACHED, E_NAME_INVALID, E_CLONE_INCOMPLETE, E_NO_SPACE, E_IO.
        """
        from jvs.publish import run as publishing
        from jvs.store import descriptor, worktree_scan

        name = self._store.worktree_name(worktree)
        chosen = None if paths is None else [_bytes(path) for path in paths]
        self._store.require_worktree(name)
        with changing.worktree(self._store, name):
            if if_changed:
                same = worktree_scan.unchanged_since(self._store, name, chosen)
                if same is not None:
                    return descriptor.load(self._store.layout, same)
            return publishing.publish(
                self._store, name, note=note, tags=list(tags), paths=chosen, allow_unreadable=allow_unreadable
            )

    def restore(
        self,
        target: str = "HEAD",
        *,
        worktree: str | None = None,
        paths: Iterable[Path | bytes] | None = None,
        discard: bool = False,
    ) -> Done:
        """Bring a worktree, or some of its paths, back to a snapshot, in place; `undo` takes it back.

        `paths` are relative to the worktree and may be patterns. Durable: yes.
        Errors: E_NOT_FOUND, E_AMBIGUOUS, E_BUSY, E_PAYLOAD_HASH_MISMATCH, E_NO_SPACE, E_IO.
        """
        from jvs.restore import pruning
        from jvs.restore import run as restore
        from jvs.store import refs

        name = self._store.worktree_name(worktree)
        chosen = None if paths is None else [_bytes(path) for path in paths]
        self._store.require_worktree(name)
        with changing.worktree(self._store, name):
            snapshot_id = refs.resolve(self._store, target, name)
            done = restore.restore(self._store, name, snapshot_id, paths=chosen, discard=discard)
        pruning.prune(self._store, name)
        return done

    def undo(self, operation_id: str | None = None, *, redo: bool = False, worktree: str | None = None) -> Operation:
        """Take back the last operation of a worktree, the last undo (`redo`), or any; return its journal.

        Durable: yes. Errors: E_NOT_FOUND when there is none, E_EXISTS, E_BUSY, E_NO_SPACE, E_IO.
        """
        from jvs.worktrees import undo

        name = self._store.worktree_name(worktree)
        return undo.undo(self._store, name, redo=redo, operation_id=operation_id)[0]

    def operations(self, worktree: str | None = None) -> list[Operation]:
        """Return what can be undone, newest first."""
        from jvs.worktrees import undo

        return undo.operations(self._store, self._store.worktree_name(worktree))

    def fork(self, target: str, name: str, *, verify: bool = False) -> Made:
        """Make a worktree from a snapshot; return its configuration with `path`, `engine`, `degraded`.

        Durable: yes. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_EXISTS, E_NAME_INVALID, E_PAYLOAD_HASH_MISMATCH, E_IO.
        """
        from jvs import names
        from jvs.store import refs
        from jvs.worktrees import fork

        name = names.check_worktree_name(name)
        with changing.worktree(self._store, name):
            return fork.fork(self._store, refs.resolve(self._store, target), name, verify=verify)

    def create(self, name: str) -> Made:
        """Make an empty worktree. Durable: yes. Errors: E_EXISTS, E_NAME_INVALID, E_IO."""
        from jvs import names
        from jvs.worktrees import fork

        name = names.check_worktree_name(name)
        with changing.worktree(self._store, name):
            return fork.create(self._store, name)

    def rename(self, old: str, new: str) -> None:
        """Rename a worktree. Durable: yes. Errors: E_USAGE for main, E_NOT_FOUND, E_EXISTS, E_NAME_INVALID."""
        from jvs import names
        from jvs.worktrees import move

        old = names.check_worktree_name(old)
        with changing.worktree(self._store, old):
            move.rename(self._store, old, new)

    def remove(self, name: str, *, discard: bool = False) -> Removed:
        """Remove a worktree; all of it is kept for `undo` unless `discard`.

        Shape: `name`, `changes` (entries that no snapshot holds, None when unknown), `bytes`, `operation_id`.
        Durable: yes. Errors: E_USAGE for main, E_NOT_FOUND, E_IO.
        """
        from jvs import names
        from jvs.worktrees import move

        name = names.check_worktree_name(name)
        with changing.worktree(self._store, name):
            return move.remove(self._store, name, discard=discard)

    def history(self, worktree: str | None = None, *, limit: int | None = None) -> list[Descriptor]:
        """Return the descriptors of a worktree's line, newest first; collected ones have `collected` set."""
        from itertools import islice

        from jvs.store import lineage

        latest = self._store.head_of(self._store.worktree_name(worktree))[1]
        return list(islice(lineage.line(self._store.layout, latest), limit))

    def status(self, worktree: str | None = None) -> Status:
        """Return where a worktree is and what changed since its head. Writes nothing."""
        from jvs.compare import status

        return status.look(self._store, self._store.worktree_name(worktree))

    def diff(self, before: str | None = None, after: str | None = None, *, worktree: str | None = None) -> Diff:
        """Compare two snapshots; one with the files now; or, with none, the two newest of the line.

        Errors: E_NOT_FOUND, E_AMBIGUOUS, E_PAYLOAD_HASH_MISMATCH, E_IO.
        """
        from jvs.compare import diff

        name = self._store.worktree_name(worktree)
        with self._store.reading():
            if before is None:
                return diff.between(self._store, *diff.newest_two(self._store, name))
            first = self.resolve(before, name)
            if after is None:
                return diff.against_files(self._store, first, name)
            return diff.between(self._store, first, self.resolve(after, name))

    def verify(self, target: str | None = None, *, payload: bool = True) -> list[SnapshotReport]:
        """Check one snapshot, or all of them, reading every byte; damage is reported, not raised."""
        from jvs.check import verify

        with self._store.reading():
            ids = verify.candidates(self._store.layout) if target is None else [self.resolve(target)]
            return [verify.check_snapshot(self._store, snapshot_id, payload=payload) for snapshot_id in ids]

    def gc_plan(self, policy: Policy | None = None) -> Plan:
        """Find out which snapshots could be collected, and why the others are kept; `policy`: the settings' one."""
        from jvs.gc import plan as gc_plan
        from jvs.gc import retention

        with self._store.reading():
            plan = gc_plan.make(self._store, policy or retention.Policy.of(self._store.settings, {}))
            gc_plan.save(self._store, plan)
            return plan

    def gc_run(self, plan: Plan | str, *, allow_newer: bool = False) -> Collected:
        """Collect what a plan names; with `allow_newer` although others have worked since, if nothing protects it now.

        Errors: E_GC_PLAN_MISMATCH when the repository changed since, E_BUSY.
        """
        from jvs.gc import run as gc

        plan_id = plan if isinstance(plan, str) else plan.plan_id()
        return gc.run(self._store, plan_id, allow_newer=allow_newer)

    def pin(self, target: str, *, reason: str | None = None) -> Pin:
        """Protect a snapshot from collection; return the pin. Errors: E_NOT_FOUND, E_BUSY."""
        from jvs.gc import pins

        return pins.add(self._store, self.resolve(target), reason=reason)

    def unpin(self, target: str) -> None:
        """Take a pin away. Errors: E_NOT_FOUND when there is none."""
        from jvs.gc import pins

        pins.remove(self._store, self.resolve(target))

    @contextlib.contextmanager
    def checkpoint(self, note: str = "checkpoint", *, worktree: str | None = None) -> Iterator[Descriptor]:
        """Snapshot a worktree, and restore it when the block raises, whatever it raises; the exception goes on.

        Yields the descriptor; when nothing changed since the head, that of the head. What the block wrote is kept
        then as by any restore, and `undo` gives it back.
        """
        name = self._store.worktree_name(worktree)
        made = self.snapshot(note, worktree=name, if_changed=True)
        try:
            yield made
        except BaseException:
            self.restore(made["snapshot_id"], worktree=name)
            raise


def _settings(environment: Mapping[str, str] | None, options: dict[str, Any]) -> Settings:
    from jvs.store import settings

    wait = options.pop("wait", None)
    keys = {key.replace(".", "_"): key for key in settings.KEYS}
    given = []
    for name, value in options.items():
        text = ",".join(value) if isinstance(value, list | tuple) else str(value)
        given.append(f"{keys.get(name, name)}={text.lower() if isinstance(value, bool) else text}")
    return Settings.from_environment(environment or {}, overrides=given, wait=wait, command="Repository")


def _bytes(path: Path | bytes) -> bytes:
    """Return a path below a worktree as bytes. Errors: E_PATH_ESCAPE."""
    from jvs.fs import paths as fs_paths

    return b"/".join(fs_paths.split_relative(os.fsencode(path)))
