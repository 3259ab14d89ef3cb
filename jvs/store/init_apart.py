"""Making a repository out of a directory where it is, with its control directory elsewhere on the same filesystem.

All that comes to the directory is the pointer. Who sees the directory alone, as a sandbox may, cannot reach history.
The control directory is built under a temporary name next to its own, made durable and renamed; then the pointer is
written. A crash between leaves a repository without snapshots that nothing leads to: the same command completes it.
Source: jvs-init(1), jvs-protocol(7), Init.
"""

from __future__ import annotations

import os

from jvs import canon, progress, system
from jvs.errors import Exists, PathEscape, UsageError, from_oserror
from jvs.fs import locks, paths
from jvs.fs.rooted import Root
from jvs.store import exclusion, init, init_in_place, layout, locating, placement, pointer, remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.init_in_place import InitializedHere
    from jvs.store.settings import Settings


def create(path: str, control: str, settings: Settings, *, home: str | None = None) -> InitializedHere:
    """Make the directory at `path` the main worktree of a new repository whose control directory is `control`.

    Shape: as `init_in_place.create`; `repo_root` is the control directory. Durable: yes.
    Errors: those of `init_in_place.create`; E_PATH_ESCAPE on another filesystem, and when one lies in the other.
    """
    root = os.path.realpath(path)
    if not os.path.isdir(root):
        raise UsageError(f"'{path}' is not a directory", hint="name a directory that is there")
    top, place = _open(root), placement.new_place(control)
    _check_places(root, top, place, home)
    exclude = exclusion.read_at(top, settings)
    init_in_place.refuse_mounts(root, exclude)
    with locks.acquire_directory(top, wait=settings.wait):
        init_in_place.refuse_control(top)
        captures = init_in_place.count(top, exclude)
        token = _left_by_a_crash(place, root)
        if token is None:
            token = _build(place, root, settings)
        _point(top, place, token)
    progress.effect({"operation": "init"})
    made = init.describe(str(place), settings, workspace=root)
    if not remembered.is_on(settings):
        progress.remark("there is no home: nothing outside remembers where this workspace leads")
    return {**made, "captures": captures}


def _open(root: str) -> Below:
    try:
        return Root.open(root).here
    except OSError as error:
        raise from_oserror(error, f"opening '{root}'") from error


def _check_places(root: str, top: Below, place: Below, home: str | None) -> None:
    shown = str(place)
    init.check_place(root, home, named=False)
    if locating.is_control_at(shown):
        init.check_place(os.path.dirname(shown), None, named=False)
    else:
        init.check_place(shown, home, named=False)
    if (shown + "/").startswith(root.rstrip("/") + "/") or (root + "/").startswith(shown + "/"):
        raise PathEscape(
            f"'{shown}' and '{root}' lie in each other", hint="choose a control directory outside of the workspace"
        )
    fd = paths.open_dir(place.parent)
    try:
        same = _mount(fd) == _mount(top.root.fd)
    finally:
        os.close(fd)
    if not same:
        raise PathEscape(
            f"'{shown}' is on another filesystem than '{root}'",
            hint="choose a place on that filesystem: what a restore displaces is moved there, not copied",
        )


def _mount(fd: int) -> int:
    found = system.mount_id(fd)
    return os.fstat(fd).st_dev if found is None else found


def _left_by_a_crash(place: Below, root: str) -> str | None:
    """Return the token of a repository that was made for this very directory and never used; None when none is there.

    Errors: E_EXISTS for anything else.
    """
    if not paths.exists(place):
        return None
    try:
        data = paths.read_file(place / "worktrees" / layout.MAIN / "config.json", 1 << 20)
        config = canon.decode_object(data)
    except (OSError, canon.BadJSON):
        config = {}
    token = config.get("token")
    unused = config.get("latest_snapshot_id", "") is None and not paths.exists(place / "gc" / "reserve")
    if unused and config.get("path") == placement.way(str(place), root) and pointer.is_token(token):
        return str(token)
    raise Exists(f"'{place}' is there already", hint="choose another control directory", path=str(place))


def _build(place: Below, root: str, settings: Settings) -> str:
    """Build the control directory and give it its name; return the token of its main worktree. Durable: yes."""
    token = pointer.new_token()
    init_in_place.sweep(place.parent, settings.engine_options())
    doing, way = f"making the control directory '{place}'", placement.way(str(place), root)
    init_in_place.build(place, settings, doing, path=way, token=token, ignored=False)
    return token


def _point(top: Below, place: Below, token: str) -> None:
    try:
        repo_id = paths.read_file(place / "repo_id", 128).decode("ascii", "replace").strip()
        way = placement.way(str(top), str(place))
        again = f"{0:013}-{repo_id[:8]}"  # the name that a second attempt uses again, and so takes away
        pointer.write(top, repo_id, way, token, again)
    except OSError as error:
        raise from_oserror(error, f"writing the pointer in '{top}'") from error
