"""Hooks: programs of the user's own that run before and after snapshots and restores.

`NAME` is looked for as `jvs/hooks/NAME` in the user's configuration directory, then as `.jvs/hooks/NAME`. Both must
be regular files that can be executed. Those of the user always run, when they belong to the user or to root. One that
lies in the repository runs only when the user allowed its content in this place (`hook_permissions`), and when nobody
else can change it: a repository that somebody sends runs nothing.
Source: jvs-config(5), Hooks.
"""

from __future__ import annotations

import contextlib
import os
import stat

from jvs import progress, system
from jvs.errors import Dirty, JvsError, NotFound, PathEscape, UsageError
from jvs.fs import durable, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvs.fs.rooted import Below
    from jvs.store.store import Store

NAMES = ("pre-snapshot", "post-snapshot", "pre-restore", "post-restore")
USER, REPOSITORY = "user", "repository"
ALLOWED, CHANGED, NOT_ALLOWED, UNSAFE = "allowed", "changed", "not allowed", "unsafe"
_LARGEST = 64 << 20


class Hook:
    """A hook that is there.

    Shape: `state` is ALLOWED, CHANGED (another content was allowed), NOT_ALLOWED or UNSAFE (`why` says what is wrong);
    `digest` is the SHA-256 of the content in hex, of hooks of the repository that are not UNSAFE; `fd` is open on it,
    so that what runs is what was hashed.
    """

    def __init__(self, name: str, path: Below, origin: str) -> None:
        self.name = name
        self.path = path
        self.origin = origin
        self.state = ALLOWED
        self.why = ""
        self.digest: str | None = None
        self.fd: int | None = None

    def command(self) -> str:
        """Return what to execute."""
        return str(self.path) if self.fd is None else os.fsdecode(system.path_of(self.fd))

    def close(self) -> None:
        """Close the file."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def find(store: Store, name: str) -> list[Hook]:
    """Return the hooks of that name that are there, whether they may run or not: the user's, then the repository's.

    The caller closes them.
    """
    found = []
    if store.settings.user_file is not None:
        with contextlib.suppress(OSError):
            path = durable.open_directory(os.path.join(os.path.dirname(store.settings.user_file), "hooks")) / name
            if _can_run(path):
                found.append(Hook(name, path, USER))
                if paths.lstat(path).st_uid not in (os.geteuid(), 0):  # with sudo, HOME may be that of the caller
                    found[0].state, found[0].why = UNSAFE, "it belongs to another user"
    hook = of_repository(store, name)
    return found if hook is None else [*found, hook]


def _can_run(path: Below) -> bool:
    return stat.S_ISREG(paths.mode_of(path)) and paths.may(path, os.X_OK)


def of_repository(store: Store, name: str) -> Hook | None:
    """Return the hook of that name in the repository, opened; None when there is none that can be executed."""
    hook = Hook(name, store.layout.hooks / name, REPOSITORY)
    entry = os.fsencode(name)
    try:
        directory_fd = paths.open_dir(store.layout.hooks)
    except OSError:  # none there, or a link in its place
        return None
    from jvs.store import hook_permissions

    try:
        info = os.lstat(entry, dir_fd=directory_fd)
        if not stat.S_ISREG(info.st_mode) or not os.access(entry, os.X_OK, dir_fd=directory_fd):
            return None
        hook.fd = paths.open_file(entry, directory_fd)
        safe = hook_permissions.is_ours(os.fstat(directory_fd)) and hook_permissions.is_ours(os.fstat(hook.fd))
        hook.why = "" if safe else "it, or its directory, can be changed by others"
        if safe:
            hook.digest = _digest(hook.fd)
            hook.why = "" if hook.digest else "it is too large"
    except FileNotFoundError:
        return None
    except OSError as error:
        hook.why = f"it cannot be read ({error.strerror})"
    finally:
        os.close(directory_fd)
    hook.state = UNSAFE if hook.why else _state(store, hook)
    return hook


def _digest(fd: int) -> str | None:
    """Return the SHA-256 of an open file in hex; None when it is larger than any hook."""
    import hashlib

    digest = hashlib.sha256()
    size = 0
    while part := os.pread(fd, 1 << 20, size):
        size += len(part)
        if size > _LARGEST:
            return None
        digest.update(part)
    return digest.hexdigest()


def _state(store: Store, hook: Hook) -> str:
    from jvs.store import hook_permissions

    known = hook_permissions.allowed_digest(store, hook.name)
    if known is None:
        return NOT_ALLOWED
    return ALLOWED if known == hook.digest else CHANGED


def run(store: Store, name: str, worktree: str, environment: Mapping[str, str], **facts: str | None) -> None:
    """Run the hooks of one name in the worktree, before any lock is taken or after all are released.

    They get `JVS_HOOK`, `JVS_REPO`, `JVS_WORKTREE` and the facts (`JVS_SNAPSHOT_ID`, `JVS_NOTE`, ...) in their
    environment; what they print goes to stderr. A `pre-` hook that fails stops the command; a `post-` hook that
    fails is remarked on, for what it comes after is done. A hook that may not run is remarked on, once.
    Errors: E_DIRTY when a `pre-` hook refuses.
    """
    found = find(store, name)
    known = {"JVS_HOOK": name, "JVS_REPO": store.root, "JVS_WORKTREE": worktree}
    known.update({f"JVS_{key.upper()}": value for key, value in facts.items() if value is not None})
    try:
        for hook in found:
            if hook.state != ALLOWED:
                _remark(store, hook)
                continue
            problem = _run_one(hook, store.layout.worktree_dir(worktree), {**environment, **known})
            if problem and name.startswith("pre-"):
                raise Dirty(
                    f"hook '{hook.path}' refused: it {problem}",
                    hint="do what it asks for, or remove the hook",
                    hook=name,
                )
            if problem:
                progress.remark(f"hook '{hook.path}' failed: it {problem}; what it came after is done")
    finally:
        for hook in found:
            hook.close()


def _run_one(hook: Hook, directory: Below, environment: dict[str, str]) -> str:
    """Run a hook, and return what went wrong."""
    import subprocess

    try:
        code = subprocess.run(
            [hook.command()],
            check=False,
            cwd=str(directory),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a hook prints is not the command's result
            pass_fds=() if hook.fd is None else (hook.fd,),
        ).returncode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the environment
        return f"cannot be run ({getattr(error, 'strerror', None) or error})"
    return f"ended with exit code {code}" if code else ""


def _remark(store: Store, hook: Hook) -> None:
    """Say, once for a repository, that it has hooks that do not run."""
    if store.hooks_remarked:
        return
    store.hooks_remarked = True
    reason = {
        NOT_ALLOWED: "you have not allowed it",
        CHANGED: "it is not what you allowed, its content changed",
    }.get(hook.state, hook.why)
    text = f"hook '{hook.path}' was not run: {reason}"
    if hook.state != UNSAFE:
        text += "; read it, then 'jvs hooks allow' lets it run"
    progress.remark(text)


def list_all(store: Store) -> list[Hook]:
    """Return the hooks that are there, of all names, closed."""
    found = [hook for name in NAMES for hook in find(store, name)]
    for hook in found:
        hook.close()
    return found


def check_names(names: list[str]) -> None:
    """Raise E_USAGE for a name that no hook has."""
    for name in names:
        if name not in NAMES:
            raise UsageError(f"no hook is called '{name}'", hint=f"use one of: {', '.join(NAMES)}")


def allow(store: Store, names: list[str]) -> list[Hook]:
    """Let hooks of the repository run as their contents are now; without names, all that are there.

    Durable: yes. Errors: E_NOT_FOUND when there is none, E_PATH_ESCAPE when others can change it, and then nothing
    is allowed; E_USAGE when the user has no state directory; E_IO, E_NO_SPACE.
    """
    from jvs.store import hook_permissions

    found = _of_repository(store, names or list(NAMES), missing_ok=not names)
    for hook in found:
        if hook.state == UNSAFE:
            raise PathEscape(
                f"hook '{hook.path}' is not safe: {hook.why}",
                hint="make it, and its directory, your own and writable by nobody else ('chmod go-w')",
            )
    for hook in found:
        assert hook.digest is not None
        hook_permissions.allow(store, hook.name, hook.digest)
        hook.state = ALLOWED
    return found


def _of_repository(store: Store, names: list[str], *, missing_ok: bool) -> list[Hook]:
    found = []
    for name in dict.fromkeys(names):
        hook = of_repository(store, name)
        if hook is not None:
            hook.close()
            found.append(hook)
        elif not missing_ok:
            raise _none(store, f"hook '{name}'")
    if not found:
        raise _none(store, "hooks")
    return found


def _none(store: Store, what: str) -> JvsError:
    directory = store.layout.hooks
    return NotFound(
        f"there are no {what} in '{directory}'" if what == "hooks" else f"there is no {what} in '{directory}'",
        hint="a hook is a regular file that can be executed; 'jvs hooks list' shows those that are there",
    )


def deny(store: Store, names: list[str]) -> list[str]:
    """Forget the permissions of hooks of the repository, and return those that had one; without names, of all."""
    from jvs.store import hook_permissions

    return [name for name in dict.fromkeys(names or NAMES) if hook_permissions.deny(store, name)]
