"""Taking what is excluded out of a clone that the filesystem made of a whole directory, before it is hashed.

The clone is still under its temporary name and ours alone; no directory's times show that something was removed.
Source: jvs-engines(7).
"""

from __future__ import annotations

import os

from jvs.fs import listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.fs.rooted import Below
    from jvs.tree.exclusion import Exclusion


def remove(clone: Below, exclude: Exclusion, remove_one: Callable[[int, bytes], None]) -> None:
    """Remove every entry that is left out; `remove_one` gets the open directory above it, and its path.

    Errors: OSError, E_IO.
    """
    listing.allow_deep_trees()
    root = paths.open_dir(clone)
    try:
        for path in list(exclude.find(root)):
            above_fd = paths.open_parent(root, path.split(b"/"))
            try:
                st = os.fstat(above_fd)
                remove_one(above_fd, path)
                os.utime(above_fd, ns=(st.st_atime_ns, st.st_mtime_ns))
            finally:
                os.close(above_fd)
    finally:
        os.close(root)
