"""The server behind `Standby`, run by the interpreter of the program under test: loads it, and forks for each run."""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

_SUITE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path[0] = _SUITE

from supervisor import seccomp  # noqa: E402

sys.path.remove(_SUITE)  # the program must not find modules of this suite
for _name in ("supervisor.seccomp", "supervisor"):
    del sys.modules[_name]

_LATER = (
    *("argparse", "cbor2", "concurrent.futures.thread", "ctypes", "difflib", "encodings.ascii", "fnmatch", "json"),
    *("pwd", "resource", "shutil", "sqlite3", "tomli_w", "tomllib", "uuid"),
)
"""What programs import only when they need it."""


def _main_of(program: str) -> Any:
    """Return the `main` of a console script."""
    names: dict[str, Any] = {"__name__": "standby", "__file__": program}
    with open(program, encoding="utf-8") as script:
        exec(compile(script.read(), program, "exec"), names)
    return names["main"]


def _load(program: str) -> Any:
    """Return the script's `main`, with every module of its package loaded, and what they load when they run."""
    main = _main_of(program)
    package = sys.modules[main.__module__.partition(".")[0]]
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        with contextlib.suppress(ImportError):  # what an extra would bring
            importlib.import_module(module.name)
    for name in _LATER:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return main


def _serve(program: str, sock: socket.socket) -> None:
    main = _load(program)
    if threading.active_count() != 1:
        raise RuntimeError("the program starts threads when it is loaded")
    gc.collect()
    gc.freeze()
    sock.send(b"ready")
    while True:
        data, fds = _receive(sock)
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            sock.close()
            request = json.loads(data.decode("utf-8", "surrogateescape"))
            _become(main if request["argv"][0] == program else None, request, fds)
        for fd in fds:
            os.close(fd)
        sock.send(str(pid).encode())
        sock.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    fds = array.array("i")
    data, ancillary, _, _ = sock.recvmsg(1 << 16, socket.CMSG_LEN(8 * fds.itemsize))
    for _level, _kind, payload in ancillary:
        fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def _become(main: Any, request: dict[str, Any], fds: list[int]) -> NoReturn:
    """Become one run, of the script that its first word names when there is no `main`; does not return."""
    code = 127
    try:
        os.setsid()
        for number, fd in enumerate(fds[:3]):
            os.dup2(fd, number)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.argv[:] = request["argv"]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as in an interpreter that has just started
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        if len(fds) > 3:
            with socket.socket(fileno=fds.pop()) as sock:
                listener = seccomp.install()
                sock.sendmsg([b"L"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
                os.close(listener)
                sock.recv(1)  # until the supervisor listens
        for fd in fds:
            os.close(fd)
        code = _status(main or _main_of(sys.argv[0]))
    finally:
        os._exit(code)


def _status(main: Any) -> int:
    """Run `main` to its exit status, as the end of an interpreter does."""
    try:
        code = main()
    except SystemExit as leaving:
        code = leaving.code
    except KeyboardInterrupt:  # the interpreter dies of it, so that its parent sees the signal
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[2])) as connection:
        _serve(sys.argv[1], connection)
