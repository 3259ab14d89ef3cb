"""One opened repository: its layout, settings, locks and index; what every operation works with.

Source: jvs-protocol(7), Locks.
"""

from __future__ import annotations

import contextlib
import os

from jvs.errors import FormatUnsupported, NameInvalid, NotFound, from_oserror
from jvs.fs import locks, paths
from jvs.store import finding, index_place, intent, layout, ownership, placement, records, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jvs.engine.base import Engine
    from jvs.fs.rooted import Below
    from jvs.store import audit
    from jvs.store.finding import Found
    from jvs.store.settings import Settings
    from jvs.tree.exclusion import Exclusion
    from jvs.tree.index import Index


class Store:
    """An opened repository of our own. `worktree_here` is the worktree around where it was opened, or None.

    Errors: E_NOT_A_REPOSITORY, E_PATH_ESCAPE (another owner); E_IO.
    """

    def __init__(self, root: str, settings: Settings, worktree_here: str | None = None) -> None:
        self.layout = layout.Layout(root)
        ownership.admit(settings, self.layout.control, self.layout.top)
        self.settings = settings
        self.worktree_here = worktree_here
        self._index: Index | None = None
        self._other_indexes: list[Index] = []
        self._other_written: list[tuple[int, str]] = []
        self._repo_id: str | None = None
        self.hooks_remarked = False
        self.is_remembered = True
        self._exclusions: dict[str, Exclusion] = {}

    @classmethod
    def open(cls, start: str, settings: Settings) -> Store:
        """Open the repository at or above a directory, or the one that the settings name.

        Errors: E_NOT_A_REPOSITORY, E_PATH_ESCAPE (links, foreign owner), E_FORMAT_UNSUPPORTED, E_USAGE (settings).
        """
        found = finding.choose(start, settings)
        store = cls.open_found(found, settings)
        here = None
        if found.known is not None or found.pointer is not None:
            from jvs.store import binding

            here = binding.check(store.layout, settings, store.repo_id, found)
        store.worktree_here = here or store.layout.worktree_of(os.path.realpath(start))
        store.is_remembered = found.known is not None or settings.repository is not None
        return store

    @classmethod
    def open_found(cls, found: Found, settings: Settings) -> Store:
        """Open a repository that was found, whatever leads to it. Errors: as `open`."""
        store = cls(found.root, settings)
        layout.check_control(store.layout)
        settings.with_repository(store.layout.config)
        return store

    @property
    def root(self) -> str:
        """Where the repository is."""
        return self.layout.root

    @property
    def repo_id(self) -> str:
        """The UUID of the repository."""
        if self._repo_id is None:
            try:
                text = paths.read_file(self.layout.repo_id, 128).decode("ascii", "replace")
            except OSError as error:
                raise FormatUnsupported(
                    f"'{self.layout.repo_id}' cannot be read: {error.strerror}",
                    hint="restore it from a copy of the repository; the audit chain begins with it",
                ) from error
            if not text.endswith("\n") or not records.is_uuid(text[:-1]):
                raise FormatUnsupported(
                    f"'{self.layout.repo_id}' does not hold a repository id",
                    hint="restore it from a copy of the repository; the audit chain begins with it",
                )
            self._repo_id = text.strip()
        return self._repo_id

    @property
    def actor(self) -> str:
        """Who works: `user@host`, or JVS_ACTOR."""
        return self.settings.actor

    def worktree_name(self, name: str | None = None) -> str:
        """Return the worktree to work on: the one asked for, the one around the current directory, or main.

        Errors: E_NAME_INVALID for an empty word.
        """
        if name == "":
            raise NameInvalid("an empty word names no worktree", hint="'jvs worktree list' shows the worktrees")
        return name or self.worktree_here or layout.MAIN

    def head_of(self, name: str) -> tuple[str | None, str | None]:
        """Return head and latest of a worktree as readers may see them: what is being published counts as not there."""
        config = worktree.load(self.layout, name)
        pending = intent.pending_snapshots(self.layout)
        head, latest = config["head_snapshot_id"], config["latest_snapshot_id"]
        return _before(head, pending), _before(latest, pending)

    def index(self) -> Index:
        """Return the index, opened on first use; an absent one when it is switched off or cannot be used."""
        if self._index is None:
            from jvs.tree.index import Index

            path = self.layout.index if self.settings.use_index else None
            readonly = not paths.may(self.layout.jvs, os.W_OK)
            if path is not None and not readonly:
                index_place.tidy(path)
            self._index = Index(path, readonly=readonly)
        return self._index

    def other_indexes(self) -> list[Index]:
        """Return what other mounts of the volume keep, opened for reading; nothing but on JuiceFS.

        They are opened anew when one of them was written meanwhile: an open file does not show that.
        """
        from jvs.tree.index import Index

        found = index_place.others(self.layout.index) if self.settings.use_index else []
        written = [(when, place.name) for when, place in found]
        if written != self._other_written:
            self._close_others()
            self._other_written = written
            self._other_indexes = [Index(place, readonly=True) for _, place in found]
        return self._other_indexes

    def _close_others(self) -> None:
        for other in self._other_indexes:
            other.close()
        self._other_indexes, self._other_written = [], []

    def tree_key(self, name: str) -> str:
        """Return under what the index keeps a worktree: its name may come again, and its file from elsewhere."""
        return f"{name} {worktree.load(self.layout, name)['created_at']}"

    def engine(self, name: str, *, requested: str | None = None) -> Engine:
        """Return the engine for a worktree: the one that was asked for, or the best that works.

        Errors: E_USAGE for an unknown engine, E_IO when one was asked for that does not work here.
        """
        from jvs.engine import registry

        chosen = requested or self.settings.get("default_engine")
        return registry.pick(
            chosen, self.layout.worktree_dir(name), self.layout.snapshots, self.settings.engine_options()
        )

    def exclusion(self, name: str) -> Exclusion:
        """Return what is excluded in a worktree: as read under its lock, while that is held, else as it is now.

        Errors: E_USAGE for rules that mean nothing, E_IO.
        """
        from jvs.store import exclusion

        return self._exclusions.get(name) or exclusion.read(self.layout, self.settings, name)

    def known_exclusion(self, name: str) -> Exclusion | None:
        """Return what is excluded in a worktree whose lock is held; None when the worktree is yet to be made."""
        return self._exclusions.get(name)

    @contextlib.contextmanager
    def same_exclusion(self, name: str) -> Iterator[None]:
        """Read once what is excluded in a worktree that is there, and keep to that. Errors: as `exclusion`."""
        self.read_exclusion_again(name)
        try:
            yield
        finally:
            self._exclusions.pop(name, None)

    def read_exclusion_again(self, name: str) -> None:
        """Keep to what is excluded in a worktree now, if it is there. Errors: as `exclusion`."""
        self._exclusions.pop(name, None)
        if not self.layout.is_strange(name) and paths.is_dir(self.layout.worktree_dir(name)):
            self._exclusions[name] = self.exclusion(name)

    def log(self) -> audit.Log:
        """Return the audit log."""
        from jvs.store import audit

        return audit.log_of(self.layout, self.repo_id, self.settings.wait)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Share the repository lock, so that nothing is collected while we read.

        A repository that cannot be written is read without: nobody else can collect there either, unless it is a
        read-only mount of what others write; then a snapshot may vanish while being read, and that is an error.
        """
        try:
            lock = locks.acquire_repository(self.layout.locks, exclusive=False, wait=self.settings.wait)
        except Exception as error:
            if getattr(error, "name", "") != "E_IO":
                raise
            yield
            return
        with lock:
            yield

    def record(self, operation: str, **details: Any) -> audit.AuditRecord:
        """Append an event to the audit log at once, for small operations that need no intent."""
        from jvs.store import audit

        target, name, reason = details.pop("target", None), details.pop("worktree", None), details.pop("reason", None)
        what = audit.event(operation, self.actor, target=target, worktree=name, reason=reason, details=details)
        return self.log().append(what)

    def require_worktree(self, name: str) -> Below:
        """Return the directory of a worktree. Errors: E_NOT_FOUND, E_LINEAGE_BROKEN, E_IO when it is missing."""
        config = worktree.load(self.layout, name)
        path = self.layout.worktree_dir(name)
        try:
            os.close(paths.open_dir(path))
        except FileNotFoundError as error:
            if placement.is_elsewhere(config):
                hint = f"mount its disk; if it was moved: jvs --repo '{self.root}' worktree attach WHERE"
                raise NotFound(
                    f"worktree '{name}' is offline: there is no '{path}'", hint=hint, worktree=name
                ) from error
            if config["latest_snapshot_id"] is None:
                hint = f"put it back, or make an empty one: mkdir '{path}'"
            else:
                where = "" if name == layout.MAIN else f" -w {name}"
                hint = f"put it back, or make it again from the latest snapshot: 'jvs restore{where} LATEST'"
            raise NotFound(f"the directory of worktree '{name}' is missing: '{path}'", hint=hint) from error
        except OSError as error:
            raise from_oserror(error, f"opening worktree '{name}'") from error
        return path

    def close(self) -> None:
        """Close the index, and those of other mounts."""
        self._close_others()
        if self._index is not None:
            self._index.close()
            self._index = None


def _before(snapshot_id: str | None, pending: dict[str, str | None]) -> str | None:
    seen = set()
    while snapshot_id in pending and snapshot_id not in seen:
        seen.add(snapshot_id)
        snapshot_id = pending[snapshot_id]
    return snapshot_id
