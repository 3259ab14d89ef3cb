"""The picture in README.md shows what happens: its session is run again and compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def picture(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "contrib/picture", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def test_the_picture_shows_what_happens():
    done = picture("--check", ROOT / "contrib/session.svg")
    assert done.returncode == 0, done.stderr


def test_a_picture_that_shows_something_else_is_noticed(tmp_path):
    other = tmp_path / "other.svg"
    text = (ROOT / "contrib/session.svg").read_text()
    assert "2 added, 1 modified" in text
    other.write_text(text.replace("2 added, 1 modified", "3 added"))
    done = picture("--check", other)
    assert (done.returncode, done.stdout) == (1, "")
    assert "make it again" in done.stderr


def test_readme_shows_it():
    assert "(contrib/session.svg)" in (ROOT / "README.md").read_text()


def test_usage():
    assert picture().returncode == 2
    assert picture("-x").returncode == 2
