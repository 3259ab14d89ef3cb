"""Repositories for tests that run programs as a person runs them; `running` says how."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Lab


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Return a function that makes a repository in a directory (by default in the test's own)."""

    def make(where: Path | None = None, name: str = "lab", *options: str) -> Lab:
        lab = Lab((where or tmp_path) / name)
        lab.must("init", *options, str(lab.root), cwd=where or tmp_path)
        return lab

    yield make
    os.chdir("/")


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """Return a repository with one small file in main and no snapshot."""
    made = make_lab()
    (made.main / "a").write_text("1\n")
    return made


@pytest.fixture(scope="module")
def template_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository with two snapshots, to be copied."""
    where = tmp_path_factory.mktemp("template")
    lab = Lab(where / "lab")
    lab.must("init", str(lab.root), cwd=where)
    lab.snapshot("one", a="1\n")
    lab.snapshot("two", a="2\n")
    return where


@pytest.fixture
def two(template_of_two: Path, tmp_path: Path) -> Lab:
    """Return a repository with two snapshots."""
    subprocess.run(["cp", "-a", f"{template_of_two}/.", str(tmp_path)], check=True)
    return Lab(tmp_path / "lab")
