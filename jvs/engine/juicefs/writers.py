"""The processes that are writing to files of a tree, and committing what they wrote.

Source: proc(5), fd and fdinfo.
"""

from __future__ import annotations

import errno
import os

from jvs import system
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
    for process in system.processes():
        found.update(path for path in system.writable_mappings(process) if path.startswith(prefix))
        for number, path in system.open_files(process):
            if path.startswith(prefix) and path not in found and system.is_open_for_writing(process, number):
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
