"""What is wrong with the parts that are always there: directories, format, settings, locks, the index.

Source: jvs-doctor(1), jvs-format(5).
"""

from __future__ import annotations

import os
import stat

from jvs.check.findings import CLEAN_TMP, REBUILD_INDEX, WARNING, Finding, pending
from jvs.errors import Busy, IOFailure, JvsError, PartialSnapshot, PathEscape, from_oserror
from jvs.fs import listing, locks, paths
from jvs.store import layout
from jvs.tree import index_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.store import Store

RUNTIME_DIRECTORIES = ("locks", "intents", "gc/plans", "gc/trash")
"""Those that hold nothing that counts when nobody is at work, so that they can be made again."""


def find_in_structure(here: layout.Layout) -> list[Finding]:
    """Check modes and kind of the control directory and of every directory and file that is always there."""
    found: list[Finding] = []
    info = os.fstat(here.control.fd)
    if stat.S_IMODE(info.st_mode) & 0o077:
        problem = f"'{here.jvs}' can be entered by others (mode {stat.S_IMODE(info.st_mode):04o})"
        hint = f"chmod 700 '{here.jvs}': snapshots may hold secrets"
        found.append(Finding(PathEscape(problem, hint=hint), severity=WARNING, path=here.jvs))
    for name in ("", *layout.DIRECTORIES):
        found += _check_directory(here, name)
    try:
        layout.check_format(here)
    except JvsError as error:
        found.append(Finding(error, path=here.format_version))
    forks = kind_of(here.forks)
    if forks != "directory":
        problem = f"'{here.forks}' is {forks or 'missing'}"
        hint = "put the directory of the worktrees back; an empty one will do when there are none"
        found.append(Finding(PathEscape(problem, hint=hint), path=here.forks, repair=None if forks else CLEAN_TMP))
    return found


def kind_of(path: Below) -> str:
    """Return what a path is, in words; an empty text when it is missing."""
    mode = paths.mode_of(path)
    if not mode:
        return ""
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISREG(mode):
        return "file"
    return "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a directory"


def may_use(path: Below, how: int) -> bool:
    """Answer whether we may use an entry in the ways of access(2); where we may only read, writing does not count."""
    return paths.may(path, how & ~os.W_OK if path.root.refuses() else how)


def _check_directory(here: layout.Layout, name: str) -> list[Finding]:
    path = paths.below(here.jvs, name.encode())
    kind = kind_of(path)
    if not kind and name in RUNTIME_DIRECTORIES:
        return [pending(f"'.jvs/{name}' is missing", path, CLEAN_TMP, "'jvs doctor --repair-runtime' makes it again")]
    if not kind:
        hint = "restore it from a copy of the repository; if it held nothing, make an empty one with mkdir"
        return [Finding(PartialSnapshot(f"'.jvs/{name}' is missing", hint=hint), path=path)]
    if kind != "directory":
        hint = "put the directory back; jvs follows no links in '.jvs'"
        return [Finding(PathEscape(f"'{path}' is {kind}, not a directory", hint=hint), path=path)]
    if not may_use(path, os.R_OK | os.W_OK | os.X_OK):
        hint = "check its permissions, its owner, and whether the filesystem is mounted read-only"
        return [Finding(IOFailure(f"'{path}' cannot be read and written", hint=hint), path=path)]
    return []


def find_in_settings(store: Store) -> list[Finding]:
    """Check the repository's id and settings, and that the engine they ask for works."""
    found = []
    for look in (
        lambda: store.repo_id,
        lambda: store.settings.with_repository(store.layout.config),
        lambda: store.engine(layout.MAIN),
    ):
        try:
            look()
        except JvsError as error:
            found.append(Finding(error))
        except OSError as error:
            found.append(Finding(from_oserror(error, "reading the settings")))
    return found


def find_in_locks(here: layout.Layout) -> list[Finding]:
    """Check that every lock is a file that we can open."""
    found = []
    for name in listing.names(here.locks):
        path = here.locks / name
        if kind_of(path) != "file":
            problem = f"the lock '{name}' is not a file"
            found.append(
                Finding(
                    PathEscape(problem, hint="'jvs doctor --repair clean_tmp' removes it"), path=path, repair=CLEAN_TMP
                )
            )
        elif not may_use(path, os.R_OK | os.W_OK):
            hint = "check its permissions: everybody who works here must be able to lock"
            found.append(Finding(IOFailure(f"the lock '{name}' cannot be opened", hint=hint), path=path))
    return found


def lock_is_free(store: Store, name: str) -> bool:
    """Answer whether nobody holds a lock now."""
    try:
        locks.acquire(store.layout.lock(name), wait=0, command="doctor").close()
    except (Busy, IOFailure):
        return False
    return True


def find_in_index(store: Store) -> list[Finding]:
    """Report an index that cannot be used. Everything works without it, only slower.

    Source: the header of an SQLite file, https://sqlite.org/fileformat2.html: magic, page size, number of pages.
    """
    path = store.layout.index
    kind = kind_of(path)
    in_the_way = [path.plus(suffix) for suffix in index_file.NEIGHBOURS if kind_of(path.plus(suffix)) == "directory"]
    if in_the_way:
        path = in_the_way[0]
    elif not kind or (kind == "file" and _is_database(path)):
        return []
    error = IOFailure("the index cannot be used", hint="'jvs doctor --repair rebuild_index' drops it; it fills again")
    return [Finding(error, severity=WARNING, path=path, repair=REBUILD_INDEX)]


def _is_database(path: Below) -> bool:
    fd = paths.open_file(path)
    try:
        header, size = os.pread(fd, 100, 0), os.fstat(fd).st_size
    finally:
        os.close(fd)
    if not header:
        return True
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    pages = int.from_bytes(header[28:32], "big")
    return len(header) == 100 and header.startswith(b"SQLite format 3\0") and size >= pages * page_bytes
