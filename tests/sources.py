"""The sources as trees, parsed once for all tests that read them: these are one group, so that one worker has them."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

group = pytest.mark.xdist_group("sources")


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the tree of a source file; nobody may change it."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))
