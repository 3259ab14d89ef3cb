"""Where a worktree is that lies outside of its repository, and whether the directory there is the one that was meant.

A configuration names the place relative to the repository, so that another host may mount the volume elsewhere. What
is there counts only when its pointer has the token of the configuration and belongs to the owner of the control
directory: a record of a repository that somebody else made leads to no directory that does not agree. A place where
nothing is, because its disk is not mounted, makes the worktree `offline`: its snapshots stay protected, and nothing
is made in its place. While a worktree moves or is attached, its configuration says where it was as well.
Source: jvs-format(5), Worktree configuration; jvs-protocol(7), Worktrees elsewhere.
"""

from __future__ import annotations

import os

from jvs import system
from jvs.errors import PathEscape, from_oserror
from jvs.fs import durable, paths
from jvs.fs.rooted import Root
from jvs.store import pointer, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvs.fs.rooted import Below
    from jvs.store.pointer import Pointer

BOUND, OFFLINE, STRANGE = "bound", "offline", "strange"
"""The directory that was meant is there; nothing is there; something else is there."""


class Placed:
    """A place, what is there (`state`), and its path from the repository's directory."""

    __slots__ = ("directory", "path", "state")

    def __init__(self, directory: Below, path: str, state: str) -> None:
        self.directory = directory
        self.path = path
        self.state = state


def is_elsewhere(config: Mapping[str, object]) -> bool:
    """Answer whether a configuration, checked or not, names a place outside of the repository."""
    return pointer.is_way(config.get("path"))


def leads_to_itself(root: str, config: Mapping[str, object]) -> bool:
    """Answer whether a configuration names the repository's own directory: it is about to be detached."""
    return is_elsewhere(config) and os.path.normpath(os.path.join(root, str(config["path"]))) == root


_WAS = records.shaped(
    {
        "path": records.nullable(lambda value: pointer.is_way(value) or value == "."),
        "token": records.nullable(pointer.is_token),
    }
)


def was_usual(config: Mapping[str, object]) -> bool:
    """Answer whether a worktree is on its way from the place that worktrees have inside of the repository."""
    was = config.get("was")
    return isinstance(was, dict) and was.get("path") is None


def is_before(value: object) -> bool:
    """Answer whether a value says where a worktree was before it is moved or attached, and with which token."""
    return _WAS(value)


def at(root: str, path: str) -> Below:
    """Return the place that a path from the repository names, in the nearest directory above that is there.

    Errors: E_IO.
    """
    wanted = os.path.normpath(os.path.join(root, path))
    missing: list[str] = []
    above = os.path.dirname(wanted)
    missing.append(os.path.basename(wanted))
    while True:
        try:
            opened = Root.open(os.path.realpath(above))
            break
        except (FileNotFoundError, NotADirectoryError):
            missing.append(os.path.basename(above))
            above = os.path.dirname(above)
        except OSError as error:
            raise from_oserror(error, f"opening '{above}'") from error
    place = opened.here
    for name in reversed(missing):
        place = place / name
    return place


def find(root: str, control: Root, config: Mapping[str, object]) -> Placed:
    """Return where a worktree elsewhere is. Errors: E_IO.

    Shape: `config` has `path` and `token`, and perhaps `was`; the place's root has the limits of the control directory.
    """
    was = config.get("was")
    before = was if isinstance(was, dict) and is_before(was) else None
    tokens = [config.get("token"), *([before["token"]] if before else [])]
    placed = [_look(root, control, str(config["path"]), tokens)]
    if before is not None and placed[0].state != BOUND and pointer.is_way(before["path"]):
        placed.append(_look(root, control, before["path"], tokens))
    return next((one for one in placed if one.state == BOUND), placed[0])


def _look(root: str, control: Root, path: str, tokens: list[object]) -> Placed:
    directory = at(root, path)
    directory.root.owner, directory.root.refusal = control.owner, control.refusal
    if not paths.exists(directory):
        return Placed(directory, path, OFFLINE)
    return Placed(directory, path, BOUND if holds(directory, control, tokens) else STRANGE)


def holds(directory: Below, control: Root, tokens: list[object]) -> bool:
    """Answer whether the pointer in a directory has one of some tokens, and belongs to the owner of the repository."""
    try:
        found = pointer.read(directory)
    except OSError:
        return False
    if found is None:
        return False
    value, info = found
    own = os.fstat(control.fd)
    return value["token"] in tokens and info.st_uid == own.st_uid and _leads_to(directory, value, own)


def _leads_to(directory: Below, value: Pointer, control: os.stat_result) -> bool:
    """Answer whether a pointer leads to a control directory, and not to that of which ours is a copy."""
    for way in (value["control"], value.get("moved")):
        try:
            if way is not None:
                there = Root.open(os.path.join(str(directory), way))
                if os.path.samestat(os.fstat(there.fd), control):
                    return True
        except OSError:
            continue
    return False


def strange(name: str, place: Below, hint: str) -> PathEscape:
    """Return what is to be said of a worktree in whose place there is something else."""
    return PathEscape(
        f"'{place}' is not the directory that was attached as worktree '{name}'", hint=hint, worktree=name
    )


def way(start: str, end: str) -> str:
    """Return the relative path from one directory to another; both are real paths."""
    return os.path.relpath(end, start)


def new_place(path: str) -> Below:
    """Return the place that a person named for a directory that is to be there. Errors: E_IO, E_NOT_FOUND."""
    wanted = os.path.abspath(path)
    above, name = os.path.split(wanted)
    try:
        return Root.open(os.path.realpath(above)) / name
    except OSError as error:
        raise from_oserror(error, f"opening the directory of '{path}'") from error


def is_on_mount_of(place: Below, control: Root) -> bool:
    """Answer whether the directory that holds a place is on the mount that the control directory is on."""
    fd = paths.open_dir(place.parent)
    try:
        here, there = system.mount_id(fd), system.mount_id(control.fd)
        if here is None or there is None:
            return os.fstat(fd).st_dev == os.fstat(control.fd).st_dev
        return here == there
    finally:
        os.close(fd)


def is_same_directory(place: Below, path: str) -> bool:
    """Answer whether a place is the very directory at a path: both are opened now, and compared. Errors: OSError."""
    first = paths.open_dir(place)
    try:
        second = Root.open(path)
        return os.path.sameopenfile(first, second.fd)
    finally:
        os.close(first)


def make_above(path: str, root: str) -> None:
    """Make the directory that holds a path of the settings, next to the repository. Errors: E_IO.

    Only the last one of it is made: a mistake in a setting makes no tree of directories.
    """
    above = os.path.dirname(os.path.abspath(os.path.join(root, path)))
    try:
        place = Root.open(os.path.realpath(os.path.dirname(above))) / os.path.basename(above)
        if not paths.exists(place):
            durable.make_dir(place, mode=0o777)
            durable.fsync_dir(place.parent)
    except OSError as error:
        raise from_oserror(error, f"making '{above}'") from error
