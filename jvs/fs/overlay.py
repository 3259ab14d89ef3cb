"""What the upper layer of an overlay says of the lower one, and making a plain tree of it.

A whiteout (a device 0:0) removes a name, an opaque directory hides what is below, a redirect says that a directory was
renamed and shows another one of the lower layer. `read` collects this and changes nothing; `make_plain` brings into
renamed directories what only showed through, and takes away all that only an overlay understands.
Source: Documentation/filesystems/overlayfs.rst of the kernel.
"""

from __future__ import annotations

import os
import stat

from jvs import system
from jvs.fs import durable, listing, metadata, paths, removal
from jvs.fs.losses import Losses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvs.fs.rooted import Below

_INNER = "overlay."


def prefix() -> str:
    """Return how the attributes begin in which the kernel keeps what it knows of an upper layer of ours."""
    return "trusted.overlay." if os.geteuid() == 0 else "user.overlay."


class UpperLayer:
    """What an upper layer says.

    Shape: `whole` are directories through which nothing shows, `removed` what is gone of the lower layer;
    `redirected` maps renamed directories to where they were; `linked` says that it holds a name of a file with others.
    """

    def __init__(self) -> None:
        self.whole: set[bytes] = set()
        self.removed: set[bytes] = set()
        self.redirected: dict[bytes, bytes] = {}
        self.linked = False


def read(upper: Below) -> UpperLayer:
    """Read what an upper layer says. Errors: OSError."""
    listing.allow_deep_trees()
    found = UpperLayer()
    fd = paths.open_dir(upper)
    try:
        _read(fd, b"", b"", found)
    finally:
        os.close(fd)
    return found


def _read(fd: int, path: bytes, lower: bytes | None, found: UpperLayer) -> None:
    """Read one directory, through which the lower directory `lower` shows (None: nothing does)."""
    for name, st in zip(*listing.list_dir(fd), strict=True):
        here = listing.relative(path, name)
        if is_whiteout(st):
            if lower is not None:
                found.removed.add(here)
            continue
        if not stat.S_ISDIR(st.st_mode):
            found.linked = found.linked or _attribute(fd, name, "nlink") is not None
            continue
        below = None if lower is None else listing.relative(lower, name)
        redirect = _attribute(fd, name, "redirect")
        if _attribute(fd, name, "opaque") == b"y":
            found.whole.add(here)
            below = None
        elif redirect is not None:
            below = redirect.strip(b"/") if redirect.startswith(b"/") else _next_to(lower, redirect)
            found.redirected[here] = below
            found.whole.add(here)
        with _Open(fd, name) as child:
            _read(child, here, below, found)


def _next_to(lower: bytes | None, name: bytes) -> bytes:
    return listing.relative(lower or b"", name)


def is_whiteout(st: os.stat_result) -> bool:
    """Answer whether an entry says that a name is gone."""
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == 0


def _attribute(fd: int, name: bytes, key: str) -> bytes | None:
    try:
        return os.getxattr(system.path_of(fd, name), prefix() + key, follow_symlinks=False)
    except OSError:  # it has none, or its filesystem has no attributes
        return None


class _Open:
    """A directory of the upper layer, opened although its owner may not read it; closed again as it was."""

    def __init__(self, fd: int, name: bytes) -> None:
        self._parent = fd
        self._name = name
        self._mode: int | None = None
        self.fd = -1

    def __enter__(self) -> int:
        try:
            self.fd = paths.open_dir(self._name, self._parent)
        except PermissionError:
            self._mode = os.lstat(self._name, dir_fd=self._parent).st_mode
            paths.open_up(self._name, self._parent)
            self.fd = paths.open_dir(self._name, self._parent)
        return self.fd

    def __exit__(self, *_: object) -> None:
        if self._mode is not None:
            os.fchmod(self.fd, stat.S_IMODE(self._mode))
        os.close(self.fd)


def make_like(upper: Below, lower: Below) -> None:
    """Give the root of a new upper layer what that of the lower layer has: it is what is seen. Errors: OSError."""
    fd, source = paths.open_dir(upper), paths.open_dir(lower)
    try:
        metadata.drop_inherited(fd)
        metadata.apply_dir(fd, source, os.fstat(source), b"", Losses())
    finally:
        os.close(fd)
        os.close(source)


def make_plain(upper: Below, lower: Below, found: UpperLayer) -> Losses:
    """Make a tree of an upper layer that any program understands, with the times that its directories had.

    Returns what could not be kept of what came from the lower layer. Durable: no. Errors: OSError.
    """
    losses = Losses()
    fd, below = paths.open_dir(upper), paths.open_dir(lower)
    try:
        _Plain(below, found, losses).run(fd, b"", None)
    finally:
        os.close(fd)
        os.close(below)
    return losses


