"""What the index knows of a fork from its first moment: that its files are those of the snapshot it was made from.

Its first snapshot then costs what a second one does: unchanged files are neither read nor copied, but linked. Stamps
are taken while nobody else can reach the files, and only where the copy kept everything. A row that is left out makes
the directory be read, no more.
Source: jvs-engines(7), Speed; jvs-format(5), Index.
"""

from __future__ import annotations

import os

from jvs import clock
from jvs.engine import base as engine
from jvs.engine import traits
from jvs.errors import JvsError
from jvs.fs import listing, paths
from jvs.store import node_store, tamper_check
from jvs.tree import node, racy
from jvs.tree import rows as tree_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.engine.base import Cloned
    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.store.worktree import WorktreeConfig

    Row = tuple[bytes, bytes, bytes]


class FirstRows:
    """The rows of a fork: `take` while it is staged and durable, `remember` when it is there under its name."""

    def __init__(self, store: Store, record: Descriptor) -> None:
        self._store = store
        self._record = record
        self._rows: list[Row] = []
        self._root = b""
        self._moment_ns = 0
        self._with_inode = True

    def take(self, staged: Below, made: Cloned) -> None:
        """Note the stamps of all files, where they are worth anything. Writes nothing; raises nothing."""
        with_inode, btrfs = traits.scan_flags(staged)
        copied = made.engine in (engine.COPY, engine.REFLINK) and with_inode
        cloned = made.engine == engine.JUICEFS and not with_inode
        if not (copied or cloned) or made.degraded or btrfs or self._record["partial_paths"] is not None:
            return
        if not self._store.settings.use_index or not self._store.settings.get("engine.remember_forks"):
            return
        if cloned and self._store.index().trees_of(self._record["snapshot_id"]):
            return  # the stamps are those that the index has already: see store/other_mounts.py
        self._with_inode = with_inode
        try:
            self._moment_ns = racy.writeback(staged, clock.now_ns(), juicefs=cloned)
            known = node_store.Trees(self._store)
            root = known.root(self._record, rebuild=False)
            if self._moment_ns == racy.NEVER_NS or root is None:
                return
            fd = paths.open_dir(staged)
            try:
                self._visit(known, fd, b"", root[2])
            finally:
                os.close(fd)
            self._root = root[2]
        except (OSError, ValueError, JvsError):
            self._rows = []

    def _visit(self, known: node_store.Trees, fd: int, path: bytes, digest: bytes) -> None:
        """Take a directory and those below it. Errors: ValueError when it is not what its node says."""
        data = known.data(digest)
        if data is None:
            raise ValueError("the node is not known")
        entries = node.decode_node(data)
        names, stats = listing.list_dir(fd)
        if names != [entry[0] for entry in entries] or not all(map(tamper_check.fits, entries, stats)):
            raise ValueError("the fork is not what its snapshot is")
        known.preload({entry[4] for entry in entries if entry[1] == listing.DIR})
        width = listing.STAMP.size
        stamps = listing.stamps(stats, with_inode=self._with_inode)
        slow = not self._with_inode  # JuiceFS: the times of a directory
        lasting = b"".join(
            racy.lasting(stamps[i * width : (i + 1) * width], st, self._moment_ns, slow_directories=slow)
            for i, st in enumerate(stats)
        )
        self._rows.append((path, tree_rows.pack(names, lasting), digest))
        for entry in entries:
            if entry[1] == listing.DIR:
                child = paths.open_dir(entry[0], fd, one_mount=True)
                try:
                    self._visit(known, child, listing.relative(path, entry[0]), entry[4])
                finally:
                    os.close(child)

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
