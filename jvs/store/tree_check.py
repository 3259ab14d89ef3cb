"""Looking at every directory of a tree together with the node that says what it should hold, by all processors.

Nothing is read but names and stats. What is looked at belongs to nobody else meanwhile: a payload, or a staged fork.
Source: jvs-format(5), Tree hash; jvs-engines(7), Speed.
"""

from __future__ import annotations

import functools
import os

from jvs.fs import listing
from jvs.tree import node, parallel
from jvs.tree import rows as tree_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from jvs.store.node_store import Trees
    from jvs.tree.node import Entry

    Look = Callable[[bytes, bytes, list[bytes], list[os.stat_result]], Any]
    """What is done with a directory: its path, the digest of its node, its names, and their stats in that order.

    It returns what `marshal` can write.
    """
    Part = tuple[bytes, bytes, bytes]
    """Shape: path of a directory, digest of its node, and what says what it should hold: the node, or a row."""
    Check = Callable[[bytes, list[bytes], list[os.stat_result]], bool]
    """Answers whether a directory has the names and stats that such a node or row says. Errors: ValueError."""
    Counted = tuple[Part, int]
    """Shape: a directory, and how much there is to look at in it."""

_NOT_KEPT = 0, 0
"""Mode and size in `racy.NO_STAMP`."""


def look_at_all(known: Trees, fd: int, digest: bytes, look: Look, *, jobs: int = 0) -> list[Any]:
    """Return what `look` has to say of the directories below an open one, in no certain order.

    `digest` is that of the node of the open one; `jobs` the setting. Names and nodes are compared here.
    Errors: ValueError when a directory is not what its node says, or a node is not known; OSError.
    """
    listing.allow_deep_trees()
    return _in_shares(fd, look, _is_node, list(_directories(known, digest)), jobs)


def look_at_copy(rows: list[tuple[bytes, bytes, bytes]], fd: int, look: Look, *, jobs: int = 0) -> list[Any]:
    """Return the same for an open copy of a tree of which `rows` were kept while it was copied and hashed.

    Shape: `rows` are those of `ScanResult`. Errors: as `look_at_all`.
    """
    parts = [((path, digest, row), tree_rows.count(row) + 1) for path, row, digest in sorted(rows)]
    return _in_shares(fd, look, _is_row, parts, jobs)


def look_at_parts(parts: list[Counted], fd: int, look: Look, *, jobs: int = 0) -> list[Any]:
    """Return the same for directories of which the nodes are at hand. Errors: as `look_at_all`."""
    return _in_shares(fd, look, _is_node, parts, jobs)


def _in_shares(fd: int, look: Look, check: Check, counted: list[Counted], jobs: int) -> list[Any]:
    parts, weights = [part for part, _ in counted], [count for _, count in counted]
    large = sum(weights) >= parallel.LEAST_ENTRIES and not parallel.has_threads()
    processes = (parallel.Sweeper.processes or parallel.most_processes(jobs)) if large else 1
    work = functools.partial(_look_at, fd, look, check)
    found: list[Any] = []
    for share, answer in parallel.in_shares(work, parts, weights, processes):
        found += work(share) if answer is None else answer  # whatever is wrong there is said by this process
    return found


def _directories(known: Trees, digest: bytes) -> Iterator[Counted]:
    """Yield the directories of a tree and how many entries each has, in the order of a walk."""
    waiting = [(b"", digest)]
    while waiting:
        path, digest = waiting.pop()
        data = known.data(digest)
        if data is None:
            raise ValueError("the node is not known")
        entries = node.decode_proved(data)
        below = node.subdirectories(entries)
        yield (path, digest, data), len(entries) + 1
        if below:
            known.preload({child for _, child in below})
            waiting += reversed([(listing.relative(path, name), child) for name, child in below])


def _look_at(root: int, look: Look, check: Check, parts: list[Part]) -> list[Any]:
    way = parallel.Way(root, one_mount=True)
    found = []
    try:
        for path, digest, data in parts:
            names, stats = listing.list_dir(way.open(path))
            if not check(data, names, stats):
                raise ValueError("a directory is not what is known of it")
            found.append(look(path, digest, names, stats))
    finally:
        way.close()
    return found


def holds(entries: list[Entry], names: list[bytes], stats: list[os.stat_result]) -> bool:
    """Answer whether a directory holds what its node says, as far as names and stats tell."""
    return names == [entry[0] for entry in entries] and _all_fit(entries, stats)


def _is_node(data: bytes, names: list[bytes], stats: list[os.stat_result]) -> bool:
    return holds(node.decode_proved(data), names, stats)


def _is_row(row: bytes, names: list[bytes], stats: list[os.stat_result]) -> bool:
    """Answer whether a copy has the names of its source, and, where a stamp of it was kept, the modes and sizes."""
    listed, stamps = tree_rows.split(row, listing.STAMP.size)
    if names != listed:
        return False
    there = [(st.st_mode, 0 if st.st_mode & 0o170000 == 0o040000 else st.st_size) for st in stats]
    known = [(mode, size) for _, mode, _, _, size, _, _ in listing.STAMP.iter_unpack(stamps)]
    return known == there or all(was in (now, _NOT_KEPT) for was, now in zip(known, there, strict=True))


def _all_fit(entries: list[Entry], stats: list[os.stat_result]) -> bool:
    """Answer whether entries have the kinds, modes and sizes that a node says."""
    regular = [(listing.FILE, st.st_mode & 0o7777, st.st_size) for st in stats if st.st_mode & 0o170000 == 0o100000]
    if len(regular) == len(stats):  # as in most directories
        return [(entry[1], entry[2], entry[3]) for entry in entries] == regular
    return all(map(fits, entries, stats))


def fits(entry: Entry, st: os.stat_result) -> bool:
    """Answer whether an entry has the kind, mode and size that a node says."""
    kind = listing.kind_of(st.st_mode)
    if kind != entry[1]:
        return False
    if kind != listing.SYMLINK and st.st_mode & 0o7777 != entry[2]:
        return False
    return kind not in (listing.FILE, listing.SYMLINK) or st.st_size == entry[3]
