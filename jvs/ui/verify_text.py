"""What a person reads of a verification.

Source: jvs-verify(1).
"""

from __future__ import annotations

from jvs import units
from jvs.errors import AuditChainBroken, JvsError
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.check.verify import SnapshotReport
    from jvs.store.audit_check import ChainReport
    from jvs.ui.terminal import Terminal

SHOWN_DIFFERENCES = 20


def one(report: SnapshotReport, screen: Terminal, *, payload: bool) -> str:
    """Return what was found of one snapshot; `payload` says whether its files were read."""
    lines = [*_lines(report, screen), f"Checksum: {str(bool(report.checksum_valid)).lower()}"]
    if payload:
        lines.append(f"Payload hash: {str(bool(report.payload_hash_valid)).lower()}")
    return "\n".join(lines) + "\n"


def everything(reports: list[SnapshotReport], problems: list[JvsError], chain: ChainReport, screen: Terminal) -> str:
    """Return what was found of all snapshots, lines and the audit chain, and the sum of it."""
    lines = [line for report in reports for line in _lines(report, screen)]
    for problem in problems:
        first, *more = terminal.wrap(f"{problem.name}: {problem.message}", screen, "", "  ")
        lines += [first.replace(problem.name, screen.paint(problem.name, "red"), 1), *more]
    if chain.torn:
        torn = f"audit log: a torn last line of {chain.torn} bytes, left by a crash; the next command repairs it"
        lines += terminal.wrap(torn, screen, "", "  ")
    good = sum(1 for report in reports if not report.error)
    state = "broken" if any(problem.name == AuditChainBroken.name for problem in problems) else "whole"
    records = units.plural(chain.count, "record")
    total = f"{good} of {units.plural(len(reports), 'snapshot')} OK; audit chain of {records} is {state}"
    lines += terminal.wrap(total, screen, "", "  ")
    return "\n".join(lines) + "\n"


def _lines(report: SnapshotReport, screen: Terminal) -> list[str]:
    if report.error is None:
        return [f"{report.snapshot_id}  {screen.paint('OK', 'green')}"]
    what = f"TAMPERED  {report.error.name}: {report.error.message}"
    first, *more = terminal.wrap(what, screen, f"{report.snapshot_id}  ", "    ")
    lines = [first.replace("TAMPERED", screen.paint("TAMPERED", "red"), 1), *more]
    for item in report.differences[:SHOWN_DIFFERENCES]:
        front, path = f"  {item['what']}: ", terminal.show_text(item["path"])
        lines.append(front + (terminal.cut_left(path, screen.width - len(front)) if screen.tty else path))
    if len(report.differences) > SHOWN_DIFFERENCES:
        lines.append(f"  ... and {len(report.differences) - SHOWN_DIFFERENCES} more; '--json' lists them")
    return lines
