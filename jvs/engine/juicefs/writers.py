"""The processes that are writing to files of a tree, and committing what they wrote.

Source: proc(5), fd and fdinfo.
"""

from __future__ import annotations

import errno
import os

from jvs.errors import from_oserror
from jvs.fs import durable, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below


def flush_open_files(source: Below) -> int:
    """Commit what processes have written to files of a tree that they still hold open; return how many files.

    A clone takes what the metadata engine knows, and a client tells it of writes only at close or fsync, or after a
    second. Any process may fsync for another one on the same mount, through a descriptor that can write. Files of
    processes that we may not look into, and files that we may not write, are left as they are. A file may be mapped
    though every descriptor of it was closed: then only the table of mappings tells.
    """
    prefix = os.path.realpath(str(source)).rstrip("/") + "/"
    found: set[str] = set()
    for process in _numbers("/proc"):
        found.update(path for path in _mapped(process) if path.startswith(prefix))
        directory = f"/proc/{process}/fd"
        for number in _numbers(directory):
            try:
                path = os.readlink(f"{directory}/{number}")
            except OSError:  # closed meanwhile
                continue
            if path.startswith(prefix) and path not in found and _is_writable(process, number):
                found.add(path)
    flushed = 0
    for path in sorted(found):
        try:
            durable.commit_file(paths.below(source, os.fsencode(path[len(prefix) :])))
            flushed += 1
        except OSError as error:
            if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
                raise from_oserror(error, f"committing '{path}'") from error
    return flushed


def _mapped(process: str) -> set[str]:
    """Return the files that a process may store into through memory. Source: proc(5), maps: `rw-s`, path last."""
    found = set()
    try:
        with open(f"/proc/{process}/maps", "rb") as lines:
            for line in lines:
                fields = line.rstrip(b"\n").split(maxsplit=5)
                if len(fields) == 6 and fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                    found.add(os.fsdecode(fields[5].replace(b"\\012", b"\n")))
    except OSError:  # another user's process, or one that ended
        pass
    return found


def _numbers(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.isdigit()]
    except OSError:  # another user's process, or one that ended
        return []


def _is_writable(process: str, number: str) -> bool:
    """Answer whether a descriptor was opened for writing. Source: proc(5), fdinfo, `flags` in octal."""
    try:
        with open(f"/proc/{process}/fdinfo/{number}", "rb") as lines:
            for line in lines:
                if line.startswith(b"flags:"):
                    return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    except (OSError, ValueError):
        pass
    return False
