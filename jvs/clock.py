"""The only reader of the clock and of randomness: times, snapshot ids, event ids."""

from __future__ import annotations

import os
import time

monotonic_builtin = time.monotonic
"""`monotonic` without a frame of Python around it, for callbacks in which no signal may be handled."""


def now_ns() -> int:
    """Return the wall clock. Units: nanoseconds since 1970, UTC."""
    return time.time_ns()


def now_ms() -> int:
    """Return the wall clock. Units: milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Return a clock that never jumps back. Units: seconds."""
    return time.monotonic()


def boottime_ns() -> int:
    """Return how long this boot lasts, sleep included; nobody can set it. Units: nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def sleep(seconds: float) -> None:
    """Let other processes run for a while. Units: seconds."""
    time.sleep(seconds)


def rfc3339(ns: int | None = None) -> str:
    """Return a time as text in UTC. Shape: `2026-01-02T03:04:05.123456Z`."""
    seconds, rest = divmod(now_ns() if ns is None else ns, 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{stamp}.{rest // 1000:06d}Z"


def parse_rfc3339(text: str) -> int:
    """Return the nanoseconds since 1970 of a time as `rfc3339` writes it; raise ValueError for anything else."""
    digits = text[:4] + text[5:7] + text[8:10] + text[11:13] + text[14:16] + text[17:19] + text[20:26]
    # Blanks, signs, underscores and foreign digits: int and strptime take them.
    if len(text) != 27 or text[4:20:3] + text[26] != "--T::.Z" or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"not a time: {text!r}")
    hour, minute, second = int(digits[8:10]), int(digits[10:12]), int(digits[12:14])
    day_ns = _days_ns.get(text[:10])
    if day_ns is None:
        day_ns = _start_of(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    if day_ns is None or hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"not a time: {text!r}")
    if len(_days_ns) < _MOST_DAYS:
        _days_ns[text[:10]] = day_ns
    return day_ns + (hour * 3600 + minute * 60 + second) * 1_000_000_000 + int(digits[14:]) * 1000


_days_ns: dict[str, int] = {}
"""Dates that were met, with what `_start_of` returned: the many times of a listing are of few days."""
_MOST_DAYS = 1000


def _start_of(year: int, month: int, day: int) -> int | None:
    """Return when a day begins; None when there is no such day. Units: nanoseconds since 1970."""
    if year < 1000 or not 1 <= month <= 12 or day < 1:
        return None
    days = _days_since_1970(year, month, day)
    # A day that its month does not have is one of the next month, of which the first is not later.
    if day > 28 and days >= _days_since_1970(year + month // 12, month % 12 + 1, 1):
        return None
    return days * 86_400_000_000_000


def _days_since_1970(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date; here, because `calendar` and `strptime` cost a start-up 10 ms.

    Years begin in March, so that the leap day comes last and months have 153 days per five.
    Source: the proleptic Gregorian calendar, 400 years of 146,097 days.
    """
    year -= month <= 2
    in_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + in_year - 719_468


def new_snapshot_id() -> str:
    """Return a fresh id: 13 digits of milliseconds, a dash, 8 hex digits from the system's random source."""
    return f"{now_ms():013d}-{os.urandom(4).hex()}"


def new_operation_id() -> str:
    """Return a fresh id for an operation; the same shape as a snapshot id."""
    return new_snapshot_id()


def new_uuid() -> str:
    """Return a random UUID, version 4, in the usual text form."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def random_hex(digits: int = 8) -> str:
    """Return that many random hex digits, for names that nobody can have looked up before."""
    return os.urandom((digits + 1) // 2).hex()[:digits]
