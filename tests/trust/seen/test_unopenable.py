"""What cannot be opened though it is there is never left out in silence, nor what changes its kind during a walk."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_fuse
from lab import Lab
from making import plumb
from own_mounts import own_mounts as alone

ERRORS = ["ESTALE", "EINVAL", "ENXIO", "ENOENT", "EACCES", "EIO", "ELOOP", "ENOTDIR", "ENOMEM", "EMFILE"]
WORDS = [("snapshot", "n"), ("snapshot", "n", "--allow-unreadable"), ("status",)]


def shown(tmp_path: Path, **odd: object) -> Path:
    """Show a directory with oddities."""
    (tmp_path / "real").mkdir()
    return tiny_fuse.show(tmp_path / "real", tmp_path / "seen", **odd)


@alone
@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_what_cannot_be_opened_is_never_left_out_in_silence(tmp_path: Path, words: tuple[str, ...], kind: str) -> None:
    """One mount, and each error in turn: the names that are refused are those of the errors."""
    refused = {name.encode(): getattr(errno, name) for name in ERRORS}
    home = shown(tmp_path, refuse=refused)
    for name in ERRORS:
        if kind == "directory" and name in ("EMFILE", "ENOMEM"):
            continue
        lab = Lab(home / f"{kind}-{name}")
        there = tmp_path / "real" / f"{kind}-{name}" / "main" / name
        if kind == "file":
            there.write_text("it is there")
        else:
            there.mkdir()
            (there / "inside").write_text("it is there")
        lab.write({"a": "one"})
        said = lab.say(*words, "--json")
        if said.exit == 0:
            assert name in said.text, f"{name} is in `degraded`, or in `unreadable`"
        else:
            assert name in said.err, said.err
            assert not lab.visible()
        assert "E_INTERNAL" not in said.err


@alone
@pytest.mark.parametrize("name", ["ESTALE", "EINVAL", "ENXIO", "ENOENT"])
def test_a_file_that_could_be_opened_before_is_not_called_removed(tmp_path: Path, name: str) -> None:
    lab = Lab(shown(tmp_path, refuse={b"secret": getattr(errno, name)}) / "r")
    lab.write({"a": "one", "b": "two"})
    lab.take("first", "-t", "first")
    os.rename(tmp_path / "real/r/main/b", tmp_path / "real/r/main/secret")
    said = lab.say("status", "--json")
    assert said.exit != 0 or "secret" in said.text
    assert lab.say("snapshot", "more", "--if-changed").exit != 0, "it cannot be called unchanged"
    lab.say("restore", "first")
    assert "two" in [p.read_text() for p in (tmp_path / "real/r").rglob("*") if p.is_file() and p.stat().st_size == 3]


@alone
@pytest.mark.parametrize("number", ["ENOENT", "ESTALE", "ENXIO"])
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_refusal_that_passes_is_no_refusal(tmp_path: Path, words: tuple[str, ...], number: str) -> None:
    """As after a rename at another mount: the first open fails, the next one succeeds."""
    marker = tmp_path / "refuse"

    def refuse(name: bytes) -> None:
        if name in (b"b", b"d") and (marker / os.fsdecode(name)).exists():
            (marker / os.fsdecode(name)).unlink()
            raise OSError(getattr(errno, number), "not now")

    lab = Lab(shown(tmp_path, on_open=refuse) / "r")
    lab.write({"a": "one", "b": "two", "d/in": "three"})
    marker.mkdir()
    for name in "bd":
        (marker / name).touch()
    said = lab.jvs(*words, "--json")
    assert not list(marker.iterdir())
    if words == ("status",):
        assert {e["path"] for e in said.json["added"]} >= {"a", "b", "d", "d/in"}
        assert not said.json["unreadable"]
    else:
        assert said.json["degraded"] == []
        assert said.json["payload"]["files"] == 3


@alone
@pytest.mark.parametrize("become", ["link", "directory", "fifo"])
@pytest.mark.parametrize("words", [("snapshot", "n"), ("snapshot", "n", "--engine", "copy")], ids=" ".join)
def test_a_name_that_changes_its_kind_during_the_walk_is_not_left_out(
    tmp_path: Path, words: tuple[str, ...], become: str
) -> None:
    """Between the listing and the opening of `b` something else is put in its place."""
    real = tmp_path / "real"

    def swap(name: bytes) -> None:
        marker = real / "swap"
        if name == b"b" and marker.exists():
            marker.unlink()
            (real / "r/main/b").unlink()
            if become == "link":
                os.symlink("a", real / "r/main/b")
            elif become == "directory":
                (real / "r/main/b").mkdir()
            else:
                os.mkfifo(real / "r/main/b")
            raise OSError(errno.ELOOP, "now it is something else")

    lab = Lab(shown(tmp_path, on_open=swap) / "r")
    lab.write({"a": "one", "b": "two", "c": "three"})
    (real / "swap").touch()
    said = lab.say(*words, "--json")
    assert not (real / "swap").exists()
    if said.exit == 0:
        listed = lab.json("diff", "HEAD")
        assert [e["path"] for e in listed["added"]] == [], "b, as whatever it is, is in the snapshot"
    else:
        assert "b" in said.err or "E_BUSY" in said.err


@pytest.fixture
def trading(tmp_path: Path) -> Iterator[Lab]:
    """A worktree in which a file, a link and a directory trade places all the time."""
    lab = Lab(tmp_path / "r")
    lab.write({"a": "file", "d/in": "in", **{f"fill{i}": "x" * 1000 for i in range(300)}})
    os.symlink("nowhere", lab.main / "l")
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()
    names = [os.fsencode(lab.main / name) for name in ("a", "l", "d")]

    def trade() -> None:
        while not stop.is_set():
            for one, other in ((0, 1), (0, 2), (1, 2)):
                libc.renameat2(-100, names[one], -100, names[other], 2)

    worker = threading.Thread(target=trade)
    worker.start()
    yield lab
    stop.set()
    worker.join()


def test_names_that_trade_places_all_the_time_are_in_every_snapshot(trading: Lab) -> None:
    said = [trading.say("snapshot", f"{number}", "--json") for number in range(8)]
    for one in said:
        assert "E_INTERNAL" not in one.err
        if one.exit == 0:
            missing = {loss["path"] for loss in one.json["degraded"]}
            names_there = payload_names(trading, one.json["snapshot_id"])
            assert {"a", "l", "d"} <= names_there | missing, names_there
            assert len(names_there) >= 303


def payload_names(lab: Lab, snapshot_id: str) -> set[str]:
    before = os.getcwd()
    os.chdir(lab.root)
    try:
        listed = plumb("ls-tree", "--json", snapshot_id)
    finally:
        os.chdir(before)
    assert listed.exit == 0, listed.err
    return {entry["path"] for entry in listed.json if isinstance(entry.get("path"), str) and "/" not in entry["path"]}
