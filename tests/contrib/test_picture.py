"""The picture in README.md shows what happens: its session is run again and compared."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOWN = ROOT / "contrib/session.svg"


@pytest.fixture
def picture() -> Any:
    """Return the program as a module."""
    loader = importlib.machinery.SourceFileLoader("jvs_picture", str(ROOT / "contrib/picture"))
    spec = importlib.util.spec_from_loader("jvs_picture", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_picture_shows_what_happens(picture, capsys):
    status = picture.main(["--check", str(SHOWN)])
    assert (status, capsys.readouterr().err) == (0, "")


def test_a_picture_that_shows_something_else_is_noticed(picture, tmp_path, capsys, monkeypatch):
    other = tmp_path / "other.svg"
    text = SHOWN.read_text()
    assert "2 added, 1 modified" in text
    other.write_text(text.replace("2 added, 1 modified", "3 added"))
    monkeypatch.setattr(picture, "made", lambda path, before: text)
    assert picture.main(["--check", str(other)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "make it again" in said.err
    assert "it shows:    Changed: 3 added" in said.err


def test_ids_ages_sizes_and_the_engine_may_differ(picture):
    text = SHOWN.read_text()
    other = text.replace("0 s ago", "12 s ago").replace("engine: copy", "engine: btrfs-snapshot")
    assert other != text
    assert picture.difference(text, other) is None


def test_readme_shows_it():
    assert "(contrib/session.svg)" in (ROOT / "README.md").read_text()


def test_usage(picture):
    assert picture.main([]) == 2
    assert picture.main(["-x"]) == 2
    assert picture.main(["picture.png"]) == 2
