"""The hash-chained audit log: append one record in constant time, and check the whole chain.

Source: jvs-audit(5).
"""

from __future__ import annotations

import hashlib
import os

from jvs import canon, clock, progress
from jvs.errors import AuditChainBroken, from_oserror
from jvs.fs import durable, listing, locks, paths
from jvs.store import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypedDict

    from jvs.fs.rooted import Below
    from jvs.store.layout import Layout

    Details = dict[str, Any]
    """What an operation says of itself, whatever JSON that is. Source: jvs-audit(5)."""

    class Event(TypedDict):
        """What happened: a record but for its place in the chain."""

        event_id: str
        timestamp: str
        operation: str
        actor: str
        target: str | None
        worktree: str | None
        reason: str | None
        details: Details

    class AuditRecord(Event):
        """One line of the log."""

        seq: int
        prev_hash: str
        record_hash: str


ROTATE_BYTES = 100 << 20
_TAIL_BYTES = 64 << 10
_KEYS = (
    "seq",
    "event_id",
    "timestamp",
    "operation",
    "actor",
    "target",
    "worktree",
    "reason",
    "details",
    "prev_hash",
    "record_hash",
)


def event(
    operation: str,
    actor: str,
    *,
    target: str | None = None,
    worktree: str | None = None,
    reason: str | None = None,
    details: Details | None = None,
) -> Event:
    """Return what happened, ready for an intent: everything of a record but its place in the chain."""
    return {
        "event_id": clock.new_uuid(),
        "timestamp": clock.rfc3339(),
        "operation": operation,
        "actor": actor,
        "target": target,
        "worktree": worktree,
        "reason": reason,
        "details": details or {},
    }


def genesis(repo_id: str) -> str:
    """Return the `prev_hash` of the first record: SHA-256 of the repository id."""
    return hashlib.sha256(repo_id.encode()).hexdigest()


def record_hash(record: Mapping[str, object]) -> str:
    """Return the SHA-256 of the canonical JSON of a record without `record_hash`."""
    return hashlib.sha256(canon.encode({k: v for k, v in record.items() if k != "record_hash"})).hexdigest()


def chained(event: Event, seq: int, prev_hash: str) -> AuditRecord:
    """Return the event as a record at its place in the chain."""
    record: AuditRecord = {**event, "seq": seq, "prev_hash": prev_hash, "record_hash": ""}
    record["record_hash"] = record_hash(record)
    return record


def received_of(record: AuditRecord) -> list[dict[str, str]]:
    """Return what the record of a receipt says of each snapshot; nothing for other records, and for damaged ones."""
    listed = record["details"].get("snapshots") if record["operation"] == "receive" else None
    if not isinstance(listed, list):
        return []
    return [item for item in listed if isinstance(item, dict) and {"snapshot_id", "descriptor_checksum"} <= item.keys()]


