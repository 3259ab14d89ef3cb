"""Killing an operation in the middle: a forked child ends without a word before its n-th change of the filesystem."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable

from jvs.fs import durable

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
    return _dies(lambda: sys.addaudithook(_counter(number)), work)


def dies_before(number: int, calls: Iterable[str], work: Callable[[], object]) -> bool:
    """Run `work` in a child that is gone before it has made `number` of these calls of `jvs.fs.durable`, plus one.

    Answer and errors as for `dies_at`.
    """

    def prepare() -> None:
        done = 0

        def counted(real: Callable[..., object], *args: object, **options: object) -> object:
            nonlocal done
            if done == number:
                os._exit(99)
            done += 1
            return real(*args, **options)

        for name in calls:
            setattr(durable, name, functools.partial(counted, getattr(durable, name)))

    return _dies(prepare, work)


def _dies(prepare: Callable[[], object], work: Callable[[], object]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            prepare()
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)  # whatever happened, the child never goes on as a second pytest
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 99), f"the child ended with {code}"
    return code == 99


def _counter(number: int) -> Callable[[str, tuple], None]:
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

    return hook
