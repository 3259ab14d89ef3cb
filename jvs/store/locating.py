"""Where the control directory of a repository is: at or above a directory, or at a path.

Source: jvs(1), Finding the repository.
"""

from __future__ import annotations

import os
import stat

from jvs.errors import NotARepository, PathEscape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.errors import JvsError

CONTROL = ".jvs"
FORKS = "forks"
"""Where in the control directory the forks of a repository in place are."""
LINK, FILE, DIRECTORY = "link", "file", "directory"
"""What `.jvs` can be."""


def kind_at(here: str) -> str:
    """Return what `.jvs` in a directory is; an empty text when there is none, or a directory that is a user's own."""
    control = os.path.join(here, CONTROL)
    try:
        info = os.lstat(control)
    except OSError:
        return ""
    if stat.S_ISLNK(info.st_mode):
        return LINK  # in a worktree it is somebody's data; at a root it is an attack, or a mistake
    if stat.S_ISREG(info.st_mode):
        return FILE
    return DIRECTORY if stat.S_ISDIR(info.st_mode) and _looks_like_control(control, info) else ""


def is_control_at(path: str) -> bool:
    """Answer whether a directory at a path is a control directory."""
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and _looks_like_control(path, info)


def control_around_fork(here: str) -> str | None:
    """Return the control directory, when it is kept apart, of which a directory is a fork; None for any other."""
    above, name = os.path.split(os.path.dirname(here))
    return above if name == FORKS and os.path.basename(above) != CONTROL and is_control_at(above) else None


def find_root(start: str, inside: str | None = None) -> str:
    """Return the directory at or above `start` that holds a control directory.

    `inside` is the repository of which a command is shown a part: it finds neither that one nor one further up.
    Errors: E_NOT_A_REPOSITORY when there is none; E_PATH_ESCAPE when `.jvs` there is a symbolic link.
    """
    here = os.path.realpath(start)
    link = None
    while True:
        kind = kind_at(here)
        if kind == LINK:
            link = link or here
        elif kind == DIRECTORY:
            return here
        check_sight(here, inside)
        parent = os.path.dirname(here)
        if parent == here:
            raise not_found(start, link)
        here = parent


def check_sight(here: str, inside: str | None) -> None:
    """Refuse to look above the repository of which a command is shown a part. Errors: E_NOT_A_REPOSITORY."""
    if here == inside:
        raise NotARepository(
            f"the repository '{here}' is out of sight in here: 'jvs enter' or 'jvs try' shows its files alone",
            hint="leave this command or shell, and use jvs outside of it",
        )


def not_found(start: str, link: str | None) -> JvsError:
    """Return what is to be said where no repository is; `link` is a directory in which `.jvs` is a symbolic link."""
    if link is not None:
        return PathEscape(
            f"'{os.path.join(link, CONTROL)}' is a symbolic link",
            hint="a repository keeps its own '.jvs' directory: remove the link",
        )
    return NotARepository(
        f"'{start}' is not inside a jvs repository",
        hint="make one with 'jvs init' or 'jvs init NAME', or point at one with '-C DIR'",
    )


_FIXED = ("format_version", "repo_id", "descriptors")


def _looks_like_control(control: str, info: os.stat_result) -> bool:
    """Tell a control directory from a user's directory that is called `.jvs`: it has one of the fixed entries.

    One that another user closed to us counts, so that it is said whose it is.
    """
    for name in _FIXED:
        try:
            os.lstat(os.path.join(control, name))
            return True
        except PermissionError:
            return info.st_uid != os.geteuid()
        except OSError:
            continue
    return False


def is_control(fd: int) -> bool:
    """Answer the same of an open directory that we can read."""
    return not set(_FIXED).isdisjoint(os.listdir(fd))
