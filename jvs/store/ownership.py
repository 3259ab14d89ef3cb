"""Whose a repository is: it belongs to the user who made it, and everybody else, root too, is refused.

A repository of another user is a trap for whoever works in it, and what root writes into one locks its owner out. Two
exceptions: who names the repository in `trusted`, in settings of their own, may work there, and what they make belongs
to the owner of `.jvs`; where that cannot be, they may only read. And root that came by sudo(8) may read what belongs to
the user who called. uid 65534 is no user: it is what all those are called that a user namespace does not map, and what
a server makes of a root that it does not know. It is trusted by nobody, itself included, unless it is named.
Source: jvs-threats(7), A repository from somebody else; jvs-config(5), KEYS.
"""

from __future__ import annotations

import os

from jvs.errors import PathEscape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Root
    from jvs.store.settings import Settings

UNMAPPED = 65534
"""The uid of those whom a user namespace does not map. Source: user_namespaces(7), /proc/sys/kernel/overflowuid."""
EVERY = "*"
"""In `trusted`: every repository, for a machine or container that only one person uses."""


def admit(settings: Settings, control: Root, *others: Root) -> None:
    """Refuse a repository of another user before anything of it is read, or limit what may be done in it.

    `control` is its control directory; the limits hold for `others`, the directories that its worktrees are in, too.
    Errors: E_PATH_ESCAPE.
    """
    info = os.fstat(control.fd)
    uid, me = info.st_uid, os.geteuid()
    if uid == me != UNMAPPED:
        return
    if is_trusted(settings, repository_of(control.path)):
        if uid != me:
            _limit_trusted(info, me, control, *others)
    elif me == 0 and uid == settings.sudo_uid and uid != UNMAPPED:
        for root in (control, *others):
            root.refusal = f"'{control.path}' belongs to {_who(uid)}: with sudo it can be read, and not changed"
    else:
        raise PathEscape(_stranger(control.path, uid), hint=_way_out(settings, control.path, uid), owner=uid)


def _limit_trusted(info: os.stat_result, me: int, *roots: Root) -> None:
    """Let what is made belong to the owner; only root can give files away, all others only read."""
    for root in roots:
        if me == 0:
            root.owner = (info.st_uid, info.st_gid)
        else:
            root.refusal = (
                f"'{roots[0].path}' belongs to {_who(info.st_uid)}: others who trust it can read it, and not change it"
            )


def repository_of(control: str) -> str:
    """Return the directory that a repository is called by whose control directory is at a path."""
    return os.path.dirname(control) if os.path.basename(control).startswith(".jvs") else control


def is_trusted(settings: Settings, path: str) -> bool:
    """Answer whether the user's own settings name a repository. Shape: `path` is absolute, without links."""
    named = settings.trusted()
    return EVERY in named or any(name != EVERY and os.path.realpath(name) == path for name in named)


def check_made(settings: Settings, made: Root) -> None:
    """Refuse a place where what we make is not our own. Errors: E_PATH_ESCAPE."""
    uid, me = os.fstat(made.fd).st_uid, os.geteuid()
    where = os.path.dirname(made.path)
    if uid != me:
        raise PathEscape(
            f"a file made in '{where}' belongs to {_who(uid)}, not to you (uid {me})",
            hint="this filesystem keeps no owners, or maps them (FAT, exFAT, NFS with root_squash, drives of Windows):"
            " choose another place, or mount it so that files are yours",
            owner=uid,
        )
    if me == UNMAPPED and not is_trusted(settings, where):
        raise PathEscape(_stranger(made.path, uid), hint=_way_out(settings, made.path, uid), owner=uid)


def _stranger(control: str, uid: int) -> str:
    if uid == UNMAPPED:
        return f"'{control}' belongs to uid {uid}, which stands for every user that is not known here"
    return f"'{control}' belongs to another user ({_who(uid)})"


def _way_out(settings: Settings, control: str, uid: int) -> str:
    import shlex

    words = " ".join(map(shlex.quote, [*settings.trusted(), repository_of(control)]))
    first = "work as its owner" if uid != UNMAPPED else "let the container, mount or server know its owner"
    return f"{first}; or, if you trust it: jvs config set --user trusted {words}"


def _who(uid: int) -> str:
    import pwd

    try:
        return f"'{pwd.getpwuid(uid).pw_name}', uid {uid}"
    except KeyError:
        return f"uid {uid}"