class Log:
    """One chained log: the repository's, or any file's (`jvs-chain-append --log FILE`)."""

    def __init__(self, path: Below, *, first_hash: str, lock: Below, wait: float = locks.DEFAULT_WAIT_SECONDS) -> None:
        self.path = path
        self.first_hash = first_hash
        self.lock = lock
        self.wait = wait

    def tail(self) -> tuple[int, str]:
        """Return seq and hash of the last whole record; (0, first hash) when there is none.

        Reads from the end only. Errors: E_AUDIT_CHAIN_BROKEN when the last whole line is not a record.
        """
        record, _ = self._last()
        return (record["seq"], record["record_hash"]) if record else (0, self.first_hash)

    def append(self, event: Event, *, after_seq: int | None = None, actor: str = "") -> AuditRecord:
        """Append an event and return its record.

        With `after_seq`, a record of the same `event_id` after that one means that it was appended already: then
        that record is returned and nothing is written. A torn last line is moved to a file of its own first.
        Durable: yes. Errors: E_BUSY, E_AUDIT_CHAIN_BROKEN, OSError; after an error the log is as it was.
        """
        with locks.acquire_brief(self.lock, wait=self.wait):
            self._rotate()
            last, torn = self._last()
            if torn:
                last = self._set_aside(last, torn, actor or event["actor"])
            if after_seq is not None:
                done = self._find(event["event_id"], after_seq)
                if done is not None:
                    return done
            return self._write(event, last)

    def _write(self, event: Event, last: AuditRecord | None) -> AuditRecord:
        seq, prev = (last["seq"], last["record_hash"]) if last else (0, self.first_hash)
        record = chained(event, seq + 1, prev)
        try:
            durable.append(self.path, canon.encode(record) + b"\n")
        except FileNotFoundError as error:
            raise AuditChainBroken(
                f"the log '{self.path}' is missing", hint="restore it from a copy: it is never begun anew in silence"
            ) from error
        progress.effect(event)
        return record

    def _set_aside(self, last: AuditRecord | None, torn: bytes, actor: str) -> AuditRecord:
        """Move a torn last line, which a crash in the middle of a write left, out of the log, and say so in it."""
        name = f"torn-{clock.now_ms()}-{clock.random_hex(4)}.bin"
        durable.create_file(self.path.parent / name, torn)
        durable.fsync_dir(self.path.parent)
        durable.truncate(self.path, paths.lstat(self.path).st_size - len(torn))
        details: Details = {"bytes": len(torn), "kept_as": name, "sha256": hashlib.sha256(torn).hexdigest()}
        return self._write(event_of_repair(actor, details), last)

    def _last(self) -> tuple[AuditRecord | None, bytes]:
        """Return the last whole record, and the torn bytes after it."""
        try:
            fd = paths.open_file(self.path)
        except FileNotFoundError as error:
            if was_just_rotated(self.path):
                return self._last_rotated(), b""
            raise AuditChainBroken(
                f"the log '{self.path}' is missing", hint="restore it from a copy: it is never begun anew in silence"
            ) from error
        except OSError as error:
            raise from_oserror(error, "opening the audit log") from error
        try:
            line, torn = _last_line(fd)
        finally:
            os.close(fd)
        if line is None:
            return self._last_rotated(), torn
        return self._parse_tail(line), torn

    def _last_rotated(self) -> AuditRecord | None:
        """Return the last record of the newest rotated file, for a log that was just rotated."""
        older = segments(self.path)[:-1]
        if not older:
            return None
        return Log(older[-1], first_hash=self.first_hash, lock=self.lock)._last()[0]

    def _parse_tail(self, line: bytes) -> AuditRecord:
        try:
            record: AuditRecord = canon.decode_object(line)
            check_shape(record)
            if record_hash(record) != record["record_hash"]:
                raise canon.BadJSON("it does not fit its hash")
        except canon.BadJSON as error:
            raise AuditChainBroken(
                f"the last record of the audit log is damaged: {error}",
                hint="'jvs verify --all' shows where; damage is never repaired in silence",
            ) from error
        return record

    def _find(self, event_id: str, after_seq: int) -> AuditRecord | None:
        """Look for an event among the records after `after_seq`, reading from the end."""
        for path in reversed(segments(self.path)):
            for line in _lines_backwards(path):
                record = self._parse_tail(line)
                if record["event_id"] == event_id:
                    return record
                if record["seq"] <= after_seq:
                    return None
        return None

    def _rotate(self) -> None:
        try:
            if paths.lstat(self.path).st_size < ROTATE_BYTES:
                return
        except FileNotFoundError:
            if not was_just_rotated(self.path):
                return
        except OSError:
            return
        else:
            durable.publish(self.path, self._next_name())
        durable.create_file(self.path, b"")  # a crash before this is recognised by the full file: see _was_just_rotated
        durable.fsync_dir(self.path.parent)

    def _next_name(self) -> Below:
        """Return the name to rotate to: the time, but after all before it even when the clock was set back."""
        stem = os.path.splitext(self.path.name)[0]
        newest = max((int(path.name[-19:-6]) for path in segments(self.path)[:-1]), default=0)
        return self.path.parent / f"{stem}-{max(clock.now_ms(), newest + 1):013d}.jsonl"


