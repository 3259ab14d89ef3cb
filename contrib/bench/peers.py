"""What other tools take for the same step: keeping a second state of a tree after some files changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from measure import Took, run

PEERS = ("git", "rsync", "restic", "borg")


def installed(names: list[str]) -> list[str]:
    return [name for name in names if shutil.which(name)]


class Peer:
    """A tool with a copy of the tree of its own, so that it never disturbs the stamps of the worktree."""

    def __init__(self, name: str, base: Path, source: Path) -> None:
        self.name = name
        self.tree = base / f"{name}-tree"
        self.store = base / f"{name}-store"
        self.serial = 0
        subprocess.run(["cp", "-a", str(source), str(self.tree)], check=True)
        os.environ |= {
            "RESTIC_PASSWORD": "x",
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "RESTIC_CACHE_DIR": str(base / "restic-cache"),
            "BORG_BASE_DIR": str(base / "borg-base"),
        }
        self._setup()
        self.second()

    def _setup(self) -> None:
        if self.name == "git":
            for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
                subprocess.run([*self._git(), *words], check=True)
        elif self.name == "rsync":
            self.store.mkdir()
        elif self.name == "restic":
            run(["restic", "-q", "init", "-r", str(self.store)])
        else:
            run(["borg", "init", "-e", "none", str(self.store)])

    def _git(self) -> list[str]:
        return ["git", "-C", str(self.tree), "-c", "user.name=b", "-c", "user.email=b@b", "-c", "gc.auto=0"]

    def second(self) -> Took:
        """Keep the state of the tree as it is now."""
        self.serial += 1
        if self.name == "git":
            added = run([*self._git(), "add", "-A"])
            done = run([*self._git(), "commit", "-q", "--allow-empty", "-m", "second"])
            return added[0] + done[0], max(added[1], done[1])
        if self.name == "rsync":
            before = [f"--link-dest={self.store / str(self.serial - 1)}"] if self.serial > 1 else []
            return run(["rsync", "-a", *before, f"{self.tree}/", str(self.store / str(self.serial))])
        if self.name == "restic":
            return run(["restic", "-q", "backup", "-r", str(self.store), str(self.tree)])
        return run(["borg", "create", f"{self.store}::{self.serial}", str(self.tree)])
