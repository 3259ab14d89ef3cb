"""Evidence that somebody touched a published payload, found without reading its files.

A fork that shares data with its snapshot reads nothing, so it would carry damage along. Before one is made, or while it
is where that is a walk anyway, the payload is looked at: on btrfs the filesystem itself says whether a read-only
snapshot was ever changed; elsewhere names, kinds, modes and sizes are compared with the tree, and times with that of
the READY marker. Any evidence makes the whole payload be read and checked. Whoever covers the tracks (same size, times
put back) is found by `jvs verify` only.
Source: jvs-threats(7).
"""

from __future__ import annotations

import functools
import os

from jvs.engine import base as engine
from jvs.engine import traits
from jvs.engine.btrfs import ioctl
from jvs.errors import JvsError
from jvs.fs import listing, paths
from jvs.store import node_store, tree_check
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store


def is_untouched(store: Store, record: Descriptor) -> bool:
    """Answer whether a payload shows no evidence of having been changed; False when there is no telling."""
    payload = store.layout.payload(record["snapshot_id"])
    if record["engine"] == engine.BTRFS and not record.get("excluded") and ioctl.is_btrfs(payload):
        from jvs.engine.btrfs import search as btrfs_search

        return btrfs_search.never_changed(payload)
    known = node_store.Trees(store)
    try:
        root = known.root(record, rebuild=False)
        ready = paths.lstat(store.layout.ready(record["snapshot_id"])).st_mtime_ns
    except (OSError, JvsError):
        return False
    if root is None:
        return False
    # JuiceFS clones carry the source's ctimes; elsewhere ctimes move when a later snapshot links the same file.
    keeps_ctime = not traits.scan_flags(payload)[0]
    try:
        fd = paths.open_dir(payload)
    except OSError:
        return False
    try:
        if os.fstat(fd).st_mode & 0o7777 != root[0]:
            return False
        newest: int = max(tree_check.look_at_all(known, fd, root[2], functools.partial(_newest, keeps_ctime)))
        return newest < ready  # the same tick of a coarse clock may be before or after
    except (OSError, ValueError, JvsError):
        return False
    finally:
        os.close(fd)


class Watch:
    """Looks for the same evidence at what a copy lists of a payload while it walks through it, instead of before.

    `parts` are then the directories with what their nodes say of them, for whoever looks at the copy.
    """

    on = True
    """Off: the payload is looked at before it is copied. The answer is the same."""

    def __init__(self, store: Store, record: Descriptor) -> None:
        self._known = node_store.Trees(store)
        self._payload = store.layout.payload(record["snapshot_id"])
        self._root = self._known.root(record, rebuild=False)
        self._ready = paths.lstat(store.layout.ready(record["snapshot_id"])).st_mtime_ns
        self._keeps_ctime = not traits.scan_flags(self._payload)[0]
        self._begin()

    def _begin(self) -> None:
        self.parts: list[tree_check.Counted] = []
        self._touched = self._root is None
        self._newest = 0
        self._digests = {b"": self._root[2]} if self._root is not None else {}

    def look(self, path: bytes, names: list[bytes], stats: list[os.stat_result]) -> None:
        """Compare a directory of the payload with its node; those above it come first. The root begins anew."""
        if not path:
            self._begin()
        if self._touched:
            return
        try:
            digest = self._digests.pop(path)
            data = self._known.data(digest)
            entries = node.decode_proved(data) if data is not None else []
            if data is None or not tree_check.holds(entries, names, stats):
                raise ValueError("a directory is not what its node says")
            below = node.subdirectories(entries)
        except (KeyError, OSError, ValueError, JvsError):
            self._touched = True
            return
        self._newest = max(self._newest, _newest(self._keeps_ctime, path, digest, names, stats))
        self.parts.append(((path, digest, data), len(names) + 1))
        if below:
            self._known.preload({child for _, child in below})
            self._digests.update({listing.relative(path, name): child for name, child in below})

    def is_untouched(self) -> bool:
        """Answer, when the walk is over, whether the payload shows no evidence of having been changed."""
        if self._touched or self._root is None or not self.parts or self._digests:
            return False
        mode = paths.lstat(self._payload).st_mode & 0o7777
        return mode == self._root[0] and self._newest < self._ready


def watch(store: Store, record: Descriptor) -> Watch | None:
    """Return what looks while a payload is copied by walking through it; None where that cannot be."""
    if not Watch.on or record["engine"] == engine.BTRFS:
        return None
    try:
        return Watch(store, record)
    except (OSError, JvsError):
        return None


def _newest(keeps_ctime: bool, path: bytes, digest: bytes, names: list[bytes], stats: list[os.stat_result]) -> int:
    """Return the newest time that counts of what a directory holds."""
    if keeps_ctime:
        return max([max(st.st_mtime_ns, st.st_ctime_ns) for st in stats], default=0)
    return max([st.st_mtime_ns for st in stats], default=0)
