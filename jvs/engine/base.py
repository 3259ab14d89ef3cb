"""Engines: the ways to clone a directory tree, from the cheapest to the one that always works.

All engines keep what the source has (names, content, mode, owner, times, xattrs, ACLs, hard-link groups, holes,
special files) or say in `Cloned.degraded` what they could not keep. Which one was used is never a secret: an engine
that was asked for and does not work here is an error, not another engine.
Source: jvs-engines(7).
"""

from __future__ import annotations

import abc

from jvs.engine.options import BTRFS as BTRFS
from jvs.engine.options import COPY as COPY
from jvs.engine.options import JUICEFS as JUICEFS
from jvs.engine.options import NAMES as NAMES
from jvs.engine.options import REFLINK as REFLINK
from jvs.engine.options import EngineOptions as EngineOptions
from jvs.fs import durable, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.tree import rows as tree_rows
    from jvs.tree import scan
    from jvs.tree.exclusion import Exclusion
    from jvs.tree.shared_leaves import SharedLeaves


class Request:
    """What to clone, and what is known already.

    `target` must not exist; its parent must. `rows` and `known` come from the index; `base_payload` is the
    payload that the rows describe, or None; `head_payload` is another one, whose files were put into the source since
    (by a restore), and `head_node` its topmost node; `base_is_plain` says that `base_payload` has neither hard-link
    groups nor special files, `source_is_plain` that the source, a payload, has no hard-link groups (its files may have
    names in other payloads), `base_is_all` that nothing was left out of the base. `paths` limits a snapshot to some
    paths and the directories that lead to them. `hash` asks for the tree hash on the way, where that is cheaper than a
    walk afterwards. `as_worktree` makes the target's root what a worktree's root is on that filesystem: a subvolume on
    btrfs. `frozen` says that nothing writes to the source: it is a payload. `plain` asks for the hash of
    `sha256-tree-1`; `shared` gives what is known of the large files of `base_payload`; `exclude` says what of the
    source is left out. `watch` is told of each directory of the source, by an engine that walks through it: its path,
    the names in it, and their stats.
    """

    def __init__(
        self,
        source: Below,
        target: Below,
        *,
        rows: tree_rows.Rows | tree_rows.LazyRows | None = None,
        known: tree_rows.Known | None = None,
        base_payload: Below | None = None,
        jobs: int = 1,
        allow_unreadable: bool = False,
        hash: bool = True,
        paths: list[bytes] | None = None,
        as_worktree: bool = False,
        frozen: bool = False,
        plain: bool = False,
        exclude: Exclusion | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.rows = rows
        self.known = known
        self.base_payload = base_payload
        self.base_is_plain = self.base_is_all = self.source_is_plain = False
        self.head_payload: Below | None = None
        self.head_node = b""
        self.jobs = jobs
        self.allow_unreadable = allow_unreadable
        self.hash = hash
        self.paths = paths
        self.as_worktree = as_worktree
        self.frozen = frozen
        self.plain = plain
        self.watch: Callable[[bytes, list[bytes], list[os.stat_result]], None] | None = None
        self.shared: Callable[[], SharedLeaves] | None = None
        self.exclude = exclude


class Cloned:
    """What came of a clone.

    `engine` is the one that did the work. `tree` is the hash of the target when it was taken on the way, else None.
    `moment_ns` and `with_inode` tell `scan.Scanner` how the stamps of the tree relate to those of the source.
    """

    def __init__(
        self,
        engine: str,
        degraded: list[Loss],
        tree: scan.ScanResult | None,
        moment_ns: int,
        *,
        with_inode: bool = True,
    ) -> None:
        self.engine = engine
        self.degraded = degraded
        self.tree = tree
        self.moment_ns = moment_ns
        self.with_inode = with_inode


class Probe:
    """Whether an engine works between two places, and what it costs there: O(1), O(entries) or O(bytes)."""

    def __init__(self, engine: str, works: bool, why: str, cost: str, note: str = "") -> None:
        self.engine = engine
        self.works = works
        self.why = why
        self.cost = cost
        self.note = note


class Engine(abc.ABC):
    """The base of all engines."""

    name = ""
    cost = ""

    def __init__(self, options: EngineOptions) -> None:
        self.options = options

    @abc.abstractmethod
    def probe(self, source_dir: Below, store_dir: Below) -> Probe:
        """Find out whether this engine can clone from one directory to a new one in another.

        A directory that does not exist yet is judged by its parent. Writes nothing that has a name.
        """

    @abc.abstractmethod
    def clone(self, request: Request) -> Cloned:
        """Clone the source to the target. Errors: E_IO, E_NO_SPACE, E_EXISTS, E_CLONE_INCOMPLETE.

        On an error the target may be half there; the caller removes it.
        """

    def fork(self, request: Request) -> Cloned:
        """Clone to a target that can be worked in. Errors: as `clone`."""
        request.as_worktree = True
        return self.clone(request)

    def remove(self, path: Below) -> None:
        """Remove a payload or worktree that this engine made, in the fastest way. Errors: E_IO."""
        remove_plain(path)

    def make_worktree(self, path: Below) -> None:
        """Make an empty worktree. Errors: OSError."""
        durable.make_dir(path, mode=0o777)

    def _answer(self, works: bool, why: str, note: str = "") -> Probe:
        return Probe(self.name, works, why, self.cost, note)


def may_leave_out(source: Below, exclude: Exclusion) -> bool:
    """Answer whether a clone of a whole directory may hold something that is left out: a walk is needed to know."""
    return exclude.has_rules or any(paths.exists(source / name) for name in exclude.names)


def nearest(path: Below) -> Below:
    """Return the place itself, or the nearest directory above it that exists."""
    while path.parts and not paths.is_dir(path):
        path = path.parent
    return path


def remove_plain(path: Below) -> None:
    """Remove a tree entry by entry. Errors: E_IO."""
    from jvs.errors import from_oserror
    from jvs.fs import removal

    try:
        removal.remove_tree(path)
    except OSError as error:
        raise from_oserror(error, f"removing '{path}'") from error


def check_target(target: Below) -> None:
    """Refuse a target that is there already. Errors: E_EXISTS."""
    if paths.exists(target):
        from jvs.errors import Exists

        raise Exists(
            f"'{target}' is there already",
            hint="choose a path that is free: a clone never overwrites",
            path=str(target),
        )


def check_source(source: Below) -> None:
    """Refuse a source that is no directory. Errors: E_NOT_FOUND."""
    if not paths.is_dir(source):
        from jvs.errors import NotFound

        raise NotFound(f"'{source}' is no directory", hint="name an existing directory as the source", path=str(source))
