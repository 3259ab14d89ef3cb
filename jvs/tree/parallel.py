"""Finding in parallel which directories changed since their rows were written.

A walk is bound by one processor: most of its time goes into a stat for each entry and the comparison with what the
index knows. Several processes take a share each and answer with the directories that a walk has to visit; all others
are as their rows say. Processes and not threads, because the interpreter runs one thread at a time.
Source: jvs-engines(7), Speed; fork(2).
"""

from __future__ import annotations

import contextlib
import functools
import marshal
import os
import sys

from jvs import system
from jvs.fs import listing
from jvs.fs import paths as fs_paths
from jvs.tree import rows as tree_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from jvs.tree.exclusion import Exclusion

LEAST_ENTRIES = 5_000
"""Trees with fewer entries are walked sooner than a process begins."""
MOST_PROCESSES = 8
_is_alone = False


class Swept:
    """What a sweep found.

    Shape: `touched` are the directories whose names or stamps are not those of their rows, the subdirectories of
    these whose own stamps are not, and what could not be found out; `gone` are those of them that no longer exist.
    """

    def __init__(self, touched: Iterable[bytes] = (), gone: Iterable[bytes] = (), entries: int = 0) -> None:
        self.touched = set(touched)
        self.gone = set(gone)
        self.entries = entries

    def add(self, other: Swept) -> None:
        """Take over what another process found."""
        self.touched |= other.touched
        self.gone |= other.gone
        self.entries += other.entries


class Sweeper:
    """Compares the directories below an open one with their rows; `with_inode` and `exclude` are as for a walk."""

    processes = 0
    """How many processes work, this one included; 0: one for each processor. The answer is the same."""

    def __init__(
        self, root: int, rows: tree_rows.Rows, jobs: int = 0, *, with_inode: bool, exclude: Exclusion | None = None
    ) -> None:
        self._jobs = jobs
        self._root = root
        self._rows = rows
        self._device = os.fstat(root).st_dev
        self._with_inode = with_inode
        self._exclude = exclude

    def pays(self) -> bool:
        """Answer whether a sweep is quicker than a walk of the same tree; `alone` it costs a little less."""
        if sum(tree_rows.count(row) for row, _ in self._rows.values()) < LEAST_ENTRIES:
            return False
        return _is_alone or self._processes() > 1

    def _processes(self) -> int:
        """Return how many processes share the work; a process with threads must not fork."""
        return 1 if has_threads() else self.processes or most_processes(self._jobs)

    def run(self) -> Swept:
        """Sweep. A share whose process fails counts as touched, so that the walk finds what is wrong there."""
        paths = sorted(self._rows, key=lambda path: path.replace(b"/", b"\0"))
        counts = [tree_rows.count(self._rows[path][0]) + 1 for path in paths]
        found = Swept()
        for share, answer in in_shares(self._look_at, paths, counts, self._processes()):
            found.add(Swept(*(answer or (share,))))
        return found

    def _look_at(self, paths: list[bytes]) -> tuple[list[bytes], list[bytes], int]:
        """Do what `look` does. Shape: what `marshal` can write."""
        found = self.look(paths)
        return list(found.touched), list(found.gone), found.entries

    def look(self, paths: list[bytes]) -> Swept:
        """Compare some directories with their rows, in this process."""
        found = Swept()
        way = Way(self._root)
        try:
            for path in paths:
                try:
                    self._compare(way.open(path), path, found)
                except OSError as error:
                    above = path.rpartition(b"/")[0]
                    if listing.is_absent(error):
                        found.gone.add(path)
                        found.touched.add(above)  # the walk must not be led through it to what was deleted
                    found.touched.add(path)
        finally:
            way.close()
        return found

    def _compare(self, fd: int, path: bytes, found: Swept) -> None:
        st = os.fstat(fd)
        if st.st_dev != self._device:  # a mount point: the walk refuses it in its own words
            found.touched.add(path)
            return
        names, stats = listing.list_dir(fd)
        if self._exclude is not None:
            names, stats = self._exclude.rest(fd, path, names, stats)
        found.entries += len(names)
        row = self._rows[path][0]
        below = [i for i, st in enumerate(stats) if st.st_mode & 0o170000 == 0o040000]
        stamps = listing.stamps(stats, with_inode=self._with_inode, with_dirs=bool(below))
        # The index may have lost a row: nobody looks into that directory, and the row above does not show its content.
        found.touched.update(child for i in below if (child := listing.relative(path, names[i])) not in self._rows)
        if row == tree_rows.pack(names, stamps):
            return
        found.touched.add(path)
        known = tree_rows.unpack(row, listing.STAMP.size)
        width = listing.STAMP.size
        for i in below:
            if known.get(names[i]) != stamps[i * width : (i + 1) * width]:
                found.touched.add(listing.relative(path, names[i]))


