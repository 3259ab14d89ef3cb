"""Making a repository, so that a crash at any instant leaves none, or a whole one.

The control directory is built as `.jvs.init-XXXXXXXX` beside its final place, made durable, and renamed last. What
an earlier, dead attempt left under such a name is finished when it was whole, and removed when it was not.
Source: jvs-init(1), jvs-protocol(7), Init.
"""

from __future__ import annotations

import os
import stat

from jvs import canon, clock, names
from jvs.engine import base as engine
from jvs.engine import registry, traits
from jvs.errors import Exists, IOFailure, NotARepository, PathEscape, UsageError, from_oserror
from jvs.fs import durable, locks, mounts
from jvs.store import audit, layout, records, worktree
from jvs.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.engine.options import EngineOptions
    from jvs.fs.losses import Loss
    from jvs.store.settings import Settings

    class Described(TypedDict):
        """A repository: where it is, and the engine of its main worktree."""

        repo_root: str
        format_version: int
        repo_id: str
        engine: str

    class Initialized(Described):
        """A repository that was made, and what of its source could not be kept."""

        degraded: list[Loss]


_STAGE = ".jvs.init-"
_STAGED_MAIN = "main"


def create(path: str, settings: Settings, *, source: str | None = None, home: str | None = None) -> Initialized:
    """Make a repository at `path`; with `source`, `main` begins as a clone of that directory.

    Shape: `repo_root`, `format_version`, `repo_id`, `engine`, `degraded`.
    Durable: yes.
    Errors: E_NAME_INVALID, E_USAGE (`/`, the home directory), E_EXISTS (a repository, inside one, files in the way),
    E_PATH_ESCAPE (source and target inside each other), E_IO, E_NO_SPACE. After an error nothing is left.
    """
    root = os.path.realpath(path)
    _check_place(root, home)
    if source is not None:
        source = _check_source(source, root)
    made = _make_root(root)
    try:
        with locks.acquire_directory(root, wait=settings.wait):
            return _create_locked(root, settings, source)
    except BaseException:
        if made:
            _remove_if_empty(root)
        raise


def _check_place(root: str, home: str | None) -> None:
    if root == "/" or (home and root == os.path.realpath(home)):
        raise UsageError(
            f"'{root}' cannot become a repository", hint="name a directory of its own: 'jvs init NAME'", path=root
        )
    names.check_worktree_name(os.path.basename(root))
    try:
        above = layout.find_root(root if os.path.isdir(root) else os.path.dirname(root))
    except NotARepository:
        return
    where = "already there" if above == root else f"inside the repository '{above}'"
    raise Exists(
        f"'{root}' is {where}", hint="work in it, or choose a place outside: repositories do not nest", path=above
    )


def _check_source(source: str, root: str) -> str:
    real = os.path.realpath(source)
    if not os.path.isdir(real):
        raise UsageError(f"--from '{source}' is not a directory", hint="name the directory to begin with")
    if root == real or root.startswith(real.rstrip("/") + "/") or real.startswith(root + "/"):
        raise PathEscape(
            f"'{source}' and '{root}' lie inside each other", hint="make the repository next to the directory"
        )
    return real


def _make_root(root: str) -> bool:
    """Make the repository's own directory when it is not there; its parents must be."""
    try:
        os.mkdir(root, 0o777)
        durable.fsync_dir(os.path.dirname(root))
        return True
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(root).st_mode):
            raise Exists(f"'{root}' is not a directory", hint="choose another name") from None
        return False
    except OSError as error:
        raise from_oserror(error, f"making '{root}'") from error


def _remove_if_empty(root: str) -> None:
    try:
        durable.rmdir(root)
    except OSError:
        return


def _create_locked(root: str, settings: Settings, source: str | None) -> Initialized:
    if os.path.lexists(os.path.join(root, layout.CONTROL)):  # somebody was faster
        raise Exists(f"'{root}' is already there", hint="work in it")
    finished = _finish_or_sweep(root, settings.engine_options())
    degraded: list[Loss] = []
    if finished is None:
        _check_empty(root)
        finished, degraded = _build(root, settings, source)
    durable.publish(finished, os.path.join(root, layout.CONTROL))
    durable.fsync_dir(os.path.dirname(root))
    return {**_describe(root, settings), "degraded": degraded}


def _finish_or_sweep(root: str, options: EngineOptions) -> str | None:
    """Return a dead attempt that only lacks its last rename; remove all others."""
    whole = None
    for entry in sorted(os.listdir(root)):
        if not entry.startswith(_STAGE):
            continue
        staged = os.path.join(root, entry)
        if whole is None and _is_whole(root, staged):
            whole = staged
        else:
            registry.remove_any(staged, options)
    return whole


