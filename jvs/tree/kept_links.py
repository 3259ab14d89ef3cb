"""Which files of a worktree are not the names of one file that they are in the payload, or are so only here.

Source: link(2); jvs-status(1).
"""

from __future__ import annotations

import os

from jvs.fs import listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.fs.rooted import Below


class KeptLinks:
    """The inodes of files that have several names in the worktree or in the payload."""

    def __init__(self) -> None:
        self._live: dict[int, list[bytes]] = {}
        self._payload: dict[int, list[bytes]] = {}
        self._inodes: dict[bytes, tuple[int, int]] = {}
        self._proved: dict[int, int] = {}
        self._proved_live: dict[int, int] = {}
        self.apart: set[int] = set()
        """The inodes of the payload that are split or joined where only one of the names was looked at."""

    def note(self, path: bytes, st: os.stat_result, kept: os.stat_result) -> bool:
        """Note an entry that may have other names; False when it has none on either side."""
        if st.st_nlink < 2 and kept.st_nlink < 2:
            return False
        self._live.setdefault(st.st_ino, []).append(path)
        self._payload.setdefault(kept.st_ino, []).append(path)
        self._inodes[path] = (st.st_ino, kept.st_ino)
        return True

    def note_proved(self, entries: list[tuple[os.stat_result, int]]) -> None:
        """Note the inodes of entries that need no other proof: another name of theirs may have become a file apart."""
        for st, inode in entries:
            self._proved[inode] = st.st_ino
            if st.st_nlink > 1:
                self._proved_live[st.st_ino] = inode

    def differ(self, payload: Below) -> Iterator[bytes]:
        """Yield the names whose files are not the names of one file that they are in the payload; some maybe twice.

        The payload is listed when a name that was not looked at is one of them. Errors: OSError.
        """
        for path, (live, inode) in self._inodes.items():
            split = self._proved.get(inode, live) != live
            joined = self._proved_live.get(live, inode) != inode
            if split or joined or self._live[live] != self._payload[inode]:
                yield path
            self.apart.update({inode} if split else (), {self._proved_live[live]} if joined else ())
        if self.apart:
            yield from _names_of(payload, self.apart)


def _names_of(payload: Below, inodes: set[int]) -> list[bytes]:
    """Return the paths in a payload that lead to some inodes."""
    found: list[bytes] = []
    stack = [b""]
    root = paths.open_dir(payload)
    try:
        while stack:
            path = stack.pop()
            fd = paths.open_below(root, paths.split_relative(path))
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        below = listing.relative(path, os.fsencode(entry.name))
                        if entry.is_dir(follow_symlinks=False):
                            stack.append(below)
                        elif entry.inode() in inodes:
                            found.append(below)
            finally:
                os.close(fd)
    finally:
        os.close(root)
    return found