def in_shares(
    work: Callable[[list[Any]], Any], items: list[Any], weights: list[int], processes: int
) -> Iterator[tuple[list[Any], Any]]:
    """Let several processes do some work each for some of the items, in parts of about the same weight.

    Directories come in the order of a walk: a process opens each from the one above it, which it has open already when
    they follow each other. Yields each part with what came of it, None where a process failed or could not begin;
    this one does the first part. `work` returns what `marshal` can write. Errors: those of `work` here.
    """
    first, *others = _divided(items, weights, processes)
    helpers = [Helper(functools.partial(work, share)) for share in others]
    try:
        yield first, work(first)
        for share, helper in zip(others, helpers, strict=True):
            yield share, helper.answer()
    finally:
        for helper in helpers:
            helper.end()


def _divided(items: list[Any], weights: list[int], parts: int) -> list[list[Any]]:
    size = sum(weights) / parts or 1
    shares: list[list[Any]] = [[]]
    filled = 0
    for item, weight in zip(items, weights, strict=True):
        if filled >= size * len(shares) and shares[-1]:
            shares.append([])
        shares[-1].append(item)
        filled += weight
    return shares


def processors() -> int:
    """Return how many processors this process may use."""
    return 1 if _is_alone else len(os.sched_getaffinity(0))


def most_processes(jobs: int) -> int:
    """Return how many processes may share some work; `jobs` is the setting, 0 for one for each processor."""
    return min(processors(), jobs or MOST_PROCESSES, MOST_PROCESSES)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let walks begin no other processes: those that there can be have their shares already."""
    global _is_alone
    before, _is_alone = _is_alone, True
    try:
        yield
    finally:
        _is_alone = before


def has_threads() -> bool:
    """Answer whether this process has other threads, of Python or of a library: a fork would copy none of them.

    Python itself warns of a fork then, from 3.12 on, and counts as the system does.
    """
    count = system.threads()
    if count is None:  # no /proc: those that Python knows of
        threading = sys.modules.get("threading")
        return threading is not None and threading.active_count() > 1
    return count > 1


class Way:
    """The open directories that lead to the one that is looked at; no link is followed on the way.

    `one_mount` refuses what is mounted there.
    """

    def __init__(self, root: int, *, one_mount: bool = False) -> None:
        self._root = root
        self._one_mount = one_mount
        self._parts: list[bytes] = []
        self._fds: list[int] = []

    def open(self, path: bytes) -> int:
        """Return a descriptor of a directory, good until the next call. Errors: OSError."""
        parts = path.split(b"/") if path else []
        same = 0
        while same < min(len(parts), len(self._parts)) and parts[same] == self._parts[same]:
            same += 1
        self._shorten(same)
        for part in parts[same:]:
            above = self._fds[-1] if self._fds else self._root
            fd = fs_paths.open_dir(part, above, one_mount=self._one_mount)
            self._fds.append(fd)
            self._parts.append(part)
        return self._fds[-1] if self._fds else self._root

    def _shorten(self, length: int) -> None:
        while len(self._fds) > length:
            os.close(self._fds.pop())
            self._parts.pop()

    def close(self) -> None:
        """Close them all."""
        self._shorten(0)


class Helper:
    """A process that does a share. It ends without running anything of ours: no lock, file or buffer is its own.

    `work` returns what `marshal` can write.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._pid = 0
        try:
            self._pipe, answer = os.pipe()
        except OSError:  # no more descriptors: the walk does it
            self._pipe = -1
            return
        try:
            self._pid = os.fork()
        except OSError:  # no more processes: the same
            os.close(answer)
            return
        if self._pid == 0:
            _answer_and_exit(work, answer)
        os.close(answer)

    def answer(self) -> Any:
        """Wait for what it found; None when it failed, or could not begin."""
        if not self._pid:
            return None
        data = b""
        while chunk := os.read(self._pipe, 1 << 16):
            data += chunk
        try:
            return marshal.loads(data)
        except (EOFError, ValueError, TypeError):
            return None

    def end(self) -> None:
        """Make an end of it, also when nobody wants the answer any more."""
        if self._pipe >= 0:
            os.close(self._pipe)
        if self._pid:
            try:
                os.kill(self._pid, 9)
                os.waitpid(self._pid, 0)
            except (ProcessLookupError, ChildProcessError):  # a program around us reaps its children by itself
                pass


def _answer_and_exit(work: Callable[[], Any], answer: int) -> None:
    status = 1
    try:
        data = memoryview(marshal.dumps(work()))
        while data:
            data = data[os.write(answer, data) :]
        status = 0
    finally:
        os._exit(status)
