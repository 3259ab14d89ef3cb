"""The pointer: the file `.jvs` in a worktree that lies outside of its repository, which leads to the control directory.

It says where that is, relative to the worktree, and holds a token that the worktree's configuration holds as well.
Neither is believed alone: a pointer leads to a repository only when a configuration there has its token and names the
very directory that the pointer is in; a configuration leads to a directory only when the pointer in it has its token.
Source: jvs-format(5), Pointer.
"""

from __future__ import annotations

import contextlib
import os
import stat

from jvs import canon, clock
from jvs.fs import durable, paths
from jvs.fs.rooted import Root
from jvs.names import check_snapshot_id
from jvs.store import records
from jvs.tree.exclusion import RESERVED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NotRequired, TypedDict

    from jvs.fs.rooted import Below

    class Pointer(TypedDict):
        """What a pointer says: `control` is the path of the control directory from the directory that it is in.

        `moved` is that path from where the directory is while it is being moved.
        """

        version: int
        repo_id: str
        control: str
        token: str
        moved: NotRequired[str]


MAX_BYTES = 16384
_BEGINNING = b'{"control":"'
"""How each pointer begins: its keys are sorted."""


def is_token(value: object) -> bool:
    """Answer whether a value is a token: 128 bits as 32 lowercase hex digits."""
    return isinstance(value, str) and len(value) == 32 and set(value) <= set("0123456789abcdef")


def new_token() -> str:
    """Return a token that nobody can guess."""
    return clock.random_hex(32)


def is_way(value: object) -> bool:
    """Answer whether a value is a relative path that leads up and elsewhere, in its shortest form."""
    return (
        isinstance(value, str)
        and records.is_text(value)
        and value.startswith("../")
        and "\0" not in value
        and len(value) < 4096
        and os.path.normpath(value) == value
        and value.rpartition("/")[2] != ".."
    )


def _is_path(value: object) -> bool:
    return isinstance(value, str) and bool(value) and records.is_text(value) and "\0" not in value


FIELDS: records.Fields = {
    "version": records.one_of(1),
    "repo_id": records.is_uuid,
    "control": _is_path,
    "token": is_token,
}
OPTIONAL: records.Fields = {"moved": _is_path}


def read(directory: Below) -> tuple[Pointer, os.stat_result] | None:
    """Return the pointer in a directory and whose it is; None when there is none, or nothing that can be one.

    Errors: OSError when the directory cannot be opened.
    """
    fd = paths.open_dir(directory)
    try:
        return read_at(fd)
    finally:
        os.close(fd)


def read_in(path: str) -> Pointer | None:
    """Return the pointer in a directory that a person named, or works in; None when there is none."""
    try:
        found = read(Root.open(path).here)
    except OSError:
        return None
    return None if found is None else found[0]


def read_at(dir_fd: int) -> tuple[Pointer, os.stat_result] | None:
    """Return the same of an open directory."""
    try:
        fd = paths.open_file(RESERVED, dir_fd)
    except OSError:
        return None
    try:
        info = os.fstat(fd)
        data = os.read(fd, MAX_BYTES) if info.st_size < MAX_BYTES else b""
        value = canon.decode_object(data)
    except (OSError, canon.BadJSON):
        return None
    finally:
        os.close(fd)
    if not records.shaped(FIELDS, OPTIONAL)(value):
        return None
    found: Pointer = value
    return found, info


def write(
    directory: Below, repo_id: str, control: str, token: str, operation_id: str, *, moved: str | None = None
) -> None:
    """Put a pointer into a directory, in place of one that is there; the directory keeps its times. Durable: yes.

    It is made under a name of the operation, which `sweep` removes after a crash. Errors: OSError.
    """
    value: Pointer = {"version": 1, "repo_id": repo_id, "control": control, "token": token}
    if moved is not None:
        value["moved"] = moved
    with same_times(directory):
        _sweep(directory, operation_id)
        durable.create_file(_temporary(directory, operation_id), canon.encode(value) + b"\n")
        durable.rename(_temporary(directory, operation_id), directory / RESERVED)
        durable.fsync_dir(directory)


def sweep(directory: Below, operation_id: str) -> None:
    """Remove what a crash left of writing a pointer. Errors: OSError."""
    with same_times(directory):
        _sweep(directory, operation_id)


def _temporary(directory: Below, operation_id: str) -> Below:
    return directory / f".jvs-tmp-{check_snapshot_id(operation_id)}"


def _sweep(directory: Below, operation_id: str) -> None:
    """Remove the beginning of a pointer, and nothing else that may be called so."""
    place = _temporary(directory, operation_id)
    try:
        data = paths.read_file(place, MAX_BYTES)
    except OSError:
        return
    if data[: len(_BEGINNING)] == _BEGINNING[: len(data)]:
        durable.unlink(place, missing_ok=True)


def remove(directory: Below, token: str) -> None:
    """Remove the pointer from a directory when it holds a token; the directory keeps its times. Durable: yes.

    Errors: OSError.
    """
    found = read(directory)
    if found is not None and found[0]["token"] == token:
        with same_times(directory):
            durable.unlink(directory / RESERVED, missing_ok=True)
            durable.fsync_dir(directory)


@contextlib.contextmanager
def same_times(directory: Below) -> Iterator[None]:
    """Let a directory keep its times while an entry of ours comes or goes: a snapshot does not hold that entry."""
    fd = paths.open_dir(directory)
    try:
        info = os.fstat(fd)
        if info.st_mode & 0o300 != 0o300:  # its owner made it read-only
            os.fchmod(fd, stat.S_IMODE(info.st_mode) | 0o300)
        try:
            yield
        finally:
            if info.st_mode & 0o300 != 0o300:
                os.fchmod(fd, stat.S_IMODE(info.st_mode))
        with contextlib.suppress(PermissionError):  # a directory of somebody else: its times say that it changed
            os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
    finally:
        os.close(fd)