def _is_whole(root: str, staged: str) -> bool:
    """A staged control directory is whole once its main worktree has been moved out, which comes last."""
    there = all(os.path.isdir(os.path.join(staged, name)) for name in layout.DIRECTORIES)
    moved = not os.path.lexists(os.path.join(staged, _STAGED_MAIN))
    return there and moved and os.path.isdir(os.path.join(root, layout.MAIN))


def _check_empty(root: str) -> None:
    for entry in sorted(os.listdir(root)):
        path = os.path.join(root, entry)
        if entry == "worktrees" and os.path.isdir(path) and not os.listdir(path):
            continue  # a dead attempt of ours made it
        raise Exists(
            f"'{root}' is not empty: it holds '{os.fsencode(entry).decode('utf-8', 'backslashreplace')}'",
            hint=f"make the repository next to it and copy the files into it: 'jvs init NAME --from {root}'",
        )


def _build(root: str, settings: Settings, source: str | None) -> tuple[str, list[Loss]]:
    staged = os.path.join(root, _STAGE + clock.random_hex(8))
    forks = os.path.join(root, "worktrees")
    try:
        os.mkdir(staged, 0o700)
        os.chmod(staged, 0o700)  # snapshots may hold secrets, whatever the umask says
        for name in layout.DIRECTORIES:
            os.mkdir(os.path.join(staged, name), 0o700)
        degraded = _build_main(staged, settings, source)
        _write_control(staged, settings, source, degraded)
        durable.sync_tree(staged, skip=_STAGED_MAIN)
        os.makedirs(forks, 0o777, exist_ok=True)
        durable.fsync_dir(root)  # main leaves the stage next: a crash must not keep that and lose the stage or `forks`
        durable.publish(os.path.join(staged, _STAGED_MAIN), os.path.join(root, layout.MAIN))
    except BaseException as error:
        if not os.path.isdir(os.path.join(root, layout.MAIN)):
            registry.remove_any(staged, settings.engine_options())
            _remove_if_empty(forks)
        if isinstance(error, OSError):
            raise from_oserror(error, f"making the repository in '{root}'") from error
        raise
    return staged, degraded


def _build_main(staged: str, settings: Settings, source: str | None) -> list[Loss]:
    """Make the main worktree inside the staging directory: empty, or a clone of `source`."""
    target = os.path.join(staged, _STAGED_MAIN)
    requested, options = settings.get("default_engine"), settings.engine_options()
    if source is None:
        registry.best_for(staged, requested, options).make_worktree(target)
        os.chmod(target, 0o777 & ~_umask())
        registry.pick(requested, target, staged, options)  # one that was asked for and does not work: now, not later
        return []
    if mounts.points_below(source):
        raise IOFailure(f"something is mounted inside '{source}'", hint="unmount it, or begin with an empty repository")
    request = engine.Request(source, target)
    chosen = registry.pick_for_fork(requested, source, staged, options)
    cloned = chosen.fork(request)
    with durable.Barrier(staged) as barrier:
        barrier.sync_trees([] if traits.is_committed(cloned.engine) else [target], [])
    return cloned.degraded


def _umask() -> int:
    before = os.umask(0o077)
    os.umask(before)
    return before


def _write_control(staged: str, settings: Settings, source: str | None, degraded: list[Loss]) -> None:
    repo_id = clock.new_uuid()
    durable.create_file(os.path.join(staged, "format_version"), b"%d\n" % layout.FORMAT_VERSION)
    durable.create_file(os.path.join(staged, "repo_id"), f"{repo_id}\n".encode())
    details: audit.Details = {"format_version": layout.FORMAT_VERSION, "degraded": degraded}
    if source is not None:
        details["from"] = canon.path_json(os.fsencode(source))
    event = audit.event("init", settings.actor, worktree=layout.MAIN, details=details)
    record = audit.chained(event, 1, audit.genesis(repo_id))
    durable.create_file(os.path.join(staged, "audit", "audit.jsonl"), canon.encode(record) + b"\n")
    os.mkdir(os.path.join(staged, "worktrees", layout.MAIN), 0o700)
    config = worktree.new_config(layout.MAIN, event_id=event["event_id"])
    records.save(os.path.join(staged, "worktrees", layout.MAIN, "config.json"), config)


def _describe(root: str, settings: Settings) -> Described:
    store = Store.open(root, settings)
    return {
        "repo_root": root,
        "format_version": layout.FORMAT_VERSION,
        "repo_id": store.repo_id,
        "engine": store.engine(layout.MAIN).name,
    }
