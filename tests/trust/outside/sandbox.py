"""Runs hostile work where it cannot hurt: a mount namespace in which all but one memory filesystem is read-only.

`run` forks, so that nothing of the work stays in the process of the tests; `command` forks again for each command of
jvs, with limits of time and memory.
Source: mount_namespaces(7), mount_setattr(2).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import making
from lib import namespace

SECONDS = 10.0
MEMORY_BYTES = 1 << 30
COUNTS = os.environ.get("JVS_TEST_FUZZ_COUNTS")
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY = 442, -100, 0x8000, 1


class Ended(NamedTuple):
    """How a command ended. `exit` is None when it was stopped because its time was over."""

    words: tuple[str, ...]
    exit: int | None
    out: bytes
    err: str
    seconds: float

    @property
    def faults(self) -> list[str]:
        """Return what no command may do, whatever it finds."""
        shown = " ".join(self.words)[:120]
        if self.exit is None:
            return [f"'{shown}' did not end within {SECONDS:g} s"]
        if self.exit == 70 or "E_INTERNAL" in self.err or "Traceback" in self.err:
            return [f"'{shown}' ended with {self.exit}: {self.err.strip()[-300:]}"]
        if self.exit < 0:
            return [f"'{shown}' was killed by signal {-self.exit}"]
        return []


def run(scratch: Path, work: Callable[[Path], Any]) -> Any:
    """Call `work(scratch)` in a child for which only `scratch`, an empty memory filesystem, can be written.

    Returns what `work` returned, as JSON. Errors: AssertionError with the traceback of the child.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(scratch, work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert data, f"the child ended with {status} and said nothing"
    said = json.loads(data)
    assert "failure" not in said, said["failure"]
    return said["result"]


def run_counted(scratch: Path, work: Callable[[Path], list[str]], tried: dict[str, int]) -> list[str]:
    """Call `work` as `run` does; add what it counted in `tried` to the file that JVS_TEST_FUZZ_COUNTS names."""
    found, counts = run(scratch, lambda here: [work(here), tried])
    if COUNTS:
        with open(COUNTS, "a") as counted:
            counted.write(f"{counts['cases']} {counts['commands']}\n")
    return list(found)


def _child(scratch: Path, work: Callable[[Path], Any], writer: int) -> None:
    try:
        _confine(scratch)
        said = {"result": work(scratch)}
    except BaseException:
        said = {"failure": traceback.format_exc()}
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(said).encode())
    finally:
        os._exit(0)


def _confine(scratch: Path) -> None:
    namespace.enter()
    read_only = (ctypes.c_uint64 * 4)(_RDONLY, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, ctypes.byref(read_only), 32) != 0:
        raise OSError(ctypes.get_errno(), "mount_setattr")
    namespace.mount_memory(str(scratch))
    home = scratch / "home"
    for word in ("CONFIG", "CACHE", "STATE", "DATA"):
        os.environ[f"XDG_{word}_HOME"] = str(home / f".{word.lower()}")
    os.environ["HOME"] = str(home)
    home.mkdir()
    os.chdir(scratch)
    os.environ["TMPDIR"] = tempfile.tempdir = str(home)


def command(
    words: tuple[str, ...], *, cwd: Path, stdin: bytes = b"", seconds: float = SECONDS, uid: int | None = None
) -> Ended:
    """Run `jvs WORDS`, or `jvs-STEP` when the first word says `jvs-STEP`, in a fork of this process.

    `uid` is whom to run it as, with no other rights.
    """
    reader, writer = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _command_child(words, cwd, stdin, writer, uid)
    os.close(writer)
    data, exit_code = _collect(pid, reader, began + seconds)
    took = time.monotonic() - began
    if exit_code is None or not data:
        return Ended(words, exit_code, b"", "" if exit_code is None else f"ended with {exit_code}", took)
    code, out, err = json.loads(data)
    return Ended(words, code, out.encode("latin-1"), err, took)


def _command_child(words: tuple[str, ...], cwd: Path, stdin: bytes, writer: int, uid: int | None) -> None:
    os.setsid()
    try:
        os.chdir(cwd)
        if uid:
            _become(uid)
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        if words[0].startswith("jvs-"):
            said = making.plumb(words[0][4:], *words[1:], stdin=stdin)
        else:
            said = making.run(*words, stdin=stdin)
        result = [said.exit, said.out.decode("latin-1"), said.err]
    except SystemExit as error:
        result = [error.code if isinstance(error.code, int) else 1, "", f"SystemExit: {error}"]
    except BaseException:
        result = [70, "", traceback.format_exc()]
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(result).encode())
    finally:
        os._exit(0)


def _become(uid: int) -> None:
    """Become a user with a home of their own."""
    home = os.path.join(os.environ["HOME"], str(uid))
    os.makedirs(home, exist_ok=True)
    os.chown(home, uid, uid)
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ["HOME"] = home
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _collect(pid: int, reader: int, deadline: float) -> tuple[bytes, int | None]:
    """Return what a child wrote, and how it ended; None when it had to be stopped."""
    parts: list[bytes] = []
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([reader], [], [], left)[0]:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return b"", None
            part = os.read(reader, 1 << 16)
            if not part:
                return b"".join(parts), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            parts.append(part)
    finally:
        os.close(reader)


def is_possible() -> str:
    """Return why this machine cannot confine a child, or an empty text."""
    pid = os.fork()
    if pid == 0:
        try:
            namespace.enter()
        except OSError:
            os._exit(1)
        os._exit(0)
    return "" if os.waitpid(pid, 0)[1] == 0 else "no mount namespace can be made here"


def program(name: str) -> str:
    """Return a console script of the installation under test."""
    return os.path.join(os.path.dirname(sys.executable), name)
