"""Patches in the form of git: `git apply` makes the tree of one side from that of the other.

Text that is not large goes line by line, everything else as a binary literal. A git tree knows files, programs and
links; of a mode it keeps whether the owner may execute, and directories only when something is in them.
Source: jvs-diff(1); git-diff(1), Generating patch text with -p; git-apply(1).
"""

from __future__ import annotations

import hashlib
import os

from jvs import progress
from jvs.compare.changes import RENAMED
from jvs.errors import from_oserror
from jvs.fs import listing, paths
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.compare.changes import Change
    from jvs.compare.diff import Diff, Side
    from jvs.tree.node import Entry
    from jvs.ui.terminal import Terminal

TEXT_LIMIT_BYTES = 512 << 10
"""Larger files are literals: finding the lines that differ takes quadratic time."""
_LINE_COLORS = {b"+": "green", b"-": "red", b"@": "cyan"}
_NO_BLOB = b"0" * 40
_LITERAL_LINE_BYTES = 52
_ESCAPES = {7: b"\\a", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 34: b'\\"', 92: b"\\\\"}


class _Version:
    """One version of a file or link, as git has it: its mode and its content."""

    def __init__(self, mode: bytes, data: bytes) -> None:
        self.mode = mode
        self.data = data

    @property
    def blob(self) -> bytes:
        """Return the name that git gives the content."""
        head = b"blob %d\0" % len(self.data)
        return hashlib.sha1(head + self.data, usedforsecurity=False).hexdigest().encode()

    @property
    def is_text(self) -> bool:
        """Answer whether it goes line by line."""
        return len(self.data) <= TEXT_LIMIT_BYTES and b"\0" not in self.data


def patch_chunks(found: Diff, screen: Terminal) -> Iterator[bytes]:
    """Yield the patch of each change. On a terminal a literal is one line that says so. Errors: E_IO."""
    for change in found.changes:
        old, new = _of_git(change.old, change.old_path), _of_git(change.new, change.path)
        if old is None and new is None:
            continue
        if change.what == RENAMED:
            yield from _renamed(change, screen)
        elif _mode(old) == _mode(new) and old is not None and new is not None and old[4] == new[4]:
            continue
        else:
            before = _version(found.before, change.old_path, old)
            after = _version(found.after, change.path, new)
            if before is not None and after is not None and before.mode[:3] != after.mode[:3]:
                yield from _changed(change.path, before, None, screen)
                before = None
            yield from _changed(change.path, before, after, screen)


def _of_git(entry: Entry | None, path: bytes) -> Entry | None:
    """Return an entry that a git tree can hold; a directory is in it by what it holds."""
    if entry is None or entry[1] == listing.DIR:
        return None
    if entry[1] in (listing.FILE, listing.SYMLINK):
        return entry
    kind = listing.KIND_NAMES[entry[1]]
    progress.remark(f"'{terminal.show_path(path)}' is not in the patch: git has no entry of the kind '{kind}'")
    return None


def _mode(entry: Entry | None) -> bytes:
    if entry is None:
        return b""
    if entry[1] == listing.SYMLINK:
        return b"120000"
    return b"100755" if entry[2] & 0o100 else b"100644"


def _version(side: Side, path: bytes, entry: Entry | None) -> _Version | None:
    return None if entry is None else _Version(_mode(entry), _read(side, path, entry[1] == listing.SYMLINK))


def _renamed(change: Change, screen: Terminal) -> Iterator[bytes]:
    """Yield the patch of a file that has another name, maybe another mode, and the same content."""
    assert change.old is not None
    assert change.new is not None
    head = [_first_line(change.old_path, change.path)]
    if _mode(change.old) != _mode(change.new):
        head += [b"old mode " + _mode(change.old), b"new mode " + _mode(change.new)]
    head += [b"similarity index 100%", b"rename from " + _quote(change.old_path), b"rename to " + _quote(change.path)]
    yield screen.paint_bytes(b"\n".join(head), "bold") + b"\n"


