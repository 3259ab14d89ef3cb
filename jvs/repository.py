"""The public Python API: one class over everything that the commands do, with the same errors as exceptions.

    from jvs import Repository

    repo = Repository.open(".")
    with repo.checkpoint("before the tool call"):
        run_the_tool()

Nothing here prints, reads the environment on its own, or exits. Every method takes and releases the locks it needs, so
that a Repository may live as long as the program; it is to be used by one thread at a time.
Source: jvs-agents(7).
"""

from __future__ import annotations

import contextlib
import os

from jvs.operations import given
from jvs.operations.space_methods import SpaceMethods
from jvs.operations.worktree_methods import WorktreeMethods
from jvs.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from jvs.check.doctor import Diagnosis
    from jvs.check.verify import SnapshotReport
    from jvs.compare.diff import Diff
    from jvs.compare.listing import EntryDocument
    from jvs.compare.status import Status
    from jvs.restore.journal import Operation
    from jvs.restore.merging import Outcome
    from jvs.restore.run import Done
    from jvs.store.descriptor import Descriptor

    Env = Mapping[str, str] | None

Path = str | os.PathLike[str]


class Repository(WorktreeMethods, SpaceMethods):
    """An opened repository.

    `worktree` is the one that methods work on when no other is given: the one around the directory that was
    opened, or main.
    """

    def __init__(self, store: Store, environment: Env = None) -> None:
        self._store = store
        self._environment = dict(environment or {})

    @classmethod
    def init(
        cls,
        path: Path,
        *,
        source: Path | None = None,
        here: bool = False,
        control: Path | None = None,
        environment: Env = None,
        **options: Any,
    ) -> Repository:
        """Make a repository and open it; main begins with the content of `source`, or `here` is the directory itself.

        With `here`, `control` is where its history is kept in place of `.jvs`.
        `options` are settings with `_` for `.`, and `wait` (seconds): `Repository.init("lab", durability="each")`.
        Durable: yes. Errors: E_EXISTS, E_USAGE, E_NAME_INVALID, E_PATH_ESCAPE, E_IO, E_NO_SPACE.
        """
        from jvs.operations import configuration

        settings = given.settings(environment, dict(options))
        home = (environment or {}).get("HOME")
        if here or control is not None:
            kept = None if control is None else os.fspath(control)
            configuration.init_here(os.fspath(path), settings, home=home, control=kept)
        else:
            source = None if source is None else os.fspath(source)
            configuration.init(os.fspath(path), settings, source=source, home=home)
        return cls.open(path, environment=environment, **options)

    @classmethod
    def clone(cls, source: Path, path: Path, *, environment: Env = None, **options: Any) -> Repository:
        """Make a copy of a repository, with all of its snapshots and an id of its own, at a free path, and open it.

        Durable: yes. Errors: E_NOT_A_REPOSITORY, E_EXISTS, E_NAME_INVALID, E_PATH_ESCAPE, E_PAYLOAD_HASH_MISMATCH,
        E_LINEAGE_BROKEN, E_USAGE, E_BUSY, E_NO_SPACE, E_IO.
        """
        from jvs.operations import configuration

        read, made = (given.settings(environment, dict(options)) for _ in range(2))
        home = (environment or {}).get("HOME")
        configuration.clone(os.fspath(source), os.fspath(path), read, made, home=home)
        return cls.open(path, environment=environment, **options)

    @classmethod
    def open(cls, path: Path = ".", *, environment: Env = None, **options: Any) -> Repository:
        """Open the repository at or above a directory.

        Without `environment` only defaults and the repository's own settings count, and hooks run in an empty one; pass
        `os.environ` to take over what a command would.
        Errors: E_NOT_A_REPOSITORY, E_FORMAT_UNSUPPORTED, E_PATH_ESCAPE, E_USAGE.
        """
        return cls(Store.open(os.fspath(path), given.settings(environment, options)), environment)

    def close(self) -> None:
        """Close the index. Using the repository again opens it again."""
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
        meta: Mapping[str, object] | None = None,
        worktree: str | None = None,
        paths: Iterable[Path | bytes] | None = None,
        if_changed: bool = False,
        allow_unreadable: bool = False,
    ) -> Descriptor:
        """Take a snapshot and return its descriptor; with `if_changed` maybe that of the head, which has it all.

        `paths` are relative to the worktree; `meta` are facts such as metrics. Durable: yes.
        Errors: E_USAGE, E_BUSY, E_DETACHED, E_DIRTY, E_NAME_INVALID, E_CLONE_INCOMPLETE, E_NO_SPACE, E_IO.
        """
        from jvs.operations import snapshots

        words: dict[str, Any] = {"note": note, "tags": tags, "meta": meta, "environment": self._environment}
        how: dict[str, Any] = {"if_changed": if_changed, "allow_unreadable": allow_unreadable}
        return snapshots.snapshot(self._store, worktree, paths=given.relative(paths), **words, **how)[0]

    def restore(
        self,
        target: str = "LATEST",
        *,
        worktree: str | None = None,
        paths: Iterable[Path | bytes] | None = None,
        excepted: Iterable[Path | bytes] | None = None,
        discard: bool = False,
    ) -> Done:
        """Bring a worktree, or some of its paths, back to a snapshot, in place; `undo` undoes it.

        `paths`, and what is `excepted` and stays, are relative to the worktree and may be patterns. Durable: yes.
        Errors: E_NOT_FOUND, E_AMBIGUOUS, E_BUSY, E_DIRTY, E_PAYLOAD_HASH_MISMATCH, E_NO_SPACE, E_IO.
        """
        from jvs.operations import snapshots

        only, left = given.relative(paths), given.relative(excepted)
        return snapshots.restore(
            self._store, target, worktree, paths=only, excepted=left, discard=discard, environment=self._environment
        )

    def undo(self, operation_id: str | None = None, *, redo: bool = False, worktree: str | None = None) -> Operation:
        """Undo the last operation of a worktree, the last undo (`redo`), or any; return its journal.

        Durable: yes. Errors: E_NOT_FOUND when there is none, E_EXISTS, E_BUSY, E_NO_SPACE, E_IO.
        """
        from jvs.operations import snapshots

        return snapshots.undo(self._store, worktree, redo=redo, operation_id=operation_id)[0]

    def operations(self, worktree: str | None = None) -> list[Operation]:
        """Return what can be undone, newest first."""
        from jvs.operations import snapshots

        return snapshots.operations(self._store, worktree)

    def merge(
        self,
        source: str,
        into: str | None = None,
        *,
        base: str | None = None,
        paths: Iterable[Path | bytes] | None = None,
        now: bool = False,
        choices: Mapping[str, Iterable[str]] | None = None,
        note: str | None = None,
    ) -> Outcome:
        """Merge a worktree's last snapshot (`now`: its files), or a snapshot, into a worktree, and take a snapshot.

        `choices` decides conflicts: `{"theirs": ["*.lock"], "ours": [""]}`; the empty pattern fits all.
        Durable: yes. Errors: E_CONFLICT with `facts["conflicts"]` when both sides changed the same differently, and
        nothing was changed; E_AMBIGUOUS, E_NOT_FOUND, E_LINEAGE_BROKEN; those of `snapshot` and `restore`.
        """
        from jvs.operations import merging

        more: dict[str, Any] = {"base": base, "now": now, "choices": choices, "note": note}
        more |= {"paths": given.relative(paths), "environment": self._environment}
        outcome = merging.merge(self._store, source, into, **more)
        complaint = outcome.complaint()
        if complaint is not None:
            raise complaint
        return outcome

    def history(
        self,
        worktree: str | None = None,
        *,
        limit: int | None = None,
        start: str | None = None,
        paths: Iterable[Path | bytes] | None = None,
        tags: Iterable[str] = (),
        meta: Mapping[str, str | None] | None = None,
        sort: str | None = None,
    ) -> list[Descriptor]:
        """Return the descriptors of a worktree's line, newest first; collected ones have `collected` set.

        The line begins at the latest snapshot or at the target `start`. With `paths` (or patterns) only those that
        changed the content of one, with `path_changes`. `meta` are facts that they must have (None: any value), `sort`
        is a fact that they are sorted by, numbers as numbers; `-KEY`: the largest first.
        Errors: E_USAGE, E_NOT_FOUND for a path that none of them held, E_LINEAGE_BROKEN.
        """
        from jvs.operations import looking

        chosen: dict[str, Any] = {"limit": limit, "start": start, "tags": tags, "meta": meta, "sort": sort}
        return list(looking.history(self._store, worktree, paths=given.relative(paths), **chosen))

    def show(self, target: str, worktree: str | None = None) -> Descriptor:
        """Return the descriptor of a snapshot with the tags, note and facts that count now. Errors: E_NOT_FOUND."""
        from jvs.operations import annotating

        return annotating.shown(self._store, target, worktree)

    def tag(self, target: str, *tags: str, delete: bool = False, worktree: str | None = None) -> Descriptor:
        """Give a snapshot tags, or take them away; return its descriptor as it is told now. Errors: E_NAME_INVALID."""
        from jvs.operations import annotating

        return annotating.tag(self._store, target, tags, worktree, delete=delete)

    def note(self, target: str, text: str, *, worktree: str | None = None) -> Descriptor:
        """Give a snapshot another note. Durable, errors: as `tag`."""
        from jvs.operations import annotating

        return annotating.note(self._store, target, text, worktree)

    def meta(
        self,
        target: str,
        values: Mapping[str, object] | None = None,
        *,
        delete: Iterable[str] = (),
        worktree: str | None = None,
    ) -> Descriptor:
        """Set facts of a snapshot (`{"loss": 0.12}`), and delete others. Durable, errors: as `tag`; E_USAGE."""
        from jvs.operations import annotating

        return annotating.meta(self._store, target, values or {}, worktree, delete=delete)

    def cat(self, target: str, path: Path | bytes, *, worktree: str | None = None) -> bytes:
        """Return the content of a file in a snapshot, or where a link leads to, proved against its hash.

        Errors: E_NOT_FOUND, E_AMBIGUOUS, E_USAGE for what is no file, E_PAYLOAD_HASH_MISMATCH, E_IO.
        """
        from jvs.operations import looking

        return looking.cat(self._store, target, os.fsencode(path), worktree)

    def ls(
        self, target: str, path: Path | bytes = b"", *, recursive: bool = False, worktree: str | None = None
    ) -> list[EntryDocument]:
        """Return what a directory of a snapshot holds: `path`, `kind`, `mode`, `size`, `digest` of each, sorted.

        Errors: E_NOT_FOUND, E_AMBIGUOUS, E_PATH_ESCAPE, E_IO.
        """
        from jvs.compare import listing
        from jvs.operations import looking

        found = looking.ls(self._store, target, os.fsencode(path), worktree, recursive=recursive)
        return [listing.entry_json(name, entry) for name, entry in found]

    def status(self, worktree: str | None = None) -> Status:
        """Return where a worktree is and what changed since its head. Writes nothing."""
        from jvs.operations import looking

        return looking.status(self._store, worktree)

    def diff(self, before: str | None = None, after: str | None = None, *, worktree: str | None = None) -> Diff:
        """Compare two snapshots; one with the files now; or, with none, the two newest of the line.

        Errors: E_NOT_FOUND, E_AMBIGUOUS, E_PAYLOAD_HASH_MISMATCH, E_IO.
        """
        from jvs.operations import looking

        return looking.diff(self._store, before, after, worktree)

    def verify(self, target: str | None = None, *, payload: bool = True) -> list[SnapshotReport]:
        """Check one snapshot, or all of them, reading every byte; damage is reported, not raised."""
        from jvs.operations import looking

        if target is not None:
            return [looking.verify(self._store, target, payload=payload)]
        return looking.verify_all(self._store, payload=payload)[0]

    def doctor(self, *, strict: bool = False, repair: Iterable[str] = ()) -> Diagnosis:
        """Do the repairs that are named, then examine everything, every byte with `strict`. Errors: E_USAGE, E_BUSY."""
        from jvs.operations import looking

        return looking.doctor(self._store, strict=strict, actions=repair)

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
