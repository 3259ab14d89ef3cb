"""A tree as deep as the kernel lets it be is no reason for a command to fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from lab import Lab

LEVELS = 1_200


@pytest.fixture(autouse=True)
def own_recursion_limit():
    """Each command of these tests begins as a new process does."""
    before = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(max(before, 1_000))


def test_every_command_works_on_a_tree_of_1200_levels(tmp_path: Path, monkeypatch) -> None:
    from jvs.fs import listing

    lab = Lab(tmp_path / "r")
    make_deep(lab.main)
    for words in (
        ("snapshot", "one", "--engine", "copy"),
        ("worktree", "fork", "HEAD", "x"),
        ("status",),
        ("diff", "HEAD"),
        ("verify", "HEAD"),
        ("snapshot", "two", "--engine", "copy"),
        ("restore", "HEAD~1"),
        ("undo",),
        ("worktree", "remove", "x", "--discard"),
        ("gc", "plan"),
    ):
        sys.setrecursionlimit(1_000)
        monkeypatch.setattr(listing, "_deep", False)
        lab.jvs("-c", "default_engine=copy", *words)
        if words[0] == "verify":
            change_deep(lab.main)


def make_deep(top: Path) -> None:
    before = os.getcwd()
    os.chdir(top)
    for _ in range(LEVELS):
        os.mkdir("d")
        os.chdir("d")
    Path("f").write_text("deep")
    os.chdir(before)


def change_deep(top: Path) -> None:
    before = os.getcwd()
    os.chdir(top)
    for _ in range(LEVELS):
        os.chdir("d")
    Path("f").write_text("changed")
    os.chdir(before)
