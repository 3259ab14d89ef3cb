"""The stable error classes and their exit codes, and the words of failures; no imports.

Every failure that a user can meet is one of these. The class name and the exit code are a promise; the message
says what is wrong (names in single quotes, no full stop) and the hint says what to do next.
Source: jvs-errors(7).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NotRequired, TypedDict

    # "class" is a word of Python
    ErrorFacts = TypedDict(
        "ErrorFacts",
        {
            "class": str,
            "exit": int,
            "message": str,
            "hint": str | None,
            "facts": dict[str, Any],
            "done": NotRequired[list[str]],
        },
    )

    class ErrorDocument(TypedDict):
        """An error as `--json` prints it on stderr."""

        error: ErrorFacts


class JvsError(Exception):
    """A failure with a stable class name, an exit code, a message, a hint, and facts for machines.

    Shape: `facts` holds JSON values only.
    """

    name = "E_INTERNAL"
    exit = 70

    def __init__(self, message: str, *, hint: str | None = None, **facts: Any) -> None:
        message = known_names(message)
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    def as_json(self) -> ErrorDocument:
        """Return the object that `--json` prints on stderr."""
        return {
            "error": {
                "class": self.name,
                "exit": self.exit,
                "message": self.message,
                "hint": self.hint,
                "facts": self.facts,
            }
        }


class UsageError(JvsError):
    """The command line or a configuration value is wrong."""

    name, exit = "E_USAGE", 2


class IOFailure(JvsError):
    """The operating system refused a read or a write."""

    name, exit = "E_IO", 4


class NoSpace(JvsError):
    """The disk or a quota is full."""

    name, exit = "E_NO_SPACE", 4


class NotFound(JvsError):
    """No snapshot, worktree, tag, plan or key answers to that name."""

    name, exit = "E_NOT_FOUND", 5


class NotARepository(JvsError):
    """There is no jvs repository here or above."""

    name, exit = "E_NOT_A_REPOSITORY", 5


class Ambiguous(JvsError):
    """More than one snapshot answers to that name."""

    name, exit = "E_AMBIGUOUS", 5


class Busy(JvsError):
    """Another process holds the lock, and waiting did not help."""

    name, exit = "E_BUSY", 6


class Exists(JvsError):
    """What was to be made is there already."""

    name, exit = "E_EXISTS", 7


class Detached(JvsError):
    """The worktree is detached, and the policy forbids this there."""

    name, exit = "E_DETACHED", 7


class Dirty(JvsError):
    """The worktree has changes that forbid this."""

    name, exit = "E_DIRTY", 7


class Conflict(JvsError):
    """Both sides of a merge changed the same paths differently, and nothing was changed."""

    name, exit = "E_CONFLICT", 7


class StaleHead(JvsError):
    """The head moved since it was read."""

    name, exit = "E_STALE_HEAD", 7


class NameInvalid(JvsError):
    """A worktree name, tag or snapshot id breaks the rules for names."""

    name, exit = "E_NAME_INVALID", 10


class PathEscape(JvsError):
    """A path leads out of the place it must stay in."""

    name, exit = "E_PATH_ESCAPE", 11


class FormatUnsupported(JvsError):
    """The repository has a format that this version does not write."""

    name, exit = "E_FORMAT_UNSUPPORTED", 12


class DescriptorCorrupt(JvsError):
    """A descriptor or READY marker is damaged or was changed."""

    name, exit = "E_DESCRIPTOR_CORRUPT", 20


class PayloadHashMismatch(JvsError):
    """A snapshot's files are not what was published."""

    name, exit = "E_PAYLOAD_HASH_MISMATCH", 21


class LineageBroken(JvsError):
    """A parent, a head or a worktree's configuration is missing or damaged."""

    name, exit = "E_LINEAGE_BROKEN", 22


class PartialSnapshot(JvsError):
    """A snapshot, or the record of an operation, is only half there."""

    name, exit = "E_PARTIAL_SNAPSHOT", 23


class AuditChainBroken(JvsError):
    """The audit log was cut, edited, or does not agree with the repository."""

    name, exit = "E_AUDIT_CHAIN_BROKEN", 24


class CloneIncomplete(JvsError):
    """A clone came out incomplete, and cloning again did not help."""

    name, exit = "E_CLONE_INCOMPLETE", 25


class GcPlanMismatch(JvsError):
    """The repository changed since the collection was planned."""

    name, exit = "E_GC_PLAN_MISMATCH", 30


class InternalError(JvsError):
    """A bug in jvs."""


