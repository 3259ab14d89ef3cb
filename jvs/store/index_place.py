"""Where the index of this mount is, and the indexes that other mounts of the volume keep.

JuiceFS shows what another mount writes only to who opens a file anew, and SQLite keeps it open: two that work on one
index find it damaged, drop it, and read every file again. So each mount of such a volume has an index of its own. What
the others know is read from theirs, and never written there: digests prove it, whoever wrote it, and however much of it
is old. Source: jvs-format(5), Index; jvs-engines(7), juicefs-clone.
"""

from __future__ import annotations

import contextlib
import os
import stat

from jvs import clock
from jvs.fs import listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below

    Written = tuple[int, Below]
    """When an index was written last, and where it is. Units: nanoseconds."""

NAME = "index.sqlite"
MOST_OTHERS = 8
"""So many indexes of other mounts are asked, those first that were written last."""
ABANDONED_NS = 30 * 86400 * 1_000_000_000
"""An index that no mount has written for so long is removed when another mount gets one."""


def choose(control: Below) -> Below:
    """Return where the index of this mount is: one file, but on JuiceFS one for each mount of each host."""
    from jvs.engine.juicefs import mount

    return control / f"{NAME}.{_key(control)}" if mount.is_juicefs(control) else control / NAME


def _key(control: Below) -> str:
    """Return what tells a mount from others, and is the same after a new start. Shape: 16 hexadecimal digits."""
    import hashlib

    from jvs import system
    from jvs.engine.juicefs import mount

    text = "\0".join((system.machine_id(), os.uname().nodename, mount.point_or_path(control)))
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def is_shared_volume(place: Below) -> bool:
    """Answer whether an index is one of several that mounts of one volume keep."""
    return str(place.name) != NAME


def others(place: Below) -> list[Written]:
    """Return the indexes that other mounts of the volume keep, next to that of this one. Errors: none."""
    return sorted(_others(place), key=lambda one: -one[0])[:MOST_OTHERS] if is_shared_volume(place) else []


def _others(place: Below) -> list[Written]:
    found: list[Written] = []
    with contextlib.suppress(OSError):
        for name in listing.names(place.parent):
            if name == place.name or not is_name(name):
                continue
            with contextlib.suppress(OSError):
                info = paths.lstat(place.parent / name)
                if stat.S_ISREG(info.st_mode) and info.st_size:
                    found.append((info.st_mtime_ns, place.parent / name))
    return found


def is_name(name: str) -> bool:
    """Answer whether a file in the control directory is an index by its name, and not what SQLite puts next to one."""
    head, dot, key = name.partition(f"{NAME}.")
    return name == NAME or (not head and bool(dot) and len(key) == 16 and not key.strip("0123456789abcdef"))


def tidy(place: Below) -> None:
    """Remove the indexes of mounts that have written none for a month, when this mount gets its first. Errors: none."""
    if not is_shared_volume(place) or paths.exists(place):
        return
    from jvs.tree import index_file

    oldest = clock.now_ns() - ABANDONED_NS
    for written_ns, other in _others(place):
        if written_ns < oldest:
            with contextlib.suppress(OSError):
                index_file.drop(other)
