"""The modules that these tests share are next to them, and next to those of what is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for directory in (HERE, HERE.parent / "kept"):
    if str(directory) not in sys.path:
        sys.path.append(str(directory))  # importlib mode puts nothing there

from lab import Lab  # noqa: E402


def filled(lab: Lab) -> Lab:
    """Put files, a hard-link group and a symlink into a worktree, and take a snapshot with the tag `first`."""
    lab.write({"a": "one", "b": "two", "d/x": "x", "d/e/y": "y"})
    os.link(lab.main / "a", lab.main / "d/linked")
    os.symlink("a", lab.main / "link")
    lab.take("first", "-t", "first")
    return lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A repository in which a snapshot was taken."""
    return filled(Lab(tmp_path / "r"))
