"""The last of a restore: directories get their mode, owner, attributes and times when everything inside is done.

Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import os
import stat

from jvs import system
from jvs.fs import listing, metadata
from jvs.fs import paths as fs_paths
from jvs.restore.entries import kind_of_meta, lstat_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.losses import Losses
    from jvs.restore.delta import Delta
    from jvs.restore.entries import Meta
    from jvs.restore.places import Places


def apply_metadata(delta: Delta, places: Places, losses: Losses, *, after: bool) -> None:
    """Give directories, and entries that differ in nothing else, their mode, owner, attributes and times.

    Bottom up, as changing entries moves the times of the directory above.
    """
    for path, before, wanted in sorted(delta.dirs, key=lambda item: item[0].count(b"/") + bool(item[0]), reverse=True):
        if kind_of_meta(before) != listing.DIR:
            _apply_entry(places, path, (wanted or before) if after else before, losses)
            continue
        meta = (wanted or before) if after else before
        try:
            fd = fs_paths.open_below(places.target.fd, fs_paths.split_relative(path))
        except OSError as error:
            if listing.is_absent(error):
                continue
            raise
        try:
            if after and wanted is None:
                if stat.S_IMODE(os.fstat(fd).st_mode) != before[0]:
                    os.fchmod(fd, before[0])
                continue
            apply_meta(fd, meta, path, losses)
            places.note_changed(path)
        finally:
            os.close(fd)


def _apply_entry(places: Places, path: bytes, meta: Meta, losses: Losses) -> None:
    """Give an entry that is no directory its metadata, in place; one of another kind was put there meanwhile."""
    try:
        parent, name = places.target.parent(path, writable=True)
    except OSError as error:
        if listing.is_absent(error):
            return
        raise
    st = lstat_at(name, parent)
    if st is None or listing.kind_of(st.st_mode) != kind_of_meta(meta):
        return
    fd = metadata.handle(name, parent)
    try:
        apply_meta(system.path_of(fd), meta, path, losses)
    finally:
        os.close(fd)
    places.sync_entry(name, parent, is_dir=False)


def apply_meta(where: int | bytes, meta: Meta, path: bytes, losses: Losses) -> None:
    """Give an open entry, or the one at that path of `/proc`, the metadata that a journal knows of it."""
    xattrs = {os.fsdecode(key): value for key, value in (meta[5] or {}).items()}
    metadata.apply_metadata(where, _StatOf(meta), xattrs, path, losses)  # type: ignore[arg-type]


_FORMATS = (
    *(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR),
    stat.S_IFBLK,
)
"""By kind: see `listing.FILE` and those after it."""


class _StatOf:
    """A stat made from a journal's metadata."""

    def __init__(self, meta: Meta) -> None:
        self.st_mode = _FORMATS[kind_of_meta(meta)] | meta[0]
        self.st_uid, self.st_gid, self.st_atime_ns, self.st_mtime_ns = meta[1:5]
