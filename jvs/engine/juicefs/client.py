"""The client program of JuiceFS as a process, and what its failures mean.

The client exits with 1 for everything that goes wrong, so that its last line decides what a failure is: a full
volume, something that another attempt may get past, or an error for good.
Source: juicefs(1) 1.1 to 1.4.
"""

from __future__ import annotations

from jvs.errors import IOFailure, JvsError, NoSpace, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess


class Incomplete(Exception):
    """A clone that is worth another attempt; `problem` is what to say when there is none left."""

    def __init__(self, problem: JvsError) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Running:
    """A client that was started. It is shielded from the terminal's signals: a killed clone leaks what it built."""

    def __init__(self, command: list[str], label: str) -> None:
        import subprocess

        self.label = label
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise from_oserror(error, f"starting '{command[0]}'") from error

    def wait(self) -> bytes:
        """Wait for the end, also when we are interrupted meanwhile; return what it printed.

        Errors: E_NO_SPACE, E_IO; Incomplete.
        """
        try:
            printed, text = self._process.communicate()
        except BaseException:
            self._process.communicate()
            raise
        if self._process.returncode != 0:
            raise _explain(self.label, self._process.returncode, text)
        return printed


_RETRY = (
    "input/output error",  # Redis: a file that changes all the time starves the transaction
    "no such file or directory",  # SQL: something directly below the source vanished
    "interrupted system call",
    "client was restarted",
)


def _explain(label: str, status: int, output: bytes) -> Exception:
    """Turn what the client says when it fails into an error; its exit status is 1 for everything."""
    text = _last_line(output) or f"exit status {status}"
    lower = text.lower()
    doing = f"'{label}' failed: {text}"
    if "quota exceeded" in lower or "no space left" in lower:
        return NoSpace(
            doing, hint="free some space or raise the quota ('jvs gc plan' shows what can go), then run it again"
        )
    problem = IOFailure(
        doing, hint="check the JuiceFS mount and its log ('juicefs status', juicefs.log), then run the command again"
    )
    if any(part in lower for part in _RETRY):
        return Incomplete(problem)
    return problem


def _last_line(output: bytes) -> str:
    """Return the last line without colours, time stamp, and the place in the client's source."""
    import re

    text = re.sub(r"\x1b\[[0-9;]*m", "", output.decode("utf-8", "backslashreplace")).strip()
    line = text.splitlines()[-1] if text else ""
    line = re.sub(r"^.*?<(?:FATAL|ERROR|WARNING)>:\s*", "", line)
    return re.sub(r"\s*\[[^\[\]]*@[^\[\]]*:\d+\]$", "", line)
