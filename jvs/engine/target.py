"""The tree that a copy makes: its directories while they are being filled.

A directory is ours alone (0700) until everything is inside, then gets its metadata; one that could not be filled is
taken away again. Each knows its counterpart in the base payload, whose unchanged files can be linked.
Source: jvs-engines(7).
"""

from __future__ import annotations

import os

from jvs.engine import traits
from jvs.engine.base import Request
from jvs.errors import JvsError, from_oserror
from jvs.fs import durable, listing, metadata, paths, removal
from jvs.fs.losses import Losses
from jvs.fs.rooted import Below
from jvs.tree.node import decode_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.xattrs import Attributes
    from jvs.tree.node import Entry
    from jvs.tree.rows import Known


class Dir:
    """A directory of the target while it is being filled; `base` is its counterpart in the base payload, or -1.

    `head` is that in the head's payload, where it is another, and `head_node` its node.
    `waits` counts what other processes have still to make in it; `parked` is what it gets when they are done.
    """

    __slots__ = ("_entries", "base", "fd", "head", "head_node", "parked", "path", "waits")

    def __init__(self, fd: int, base: int, path: bytes) -> None:
        self.fd = fd
        self.base = base
        self.path = path
        self.head, self.head_node = -1, b""
        self._entries: dict[bytes, Entry] | None = None
        self.waits = 0
        self.parked: tuple[Attributes, os.stat_result] | None = None

    def head_entry(self, known: Known, name: bytes) -> Entry | None:
        """Return what the head has under a name here, when its node is known."""
        if self._entries is None:
            data = known.node(self.head_node) if self.head >= 0 else None
            try:
                self._entries = {entry[0]: entry for entry in decode_node(data)} if data is not None else {}
            except ValueError:
                self._entries = {}
        return self._entries.get(name)


class Target:
    """The directories that are open, from the root of the target to where the walk is."""

    def __init__(self, request: Request, losses: Losses) -> None:
        self.request = request
        self.losses = losses
        self._open: list[Dir] = []
        self._parked: set[Dir] = set()

    @property
    def root(self) -> int:
        """Return the descriptor of the root of the target."""
        return self._open[0].fd

    def begin(self, above: Dir | None, name: bytes, path: bytes) -> Dir:
        """Make a directory below another one, or the root. Errors: as `failed`."""
        try:
            if above is None:
                return self._begin_root()
            here = Dir(metadata.make_dir(name, above.fd), -1, path)
            self._open.append(here)
            if above.base >= 0:
                here.base = _open_if_there(name, above.base)
            if above.head >= 0 and self.request.known is not None:
                entry = above.head_entry(self.request.known, name)
                if entry is not None and entry[1] == listing.DIR:
                    here.head, here.head_node = _open_if_there(name, above.head), entry[4]
        except OSError as error:
            raise self.failed(error, path) from error
        return here

    def _begin_root(self) -> Dir:
        if self.request.as_worktree:
            traits.make_worktree(self.request.target)
        else:
            durable.make_dir(self.request.target)
        here = Dir(paths.open_dir(self.request.target), -1, b"")
        self._open.append(here)
        metadata.drop_inherited(here.fd)
        if self.request.base_payload is not None:
            here.base = _open_if_there(self.request.base_payload, None)
        if self.request.head_payload is not None:
            here.head, here.head_node = _open_if_there(self.request.head_payload, None), self.request.head_node
        return here

    def park(self, inside: Dir, xattrs: Attributes, st: os.stat_result) -> None:
        """Leave a directory that other processes still make something in."""
        inside.parked = xattrs, st
        self._open.remove(inside)
        self._parked.add(inside)

    def finish(self, inside: Dir, xattrs: Attributes, st: os.stat_result) -> metadata.Kept:
        """Give a complete directory the metadata of its source, and close it. Errors: as `failed`."""
        try:
            kept = metadata.apply_metadata(inside.fd, st, xattrs, inside.path, self.losses)
        except OSError as error:
            raise self.failed(error, inside.path) from error
        self._shut(inside)
        return kept

    def abandon(self, inside: Dir) -> None:
        """Take away a directory that was begun, with all that is inside. Errors: as `failed`."""
        while self._open[-1] is not inside:
            self._shut(self._open[-1])
        self._shut(inside)
        try:
            if self._open:
                removal.remove_tree(inside.path.rpartition(b"/")[2], dir_fd=self._open[-1].fd)
            else:
                removal.remove_tree(self.request.target)
        except OSError as error:
            raise self.failed(error, inside.path) from error

    def _shut(self, here: Dir) -> None:
        if here.parked is None:
            self._open.remove(here)
        else:
            self._parked.remove(here)
        os.close(here.fd)
        for fd in (here.base, here.head):
            if fd >= 0:
                os.close(fd)

    def close(self) -> None:
        """Release directories that an error left open."""
        for here in [*self._open, *self._parked]:
            self._shut(here)

    def failed(self, error: OSError, path: bytes) -> JvsError:
        """Return what to raise when an entry could not be copied. Shape: E_NO_SPACE, E_IO or what the errno means."""
        shown = path.decode("utf-8", "backslashreplace") or str(self.request.source)
        return from_oserror(error, f"copying '{shown}'")


def _open_if_there(name: Below | bytes, dir_fd: int | None) -> int:
    """Open a directory of the base payload; -1 when it is not there, and everything below is copied."""
    try:
        return paths.open_dir(name, dir_fd)
    except OSError:
        return -1
