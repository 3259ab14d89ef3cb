"""What a person reads of a diagnosis.

Source: jvs-doctor(1).
"""

from __future__ import annotations

from jvs import units
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.check.doctor import Diagnosis
    from jvs.ui.terminal import Terminal

_COLORS = {"critical": "red", "error": "red", "warning": "yellow"}


def page(seen: Diagnosis, screen: Terminal) -> str:
    """Return what was repaired, each finding with its path, repair and hint, and the sum of it."""
    lines = []
    for sentence in seen.repaired:
        lines += terminal.wrap(terminal.show_text(sentence), screen, "repaired: ", "  ")
    for finding in seen.findings:
        what = f"{finding.severity}: {finding.error.name}: {terminal.show_text(finding.error.message)}"
        first, *more = terminal.wrap(what, screen, "", "  ")
        lines += [first.replace(finding.severity, screen.paint(finding.severity, _COLORS[finding.severity]), 1), *more]
        path = finding.as_json()["path"]
        if path is not None:
            lines.append(f"  path: {terminal.show_text(path)}")
        if finding.repair is not None:
            lines.append(f"  repair: {finding.repair}")
        if finding.error.hint:
            lines += terminal.wrap(terminal.show_text(finding.error.hint), screen, "  hint: ", "    ")
    count = units.plural(len(seen.findings), "finding")
    return "\n".join([*lines, "Repository is healthy." if seen.healthy else f"{count}."]) + "\n"
