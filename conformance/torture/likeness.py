"""Recognizes that two interruptions left the same disk, so that recovery from it is judged once.

Most errors are rolled back, and leave the repository as it was. `likeness` sums up everything below a directory:
names, kinds, modes, link counts and contents. Ids, times, hashes and process ids that were not there before the run
count as "a new one", since they differ from run to run; that they agree is checked by the oracle, which judges every
disk by itself. Of the index and of journals of steps (caches, and lists of inode numbers) only presence counts.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat

_TOKEN = re.compile(
    rb"\d{13}-[0-9a-f]{8}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[0-9:.]+Z|[0-9a-f]{8,}|\d{3,}"
)
_PRESENCE_ONLY = re.compile(rb"(.*/)?(index\.sqlite(-wal|-shm|-journal)?|locks/[^/]+|delta\.cbor)\Z")


def tokens(directory: str) -> set[bytes]:
    """Return the ids, times and hashes in a directory's names and control files."""
    found: set[bytes] = set()
    for path, _st, data in _walk(os.fsencode(directory)):
        found.update(_TOKEN.findall(path))
        if _is_control(path):
            found.update(_TOKEN.findall(data or b""))
    return found


def likeness(directory: str, known: set[bytes]) -> str:
    """Return a hash of everything below a directory; `known` are the tokens that are compared as they are."""

    def shown(match: re.Match[bytes]) -> bytes:
        return match[0] if match[0] in known else b"*"

    rows = []
    for path, st, data in _walk(os.fsencode(directory)):
        row = [_TOKEN.sub(shown, path), b"%o %d" % (st.st_mode, st.st_nlink if not stat.S_ISDIR(st.st_mode) else 0)]
        if data is not None and not _PRESENCE_ONLY.match(path):
            row.append(_TOKEN.sub(shown, data) if _is_control(path) else data)
        elif data is not None:
            row.append(b"empty" if not data else b"there")
        rows.append(b"\0".join(row))
    return hashlib.sha256(b"\0\0".join(sorted(rows))).hexdigest()


def _is_control(path: bytes) -> bool:
    """Answer whether a file is one of ours, whose ids and times differ from run to run, and not a user's."""
    _, ours, rest = (b"/" + path).rpartition(b"/.jvs/")
    kept = rest.startswith((b"snapshots/", b"undo/")) and b"/" in rest[10:] and not rest.endswith(b"/op.json")
    return bool(ours) and not kept


def _walk(top: bytes) -> list[tuple[bytes, os.stat_result, bytes | None]]:
    """Return path, status and bytes (of files and links) of everything below a directory."""
    found = []
    stack = [b""]
    while stack:
        below = stack.pop()
        for entry in os.scandir(os.path.join(top, below)):
            path = os.path.join(below, entry.name)
            st = entry.stat(follow_symlinks=False)
            data = None
            if stat.S_ISDIR(st.st_mode):
                stack.append(path)
            elif stat.S_ISREG(st.st_mode):
                with open(os.path.join(top, path), "rb") as file:
                    data = file.read()
            elif stat.S_ISLNK(st.st_mode):
                data = os.readlink(os.path.join(top, path))
            found.append((path, st, data))
    return found
