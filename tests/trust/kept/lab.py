"""A repository that is only used through its commands."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from making import Said, run, violations, write
from treefacts import Facts, describe_tree, diff_trees

RECORDS = ("op.json", "delta.cbor", "held.cbor")


class Lab:
    """One repository: `jvs(...)` runs a command in it that has to succeed, `say(...)` any command."""

    def __init__(self, root: Path, *words: str) -> None:
        self.root = root
        self.main = root / "main"
        self.jvs_dir = root / ".jvs"
        if not self.jvs_dir.exists():
            done = run("init", str(root), *words)
            assert done.exit == 0, done.err

    def say(self, *words: str) -> Said:
        before = os.getcwd()
        os.chdir(self.root)
        try:
            return run(*words)
        finally:
            os.chdir(before)

    def jvs(self, *words: str) -> Said:
        done = self.say(*words)
        assert done.exit == 0, (words, done.exit, done.out, done.err)
        return done

    def json(self, *words: str) -> Any:
        at = words.index("--") if "--" in words else len(words)
        return self.jvs(*words[:at], "--json", *words[at:]).json

    def take(self, note: str = "note", *words: str) -> str:
        return self.json("snapshot", note, *words)["snapshot_id"]

    def restore(self, target: str, *words: str) -> str:
        return self.json("restore", target, *words)["operation_id"]

    def write(self, files: dict[str, str | bytes], name: str = "main") -> None:
        write(self.worktree(name), files)

    def worktree(self, name: str) -> Path:
        return self.main if name == "main" else self.root / "worktrees" / name

    def read(self, path: str) -> bytes:
        return (self.main / path).read_bytes()

    def facts(self, name: str = "main") -> dict[bytes, Facts]:
        return describe_tree(self.worktree(name))

    def operations(self, *words: str) -> list[str]:
        return [record["operation_id"] for record in self.json("undo", "--list", *words)]

    def intents(self) -> list[str]:
        return os.listdir(self.jvs_dir / "intents")

    def visible(self) -> set[str]:
        return {path.stem for path in (self.jvs_dir / "descriptors").iterdir() if path.suffix == ".json"}

    def collect(self, *policy: str) -> list[str]:
        plan = self.json("gc", "plan", *policy)["plan_id"]
        return self.json("gc", "run", "--plan-id", plan)["collected"]

    def kept_bytes(self) -> int:
        return sum(p.lstat().st_size for p in below(self.jvs_dir / "undo") if p.is_file() and p.name not in RECORDS)

    def copy_to(self, root: Path) -> Lab:
        """Copy the repository as `cp -a` does: other inode numbers, everything else the same."""
        subprocess.run(["cp", "-a", str(self.root), str(root)], check=True)
        return Lab(root)

    def check(self, *, recovered: bool = True) -> None:
        found = violations(self.root, recovered=recovered)
        assert not found, found


def below(directory: Path) -> Iterator[Path]:
    """Yield everything below a directory but directories, and nothing below a mount."""
    for where, _, names in os.walk(directory):
        for name in names:
            yield Path(where, name)


def everything(lab: Lab) -> set[str]:
    """Return the digest of the content of every file that a worktree, a visible snapshot, or `undo/` holds."""
    places = [lab.main, lab.root / "worktrees", lab.jvs_dir / "undo"]
    places += [lab.jvs_dir / "snapshots" / name for name in lab.visible()]
    found = set()
    undo = lab.jvs_dir / "undo"
    for place in places:
        for path in below(place):
            if path.name in RECORDS and path.parent.parent == undo:
                continue
            if not path.is_symlink() and path.is_file():
                found.add(hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def digest(data: bytes | str) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()


def same(before: dict[bytes, Facts], now: dict[bytes, Facts]) -> list[str]:
    """Return in which facts two trees differ; where data lies in a file is no fact of the user's."""
    return diff_trees(before, now, ["data"])
