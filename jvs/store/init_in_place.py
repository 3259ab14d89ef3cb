"""Making a repository out of a directory where it is: none of its files is moved, copied or opened.

The control directory is built as `.jvs.init-XXXXXXXX` in the directory, made durable, and renamed to `.jvs`: that is
all that comes to it. A crash leaves none, or a complete one; what an earlier attempt left is removed first.
Source: jvs-init(1), jvs-protocol(7), Init.
"""

from __future__ import annotations

import os
import stat

from jvs import clock, progress
from jvs.engine import registry
from jvs.errors import Exists, PathEscape, UsageError, from_oserror
from jvs.fs import durable, listing, locks, mounts, paths
from jvs.fs.rooted import Root
from jvs.store import exclusion, init, layout, locating
from jvs.tree.exclusion import RESERVED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.engine.options import EngineOptions
    from jvs.fs.rooted import Below
    from jvs.store.settings import Settings
    from jvs.tree.exclusion import Exclusion

    class Captured(TypedDict):
        """What a first snapshot will hold: how many entries, and the bytes of the files; and the topmost left out."""

        entries: int
        bytes: int
        excluded: list[str]

    class InitializedHere(init.Described):
        """A repository that was made out of a directory, and what its first snapshot will hold."""

        captures: Captured


_GIT_IGNORES_ALL = b"# made by jvs: what is in here is no part of the project\n*\n"


def create(path: str, settings: Settings, *, home: str | None = None) -> InitializedHere:
    """Make the directory at `path` the main worktree of a new repository; its files stay where they are.

    Shape: `repo_root`, `format_version`, `repo_id`, `engine`, `captures`.
    Durable: yes.
    Errors: E_USAGE (`/`, the home directory, no directory), E_EXISTS (a repository, inside one, around one, an entry
    `.jvs`), E_PATH_ESCAPE (something is mounted inside), E_IO, E_NO_SPACE. After an error nothing is left.
    """
    root = os.path.realpath(path)
    if not os.path.isdir(root):
        raise UsageError(f"'{path}' is not a directory", hint="name a directory that is there, or 'jvs init NAME'")
    init.check_place(root, home, named=False)
    try:
        top = Root.open(root).here
    except OSError as error:
        raise from_oserror(error, f"opening '{root}'") from error
    exclude = exclusion.read_at(top, settings)
    refuse_mounts(root, exclude)
    with locks.acquire_directory(top, wait=settings.wait):
        refuse_control(top)
        captures = count(top, exclude)
        sweep(top, settings.engine_options())
        build(top / layout.CONTROL, settings, f"making a repository of '{top}'", path=layout.IN_PLACE, ignored=True)
    progress.effect({"operation": "init"})
    return {**init.describe(root, settings), "captures": captures}


def refuse_mounts(root: str, exclude: Exclusion) -> None:
    """Refuse a directory with something mounted in it that is not excluded. Errors: E_PATH_ESCAPE."""
    below = exclude.points(mounts.points_below(root), root)
    if below:
        raise PathEscape(
            f"mounted inside '{root}': '{below[0]}'", hint="unmount it: jvs neither captures nor moves what is mounted"
        )


def refuse_control(top: Below) -> None:
    """Refuse a directory with an entry `.jvs`. Errors: E_EXISTS."""
    control = top / layout.CONTROL
    if paths.exists(control):
        raise Exists(
            f"'{control}' is there already, and jvs keeps that name for itself",
            hint="move it elsewhere or give it another name",
            path=str(top),
        )


def count(top: Below, exclude: Exclusion) -> Captured:
    """Count what is there and not excluded.

    Errors: E_EXISTS for a repository inside, whose snapshots would be in each of ours; E_IO.
    """
    found: Captured = {"entries": 0, "bytes": 0, "excluded": []}
    listing.allow_deep_trees()
    fd = paths.open_dir(top)
    try:
        with progress.step("look at the files"):
            _count_below(fd, b"", found, exclude)
    finally:
        os.close(fd)
    return found


def _count_below(fd: int, path: bytes, found: Captured, exclude: Exclusion) -> None:
    below = []
    for name, st in zip(*listing.list_dir(fd), strict=True):
        if not path and name.startswith((os.fsencode(init.STAGE), os.fsencode(init.GONE))):
            continue
        if exclude.leaves_out(fd, listing.relative(path, name), st):
            found["excluded"].append(listing.relative(path, name).decode("utf-8", "backslashreplace"))
            continue
        found["entries"] += 1
        if stat.S_ISDIR(st.st_mode):
            below.append(name)
        elif stat.S_ISREG(st.st_mode):
            found["bytes"] += st.st_size
    for name in below:
        try:
            child = paths.open_dir(name, fd)
        except OSError:  # gone meanwhile, or not ours to read: the snapshot will say
            continue
        try:
            if name == RESERVED and locating.is_control(child):
                raise _repository_inside(path)
            _count_below(child, listing.relative(path, name), found, exclude)
        finally:
            os.close(child)


def _repository_inside(path: bytes) -> Exists:
    shown = path.decode("utf-8", "backslashreplace")
    return Exists(
        f"'{shown}' in it is a jvs repository itself",
        hint="move it out first: repositories do not nest",
        path=shown,
    )


def sweep(top: Below, options: EngineOptions) -> None:
    """Remove what dead attempts left; a control directory that was never published holds nothing."""
    for name in listing.names(top):
        if name.startswith((init.STAGE, init.GONE)):
            registry.remove_any(top / name, options)


def build(place: Below, settings: Settings, doing: str, *, path: str, token: str | None = None, ignored: bool) -> None:
    """Build a control directory and give it its name. Durable: yes. Errors: those of the disk, with what was `doing`.

    `path` and `token` say where the main worktree is; `ignored` has git ignore the directory.
    """
    staged = place.parent / (init.STAGE + clock.random_hex(8))
    try:
        durable.make_dir(staged)
        init.check_own(staged, settings)
        init.set_mode(staged, 0o700)  # snapshots may hold secrets, whatever the umask says
        for name in (*layout.DIRECTORIES, layout.FORKS):
            durable.make_dir(paths.below(staged, name.encode()))
        if ignored:
            durable.create_file(staged / ".gitignore", _GIT_IGNORES_ALL)
        init.write_control(staged, settings, path=path, token=token)
        durable.sync_tree(staged)
        durable.publish(staged, place)
    except BaseException as error:
        registry.remove_any(staged, settings.engine_options())
        if isinstance(error, OSError):
            raise from_oserror(error, doing) from error
        raise
