"""Directories that are taken at once: the tree, the losses and the errors are those of files taken one by one."""

from __future__ import annotations

import os
import shutil

import making
import pytest

from jvs.check import reading
from jvs.errors import IOFailure
from jvs.fs import listing, paths
from jvs.tree import batches, builder, parallel, racy, scan, workers

MOMENT_NS = 4 * 10**18


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A tree of which nothing is known, and processes for whatever is done with it."""
    monkeypatch.setattr(parallel, "has_threads", lambda: False)
    monkeypatch.setattr(workers, "LEAST_ENTRIES", 1)
    monkeypatch.setattr(workers, "LEAST_FILES", 1)
    monkeypatch.setattr(workers.Workers, "processes", 3)
    monkeypatch.setattr(batches, "MOST_FILES", 7)
    top = tmp_path / "t"
    making.write(top, {f"d{i}/f{j:02}": f"{i} {j} " * j for i in range(4) for j in range(20)})
    making.write(top, {"mixed/a": "a", "mixed/in/b": "b", "file": "f"})
    os.link(top / "d1/f03", top / "d2/other")
    os.setxattr(top / "d3/f05", "user.note", b"kept")
    (top / "d0/f01").chmod(0o600)
    return top


@pytest.fixture
def at_once(monkeypatch):
    """Count what is taken at once."""
    found = []
    real = scan.Hasher.take_all

    def note(self, inside, fd, path, *more):
        taken = real(self, inside, fd, path, *more)
        if taken is not None:
            found.append(path)
        return taken

    monkeypatch.setattr(scan.Hasher, "take_all", note)
    return found


def walk(root, visitor=None, *, moment_ns=0):
    return scan.Scanner(visitor or scan.Hasher(allow_unreadable=True), moment_ns=moment_ns).run(making.at(root))


def facts(found):
    return found.root_hash, found.payload(), found.nodes, sorted(found.rows), found.totals, found.unreadable


@pytest.mark.parametrize("moment_ns", [0, MOMENT_NS])
def test_the_tree_is_that_of_files_taken_one_by_one(root, at_once, monkeypatch, moment_ns):
    together = walk(root, moment_ns=moment_ns)
    assert sorted(at_once) == [b"d0", b"d1", b"d2", b"d3", b"mixed/in"]
    monkeypatch.setattr(workers.Workers, "processes", 1)
    assert facts(walk(root, moment_ns=moment_ns)) == facts(together)
    assert len(at_once) == 5 and bool(together.rows) == bool(moment_ns)


class Marking(scan.Hasher):
    """Marks a file in each directory, as one whose metadata is not that of a payload."""

    def visited(self, fd, path, names, stats, stamps, row):
        return frozenset(names[1:2])


@pytest.mark.parametrize("moment_ns", [racy.NEVER_NS, MOMENT_NS])
@pytest.mark.parametrize("visits", [scan.Hasher, Marking])
def test_rows_without_stamps_are_as_good_as_none(root, at_once, monkeypatch, moment_ns, visits):
    """Where no stamp lasts (tmpfs) every directory has such a row, and its files are read each time."""
    first = walk(root, moment_ns=racy.NEVER_NS)
    rows = {path: (row, digest) for path, row, digest in first.rows}
    at_once.clear()
    (root / "d1/f07").write_text("changed")
    (root / "d2/f07").unlink()

    def again():
        return scan.Scanner(visits(), rows=rows, known=making.Known(first.nodes), moment_ns=moment_ns).run(
            making.at(root)
        )

    together = again()
    assert {b"d0", b"d1", b"d3", b"mixed/in"} <= set(at_once)
    taken = len(at_once)
    monkeypatch.setattr(workers.Workers, "processes", 1)
    assert facts(again()) == facts(together)
    assert len(at_once) == taken and together.root_hash == walk(root).root_hash != first.root_hash


@pytest.mark.parametrize("kept", [True, False])
def test_stamps_that_all_moved_prove_nothing(root, at_once, kept):
    """As after a backup by links; where one of them is as it was, marked or not, the directory is taken apart."""
    first = walk(root, Marking(), moment_ns=MOMENT_NS)
    rows = {path: (row, digest) for path, row, digest in first.rows}
    at_once.clear()
    for path in root.rglob("*"):
        if path.is_file() and not (kept and path.name == "f01"):  # this one has the mark
            path.chmod(path.stat().st_mode)
    found = scan.Scanner(scan.Hasher(), rows=rows, known=making.Known(first.nodes)).run(making.at(root))
    assert (b"d3" in at_once) != kept
    assert found.root_hash == walk(root).root_hash == first.root_hash


def test_a_directory_of_which_one_stamp_is_known_is_taken_apart(root, at_once):
    first = walk(root, moment_ns=MOMENT_NS)
    rows = {path: (row, digest) for path, row, digest in first.rows}
    at_once.clear()
    (root / "d1/f07").write_text("changed")
    found = scan.Scanner(scan.Hasher(), rows=rows, known=making.Known(first.nodes)).run(making.at(root))
    assert b"d1" not in at_once and found.taken == 1 and found.root_hash == walk(root).root_hash


def test_a_batch_that_waits_to_be_begun_keeps_nothing_from_being_finished(root, monkeypatch):
    """Or the nodes of a large tree would all be made at its end, by one process, and be in memory until then."""
    making.write(root, {f"a first one/f{j}": str(j) for j in range(5)})
    monkeypatch.setattr(workers, "LEAST_ENTRIES", 5)  # reached by files that were taken one by one
    (root / "a first one/link").symlink_to("f0")
    unfinished = []
    real = builder.TreeBuilder.finish

    def note(self, top):
        unfinished.extend(directory.path for directory in self._unfinished)
        return real(self, top)

    monkeypatch.setattr(builder.TreeBuilder, "finish", note)
    monkeypatch.setattr(workers.Workers, "offer", lambda *_: False)  # each is done at once
    walk(root)
    assert unfinished == [b""] or unfinished == []


@pytest.mark.parametrize("many", [False, True])
def test_a_payload_is_read_at_once_and_each_inode_once(root, at_once, many):
    memory = reading.Memory(many=many)
    for _ in range(2):
        hasher = reading.ReadingHasher(memory, jobs=3, slow_calls=False, plain=False)
        assert walk(root, hasher).root_hash == walk(root).root_hash
    assert b"d1" in at_once
    sizes = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file())
    again = (root / "d1/f03").stat().st_size
    assert memory.read_bytes == 2 * sizes - 3 * again, "two walks, and what has two names once"


@pytest.mark.parametrize("many", [False, True])
def test_a_payload_of_inodes_that_were_read_is_answered_at_once(root, at_once, tmp_path, many):
    """What a second snapshot shares with the first one is not read, and its directories are not taken apart."""
    again = tmp_path / "again"
    shutil.copytree(root, again, copy_function=os.link, symlinks=True)
    for path in again.rglob("*"):
        if path.is_dir():
            shutil.copystat(root / path.relative_to(again), path)
    memory = reading.Memory(many=many)
    hashes, counts = [], []
    for top in (root, again):
        hasher = reading.ReadingHasher(memory, jobs=3, slow_calls=False, plain=False)
        hashes.append(walk(top, hasher).root_hash)
        counts.append(memory.read_bytes)
    assert hashes == [walk(root).root_hash, walk(again).root_hash]
    assert counts[1] - counts[0] == 0 and hashes[0] == hashes[1]


@pytest.mark.parametrize("error", ["gone", "grown", "fifo"])
def test_what_changes_meanwhile_is_dealt_with_as_ever(root, monkeypatch, error):
    real = paths.open_file_with_stat

    def change(name, dir_fd=None):
        path = root / "d2/f07"
        if name == b"f07" and os.fstat(dir_fd).st_ino == path.parent.stat().st_ino and path.is_file():
            if error == "grown":
                if path.stat().st_size < 9999:
                    path.write_text("grown" * 9999)
            else:
                path.unlink()
                if error == "fifo":
                    os.mkfifo(path)
        return real(name, dir_fd)

    monkeypatch.setattr(paths, "open_file_with_stat", change)
    found = walk(root)
    monkeypatch.undo()
    if error == "fifo":
        assert [path for path, _ in found.unreadable] == [b"d2/f07"]
        (root / "d2/f07").unlink()
    else:
        assert found.unreadable == []
    fresh = walk(root)
    assert (found.root_hash, found.payload()) == (fresh.root_hash, fresh.payload())


def test_what_cannot_be_read_is_an_error_or_left_out_with_its_name(root, monkeypatch):
    real = paths.open_file_with_stat

    def refuse(name, dir_fd=None):
        if name == b"f09":
            raise PermissionError(13, "Permission denied")
        return real(name, dir_fd)

    monkeypatch.setattr(paths, "open_file_with_stat", refuse)
    found = walk(root)
    assert sorted(path for path, _ in found.unreadable) == [b"d%d/f09" % i for i in range(4)]
    with pytest.raises(IOFailure, match="d0/f09"):
        walk(root, scan.Hasher())


def test_stamps_last_as_one_by_one():
    stats = [os.stat_result((0o100644, i, 1, 1, 0, 0, 5, 0, 0, 0), _times(i)) for i in range(60)]
    stamps = listing.stamps(stats, with_inode=True)
    width = listing.STAMP.size
    for moment in (0, 10**9, 3 * 10**9, 3 * 10**9 + 1, 5 * 10**9, 10**12):
        one_by_one = b"".join(
            racy.lasting(stamps[i * width : (i + 1) * width], st, moment, slow_directories=False)
            for i, st in enumerate(stats)
        )
        assert racy.all_lasting(stamps, stats, moment) == one_by_one
    assert racy.all_lasting(b"", [], 5) == b""


def _times(i):
    return {"st_mtime_ns": i * 10**8 + i % 3, "st_ctime_ns": (60 - i) * 10**8 + i % 2}
