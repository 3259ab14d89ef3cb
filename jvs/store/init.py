"""Making a repository, so that a crash at any instant leaves none, or a complete one.

The control directory is built as `.jvs.init-XXXXXXXX` next to its final place, made durable, and renamed last. What
an earlier, dead attempt left under such a name is finished when it was complete, and removed when it was not.
Source: jvs-init(1), jvs-protocol(7), Init.
"""

from __future__ import annotations

import os

from jvs import canon, clock, names, progress
from jvs.engine import base as engine
from jvs.engine import registry, traits
from jvs.errors import Exists, IOFailure, NotARepository, PathEscape, UsageError, from_oserror
from jvs.fs import durable, listing, locks, mounts, paths, rooted
from jvs.fs.rooted import Root
from jvs.store import audit, finding, layout, locating, ownership, records, remembered, worktree
from jvs.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypedDict

    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
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


STAGE = ".jvs.init-"
"""How the name of a control directory begins while it is being made."""
GONE = ".jvs.gone-"
"""How the name of a control directory begins that is being removed."""
_STAGED_MAIN = "main"


def create(path: str, settings: Settings, *, source: str | None = None, home: str | None = None) -> Initialized:
    """Make a repository at `path`; with `source`, `main` begins as a clone of that directory.

    Shape: `repo_root`, `format_version`, `repo_id`, `engine`, `degraded`.
    Durable: yes.
    Errors: E_NAME_INVALID, E_USAGE (`/`, the home directory), E_EXISTS (a repository, inside one, files in the way,
    a `.jvs` in `source`), E_PATH_ESCAPE (source and target inside each other), E_IO, E_NO_SPACE. After an error
    nothing is left.
    """
    root = os.path.realpath(path)
    check_place(root, home)
    origin = None if source is None else _check_source(source, root)
    place = find_place(root)
    made = _make_root(place)
    try:
        top = Root(root, paths.open_dir(place)).here
        with locks.acquire_directory(top, wait=settings.wait):
            return _create_locked(top, settings, origin)
    except BaseException:
        if made:
            _remove_if_empty(place)
        raise


def check_place(root: str, home: str | None, *, named: bool = True) -> None:
    """Refuse `/`, the home directory, and what is in a repository; with `named` also what is no name for one.

    Errors: E_USAGE, E_NAME_INVALID, E_EXISTS.
    """
    if root == "/" or (home and root == os.path.realpath(home)):
        raise UsageError(
            f"'{root}' cannot become a repository", hint="name a directory of its own: 'jvs init NAME'", path=root
        )
    if named:
        names.check_worktree_name(os.path.basename(root))
    around = finding.workspace_around(root if os.path.isdir(root) else os.path.dirname(root))
    try:
        above = around or locating.find_root(root if os.path.isdir(root) else os.path.dirname(root))
    except NotARepository:
        return
    where = "already there" if above == root else f"inside the repository '{above}'"
    raise Exists(
        f"'{root}' is {where}", hint="work in it, or choose a place outside: repositories do not nest", path=above
    )


def _check_source(source: str, root: str) -> Below:
    real = os.path.realpath(source)
    if not os.path.isdir(real):
        raise UsageError(f"--from '{source}' is not a directory", hint="name the directory to begin with")
    if root == real or root.startswith(real.rstrip("/") + "/") or real.startswith(root + "/"):
        raise PathEscape(
            f"'{source}' and '{root}' lie inside each other", hint="make the repository next to the directory"
        )
    place = find_place(real)
    _refuse_control(place)
    return place


def _refuse_control(source: Below) -> None:
    """Refuse a directory with a `.jvs`: in main, every command would take it for the repository. Errors: E_EXISTS."""
    if not paths.exists(source / layout.CONTROL):
        return
    if paths.is_dir(source / layout.CONTROL / "worktrees"):
        what = f"'{source}' is a repository itself"
        hint = f"begin with its files: --from '{source / layout.MAIN}'; contrib/jvs-sync copies a whole repository"
    else:
        what = f"'{source}' holds an entry '{layout.CONTROL}', which jvs keeps for itself"
        hint = f"move '{source / layout.CONTROL}' elsewhere first"
    raise Exists(what, hint=hint, path=str(source))


