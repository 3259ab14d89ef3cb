"""Evidence that somebody touched a published payload, found without reading its files.

A fork that shares data with its snapshot reads nothing, so it would carry damage along. Before one is made, the payload
is looked at: on btrfs the filesystem itself says whether a read-only snapshot was ever changed; elsewhere names, kinds,
modes and sizes are compared with the tree, and times with that of the READY marker. Any evidence makes the whole
payload be read and checked. Whoever covers the tracks (same size, times put back) is found by `jvs verify` only.
Source: jvs-threats(7).
"""

from __future__ import annotations

import functools
import os

from jvs.engine import base as engine
from jvs.engine import traits
from jvs.engine.btrfs import ioctl
from jvs.errors import JvsError
from jvs.fs import paths
from jvs.store import node_store, tree_check

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


def _newest(keeps_ctime: bool, path: bytes, digest: bytes, names: list[bytes], stats: list[os.stat_result]) -> int:
    """Return the newest time that counts of what a directory holds."""
    if keeps_ctime:
        return max([max(st.st_mtime_ns, st.st_ctime_ns) for st in stats], default=0)
    return max([st.st_mtime_ns for st in stats], default=0)
