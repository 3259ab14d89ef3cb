"""The modules that these tests share are next to them, and next to those of what is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for directory in (HERE, HERE.parent / "kept"):
    if str(directory) not in sys.path:
        sys.path.append(str(directory))  # importlib mode puts nothing there

from lab import Lab  # noqa: E402
from sample import filled  # noqa: E402


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A repository in which a snapshot was taken."""
    return filled(Lab(tmp_path / "r"))
