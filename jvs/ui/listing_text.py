"""What a person reads of a directory in a snapshot: one line for each entry.

Source: jvs-ls(1).
"""

from __future__ import annotations

import stat

from jvs import units
from jvs.compare.listing import entry_json
from jvs.fs import listing
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.compare.listing import EntryDocument
    from jvs.tree.node import Entry
    from jvs.ui.terminal import Terminal

_FORMATS = (
    *(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR),
    stat.S_IFBLK,
)
"""By kind: see `listing.FILE` and those after it."""


def facts(found: list[tuple[bytes, Entry]]) -> list[EntryDocument]:
    """Return the entries for `--json`."""
    return [entry_json(path, entry) for path, entry in found]


def table(found: list[tuple[bytes, Entry]], screen: Terminal, *, names: bool) -> str:
    """Return mode, size and name of each entry, or the names alone; a directory's name ends with a slash."""
    if names:
        return "".join(f"{_name(path, entry)}\n" for path, entry in found)
    rows = [(stat.filemode(_FORMATS[entry[1]] | entry[2]), _size(entry), _name(path, entry)) for path, entry in found]
    width = max((len(size) for _, size, _ in rows), default=0)
    return "".join(f"{mode}  {size:>{width}}  {name}\n" for mode, size, name in rows)


def _size(entry: Entry) -> str:
    return units.size(entry[3]) if entry[1] in (listing.FILE, listing.SYMLINK) else "-"


def _name(path: bytes, entry: Entry) -> str:
    return terminal.show_path(path) + ("/" if entry[1] == listing.DIR else "")
