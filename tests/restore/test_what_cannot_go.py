"""What nobody may remove stops an operation as a whole, before or without any change, on every filesystem."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import making
import pytest
from treefacts import describe_tree

from jvs.engine import registry
from jvs.fs import removal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make files immutable")


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def place(fs_at: Callable[[str], Path], request: pytest.FixtureRequest) -> Path:
    """Return a directory where files can be immutable."""
    return fs_at(request.param)


@pytest.fixture
def fixed(place: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a repository whose head has a directory more than the snapshot before; something in it is fixed."""
    root = place / "lab"
    store = making.make_store(root)
    making.write(root / "main", {"a": "a", "d/b": "b"})
    making.snapshot(store, "one")
    making.write(root / "main", {"a": "other", "e/f/fixed": "nobody may change this", "e/g": "g"})
    making.snapshot(store, "two")
    store.close()
    subprocess.run(["chattr", f"+{request.param[0]}", str(root / "main" / request.param[1])], check=True)
    yield root
    for payload in (root / ".jvs/snapshots").glob("*-????????"):  # on btrfs a snapshot keeps the flags, and goes whole
        registry.remove_any(making.at(payload), making.engine_options())
    subprocess.run(["chattr", "-R", "-f", "-i", "-a", str(place)], check=False)


EACH = [("i", "e/f/fixed"), ("i", "e/f"), ("a", "e/f/fixed"), ("i", "e")]


@pytest.mark.parametrize("fixed", EACH, indirect=True, ids=[f"{flag} {path}" for flag, path in EACH])
@pytest.mark.parametrize("words", [("restore", "HEAD~1"), ("restore", "HEAD~1", "--", "e")])
def test_it_is_restored_whole_or_not_at_all(fixed: Path, words: tuple[str, ...]) -> None:
    before = describe_tree(fixed / "main")
    said = making.run("-C", str(fixed / "main"), *words)
    if said.exit == 0:
        assert not (fixed / "main" / "e").exists()
        assert making.run("-C", str(fixed / "main"), "undo").exit == 0
        assert (fixed / "main/e/f/fixed").read_text() == "nobody may change this"
    else:
        assert "all was put back" in said.err
        assert "'e" in said.err, "the path is named"
        assert describe_tree(fixed / "main") == before
    assert making.run("-C", str(fixed), "doctor").exit == 0
    assert making.run("-C", str(fixed / "main"), "snapshot", "goes on").exit == 0


@pytest.mark.parametrize("fixed", EACH[:1], indirect=True, ids=["i"])
def test_what_cannot_go_any_more_after_it_was_checked_stops_nothing(fixed: Path, monkeypatch) -> None:
    monkeypatch.setattr(removal, "check_removable", lambda *_: None)
    said = making.run("-C", str(fixed / "main"), "restore", "HEAD~1")
    assert said.exit == 0, said.err
    left = list((fixed / "main").rglob("fixed"))
    assert ("could not be removed" in said.err) == bool(left)
    assert making.run("-C", str(fixed), "doctor").exit == 0
    assert making.run("-C", str(fixed / "main"), "undo").exit == 0


@pytest.mark.parametrize("fixed", EACH[:1], indirect=True, ids=["i"])
def test_what_a_try_moved_is_applied_whole_or_not_at_all(fixed: Path) -> None:
    here = ("-C", str(fixed / "main"))
    tried = making.run(*here, "try", "--", "mv", "e", "moved")
    assert tried.exit == 0, tried.err
    said = making.run(*here, "try", "--apply", *os.listdir(fixed / ".jvs/tries"))
    assert (fixed / "main/moved/f/fixed").exists() == (said.exit == 0), said.err
    assert (fixed / "main/e/f/fixed").exists() == (said.exit != 0)
    assert making.run("-C", str(fixed), "doctor").exit == 0


def test_somebody_elses_directory_cannot_be_emptied(tmp_path: Path) -> None:
    making.write(tmp_path, {"mine/theirs/file": "theirs", "mine/own/file": "mine"})
    for path in (tmp_path / "mine", tmp_path / "mine/own", tmp_path / "mine/own/file"):
        os.chown(path, making.NOBODY, making.NOBODY)
    outer, inner = (os.open(path, os.O_RDONLY) for path in (tmp_path, tmp_path / "mine"))

    def ask() -> None:
        removal.check_removable(b"own", inner)
        with pytest.raises(PermissionError):
            removal.check_removable(b"mine", outer)

    making.as_nobody(ask)
    os.close(outer)
    os.close(inner)
