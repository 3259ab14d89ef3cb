"""Commands, run as a person runs them: with streams, limits and an environment of their own.

`Lab.jvs` forks a process that has jvs loaded already (`forkserver`); `Lab.program` starts a new one.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

BIN = Path(sys.executable).parent
TIMEOUT_SECONDS = 120


class Answer(NamedTuple):
    """What a program answered."""

    exit: int
    out: bytes
    err: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "backslashreplace")

    @property
    def said(self) -> str:
        """All words, for messages of tests."""
        return (self.out + b"\n" + self.err).decode("utf-8", "backslashreplace")

    @property
    def error(self) -> str:
        """The class of the error that `--json` put on stderr, or nothing."""
        start = self.err.find(b'{\n  "error"')
        return json.loads(self.err[start:])["error"]["class"] if start >= 0 else ""


class Server:
    """The fork servers of this process, each started when it is first asked.

    One has loaded the library. Where a command may open only so many files it has to load the library itself, as an
    installed program does: for that there is one that has loaded nothing but the commands. What Python finds out when
    it starts, the locale, takes one that was started in it.
    """

    started: ClassVar[dict[str, subprocess.Popen[str]]] = {}

    @classmethod
    def ask(cls, request: dict[str, Any], locale: dict[str, str] | None = None) -> int:
        limited = any(situation.startswith("limit NOFILE") for situation in request["situation"])
        process = cls._running("commands" if limited else "library", locale or {})
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    @classmethod
    def _running(cls, loaded: str, locale: dict[str, str]) -> subprocess.Popen[str]:
        key = " ".join([loaded, *(f"{name}={value}" for name, value in locale.items())])
        process = cls.started.get(key)
        if process is None or process.poll() is not None:
            if not cls.started:
                atexit.register(cls.stop)
            program = Path(__file__).with_name("forkserver.py")
            # The environment is given: readline, where it is loaded, puts COLUMNS into what would be inherited. And the
            # test that asks first must not say how wide the terminals of all later ones are.
            plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
            process = cls.started[key] = subprocess.Popen(
                [sys.executable, program, loaded, "locale" if locale else "UTF-8"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**plain, **locale},
            )
        return process

    @classmethod
    def stop(cls) -> None:
        for process in cls.started.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait(TIMEOUT_SECONDS)
        cls.started.clear()


def on_terminal(
    words: list[str], columns: int, cwd: Path, environment: dict[str, str], locale: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run a program of jvs on a terminal of some width, by the fork server, which was started in some locale.

    Return its status and what was shown, stdout and stderr as one.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(ours, shown))
    reader.start()
    try:
        screen = os.ttyname(theirs)
        request = {"words": words, "cwd": str(cwd), "env": environment, "situation": []}
        code = Server.ask({**request, "stdin": screen, "stdout": screen, "stderr": screen}, locale)
    finally:
        os.close(theirs)  # the reader ends when no one has it open any more
        reader.join()
        os.close(ours)
    return code, b"".join(shown).decode("utf-8", "backslashreplace").replace("\r\n", "\n")


def _read_all(fd: int, into: list[bytes]) -> None:
    while True:
        try:
            data = os.read(fd, 1 << 16)
        except OSError:  # EIO: the other end is closed
            return
        into.append(data)


class Lab:
    """A repository and the programs that work in it, by default in its main worktree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.main = root / "main"
        self.jvs_dir = root / ".jvs"

    def program(self, *words: str | bytes, cwd: Path | str | None = None, **more: Any) -> Answer:
        """Run an installed program; `more` goes to subprocess.run."""
        path = [BIN / os.fsdecode(words[0]), *words[1:]]
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **more.pop("env", {})}
        more.setdefault("stdin", None if "input" in more else subprocess.DEVNULL)
        if more["stdin"] is None:
            del more["stdin"]
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        more.setdefault("timeout", TIMEOUT_SECONDS)
        done = subprocess.run(path, cwd=cwd or self.main, env=environment, check=False, **more)
        return Answer(done.returncode, done.stdout or b"", done.stderr or b"")

    def command(
        self,
        *words: str | bytes,
        cwd: Path | str | None = None,
        env: dict[str, str] | None = None,
        input: bytes = b"",
        situation: list[str] | None = None,
        stdin: str | None = None,
    ) -> Answer:
        """Run a program of jvs by the fork server; `situation` is what `forkserver` calls so."""
        with tempfile.TemporaryDirectory() as name:
            files = {stream: os.path.join(name, stream) for stream in ("stdin", "stdout", "stderr")}
            for stream, path in files.items():
                Path(path).write_bytes(input if stream == "stdin" else b"")
            environment = {name: os.environ[name] for name in os.environ if name.startswith(("XDG_", "JVS_", "HOME"))}
            environment |= {"PATH": f"{BIN}:{os.environ['PATH']}", **(env or {})}
            request = {"words": [os.fsdecode(word) for word in words], "cwd": str(cwd or self.main), **files}
            request |= {"env": environment, "situation": situation or []}
            if stdin is not None:
                request["stdin"] = stdin
            code = Server.ask(request)
            return Answer(code, Path(files["stdout"]).read_bytes(), Path(files["stderr"]).read_bytes())

    def jvs(self, *words: str | bytes, **more: Any) -> Answer:
        """Run `jvs WORDS`."""
        if set(more) <= {"cwd", "env", "input", "situation"}:
            return self.command("jvs", *words, **more)
        return self.program("jvs", *words, **more)

    def must(self, *words: str | bytes, **more: Any) -> Answer:
        """Run `jvs WORDS`, which has to succeed."""
        answer = self.jvs(*words, **more)
        assert answer.exit == 0, f"{words}: exit {answer.exit}\n{answer.said}"
        return answer

    def ids(self) -> list[str]:
        """Return the visible snapshots, as the directory of descriptors has them."""
        return sorted(path.stem for path in (self.jvs_dir / "descriptors").glob("*.json"))

    def snapshot(self, note: str, **files: str) -> str:
        """Write files, take a snapshot, and return its id."""
        for name, content in files.items():
            (self.main / name).write_text(content)
        return self.must("snapshot", "--json", note).json["snapshot_id"]
