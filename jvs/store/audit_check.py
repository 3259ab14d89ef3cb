"""Reading a whole audit log: every hash computed again, every break reported.

Source: jvs-audit(5).
"""

from __future__ import annotations

from jvs import canon
from jvs.errors import AuditChainBroken, from_oserror
from jvs.fs import paths
from jvs.store import audit, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below


class ChainReport:
    """What reading a whole chain found. Shape: `problems` are sentences; `torn` the bytes after the last newline."""

    def __init__(self) -> None:
        self.count = 0
        self.head = ""
        self.problems: list[str] = []
        self.torn = 0
        self.records: list[audit.AuditRecord] = []


def check(path: Below, first_hash: str | None, *, keep: bool = False) -> ChainReport:
    """Read a whole log, compute every hash again, and report each break.

    `first_hash` is the expected start; None takes what the first record says. `keep` collects the records.
    Errors: E_AUDIT_CHAIN_BROKEN when the log is missing; E_IO.
    """
    report = ChainReport()
    previous, expected_seq = first_hash, 1
    files = audit.segments(path)
    if not paths.exists(path) and audit.was_just_rotated(path):
        files.pop()
    for file in files:
        data = _read_segment(file)
        lines = data.split(b"\n")
        torn = lines.pop()
        if torn and file != files[-1]:
            report.problems.append(f"'{file.name}' ends in the middle of a record")
        elif torn:
            report.torn = len(torn)
        for number, line in enumerate(lines, 1):
            where = f"{file.name}:{number}"
            previous, expected_seq = _check_line(report, line, where, previous, expected_seq, keep)
    report.head = previous or ""
    return report


def _read_segment(file: Below) -> bytes:
    try:
        return paths.read_file(file, audit.ROTATE_BYTES + records.MAX_BYTES)
    except FileNotFoundError as error:
        raise AuditChainBroken(
            f"the log '{file}' is missing", hint="restore it from a copy: it is never begun anew in silence"
        ) from error
    except OSError as error:
        if error.errno in (21, 22, 27, 40):
            problem = "larger than a log can be" if error.errno == 27 else "not a regular file"
            raise AuditChainBroken(
                f"the log '{file}' is {problem}", hint="restore it from a copy of the repository"
            ) from error
        raise from_oserror(error, f"reading '{file}'") from error


def _check_line(
    report: ChainReport, line: bytes, where: str, previous: str | None, expected_seq: int, keep: bool
) -> tuple[str | None, int]:
    try:
        record: audit.AuditRecord = canon.decode_object(line)
        audit.check_shape(record)
    except canon.BadJSON as error:
        report.problems.append(f"{where}: not a record ({error})")
        return None, expected_seq + 1
    if canon.encode(record) != line:
        report.problems.append(f"{where}: not in canonical form")
    if audit.record_hash(record) != record["record_hash"]:
        report.problems.append(f"{where}: record {record['seq']} does not fit its hash")
    if previous is not None and record["prev_hash"] != previous:
        report.problems.append(f"{where}: record {record['seq']} does not follow the one before it")
    if record["seq"] != expected_seq:
        report.problems.append(f"{where}: record {record['seq']} is where {expected_seq} belongs")
    report.count += 1
    if keep:
        report.records.append(record)
    return record["record_hash"], record["seq"] + 1


def raise_problems(report: ChainReport) -> None:
    """Raise E_AUDIT_CHAIN_BROKEN when a chain has problems."""
    if report.problems:
        raise AuditChainBroken(
            f"the audit chain is broken: {report.problems[0]}",
            hint="compare it with a copy of the repository: somebody or something changed the log",
            problems=report.problems,
        )
