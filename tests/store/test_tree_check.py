"""Directories next to their nodes: several processes say what one says, and what is not as it should be is found."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import making
import pytest

from jvs.fs import listing, paths
from jvs.store import node_store, tree_check
from jvs.tree import node, parallel, racy, scan


@pytest.fixture
def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what looks at the payload of a snapshot, with some processes."""
    monkeypatch.setattr(parallel, "has_threads", lambda: False)
    monkeypatch.setattr(parallel, "LEAST_ENTRIES", 1)
    store = making.make_store(tmp_path / "repo", "default_engine=copy")
    main = making.main_of(store)
    making.write(main, {f"d{i}/e{j}/f{k}": f"{i}{j}{k}" for i in range(4) for j in range(3) for k in range(5)})
    making.write(main, {"top": "t", "d1/e1/deep/er/file": "x"})
    (main / "d2/link").symlink_to("e0")
    (main / "empty").mkdir()
    record = making.snapshot(store)
    payload = store.layout.payload(record["snapshot_id"])

    def look(processes: int, work=None):
        monkeypatch.setattr(parallel.Sweeper, "processes", processes)
        known = node_store.Trees(store)
        fd = paths.open_dir(payload)
        try:
            return tree_check.look_at_all(known, fd, known.root(record)[2], work or facts)
        finally:
            os.close(fd)

    look.payload = Path(str(payload))
    yield look
    store.close()


def facts(path, digest, names, stats):
    return path, digest, names, [st.st_ino for st in stats]


def test_several_processes_say_what_one_says(looked):
    alone = looked(1)
    assert len(alone) == 1 + 4 + 12 + 3 and {path for path, *_ in alone} >= {b"", b"empty", b"d1/e1/deep/er"}
    for path, digest, names, inodes in alone:
        there = looked.payload / os.fsdecode(path)
        assert sorted(os.listdir(os.fsencode(there))) == names
        assert [os.lstat(os.path.join(os.fsencode(there), name)).st_ino for name in names] == inodes
        assert path or digest != node.EMPTY_DIGEST
    for processes in (2, 3, 7, 40):
        assert sorted(looked(processes)) == sorted(alone)


@pytest.mark.parametrize("change", ["size", "mode", "gone", "more", "kind"])
def test_whatever_is_not_as_its_node_says_is_found(looked, tmp_path, change):
    for where in ("top", "d0/e0/f0", "d1/e1/deep/er/file", "d3/e2/f4"):
        path, extra = looked.payload / where, (looked.payload / where).with_name("zz")
        shutil.copy2(path, tmp_path / "before")
        if change == "size":
            path.write_text("longer than it was")
        elif change == "mode":
            path.chmod(0o604)
        elif change == "gone":
            path.unlink()
        elif change == "more":
            extra.write_text("")
        else:
            path.unlink()
            path.symlink_to("x")
        with pytest.raises(ValueError, match="not what is known of it"):
            looked(3)
        path.unlink(missing_ok=True)
        extra.unlink(missing_ok=True)
        shutil.move(tmp_path / "before", path)
    assert len(looked(3)) == 20


def test_what_another_process_could_not_do_is_done_here(looked):
    mine = os.getpid()

    def dies_elsewhere(path, digest, entries, stats):
        if os.getpid() != mine:
            os._exit(3)
        return facts(path, digest, entries, stats)

    assert sorted(looked(3, dies_elsewhere)) == sorted(looked(1))


def test_a_tree_deeper_than_the_interpreter_nests(looked, tmp_path):
    store = making.make_store(tmp_path / "deep", "default_engine=copy")
    fd = os.open(making.main_of(store), os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    record = making.snapshot(store)
    known = node_store.Trees(store)
    fd = paths.open_dir(store.layout.payload(record["snapshot_id"]))
    try:
        assert len(tree_check.look_at_all(known, fd, known.root(record)[2], facts)) == 1501
    finally:
        os.close(fd)
        store.close()


@pytest.mark.parametrize("moment_ns", [racy.NEVER_NS, 4 * 10**18])
@pytest.mark.parametrize("processes", [1, 3])
def test_a_copy_is_looked_at_by_the_rows_of_its_source(looked, tmp_path, monkeypatch, moment_ns, processes):
    alone = looked(1)
    monkeypatch.setattr(parallel.Sweeper, "processes", processes)
    rows = scan.Scanner(scan.Hasher(), moment_ns=moment_ns).run(making.at(looked.payload)).rows
    copy = tmp_path / "copy"
    shutil.copytree(looked.payload, copy, symlinks=True)

    def look():
        fd = os.open(copy, os.O_RDONLY)
        try:
            return tree_check.look_at_copy(rows, fd, facts)
        finally:
            os.close(fd)

    found = look()
    assert sorted(entry[:3] for entry in found) == sorted(entry[:3] for entry in alone)
    assert {path: inodes for path, _, _, inodes in found}[b""] == [p.lstat().st_ino for p in sorted(copy.iterdir())]
    (copy / "d0/e0/f0").write_text("longer than it was")
    if moment_ns == racy.NEVER_NS:  # its source has no stamp that tells of a size
        assert len(look()) == 20
    else:
        with pytest.raises(ValueError, match="not what is known of it"):
            look()
    (copy / "d3/e2/f4").unlink()
    with pytest.raises(ValueError, match="not what is known of it"):
        look()


@pytest.mark.parametrize("name", [b"..", b".", b"a/../../b"])
def test_forged_names_lead_nowhere(looked, name):
    """A node that fits its digest may have been made by anybody: names in it are checked before they are followed."""
    inner = node.encode_node([])
    outer = node.encode_node([(name, listing.DIR, 0o755, 0, node.node_digest(inner), None)])

    class Forged:
        def data(self, digest):
            return {node.node_digest(data): data for data in (inner, outer)}[digest]

        def preload(self, digests):
            pass

    fd = os.open(looked.payload, os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match="names"):
            tree_check.look_at_all(Forged(), fd, node.node_digest(outer), facts)
    finally:
        os.close(fd)
