"""A repository with a bit of everything in one snapshot."""

from __future__ import annotations

import os

from lab import Lab


def filled(lab: Lab) -> Lab:
    """Put files, a hard-link group and a symlink into a worktree, and take a snapshot with the tag `first`."""
    lab.write({"a": "one", "b": "two", "d/x": "x", "d/e/y": "y"})
    os.link(lab.main / "a", lab.main / "d/linked")
    os.symlink("a", lab.main / "link")
    lab.take("first", "-t", "first")
    return lab
