"""`init --from` brings no repository into main: neither its control directory nor anything that answers to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lab import Lab
from making import run


def works_on_the_new_one(root: Path, inner_ids: set[str], *, is_data: bool = False) -> None:
    lab = Lab(root)
    os.chdir(lab.main)
    for words in (("status",), ("snapshot", "n"), ("history",), ("restore", "HEAD"), ("info",)):
        said = run(*words)
        assert said.exit == 0, (words, said.err)
    taken = run("show", "HEAD", "--json").json["snapshot_id"]
    assert taken in lab.visible()
    assert not lab.visible() & inner_ids
    assert is_data or not (lab.main / ".jvs").exists()
    lab.check()


@pytest.fixture
def old(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "old")
    lab.write({"a": "one", "d/b": "two"})
    lab.take("inner")
    return lab


def test_from_the_root_of_a_repository(old, tmp_path):
    said = run("init", str(tmp_path / "new"), "--from", str(old.root))
    if said.exit:
        assert ".jvs" in said.err or "repository" in said.err
        assert not (tmp_path / "new" / ".jvs").exists()
        assert "main" in said.err, "the hint names what was probably meant"
        return
    works_on_the_new_one(tmp_path / "new", old.visible())


def test_from_the_main_of_a_repository(old, tmp_path):
    said = run("init", str(tmp_path / "new"), "--from", str(old.main))
    assert said.exit == 0, said.err
    works_on_the_new_one(tmp_path / "new", old.visible())
    assert (tmp_path / "new" / "main" / "d/b").read_text() == "two"


@pytest.mark.parametrize("kind", ["directory", "file", "link", "empty directory", "dangling link"])
def test_from_a_directory_that_holds_something_called_so(tmp_path, old, kind):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("one")
    at = data / ".jvs"
    if kind == "directory":
        (at / "audit").mkdir(parents=True)
        (at / "format_version").write_text("1\n")
    elif kind == "file":
        at.write_text("text")
    elif kind == "link":
        at.symlink_to(old.jvs_dir)
    elif kind == "dangling link":
        at.symlink_to("nowhere")
    else:
        at.mkdir()
    said = run("init", str(tmp_path / "new"), "--from", str(data))
    if said.exit:
        assert ".jvs" in said.err
        assert not (tmp_path / "new" / ".jvs").exists()
        return
    is_data = kind in ("file", "empty directory", "dangling link")
    works_on_the_new_one(tmp_path / "new", old.visible(), is_data=is_data)


def test_one_that_lies_deeper_stays_and_is_no_ones_control_directory(tmp_path, old):
    data = tmp_path / "data"
    data.mkdir()
    os.rename(old.root, data / "nested")
    said = run("init", str(tmp_path / "new"), "--from", str(data))
    if said.exit:
        assert "nested" in said.err
        return
    os.chdir(tmp_path / "new" / "main")
    assert run("snapshot", "n").exit == 0
    assert (tmp_path / "new" / "main" / "nested" / "main" / "a").read_text() == "one"