def find_place(path: str) -> Below:
    """Return the place that a person named, in the directory that holds it. Errors: E_IO."""
    try:
        return rooted.at(path)
    except OSError as error:
        raise from_oserror(error, f"opening the directory of '{path}'") from error


def _make_root(root: Below) -> bool:
    """Make the repository's own directory when it is not there; its parents must be."""
    try:
        durable.make_dir(root, mode=0o777)
        durable.fsync_dir(root.parent)
        return True
    except FileExistsError:
        if not paths.is_dir(root):
            raise Exists(f"'{root}' is not a directory", hint="choose another name") from None
        return False
    except OSError as error:
        raise from_oserror(error, f"making '{root}'") from error


def _remove_if_empty(root: Below) -> None:
    try:
        durable.rmdir(root)
    except OSError:
        return


def _create_locked(root: Below, settings: Settings, source: Below | None) -> Initialized:
    if paths.exists(root / layout.CONTROL):  # somebody was faster
        raise Exists(f"'{root}' is already there", hint="work in it")
    finished = _finish_or_sweep(root, settings)
    degraded: list[Loss] = []
    if finished is None:
        _check_empty(root)
        degraded = build(root, settings, source)
    else:
        durable.publish(finished, root / layout.CONTROL)
    durable.fsync_dir(find_place(str(root)).parent)
    progress.effect({"operation": "init"})
    return {**describe(str(root), settings), "degraded": degraded}


def _finish_or_sweep(root: Below, settings: Settings) -> Below | None:
    """Return a dead attempt of ours that only lacks its last rename; remove all others. Errors: E_PATH_ESCAPE."""
    whole = None
    for entry in listing.names(root):
        if not entry.startswith((STAGE, GONE)):
            continue
        staged = root / entry
        if entry.startswith(GONE):
            registry.remove_any(staged, settings.engine_options())
            continue
        check_own(staged, settings)
        if whole is None and _is_whole(root, staged):
            whole = staged
        else:
            registry.remove_any(staged, settings.engine_options())
    return whole


def check_own(staged: Below, settings: Settings) -> None:
    """Refuse a control directory in the making that is not our own. Errors: E_PATH_ESCAPE; OSError."""
    ownership.check_made(settings, Root(str(staged), paths.open_dir(staged)))


def _is_whole(root: Below, staged: Below) -> bool:
    """A staged control directory is complete once its main worktree has been moved out, which comes last.

    One for a repository in place is made anew: nothing tells whether it is complete, and it holds nothing yet.
    """
    if paths.exists(staged / layout.FORKS):
        return False
    there = all(paths.is_dir(paths.below(staged, name.encode())) for name in layout.DIRECTORIES)
    moved = not paths.exists(staged / _STAGED_MAIN)
    return there and moved and paths.is_dir(root / layout.MAIN)


def _check_empty(root: Below) -> None:
    for entry in listing.names(root):
        path = root / entry
        if entry == "worktrees" and paths.is_dir(path) and not listing.names(path):
            continue  # a dead attempt of ours made it
        raise Exists(
            f"'{root}' is not empty: it holds '{os.fsencode(entry).decode('utf-8', 'backslashreplace')}'",
            hint=f"'jvs init --here {root}' makes the directory itself the workspace; "
            f"'jvs init NAME --from {root}' clones its files into a new one",
        )


def build(root: Below, settings: Settings, source: Below | None = None) -> list[Loss]:
    """Build a repository in an empty directory, the control directory last; return what of `source` was not kept.

    Durable: yes. Errors: E_IO, E_NO_SPACE; what could not be completed is removed.
    """
    staged, degraded = _build(root, settings, source)
    durable.publish(staged, root / layout.CONTROL)
    return degraded