class _Plain:
    """Makes a plain tree, one directory after the other."""

    def __init__(self, lower: int, found: UpperLayer, losses: Losses) -> None:
        self.lower = lower
        self.found = found
        self.losses = losses

    def run(self, fd: int, path: bytes, shows: bytes | None) -> None:
        """Go through a directory into which what the lower directory `shows` holds has to be brought."""
        st = os.fstat(fd)
        hidden = self._clean(fd, path, shows)
        if shows is not None:
            self._bring(fd, path, shows, hidden)
        _strip(system.path_of(fd), follow=True)
        os.utime(fd, ns=(st.st_atime_ns, st.st_mtime_ns))

    def _clean(self, fd: int, path: bytes, shows: bytes | None) -> set[bytes]:
        """Free what is there from what only an overlay understands; return all names that hide others."""
        hidden = set()
        for name, st in zip(*listing.list_dir(fd), strict=True):
            here = listing.relative(path, name)
            hidden.add(name)
            if is_whiteout(st):
                durable.unlink(name, dir_fd=fd)
            elif stat.S_ISDIR(st.st_mode):
                below = self.found.redirected.get(here)
                if below is None and shows is not None and here not in self.found.whole:
                    below = listing.relative(shows, name)
                with _Open(fd, name) as child:
                    self.run(child, here, below)
            else:
                _strip(system.path_of(fd, name), follow=False)
        return hidden

    def _bring(self, fd: int, path: bytes, shows: bytes, hidden: set[bytes]) -> None:
        """Copy what only shows through, and is not hidden, out of the lower layer."""
        try:
            source = paths.open_below(self.lower, paths.split_relative(shows))
        except OSError as error:
            if listing.is_absent(error):  # made anew: nothing shows through it
                return
            raise
        try:
            for name, st in zip(*listing.list_dir(source), strict=True):
                if name not in hidden:
                    _copy(source, name, fd, st, listing.relative(path, name), self.losses)
        finally:
            os.close(source)


def _copy(source: int, name: bytes, target: int, st: os.stat_result, path: bytes, losses: Losses) -> None:
    """Copy an entry, or a whole directory."""
    if not stat.S_ISDIR(st.st_mode):
        metadata.copy_entry(source, name, target, st, path, losses)
        return
    fd = paths.open_dir(name, source)
    made = metadata.make_dir(name, target)
    try:
        metadata.drop_inherited(made)
        for child, child_st in zip(*listing.list_dir(fd), strict=True):
            _copy(fd, child, made, child_st, listing.relative(path, child), losses)
        metadata.apply_dir(made, fd, st, path, losses)
    finally:
        os.close(made)
        os.close(fd)


def _strip(place: bytes, *, follow: bool) -> None:
    """Take the attributes of an overlay away; those of an overlay inside of it get their own names back."""
    own = prefix()
    try:
        present = os.listxattr(place, follow_symlinks=follow)
    except OSError:  # a filesystem without attributes
        return
    for name in present:
        if not name.startswith(own):
            continue
        rest = name.removeprefix(own)
        if rest.startswith(_INNER):
            value = os.getxattr(place, name, follow_symlinks=follow)
            os.setxattr(place, own + rest.removeprefix(_INNER), value, follow_symlinks=follow)
        os.removexattr(place, name, follow_symlinks=follow)


def link_groups(root: int) -> list[list[bytes]]:
    """Return the names of every file below an open directory that has several there. Errors: OSError."""
    found: dict[tuple[int, int], list[bytes]] = {}
    stack = [b""]
    while stack:
        path = stack.pop()
        fd = paths.open_below(root, paths.split_relative(path)) if path else os.dup(root)
        try:
            for name, st in zip(*listing.list_dir(fd), strict=True):
                if stat.S_ISDIR(st.st_mode):
                    stack.append(listing.relative(path, name))
                elif st.st_nlink > 1:
                    found.setdefault((st.st_dev, st.st_ino), []).append(listing.relative(path, name))
        finally:
            os.close(fd)
    return [sorted(names) for names in found.values() if len(names) > 1]


def encode_groups(directory: str) -> bytes:
    """Return the link groups of a directory as bytes. Errors: OSError."""
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return b"\0\0".join(b"\0".join(names) for names in link_groups(root))
    finally:
        os.close(root)


def decode_groups(data: bytes) -> list[list[bytes]]:
    """Return what `encode_groups` wrote."""
    return [group.split(b"\0") for group in data.split(b"\0\0") if group]


def join_groups(upper: Below, lower: Below, groups: Iterable[list[bytes]]) -> None:
    """Give each file of which the upper layer holds a name, made plain, all names that it had in the overlay.

    Directories that lead to them are made like those of the lower layer. Errors: OSError.
    """
    for names in groups:
        have = [name for name in names if paths.exists(paths.below(upper, name))]
        if not have:
            continue
        first = paths.lstat(paths.below(upper, have[0])).st_ino
        for name in names:
            place = paths.below(upper, name)
            if name in have and paths.lstat(place).st_ino == first:
                continue
            _lead_to(upper, lower, name.rpartition(b"/")[0])
            _link(upper, paths.below(upper, have[0]), place)


def _link(upper: Below, source: Below, target: Below) -> None:
    with durable.inside(target) as (above, name), durable.inside(source) as (there, other):
        st = os.fstat(above)
        removal.remove_tree(name, dir_fd=above)
        os.link(other, name, src_dir_fd=there, dst_dir_fd=above, follow_symlinks=False)
        os.utime(system.path_of(above), ns=(st.st_atime_ns, st.st_mtime_ns))


def _lead_to(upper: Below, lower: Below, path: bytes) -> None:
    """Make the directories of a path that the upper layer does not have, with the metadata that they had."""
    if not path or paths.exists(paths.below(upper, path)):
        return
    _lead_to(upper, lower, path.rpartition(b"/")[0])
    place = paths.below(upper, path)
    with durable.inside(place) as (above, name):
        st = os.fstat(above)
        made = metadata.make_dir(name, above)
        source = paths.open_dir(paths.below(lower, path))
        try:
            metadata.drop_inherited(made)
            metadata.apply_dir(made, source, os.fstat(source), path, Losses())
        finally:
            os.close(source)
            os.close(made)
        os.utime(system.path_of(above), ns=(st.st_atime_ns, st.st_mtime_ns))
