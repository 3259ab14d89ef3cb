"""What a person reads of a verification.

Source: jvs-verify(1).
"""

from __future__ import annotations

from jvs import units
from jvs.errors import AuditChainBroken, JvsError
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.check.differences import Difference
    from jvs.check.verify import SnapshotReport
    from jvs.store.audit_check import ChainReport
    from jvs.ui.terminal import Terminal

SHOWN_DIFFERENCES = 20
SHOWN_RANGES = 3


def one(report: SnapshotReport, screen: Terminal, *, payload: bool, others: int = 0) -> str:
    """Return what was found of one snapshot.

    `payload` says whether its files were read, `others` how many snapshots nobody asked for.
    """
    lines = [*_lines(report, screen), f"Checksum: {_valid(report.checksum_valid)}"]
    if payload:
        lines.append(f"Payload hash: {_valid(report.payload_hash_valid)}")
    if others:
        rest = f"{units.plural(others, 'other')} not checked: 'jvs verify --all' checks every snapshot and the log"
        lines += terminal.wrap(rest, screen, "", "  ")
    return "\n".join(lines) + "\n"


def _valid(answer: bool | None) -> str:
    return "unknown" if answer is None else str(answer).lower()


def everything(
    reports: list[SnapshotReport], problems: list[JvsError], chain: ChainReport, screen: Terminal, *, others: int = 0
) -> str:
    """Return what was found of all snapshots, lines and the audit chain, and the sum of it.

    `others` is the number of snapshots whose files were not read, because only some were asked for.
    """
    lines = [line for report in reports for line in _lines(report, screen)]
    for problem in problems:
        first, *more = terminal.wrap(f"{problem.name}: {problem.message}", screen, "", "  ")
        lines += [first.replace(problem.name, screen.paint(problem.name, "red"), 1), *more]
    if chain.torn:
        torn = f"audit log: a torn last line of {chain.torn} bytes, left by a crash; the next command repairs it"
        lines += terminal.wrap(torn, screen, "", "  ")
    read, held = sum(report.read_bytes for report in reports), sum(report.payload_bytes for report in reports)
    if held:
        line = f"{units.size(read)} read for {units.plural(len(reports), 'snapshot')} of {units.size(held)} in all"
        lines += terminal.wrap(line, screen, "", "  ")
    if others:
        rest = f"the files of {units.plural(others, 'other snapshot')} were not read"
        lines += terminal.wrap(rest, screen, "", "  ")
    good = sum(1 for report in reports if not report.error)
    state = "broken" if any(problem.name == AuditChainBroken.name for problem in problems) else "whole"
    records = units.plural(chain.count, "record")
    total = f"{good} of {units.plural(len(reports), 'snapshot')} OK; audit chain of {records} is {state}"
    lines += terminal.wrap(total, screen, "", "  ")
    return "\n".join(lines) + "\n"


def _lines(report: SnapshotReport, screen: Terminal) -> list[str]:
    if report.error is None:
        return [f"{report.snapshot_id}  {screen.paint('OK', 'green')}"]
    word = "TAMPERED" if report.tampered else "UNKNOWN"
    what = f"{word}  {report.error.name}: {report.error.message}"
    first, *more = terminal.wrap(what, screen, f"{report.snapshot_id}  ", "    ")
    lines = [first.replace(word, screen.paint(word, "red"), 1), *more]
    for item in report.differences[:SHOWN_DIFFERENCES]:
        front, path = f"  {item['what']}{_where(item)}: ", terminal.show_text(item["path"])
        lines.append(front + (terminal.cut_left(path, screen.width - len(front)) if screen.tty else path))
    if len(report.differences) > SHOWN_DIFFERENCES:
        lines.append(f"  ... and {len(report.differences) - SHOWN_DIFFERENCES} more; '--json' lists them")
    return lines


def _where(item: Difference) -> str:
    """Say which bytes of a large file are damaged, as far as that fits a line."""
    ranges = item.get("ranges", [])
    shown = ", ".join(f"{start}-{end - 1}" for start, end in ranges[:SHOWN_RANGES])
    return f" (bytes {shown}{', ...' if len(ranges) > SHOWN_RANGES else ''})" if ranges else ""