def _changed(path: bytes, old: _Version | None, new: _Version | None, screen: Terminal) -> Iterator[bytes]:
    """Yield the patch of one path: made, removed, or changed in mode or content."""
    head = [_first_line(path, path)]
    if old is None and new is not None:
        head.append(b"new file mode " + new.mode)
    elif new is None and old is not None:
        head.append(b"deleted file mode " + old.mode)
    elif old is not None and new is not None and old.mode != new.mode:
        head += [b"old mode " + old.mode, b"new mode " + new.mode]
    names = (old.blob if old else _NO_BLOB, new.blob if new else _NO_BLOB)
    if names[0] != names[1]:
        same = old is not None and new is not None and old.mode == new.mode
        head.append(b"index %s..%s" % names + (b" " + new.mode if same and new is not None else b""))
    yield screen.paint_bytes(b"\n".join(head), "bold") + b"\n"
    before, after = old.data if old else b"", new.data if new else b""
    if before == after:
        return
    if all(version is None or version.is_text for version in (old, new)):
        yield from _lines(path, old, new, screen)
    elif screen.tty:
        yield b"Binary or large files differ\n"
    else:
        yield b"GIT binary patch\n" + _literal(after) + _literal(before)


def _lines(path: bytes, old: _Version | None, new: _Version | None, screen: Terminal) -> Iterator[bytes]:
    import difflib

    tab = b"\t" if b" " in path else b""
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        _split(old.data if old else b""),
        _split(new.data if new else b""),
        _quote(b"a/" + path) + tab if old is not None else b"/dev/null",
        _quote(b"b/" + path) + tab if new is not None else b"/dev/null",
    )
    for number, line in enumerate(lines):
        text = line.removesuffix(b"\n")
        color = "bold" if number < 2 else _LINE_COLORS.get(text[:1], "")
        yield (screen.paint_bytes(text, color) if color else text) + b"\n"
        if not line.endswith(b"\n"):
            yield b"\\ No newline at end of file\n"


def _literal(data: bytes) -> bytes:
    """Return content as git writes it: its length, then deflated and in base 85, 52 bytes a line."""
    import base64
    import zlib

    packed = zlib.compress(data)
    lines = [b"literal %d\n" % len(data)]
    for start in range(0, len(packed), _LITERAL_LINE_BYTES):
        part = packed[start : start + _LITERAL_LINE_BYTES]
        size = len(part)
        letter = bytes([ord("A") + size - 1 if size <= 26 else ord("a") + size - 27])
        lines.append(letter + base64.b85encode(part, pad=True) + b"\n")
    return b"".join([*lines, b"\n"])


def _first_line(old: bytes, new: bytes) -> bytes:
    return b"diff --git " + _quote(b"a/" + old) + b" " + _quote(b"b/" + new)


def _quote(path: bytes) -> bytes:
    """Return a path as git writes it: in double quotes with escapes when it is not plain ASCII."""
    if all(32 <= byte < 127 and byte not in _ESCAPES for byte in path):
        return path
    return b'"' + b"".join(_ESCAPES.get(b, bytes([b]) if 32 <= b < 127 else b"\\%03o" % b) for b in path) + b'"'


def _split(data: bytes) -> list[bytes]:
    """Split at line feeds only, as git does; a carriage return is content."""
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _read(side: Side, path: bytes, is_link: bool) -> bytes:
    """Return the content of a file, or where a link points. Errors: E_IO.

    An entry of a partial snapshot may lie in the payload of an ancestor.
    """
    failure: OSError = FileNotFoundError(2, "No such file or directory")
    for directory in side.bases:
        try:
            fd = paths.open_dir(directory)
            try:
                return _read_below(fd, path.split(b"/"), is_link)
            finally:
                os.close(fd)
        except OSError as error:
            failure = error
    raise from_oserror(failure, f"reading '{terminal.show_path(path)}'") from failure


def _read_below(fd: int, parts: list[bytes], is_link: bool) -> bytes:
    parent = paths.open_parent(fd, parts)
    try:
        if is_link:
            return os.readlink(parts[-1], dir_fd=parent)
        file = paths.open_file(parts[-1], parent)
    finally:
        os.close(parent)
    with os.fdopen(file, "rb") as opened:
        return opened.read()
