"""`jvs-apply-tree`: a directory becomes equal to another, and only what differs is written."""

from __future__ import annotations

from pathlib import Path

from making import plumb, write
from treefacts import describe_tree, diff_trees


def test_the_directory_becomes_equal_and_what_was_equal_is_not_touched(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write(source, {"same": "same", "changed": "new", "d/added": "added"})
    write(target, {"changed": "old", "gone/file": "gone"})
    plumb("clone-tree", str(source), str(tmp_path / "copy"))
    (tmp_path / "copy" / "same").rename(target / "same")
    before = (target / "same").stat()
    assert plumb("apply-tree", str(source), str(target)).exit == 0
    assert diff_trees(describe_tree(source), describe_tree(target)) == []
    after = (target / "same").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_again_it_does_nothing(tmp_path: Path) -> None:
    write(tmp_path / "source", {"a": "a"})
    write(tmp_path / "target", {"b": "b"})
    for _ in range(2):
        assert plumb("apply-tree", str(tmp_path / "source"), str(tmp_path / "target")).exit == 0
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["a"]


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    assert plumb("apply-tree", str(tmp_path / "no"), str(tmp_path / "target")).exit != 0
    assert list((tmp_path / "target").iterdir()) == []
