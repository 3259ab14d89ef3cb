"""Which hooks of repositories the user allowed to run; kept outside of every repository.

One file for each repository, place and hook below `jvs/allowed-hooks` in the user's state directory. It names the
SHA-256 of the one content that may run, so that a hook that changes must be allowed again. The files are 0600, and
one that others can write, or that belongs to another user, allows nothing.
Source: jvs-config(5), Hooks; jvs-hooks-allow(1).
"""

from __future__ import annotations

import hashlib
import os
import stat

from jvs import canon
from jvs.errors import UsageError, from_oserror
from jvs.fs import durable, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.store import Store

    class PermissionKey(canon.PathJSON):
        """Which hook of which repository, at which place, a permission is for; with `sha256` it is the permission."""

        hook: str
        repo_id: str


_LONGEST = 1 << 16
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def allowed_digest(store: Store, hook: str) -> str | None:
    """Return the SHA-256 (hex) of the content that the user allowed for a hook of this repository in this place."""
    directory = _directory(store)
    if directory is None:
        return None
    try:
        root = durable.open_directory(directory)
    except OSError:
        return None
    if not is_ours(os.fstat(root.fd)):
        return None
    return _read(root / _file_name(store, hook), _key(store, hook))


def _read(file: Below, key: PermissionKey) -> str | None:
    try:
        fd = paths.open_file(file)
    except OSError:
        return None
    try:
        if not is_ours(os.fstat(fd)):
            return None
        record = canon.decode_object(os.read(fd, _LONGEST))
    except (OSError, canon.BadJSON):
        return None
    finally:
        os.close(fd)
    digest = record.pop("sha256", None)
    return digest if record == key and isinstance(digest, str) else None


def allow(store: Store, hook: str, digest: str) -> None:
    """Let a hook of this repository run while its content has this SHA-256; another content is not allowed any more.

    Durable: yes. Errors: E_USAGE when the user has no state directory; E_IO, E_NO_SPACE.
    """
    directory = _directory(store)
    if directory is None:
        raise UsageError("there is no place for the permission", hint="set HOME or XDG_STATE_HOME")
    try:
        path = durable.open_directory(directory, make=True) / _file_name(store, hook)
        durable.replace_file(path, canon.encode({**_key(store, hook), "sha256": digest}) + b"\n")
    except OSError as error:
        raise from_oserror(error, f"writing to '{directory}'") from error


def deny(store: Store, hook: str) -> bool:
    """Forget the permission of a hook of this repository, and answer whether there was one. Durable: yes."""
    directory = _directory(store)
    if directory is None:
        return False
    try:
        path = durable.open_directory(directory) / _file_name(store, hook)
        durable.unlink(path)
        durable.fsync_dir(path.parent)  # a crash before this may bring the permission back
    except FileNotFoundError:
        return False
    except OSError as error:
        raise from_oserror(error, f"removing a permission from '{directory}'") from error
    return True


def is_ours(info: os.stat_result) -> bool:
    """Answer whether only the user who runs the command can change what this is the stat of."""
    return info.st_uid == os.geteuid() and not info.st_mode & _WRITABLE_BY_OTHERS


def _directory(store: Store) -> str | None:
    state = store.settings.state_dir
    return os.path.join(state, "allowed-hooks") if state is not None else None


def _key(store: Store, hook: str) -> PermissionKey:
    place = canon.path_json(os.fsencode(os.path.realpath(store.root)))
    return {"hook": hook, "repo_id": store.repo_id, **place}


def _file_name(store: Store, hook: str) -> str:
    """Return a name that is made of nothing that a repository can choose."""
    return hashlib.sha256(canon.encode(_key(store, hook))).hexdigest() + ".json"
