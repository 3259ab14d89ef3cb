"""The verdict on one interruption."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Verdict:
    """What one task led to. `fired` is the call at which the interruption happened, empty when it never did.

    `point` is the task: a Point of torture, a State of crashmodel or a Point of interleave.
    `seen`: an equivalent disk had been judged before.
    """

    point: Any
    fired: str
    code: int
    violations: list[str]
    seconds: float
    directory: str = ""
    seen: bool = False

    def shown(self, program: str, lines: list[str] | None = None) -> str:
        """Return a violation as a reader needs it: how to run it again, what is wrong, where the repository is."""
        fired = f"{self.fired}; " if self.fired else ""
        text = [f"VIOLATION  {program} {self.point}   [{fired}exit {self.code}]", *(lines or [])]
        text += ["    " + violation.replace("\n", "\n      ")[:2000] for violation in self.violations[:6]]
        return "\n".join(text + ([f"    kept: {self.directory}"] if self.directory else []))


def attempt(run: Callable[[Any], Verdict], task: Any) -> Verdict:
    """Return the verdict on a task; an exception of the suite itself is a violation."""
    try:
        return run(task)
    except Exception:
        return Verdict(task, "", 0, ["the suite itself failed: " + traceback.format_exc()], 0.0)