def _build(root: Below, settings: Settings, source: Below | None) -> tuple[Below, list[Loss]]:
    staged, forks, main = root / (STAGE + clock.random_hex(8)), root / "worktrees", root / layout.MAIN
    try:
        durable.make_dir(staged)
        check_own(staged, settings)
        set_mode(staged, 0o700)  # snapshots may hold secrets, whatever the umask says
        for name in layout.DIRECTORIES:
            durable.make_dir(paths.below(staged, name.encode()))
        degraded = _build_main(staged, settings, source)
        write_control(staged, settings, source, degraded=degraded)
        durable.sync_tree(staged, skip=_STAGED_MAIN)
        if not paths.exists(forks):
            durable.make_dir(forks, mode=0o777)
        durable.fsync_dir(root)  # main leaves the stage next: a crash must not keep that and lose the stage or `forks`
        durable.publish(staged / _STAGED_MAIN, main)
    except BaseException as error:
        if not paths.is_dir(main):
            registry.remove_any(staged, settings.engine_options())
            _remove_if_empty(forks)
        if isinstance(error, OSError):
            raise from_oserror(error, f"making the repository in '{root}'") from error
        raise
    return staged, degraded


def set_mode(place: Below, mode: int) -> None:
    """Give a directory a mode, whatever the umask says. Errors: OSError."""
    fd = paths.open_dir(place)
    try:
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _build_main(staged: Below, settings: Settings, source: Below | None) -> list[Loss]:
    """Make the main worktree inside the staging directory: empty, or a clone of `source`."""
    target = staged / _STAGED_MAIN
    requested, options = settings.get("default_engine"), settings.engine_options()
    if source is None:
        registry.best_for(staged, requested, options).make_worktree(target)
        set_mode(target, 0o777 & ~_umask())
        registry.pick(requested, target, staged, options)  # one that was asked for and does not work: now, not later
        return []
    if mounts.points_below(str(source)):
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


def write_control(
    staged: Below,
    settings: Settings,
    source: Below | None = None,
    *,
    degraded: Iterable[Loss] = (),
    path: str | None = None,
    token: str | None = None,
) -> None:
    """Write the files of a new control directory; `path` is where main will be. Durable: their content."""
    repo_id = clock.new_uuid()
    durable.create_file(staged / "format_version", b"%d\n" % layout.FORMAT_VERSION)
    durable.create_file(staged / "repo_id", f"{repo_id}\n".encode())
    details: audit.Details = {"format_version": layout.FORMAT_VERSION, "degraded": list(degraded)}
    if path is not None:
        details["path"] = path
    if source is not None:
        details["from"] = canon.path_json(os.fsencode(str(source)))
    event = audit.event("init", settings.actor, worktree=layout.MAIN, details=details)
    record = audit.chained(event, 1, audit.genesis(repo_id))
    durable.create_file(staged / "audit" / "audit.jsonl", canon.encode(record) + b"\n")
    home = staged / "worktrees" / layout.MAIN
    durable.make_dir(home)
    config = worktree.new_config(layout.MAIN, event_id=event["event_id"], path=path, token=token)
    records.save(home / "config.json", config)


def describe(root: str, settings: Settings, *, workspace: str | None = None) -> Described:
    """Return what a repository is that was just made, and remember where it is. Errors: as opening it."""
    store = Store.open_found(finding.named(root), settings)
    kind = remembered.DIRECTORY if workspace is None else remembered.POINTER
    remembered.remember(settings, workspace or root, store.repo_id, kind)
    return {
        "repo_root": root,
        "format_version": layout.FORMAT_VERSION,
        "repo_id": store.repo_id,
        "engine": store.engine(layout.MAIN).name,
    }
