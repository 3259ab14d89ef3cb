"""On a filesystem that folds case a restore displaces nothing that it has just put in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiny_fuse
from crashing import dies_at
from lab import Lab
from own_mounts import own_mounts as alone

from jvs.restore import delta


def shown(tmp_path: Path, **odd: object) -> Path:
    """Show a directory with oddities."""
    (tmp_path / "real").mkdir()
    return tiny_fuse.show(tmp_path / "real", tmp_path / "seen", **odd)


@alone
@pytest.mark.parametrize("what", ["file", "directory", "link"])
@pytest.mark.parametrize("words", [("restore", "first"), ("restore", "first", "--", "Name")])
def test_a_case_only_rename_is_restored(tmp_path, what, words):
    lab = Lab(shown(tmp_path, fold=True) / "r")
    lab.write({"a": "one"})
    if what == "file":
        lab.write({"Name": "content"})
    elif what == "directory":
        lab.write({"Name/inside": "content"})
    else:
        os.symlink("target", lab.main / "Name")
    lab.take("first", "-t", "first")
    before = {p.relative_to(lab.main).as_posix(): p.read_bytes() for p in lab.main.rglob("*") if p.is_file()}
    os.rename(lab.main / "Name", lab.main / "nAME")
    if what == "file":
        lab.write({"nAME": "changed"})
    said = lab.say(*words)
    real = tmp_path / "real/r/main"
    assert said.exit == 0, said.err
    assert sorted(os.listdir(real)) == ["Name", "a"]
    now = {p.relative_to(real).as_posix(): p.read_bytes() for p in real.rglob("*") if p.is_file()}
    assert now == before
    lab.jvs("undo")
    assert sorted(os.listdir(real)) == ["a", "nAME"]
    if what == "file":
        assert (real / "nAME").read_text() == "changed"


@alone
def test_restoring_one_path_below_a_directory_of_another_case_leaves_the_others(tmp_path: Path) -> None:
    lab = Lab(shown(tmp_path, fold=True) / "r")
    lab.write({"Dir/one": "1", "Dir/two": "2"})
    lab.take("first", "-t", "first")
    os.rename(lab.main / "Dir", lab.main / "dIR")
    lab.write({"dIR/one": "changed", "dIR/new": "3"})
    lab.jvs("restore", "first", "--", "Dir/one")
    real = tmp_path / "real/r/main"
    assert sorted(os.listdir(real)) == ["dIR"]
    assert {p.name: p.read_text() for p in (real / "dIR").iterdir()} == {"one": "1", "two": "2", "new": "3"}


@alone
@pytest.mark.parametrize("content", ["content", "changed"])
def test_a_case_only_rename_survives_a_crash_of_the_restore(tmp_path: Path, content: str) -> None:
    real = tmp_path / "real"
    home = shown(tmp_path, fold=True)
    died, number = True, 0
    while died:
        number += 4
        lab = Lab(home / f"r{number}")
        lab.write({"a": "one", "Name": "content"})
        lab.take("first", "-t", "first")
        os.rename(lab.main / "Name", lab.main / "nAME")
        lab.write({"nAME": content})
        died = dies_at(number, lambda: lab.say("restore", "first"))  # noqa: B023
        lab.say("doctor", "--repair-runtime")
        lab.say("restore", "first")
        there = real / f"r{number}" / "main"
        assert sorted(os.listdir(there)) == ["Name", "a"], number
        assert (there / "Name").read_text() == "content"


def test_names_that_fold_to_one(tmp_path: Path) -> None:
    assert delta.fold(b"NAME.TXT") == delta.fold(b"name.txt")
    assert delta.fold("\u00c9t\u00e9".encode()) == delta.fold("e\u0301te\u0301".encode())
    assert delta.fold("stra\u00dfe".encode()) == delta.fold(b"STRASSE")
    assert delta.fold(b"a") != delta.fold(b"b")
    assert delta.fold(b"\xff\xfeA") == delta.fold(b"\xff\xfeA")
