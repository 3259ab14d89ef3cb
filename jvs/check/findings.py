"""Findings: what is wrong with a repository, how bad it is, and what can repair it.

The checks (structure, leftovers, consistency) each look at one part and return findings. They do what the next
commands would do first (read every control file, take every lock, plan a collection), so that nothing is called
healthy on which they would fail. None of them writes.
Source: jvs-doctor(1), jvs-errors(7).
"""

from __future__ import annotations

import os

from jvs.errors import JvsError, PartialSnapshot, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict

    # "class" is a word of Python
    FindingDocument = TypedDict(
        "FindingDocument",
        {
            "class": str,
            "severity": str,
            "path": str | None,
            "message": str,
            "hint": str | None,
            "repair": str | None,
        },
    )
    """A finding as `--json` prints it."""

    from jvs.fs.rooted import Below

CRITICAL, ERROR, WARNING = "critical", "error", "warning"
SEVERITIES = (CRITICAL, ERROR, WARNING)
CLEAN_TMP, CLEAN_INTENTS, ADVANCE_HEAD = "clean_tmp", "clean_intents", "advance_head"
REBUILD_INDEX, AUDIT_REPAIR = "rebuild_index", "audit_repair"
DAMAGE = frozenset(
    {
        "E_DESCRIPTOR_CORRUPT",
        "E_PAYLOAD_HASH_MISMATCH",
        "E_LINEAGE_BROKEN",
        "E_AUDIT_CHAIN_BROKEN",
        "E_PARTIAL_SNAPSHOT",
    }
)
"""The classes that say that something is not as it was written. A file that cannot be read is none of them."""


class Finding:
    """One thing that is wrong.

    Shape: `error` carries class, message and hint; `path` is absolute or None; `repair` one of the five actions or
    None. A warning is unfinished business that the next command, or the repair, recovers.
    """

    def __init__(
        self,
        error: JvsError,
        *,
        severity: str | None = None,
        path: Below | str | None = None,
        repair: str | None = None,
    ) -> None:
        self.error = error
        self.severity = severity or (CRITICAL if error.name in DAMAGE else ERROR)
        named = error.facts.get("path")
        self.path = str(path) if path is not None else named if isinstance(named, str) else None
        self.repair = repair

    @property
    def key(self) -> tuple[str, str]:
        """What makes two findings the same."""
        return self.error.name, self.error.message

    def as_json(self) -> FindingDocument:
        """Return the finding as `jvs doctor --json` prints it."""
        return {
            "class": self.error.name,
            "severity": self.severity,
            "path": None if self.path is None else os.fsencode(self.path).decode("utf-8", "backslashreplace"),
            "message": self.error.message,
            "hint": self.error.hint,
            "repair": self.repair,
        }


def pending(message: str, path: Below, repair: str, hint: str = "") -> Finding:
    """Return a finding for what a crash left and somebody will recover: never damage, never healthy."""
    hint = hint or f"the next command that changes something recovers it, or 'jvs doctor --repair {repair}'"
    return Finding(PartialSnapshot(message, hint=hint), severity=WARNING, path=path, repair=repair)


def guarded(check: Callable[..., list[Finding]], *args: Any) -> list[Finding]:
    """Run a check; what it cannot look at is a finding itself."""
    try:
        return check(*args)
    except JvsError as error:
        return [Finding(error)]
    except OSError as error:
        return [Finding(from_oserror(error, "looking at the repository"))]
