"""The three streams of a command: opened when they were closed, buffered, and what to say when an answer is lost.

Source: jvs-errors(7), Statuses that are not errors.
"""

from __future__ import annotations

import errno
import io
import os
import sys

from jvs import progress
from jvs.errors import IOFailure, JvsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from jvs.errors import ErrorDocument

_READS_NOTHING, _WRITES_NOTHING = os.devnull, "/dev/full"
_EFFECTS = {
    "snapshot": "snapshot '{target}' was taken",
    "restore": "worktree '{worktree}' was restored",
    "merge": "worktree '{worktree}' was merged into",
    "try": "what was tried was applied to worktree '{worktree}'",
    "try_discard": "what was tried in worktree '{worktree}' was discarded",
    "undo": "an operation in worktree '{worktree}' was undone",
    "worktree_create": "worktree '{worktree}' was made",
    "worktree_fork": "worktree '{worktree}' was made",
    "worktree_rename": "worktree '{worktree}' was renamed",
    "worktree_move": "worktree '{worktree}' was moved",
    "worktree_attach": "worktree '{worktree}' was attached",
    "worktree_remove": "worktree '{worktree}' was removed",
    "gc_run": "the snapshots of plan '{target}' were removed",
    "pin": "snapshot '{target}' was pinned",
    "unpin": "snapshot '{target}' was unpinned",
    "annotate": "the words of snapshot '{target}' were changed",
    "receive": "snapshots were received",
    "send": "the stream was written to '{target}'",
    "config": "setting '{target}' was changed",
    "head_update": "the head of worktree '{worktree}' was moved",
    "init": "the repository was made",
    "clone": "the repository was cloned",
    "detach": "the workspace was detached",
}


class OutputLost(Exception):
    """The system did not take what was written to stdout; `reason` is what it said."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def open_streams() -> None:
    """Open the descriptors 0, 1 and 2 that were closed before we began, and buffer a stdout that is not.

    A file that is opened later must not become stdin, stdout or stderr. What cannot be read stays an error, and so
    does a result that nobody gets. An unbuffered stdout may write a part of a result and say nothing.
    """
    if sys.stdin is None:
        sys.stdin = _open(0, _READS_NOTHING, os.O_WRONLY, "r")
    if sys.stdout is None:
        sys.stdout = _open(1, _WRITES_NOTHING, os.O_WRONLY, "w")
    if sys.stderr is None:
        sys.stderr = _open(2, os.devnull, os.O_WRONLY, "w")
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        old = sys.stdout
        sys.stdout = open(1, "w", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115


def _open(descriptor: int, path: str, flags: int, mode: str) -> Any:
    """Open a path at a descriptor; children inherit it, as they do any other."""
    fd = os.open(path, flags)
    if fd != descriptor:  # a caller that is no program of its own has closed the stream, not the descriptor
        os.close(fd)
        return open(path, mode, encoding="utf-8")
    os.set_inheritable(fd, True)
    return open(fd, mode, encoding="utf-8", closefd=False)


def write(data: bytes) -> None:
    """Write all of some bytes to stdout and make sure that they arrived. Errors: OutputLost."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except OSError as error:
        raise OutputLost(error) from error


class Stdout:
    """Standard output as what a stream of snapshots is written to; its errors are told from others."""

    def write(self, data: bytes) -> None:
        """Write all of some bytes, or keep some for `flush`. Errors: OutputLost."""
        try:
            sys.stdout.buffer.write(data)
        except OSError as error:
            raise OutputLost(error) from error

    def send_file(self, fd: int, at: int, size: int) -> int:
        """Write a part of an open file without reading it here; return how much the file had. Errors: OutputLost.

        Where the system cannot do that (a standard output that is opened to append) it is read and written.
        """
        flush()
        sent = 0
        while sent < size:
            try:
                part = os.sendfile(sys.stdout.fileno(), fd, at + sent, size - sent)
            except (OSError, io.UnsupportedOperation) as error:
                if isinstance(error, BrokenPipeError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EIO):
                    raise OutputLost(error) from error
                data = os.pread(fd, size - sent, at + sent)
                self.write(data)
                part = len(data)
            if not part:
                break
            sent += part
        return sent


def are_screens() -> tuple[bool, bool]:
    """Answer whether a person types stdin, and whether one reads stdout."""
    return sys.stdin.isatty(), sys.stdout.isatty()


def stdin() -> BinaryIO:
    """Return standard input, of bytes."""
    return sys.stdin.buffer


def flush() -> None:
    """Make sure that all of stdout arrived. Errors: OutputLost."""
    write(b"")


def abandon(descriptor: int) -> None:
    """Keep the interpreter from trying to flush what nobody will read."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
    except OSError:
        return


def effects() -> Iterator[str]:
    """Yield what this command has done to the repository so far, one sentence each, newest last."""
    for event in progress.effects():
        yield _EFFECTS.get(event["operation"], "'{operation}' was recorded").format_map(event)


def lost(error: OutputLost, exit: int) -> JvsError | None:
    """Return what to say of an answer that nobody got; None when nobody wanted it and there is nothing to say.

    `exit` is the status that the command would have had. The status for a reader that went away is 141.
    """
    gone = isinstance(error.reason, BrokenPipeError)
    if gone and not progress.effects():
        return None
    reason = "its reader went away" if gone else error.reason.strerror or str(error.reason)
    failure = IOFailure(
        f"the output could not be written: {reason}",
        hint="what the command did is done, only its words are lost: check where stdout goes",
    )
    failure.exit = 141 if gone else exit or failure.exit
    return failure


def with_effects(error: JvsError) -> ErrorDocument:
    """Return the object that `--json` prints of a failure, with what was done before it."""
    value = error.as_json()
    done = list(effects())
    if done:
        value["error"]["done"] = done
    return value
