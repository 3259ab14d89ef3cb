"""A worktree that is copied again and again, for tests of engines that copy."""

from __future__ import annotations

from pathlib import Path

import making
import pytest
from treefacts import describe_tree, diff_trees

from jvs.check import verify
from jvs.engine import base as engine
from jvs.engine import registry
from jvs.tree import parallel, racy, workers


def share_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let even small trees be shared by three processes, also next to the threads of the test runner."""
    monkeypatch.setattr(parallel, "has_threads", lambda: False)
    monkeypatch.setattr(workers, "LEAST_ENTRIES", 1)
    monkeypatch.setattr(workers, "LEAST_FILES", 1)
    monkeypatch.setattr(workers.Workers, "processes", 3)
    monkeypatch.setattr(racy, "RACY_NS", 0)


class Line:
    """A worktree and copies of it, each with what the index would know of the one before."""

    def __init__(self, root: Path, name: str = engine.COPY) -> None:
        self.root, self.main, self.name = root, root / "main", name
        self.rows: dict = {}
        self.nodes: dict = {}
        self.base: Path | None = None

    def copy(self, name: str, *, jobs: int = 3, hash: bool = True, remember: bool = True) -> engine.Cloned:
        target = self.root / name
        base = None if self.base is None else making.at(self.base)
        request = engine.Request(
            making.at(self.main),
            making.at(target),
            rows=self.rows,
            known=making.Known(self.nodes),
            base_payload=base,
            jobs=jobs,
            hash=hash,
        )
        made = registry.get(self.name, making.engine_options()).clone(request)
        if made.tree is not None and remember:
            self.rows.update({path: (row, digest) for path, row, digest in made.tree.rows})
            self.nodes.update(made.tree.nodes)
            self.base = target
        return made

    def check(self, name: str, made: engine.Cloned) -> None:
        assert diff_trees(describe_tree(self.main), describe_tree(self.root / name)) == []
        if made.tree is not None:
            assert made.tree.root_hash == verify.hash_directory(making.at(self.root / name)).root_hash


def old_files(root: Path, count: int = 12, directories: tuple[str, ...] = ("a", "a/b", "c")) -> None:
    """Make files whose stamps are old enough to be kept."""
    making.write(root, {f"{d}/f{i:02}": f"{d} {i}" for d in directories for i in range(count)})
