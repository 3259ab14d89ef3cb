"""Repositories, snapshots and commands for tests, all in this process."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jvs.cli import commands
from jvs.cli import run as cli
from jvs.engine.options import EngineOptions
from jvs.fs import rooted
from jvs.publish import run as publishing
from jvs.store import changing, init
from jvs.store.settings import Settings
from jvs.store.store import Store
from jvs.tree import rows

CONFORMANCE = Path(__file__).resolve().parent.parent / "conformance"


class Known(rows.Known):
    """Nodes and totals at hand, as an index has them."""

    def __init__(self, nodes: dict, totals: dict | None = None) -> None:
        self.nodes = nodes
        self.totals = totals or {}

    def node(self, digest: bytes) -> bytes | None:
        return self.nodes.get(digest)

    def total(self, node: bytes) -> rows.Total | None:
        return self.totals.get(node)


def at(path: Any) -> Any:
    """Return the place of a path, for what works on places only; places, names and descriptors stay as they are."""
    return rooted.at(os.fspath(path)) if isinstance(path, str | Path) else path


def remove(path: Path) -> None:
    """Remove a file, a link, or a directory with what is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


class Said(NamedTuple):
    """What a command left behind."""

    exit: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode("utf-8")

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error object that `--json` puts on stderr, behind whatever remarks came first."""
        return json.loads(self.err[self.err.index('{\n  "error"') :])["error"]


class _Stream(io.TextIOWrapper):
    """A stream that keeps what was written when it is closed."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", errors="strict", write_through=True)


@contextlib.contextmanager
def streams(stdin: bytes) -> Iterator[tuple[_Stream, _Stream]]:
    """Give the commands a stdin, a stdout and a stderr of their own."""
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = _Stream(), _Stream()
    sys.stdin, sys.stdout, sys.stderr = _Stream(stdin), out, err
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def run(*words: str, stdin: bytes = b"") -> Said:
    """Run `jvs WORDS` in this process."""
    return _call(cli.main, words, stdin)


def plumb(name: str, *words: str, stdin: bytes = b"") -> Said:
    """Run `jvs-NAME WORDS` in this process, as its console script does."""
    return _call(importlib.import_module(commands.module_of(name)).main, words, stdin)


def _call(main: Any, words: tuple[str, ...], stdin: bytes) -> Said:
    with streams(stdin) as (out, err):
        code = main(list(words))
        out.flush()
        err.flush()
        return Said(code, out.buffer.getvalue(), err.buffer.getvalue().decode("utf-8"))


def settings(*overrides: str, **more: Any) -> Settings:
    """Return settings as a command would, from the test's environment."""
    return Settings.from_environment(os.environ, overrides=list(overrides), **more)


def engine_options(**changes: Any) -> EngineOptions:
    """Return the options that engines have by default, with changes."""
    return EngineOptions(**{"binary": None, "control": "auto", "search_path": os.environ.get("PATH"), **changes})


def make_store(root: str | Path, *overrides: str, **more: Any) -> Store:
    """Make a repository and open it."""
    init.create(str(root), settings(*overrides, **more))
    return open_store(root, *overrides, **more)


def open_store(root: str | Path, *overrides: str, **more: Any) -> Store:
    """Open a repository as a new process would."""
    return Store.open(str(root), settings(*overrides, **more))


def write(root: str | Path, files: dict[str, str | bytes]) -> None:
    """Write small files below a directory, making the directories on the way."""
    for name, content in files.items():
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def main_of(store: Store) -> Path:
    """Return the directory of the main worktree."""
    return Path(store.root) / "main"


def snapshot(store: Store, note: str = "", name: str = "main", **more: Any) -> dict[str, Any]:
    """Take a snapshot as `jvs snapshot` does, and return its descriptor."""
    with changing.worktree(store, name):
        return publishing.publish(store, name, note=note, **more)


def descriptors() -> set[str]:
    """Return the numbers of this process's open files, after those were closed that earlier tests left to chance."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    """Return the processes that this one began and that are still there."""
    return {child for tasks in Path("/proc/self/task").glob("*/children") for child in tasks.read_text().split()}


NOBODY = 65533
"""A user who has no files."""


def as_nobody(act: Callable[[], object]) -> None:
    """Call something in a child process that is no user in particular."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def violations(root: str | Path, *, recovered: bool = True) -> list[str]:
    """Return what the independent reader of conformance/ finds wrong with a repository."""
    return [str(found) for found in _oracle().check_repository(str(root), recovered=recovered)]


def _oracle() -> Any:
    if str(CONFORMANCE) not in sys.path:
        sys.path.append(str(CONFORMANCE))
    return importlib.import_module("lib.oracle")


def oracle_module(name: str) -> Any:
    """Return one of the modules of conformance/lib/: `canonical`, `reader`, `records`, `treehash`, `oracle`."""
    _oracle()
    return importlib.import_module("lib." + name)


def begun(store, plan, plan_id):
    """Write the intent of a collection, as a run does first, and return it."""
    from jvs import clock
    from jvs.store import audit, intent, write_ahead

    event = audit.event("gc_run", store.actor, target=plan_id, reason="collection", details={"plan_id": plan_id})
    return write_ahead.begin(
        store,
        "gc_run",
        None,
        event,
        operation_id=clock.new_operation_id(),
        owner=intent.owner(locked=True),
        plan_id=plan_id,
        candidates=plan.candidates,
    )
