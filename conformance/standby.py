"""A process that has loaded the program under judgement, and forks for each run of it: a run then costs no start-up.

Most of a short command is the start of its interpreter. `Standby` starts the program's own interpreter once, lets it
load the console script and all modules behind it, and asks it for one child per run: with the words, the directory,
the environment and the streams of that run. Nothing of one run reaches the next. `torture` compares the calls of
runs that were started both ways and starts every run anew where they differ.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any, NoReturn


class Standby:
    """The parent's side: one server process, one run at a time. Errors: OSError when it cannot be had."""

    def __init__(self, program: str) -> None:
        """Load a console script; it must name its Python interpreter in its first line and define `main`."""
        self.program = program
        with open(program, "rb") as script:
            first = script.readline().decode("utf-8", "replace").strip()
        words = first.removeprefix("#!").split()
        if not first.startswith("#!") or not words or "python" not in os.path.basename(words[0]):
            raise OSError(f"'{program}' is no Python script")
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"}
        with theirs:
            self.server = subprocess.Popen(
                [*words, os.path.abspath(__file__), program, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        if self.sock.recv(16) != b"ready":
            self.close()
            raise OSError(f"'{program}' cannot be loaded ahead of time")

    def start(
        self,
        argv: list[str],
        *,
        cwd: str,
        env: dict[str, str],
        stdio: tuple[int, int, int],
        supervise: socket.socket | None = None,
    ) -> int:
        """Begin a run and return its process id, which is its group as well.

        With `supervise` the child installs the filter and sends its listener there.
        """
        request = json.dumps({"argv": argv, "cwd": cwd, "env": env}).encode("utf-8", "surrogateescape")
        fds = [*stdio] + ([supervise.fileno()] if supervise is not None else [])
        self.sock.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        answer = self.sock.recv(64)
        if not answer:
            raise OSError("the process on standby is gone")
        return int(answer)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status of the run that was begun, negative for a signal. Errors: TimeoutError."""
        self.sock.settimeout(timeout)
        try:
            answer = self.sock.recv(64)
        finally:
            self.sock.settimeout(None)
        if not answer:
            raise OSError("the process on standby is gone")
        return int(answer)

    def run(
        self, argv: list[str], *, cwd: str, env: dict[str, str], stdin: bytes = b"", timeout: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end, as `subprocess.run` does. Errors: subprocess.TimeoutExpired."""
        fds = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        try:
            os.write(fds[0], stdin)
            os.lseek(fds[0], 0, os.SEEK_SET)
            pid = self.start(argv, cwd=cwd, env=env, stdio=(fds[0], fds[1], fds[2]))
            try:
                code = self.wait(timeout)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                self.wait()
                raise subprocess.TimeoutExpired(argv, timeout) from None
            out, err = (os.pread(fd, os.fstat(fd).st_size, 0) for fd in fds[1:])
            return subprocess.CompletedProcess(argv, code, out, err)
        finally:
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        """End the server."""
        self.sock.close()
        self.server.wait()


# --- the server's side, in the program's interpreter ---

_LATER = (
    *("argparse", "cbor2", "concurrent.futures.thread", "ctypes", "difflib", "encodings.ascii", "fnmatch", "json"),
    *("pwd", "resource", "shutil", "sqlite3", "tomli_w", "tomllib", "uuid"),
)
"""What programs import only when they need it."""


def _load(program: str) -> Any:
    """Return the script's `main`, with every module of its package loaded, and what they load when they run."""
    import importlib
    import pkgutil

    names: dict[str, Any] = {"__name__": "standby", "__file__": program}
    with open(program, encoding="utf-8") as script:
        exec(compile(script.read(), program, "exec"), names)
    main = names["main"]
    package = sys.modules[main.__module__.partition(".")[0]]
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        with contextlib.suppress(ImportError):  # what an extra would bring
            importlib.import_module(module.name)
    for name in _LATER:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return main


def _serve(program: str, sock: socket.socket) -> None:
    import gc
    import threading

    import seccomp

    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))  # the program must not find our modules
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
            _become(main, json.loads(data.decode("utf-8", "surrogateescape")), fds, seccomp)
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


def _become(main: Any, request: dict[str, Any], fds: list[int], seccomp: Any) -> NoReturn:
    """Be one run: nothing here comes back."""
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
        code = _status(main)
    finally:
        os._exit(code)


def _status(main: Any) -> int:
    """Run `main` to its exit status, as the end of an interpreter does."""
    import atexit
    import traceback

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
    sys.dont_write_bytecode = True
    with socket.socket(fileno=int(sys.argv[2])) as connection:
        _serve(sys.argv[1], connection)
