"""Which stamps may be kept: those that no later change of the entry can leave as they are.

A change within one tick of the clock, and a store into a page that is dirty already, move no time stamp. So a stamp is
kept only when it is older than the moment before which dirty pages were written back, by more than a tick.
Source: jvs-format(5), Index; jvs-engines(7), Speed.
"""

from __future__ import annotations

from jvs.fs import ctime, durable, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Set

    from jvs.fs.rooted import Below

RACY_NS = 20_000_000
COARSE_RACY_NS = 2_020_000_000
"""For stamps of whole seconds, and for directories on JuiceFS: it does not move their times when something comes or
goes within a tenth of a second of the last time it did (the mount option `--skip-dir-mtime`; see `engine.control`)."""
NEVER_NS = 1
NO_STAMP = bytes(listing.STAMP.size)
"""Represents a stamp that was not kept; no entry has it."""


_MARK_BYTE, _MARK = 11, 0x80
"""The highest bit of the mode, which no mode has. Source: `listing.STAMP`."""


def marked(stamp: bytes) -> bytes:
    """Return a stamp that proves the content of an entry only: something else of it is not as the snapshot has it."""
    return stamp[:_MARK_BYTE] + bytes([stamp[_MARK_BYTE] | _MARK]) + stamp[_MARK_BYTE + 1 :]


def all_marked(stamps: bytes, names: list[bytes], which: Set[bytes]) -> bytes:
    """Return the stamps of some names, one after the other, with those of some of them `marked`."""
    if not which:
        return stamps
    width = listing.STAMP.size
    pieces = [stamps[i * width : (i + 1) * width] for i in range(len(names))]
    return b"".join([marked(piece) if name in which else piece for name, piece in zip(names, pieces, strict=True)])


def lasting(stamp: bytes, st: os.stat_result, moment_ns: int, *, slow_directories: bool) -> bytes:
    """Return the stamp, or `NO_STAMP` when the entry may change again without showing it.

    `slow_directories`: the filesystem is one that does not always move the times of a directory.
    """
    newest = max(st.st_ctime_ns, st.st_mtime_ns)
    coarse = st.st_ctime_ns % 1_000_000_000 == 0 and st.st_mtime_ns % 1_000_000_000 == 0
    slow = coarse or (slow_directories and listing.kind_of(st.st_mode) == listing.DIR)
    return NO_STAMP if newest >= moment_ns - (COARSE_RACY_NS if slow else RACY_NS) else stamp


def all_lasting(stamps: bytes, stats: list[os.stat_result], moment_ns: int, *, slow_directories: bool = False) -> bytes:
    """Return stamps, one after the other, with `NO_STAMP` for those that `lasting` would not keep."""
    newest = max([max(st.st_ctime_ns, st.st_mtime_ns) for st in stats], default=0)
    if newest < moment_ns - COARSE_RACY_NS:  # whatever clock they are of
        return stamps
    width = listing.STAMP.size
    pieces = [stamps[i * width : (i + 1) * width] for i in range(len(stats))]
    return b"".join(
        [
            lasting(piece, st, moment_ns, slow_directories=slow_directories)
            for piece, st in zip(pieces, stats, strict=True)
        ]
    )


def is_conclusive(st: os.stat_result, moment_ns: int) -> bool:
    """Answer whether a change after a moment shows in the stat: a younger ctime may not have ticked since."""
    return max(st.st_ctime_ns, st.st_mtime_ns) < moment_ns - RACY_NS


def writeback(directory: Below, moment_ns: int, *, juicefs: bool) -> int:
    """Write back the dirty pages of a worktree's filesystem, so that later stores into mapped files show in ctime.

    A store into a page that is already dirty changes no time stamp. Returns the moment before which stamps may be
    kept: the one that was given, or, on filesystems where a change may show in no ctime, one that no stamp is older
    than, so that files are read every time. On JuiceFS syncfs flushes nothing, and this does nothing: there the clone
    itself commits what it copies.
    """
    if juicefs:
        return moment_ns
    with durable.Barrier(directory) as barrier:
        return moment_ns if ctime.is_moved(barrier) else NEVER_NS
