"""Unified patches of small text files, in the form that patch(1) takes.

Source: jvs-diff(1); patch(1).
"""

from __future__ import annotations

import os

from jvs.compare.changes import RENAMED
from jvs.fs import listing, paths
from jvs.ui import diff_text, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jvs.compare.changes import Change
    from jvs.compare.diff import Diff, Side
    from jvs.tree.node import Entry
    from jvs.ui.terminal import Terminal

PATCH_LIMIT_BYTES = 512 << 10
_LINE_COLORS = {b"+": "green", b"-": "red", b"@": "cyan"}


def patch_chunks(found: Diff, screen: Terminal) -> Iterator[bytes]:
    """Yield unified patches of the text files, in the form that patch(1) takes with -p1; others are named."""
    before = _reader_of(found.before, PATCH_LIMIT_BYTES)
    after = _reader_of(found.after, PATCH_LIMIT_BYTES)
    for change in found.changes:
        if change.is_dir:
            continue
        a, b = (_label(side, path) for side, path in ((b"a/", change.old_path), (b"b/", change.path)))
        head = [b"diff " + a + b" " + b]
        if change.what == RENAMED:
            head += [
                b"rename from " + terminal.quote_path(change.old_path).encode(),
                b"rename to " + terminal.quote_path(change.path).encode(),
            ]
        if change.old is not None and change.new is not None and change.old[2] != change.new[2]:
            head += [b"old mode %04o" % change.old[2], b"new mode %04o" % change.new[2]]
        yield screen.paint_bytes(b"\n".join(head), "bold") + b"\n"
        if change.old is None or change.new is None or change.old[4] != change.new[4] or change.old[1] != change.new[1]:
            old = _content(change.old, change.old_path, before)
            new = _content(change.new, change.path, after)
            yield from _body(change, a, b, old, new, screen)


def _label(prefix: bytes, path: bytes) -> bytes:
    return terminal.quote_path(prefix + path).encode("utf-8")


def _content(entry: Entry | None, path: bytes, read: Callable[[bytes], bytes | None]) -> bytes | None:
    """Return what a patch can show of an entry: nothing for one that is not there, None for what is no small text."""
    if entry is None:
        return b""
    if entry[1] != listing.FILE or entry[3] > PATCH_LIMIT_BYTES:
        return None
    data = read(path)
    return None if data is None or b"\0" in data else data


def _body(
    change: Change, a: bytes, b: bytes, old: bytes | None, new: bytes | None, screen: Terminal
) -> Iterator[bytes]:
    import difflib

    if old is None or new is None:
        yield b"Binary or large files differ: " + diff_text.show_sizes(change).encode("utf-8") + b"\n"
        return
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        _split(old),
        _split(new),
        a if change.old is not None else b"/dev/null",
        b if change.new is not None else b"/dev/null",
    )
    for line in lines:
        text = line.rstrip(b"\n")
        color = "bold" if text[:3] in (b"+++", b"---") else _LINE_COLORS.get(text[:1], "")
        yield (screen.paint_bytes(text, color) if color else text) + b"\n"
        if not line.endswith(b"\n"):
            yield b"\\ No newline at end of file\n"


def _split(data: bytes) -> list[bytes]:
    """Split at line feeds only, as patch(1) does; a carriage return is content."""
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _reader_of(side: Side, limit: int) -> Callable[[bytes], bytes | None]:
    """Return a function that reads a small file of a side: None when it is larger than the limit or not there.

    A file of a partial snapshot may lie in the payload of an ancestor.
    """

    def read(path: bytes) -> bytes | None:
        for directory in side.bases:
            try:
                fd = paths.open_dir(directory)
            except OSError:
                continue
            try:
                parts = path.split(b"/")
                parent = paths.open_parent(fd, parts)
                try:
                    return _read_small(parts[-1], parent, limit)
                finally:
                    os.close(parent)
            except FileNotFoundError:
                continue
            finally:
                os.close(fd)
        return None

    return read


def _read_small(name: bytes, dir_fd: int, limit: int) -> bytes | None:
    fd = paths.open_file(name, dir_fd)
    try:
        if os.fstat(fd).st_size > limit:
            return None
        parts = []
        size = 0
        while part := os.read(fd, 1 << 20):
            parts.append(part)
            size += len(part)
            if size > limit:
                return None
        return b"".join(parts)
    finally:
        os.close(fd)
