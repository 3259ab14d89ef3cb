"""Evidence that somebody touched a published payload, found without reading its files.

A fork that shares data with its snapshot reads nothing, so it would carry damage along. Before one is made, the payload
is looked at: on btrfs the filesystem itself says whether a read-only snapshot was ever changed; elsewhere names, kinds,
modes and sizes are compared with the tree, and times with that of the READY marker. Any evidence makes the whole
payload be read and checked. Whoever covers the tracks (same size, times put back) is found by `jvs verify` only.
Source: jvs-threats(7).
"""

from __future__ import annotations

import os

from jvs.engine import base as engine
from jvs.engine import traits
from jvs.engine.btrfs import ioctl
from jvs.errors import JvsError
from jvs.fs import listing, paths
from jvs.store import node_store
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.tree.node import Entry


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
        mode = os.fstat(fd).st_mode & 0o7777
        return mode == root[0] and _same(known, root[2], fd, ready, keeps_ctime)
    except (OSError, ValueError, JvsError):
        return False
    finally:
        os.close(fd)


def _same(known: node_store.Trees, digest: bytes, fd: int, ready: int, keeps_ctime: bool) -> bool:
    """Compare one directory, and those below it, with the node that it should have."""
    data = known.data(digest)
    if data is None:
        return False
    entries = node.decode_node(data)
    names, stats = listing.list_dir(fd)
    if names != [entry[0] for entry in entries]:
        return False
    known.preload({entry[4] for entry in entries if entry[1] == listing.DIR})
    for entry, st in zip(entries, stats, strict=True):
        newest = max(st.st_mtime_ns, st.st_ctime_ns) if keeps_ctime else st.st_mtime_ns
        if newest >= ready or not fits(entry, st):  # the same tick of a coarse clock may be before or after
            return False
        if entry[1] == listing.DIR:
            child = paths.open_dir(entry[0], fd, one_mount=True)
            try:
                if not _same(known, entry[4], child, ready, keeps_ctime):
                    return False
            finally:
                os.close(child)
    return True


def fits(entry: Entry, st: os.stat_result) -> bool:
    """Answer whether an entry has the kind, mode and size that a node says."""
    kind = listing.kind_of(st.st_mode)
    if kind != entry[1]:
        return False
    if kind != listing.SYMLINK and st.st_mode & 0o7777 != entry[2]:
        return False
    return kind not in (listing.FILE, listing.SYMLINK) or st.st_size == entry[3]
