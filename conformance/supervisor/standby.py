"""A process that has loaded the program under test, and forks for each run of it: a run then costs no start-up.

Most of a short command is the start of its interpreter. `Standby` starts the program's own interpreter once, lets it
load the console script and all modules of its package, and asks it for one child per run: with the words, the
directory, the environment and the streams of that run. Nothing of one run reaches the next. `torture` compares the
calls of runs that were started both ways, and where they differ it starts a new process for each run.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import subprocess

_SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "standby_server.py")


class Standby:
    """The parent's side: one server process, one run at a time. Errors: OSError when it cannot be started."""

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
                [*words, _SERVER, program, str(theirs.fileno())],
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
        """Start a run and return its process id, which is its group as well.

        With `supervise` the child installs the filter and sends its listener there.
        """
        request = json.dumps({"argv": argv, "cwd": cwd, "env": env}).encode("utf-8", "surrogateescape")
        fds = [*stdio] + ([supervise.fileno()] if supervise is not None else [])
        self.sock.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        answer = self.sock.recv(64)
        if not answer:
            raise OSError("the process on standby has ended")
        return int(answer)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status of the run that was started, negative for a signal. Errors: TimeoutError."""
        self.sock.settimeout(timeout)
        try:
            answer = self.sock.recv(64)
        finally:
            self.sock.settimeout(None)
        if not answer:
            raise OSError("the process on standby has ended")
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


class PerProcess:
    """The process on standby of whoever asks: workers are forks of their parent, and each needs its own."""

    def __init__(self, program: str) -> None:
        self.program = program
        self._owner = 0
        self._standby: Standby | None = None

    def get(self) -> Standby | None:
        """Return this process's own one, or None when the program cannot be loaded ahead of time."""
        if self._owner != os.getpid():
            self._owner, self._standby = os.getpid(), None
            try:
                self._standby = Standby(self.program)
            except OSError:
                pass
        return self._standby
