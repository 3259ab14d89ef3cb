"""Killing an operation in the middle: a forked child ends without a word before its n-th change of the filesystem."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EVENTS = frozenset(
    {
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.mkdir",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.chown",
        "os.utime",
        "os.truncate",
        "os.setxattr",
        "os.mknod",
        "ctypes.dlopen",  # comes before each call of renameat2 and syncfs
    }
)


def dies_at(number: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is gone before its `number`-th change; False when it ended before that.

    Errors: AssertionError when the child fails in any other way.
    """
    child = os.fork()
    if child == 0:
        _child(number, work)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 99), f"the child ended with {code}"
    return code == 99


def _child(number: int, work: Callable[[], object]) -> None:
    count = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal count
        if event == "open":
            if not isinstance(args[2], int) or not args[2] & _WRITES:
                return
        elif event not in _EVENTS:
            return
        count += 1
        if count == number:
            os._exit(99)

    try:
        sys.addaudithook(hook)
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
