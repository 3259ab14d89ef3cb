"""What the index knows of a fork from its first moment: that its files are those of the snapshot it was made from.

Its first snapshot then costs what a second one does: unchanged files are neither read nor copied, but linked. Stamps
are taken while nobody else can reach the files, and only where the copy kept everything. A row that is left out makes
the directory be read, no more.
Source: jvs-engines(7), Speed; jvs-format(5), Index.
"""

from __future__ import annotations

import functools
import os

from jvs import clock
from jvs.engine import base as engine
from jvs.engine import traits
from jvs.errors import JvsError
from jvs.fs import listing, paths
from jvs.store import node_store, tree_check
from jvs.tree import racy
from jvs.tree import rows as tree_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.engine.base import Cloned
    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.store.worktree import WorktreeConfig
    from jvs.tree.builder import ScanResult

    Row = tuple[bytes, bytes, bytes]


class FirstRows:
    """The rows of a fork: `take` while it is staged and durable, `remember` when it is there under its name."""

    def __init__(self, store: Store, record: Descriptor) -> None:
        self._store = store
        self._record = record
        self._rows: list[Row] = []
        self._root = b""
        self._moment_ns = 0

    def take(self, staged: Below, made: Cloned, parts: list[tree_check.Counted] | None = None) -> None:
        """Note the stamps of all files, where they are worth anything. Writes nothing; raises nothing.

        `parts` are the directories of the snapshot with their nodes, the topmost first, where they are at hand.
        """
        with_inode, btrfs = traits.scan_flags(staged)
        copied = made.engine in (engine.COPY, engine.REFLINK) and with_inode
        cloned = made.engine == engine.JUICEFS and not with_inode
        if not (copied or cloned) or made.degraded or btrfs or self._record["partial_paths"] is not None:
            return
        if not self._store.settings.use_index or not self._store.settings.get("engine.remember_forks"):
            return
        if cloned and self._store.index().trees_of(self._record["snapshot_id"]):
            return  # the stamps are those that the index has already: see store/other_mounts.py
        try:
            self._moment_ns = racy.writeback(staged, clock.now_ns(), juicefs=cloned)
            if self._moment_ns == racy.NEVER_NS:
                return
            fd = paths.open_dir(staged)
            try:
                self._rows = self._look(fd, made.tree, parts, functools.partial(_row, self._moment_ns, with_inode))
            finally:
                os.close(fd)
        except (OSError, ValueError, JvsError):
            self._rows = []

    def _look(
        self, fd: int, copied: ScanResult | None, parts: list[tree_check.Counted] | None, look: tree_check.Look
    ) -> list[Row]:
        jobs = self._store.settings.jobs()
        if parts:
            self._root = parts[0][0][1]
            return tree_check.look_at_parts(parts, fd, look, jobs=jobs)
        if copied is not None and copied.root_hash == self._record["payload_root_hash"]:
            self._root = copied.digest  # its nodes were made on the way: none has to be read
            return tree_check.look_at_copy(copied.rows, fd, look, jobs=jobs)
        known = node_store.Trees(self._store)
        root = known.root(self._record, rebuild=False)
        if root is None:
            return []
        self._root = root[2]
        return tree_check.look_at_all(known, fd, root[2], look, jobs=jobs)

    def remember(self, config: WorktreeConfig) -> None:
        """Give the index what was taken. Whatever goes wrong, nothing is raised."""
        if self._rows:
            self._store.index().store(
                self._store.tree_key(config["name"]),
                rows=self._rows,
                base=(self._record["snapshot_id"], self._root),
                replace=True,
                algorithm=self._record["hash_algorithm"],
            )


def _row(
    moment_ns: int, with_inode: bool, path: bytes, digest: bytes, names: list[bytes], stats: list[os.stat_result]
) -> Row:
    """Return the row of a directory, with the stamps that last."""
    stamps = listing.stamps(stats, with_inode=with_inode)
    lasting = racy.all_lasting(stamps, stats, moment_ns, slow_directories=not with_inode)
    return path, tree_rows.pack(names, lasting), digest