ALL: tuple[type[JvsError], ...] = (
    UsageError,
    IOFailure,
    NoSpace,
    NotFound,
    NotARepository,
    Ambiguous,
    Busy,
    Exists,
    Detached,
    Dirty,
    Conflict,
    StaleHead,
    NameInvalid,
    PathEscape,
    FormatUnsupported,
    DescriptorCorrupt,
    PayloadHashMismatch,
    LineageBroken,
    PartialSnapshot,
    AuditChainBroken,
    CloneIncomplete,
    GcPlanMismatch,
    InternalError,
)

OPENING = (UsageError, IOFailure, NotARepository, PathEscape, FormatUnsupported)
"""What every command may meet that opens a repository."""
READING = (*OPENING, NotFound, NameInvalid, DescriptorCorrupt, LineageBroken, PartialSnapshot)
"""What a command may meet besides that looks at worktrees and snapshots."""
NAMING = (*READING, Ambiguous)
"""What a command may meet besides that takes a snapshot as TARGET."""
CHANGING = (*READING, NoSpace, Busy, AuditChainBroken)
"""What a command may meet that looks at worktrees and snapshots, and changes something in the repository."""

_NO_SPACE = frozenset({28, 122})  # ENOSPC, EDQUOT: the same numbers on every Linux architecture


_TEMPORARY = ".jvs-tmp-"
_MEANINGS: dict[str, Callable[[str], str | None]] = {}


def stands_for(operation_id: str, meaning: Callable[[str], str | None] | None) -> None:
    """Say what the temporary names of an operation stand for: those that begin with `.jvs-tmp-` and its id.

    `meaning` gets what comes after the id, and returns the path that a user knows, or None. Without it they stand for
    nothing any more.
    """
    _MEANINGS.pop(operation_id, None)
    if meaning is not None:
        _MEANINGS[operation_id] = meaning


def known_names(text: str) -> str:
    """Return text in which temporary names are replaced by the paths that they stand for, as far as that is known."""
    before, found, rest = text.partition(_TEMPORARY)
    if not found:
        return text
    length = 22  # of an operation's id
    number = rest[length:][: len(rest[length:]) - len(rest[length:].lstrip("-0123456789"))]
    meaning = _MEANINGS.get(rest[:length])
    path = meaning(number) if meaning is not None else None
    if path is None:
        return before + found + known_names(rest)
    if before.endswith("/"):
        path = path.rpartition("/")[2]
    return before + path + known_names(rest[length + len(number) :])


def from_oserror(error: OSError, doing: str) -> JvsError:
    """Turn what the system refused into E_NO_SPACE or E_IO, with a sentence about what to do.

    `doing` is a phrase such as "writing 'descriptors/ID.json'".
    """
    reason = error.strerror or str(error)
    doing = known_names(doing)
    facts = {"errno": error.errno, "path": _show(error.filename)}
    if error.errno in _NO_SPACE:
        hint = "free some space ('jvs gc plan' shows what can go), then run the command again"
        return NoSpace(f"{doing}: {reason}", hint=hint, **facts)
    hints = {
        1: "check the owner, attributes and mount options of that path",
        5: "the storage reports a hardware or network error: check the system log",
        13: "check the permissions of that path, or run as its owner",
        11: "raise the limit on processes ('ulimit -u'), or wait for others to end, and run the command again",
        12: "close other programs, or raise the limit on memory ('ulimit -v'), and run the command again",
        24: "raise the limit on open files ('ulimit -n') and run the command again",
        26: "it is in use as a running program or as swap space: end that ('swapoff FILE'), or work without it",
        27: "raise the limit on the size of files ('ulimit -f') and run the command again",
        30: "the filesystem is mounted read-only: remount it writable, or work in another place",
    }
    where = f" '{facts['path']}'" if facts["path"] and f"'{facts['path']}'" not in doing else ""
    return IOFailure(
        f"{doing}: {reason}{where}",
        hint=hints.get(error.errno or 0, "check that the path is there and readable, then run the command again"),
        **facts,
    )


def from_shortage(error: Exception) -> JvsError | None:
    """Turn what Python says when the system has no more memory or threads into E_IO; None for anything else."""
    if isinstance(error, MemoryError):
        return from_oserror(OSError(12, "Cannot allocate memory"), "the system refused")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return from_oserror(OSError(11, "no more threads"), "the system refused")
    return None


def _show(path: Any) -> str | None:
    if path is None or isinstance(path, int):
        return None
    if isinstance(path, bytes):
        return known_names(path.decode("utf-8", "backslashreplace"))
    return known_names(readable(str(path)))


def readable(text: str) -> str:
    """Return text in which everything that UTF-8 cannot hold is escaped: bytes of names, and lone surrogates."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")