def event_of_repair(actor: str, details: Details) -> Event:
    """Return the event that says that a torn line was moved out of the log."""
    return event("audit_repair", actor, reason="a crash left a torn last line", details=details)


def segments(path: Below) -> list[Below]:
    """Return the rotated files of a log, oldest first, and the log itself last."""
    stem = os.path.splitext(path.name)[0]
    try:
        names = listing.names(path.parent)
    except OSError:
        names = []
    return [*(path.parent / name for name in names if _is_rotated(name, stem)), path]


def _is_rotated(name: str, stem: str) -> bool:
    """Answer whether a name is `STEM-<13 digits>.jsonl`; `STEM-other.jsonl` is another log."""
    digits = name[len(stem) + 1 : -6]
    return name == f"{stem}-{digits}.jsonl" and len(digits) == 13 and digits.isascii() and digits.isdigit()


def was_just_rotated(path: Below) -> bool:
    """Answer whether a missing log is that of a rotation whose second half a crash prevented: a full file is there."""
    older = segments(path)[:-1]
    try:
        return bool(older) and paths.lstat(older[-1]).st_size >= ROTATE_BYTES
    except OSError:
        return False


def _last_line(fd: int) -> tuple[bytes | None, bytes]:
    """Return the last line that ends with a newline, and what comes after it. Errors: E_AUDIT_CHAIN_BROKEN."""
    size = os.fstat(fd).st_size
    window = _TAIL_BYTES
    while True:
        start = max(0, size - window)
        data = os.pread(fd, size - start, start)
        end = data.rfind(b"\n")
        if end >= 0:
            begin = data.rfind(b"\n", 0, end)
            if begin >= 0 or start == 0:
                return data[begin + 1 : end], data[end + 1 :]
        elif start == 0:
            return None, data
        if window > records.MAX_BYTES:
            raise _too_long()
        window *= 4


def _too_long() -> AuditChainBroken:
    return AuditChainBroken(
        "the audit log holds a line that is longer than any record", hint="restore it from a copy of the repository"
    )


def _lines_backwards(path: Below) -> Iterator[bytes]:
    """Yield the whole lines of a file, last first. Errors: OSError; E_AUDIT_CHAIN_BROKEN."""
    fd = paths.open_file(path)
    try:
        position = os.fstat(fd).st_size
        rest = b""
        first = True
        while position > 0:
            start = max(0, position - _TAIL_BYTES)
            data = os.pread(fd, position - start, start) + rest
            position = start
            lines = data.split(b"\n")
            rest = lines[0]
            if len(rest) > records.MAX_BYTES:
                raise _too_long()
            for line in reversed(lines[1:]):
                if first:  # after the last newline: nothing, or a torn line
                    first = False
                    continue
                yield line
        if rest and not first:
            yield rest
    finally:
        os.close(fd)


def check_shape(record: Mapping[str, Any]) -> None:
    """Raise BadJSON unless an object has the fields of a record."""
    missing = [key for key in _KEYS if key not in record]
    if missing:
        raise canon.BadJSON(f"'{missing[0]}' is missing")
    seq = record["seq"]
    if not isinstance(seq, int) or isinstance(seq, bool) or not isinstance(record["details"], dict):
        raise canon.BadJSON("'seq' or 'details' is not valid")
    for key in ("event_id", "timestamp", "operation", "actor", "prev_hash", "record_hash"):
        if not isinstance(record[key], str):
            raise canon.BadJSON(f"'{key}' is not text")
    for key in ("target", "worktree", "reason"):
        if record[key] is not None and not isinstance(record[key], str):
            raise canon.BadJSON(f"'{key}' is neither text nor null")


def log_of(layout: Layout, repo_id: str, wait: float = locks.DEFAULT_WAIT_SECONDS) -> Log:
    """Return the log of a repository."""
    return Log(layout.audit_log, first_hash=genesis(repo_id), lock=layout.lock("audit"), wait=wait)
