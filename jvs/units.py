"""Amounts with their units, as people read them."""

from __future__ import annotations

from jvs.errors import UsageError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_MAX_DIGITS = 9
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


def size(count: int) -> str:
    """Return a number of bytes for people: `0 B`, `12.3 KiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(value) < 1024 or unit == "PiB":
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return `1 file`, `2 files`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def parse_size(text: str, where: str) -> int:
    """Return the bytes of a size such as `500M`, `20G`, `1.5TiB` or plain bytes; units are powers of 1024.

    Errors: E_USAGE naming `where`.
    """
    number, unit = text.strip(), ""
    for suffix in ("iB", "B"):
        if number.endswith(suffix) and (suffix == "B" or number[:-2][-1:].isalpha()):
            number = number.removesuffix(suffix)
            break
    if number[-1:].upper() in _SIZES:
        number, unit = number[:-1], number[-1:].upper()
    whole, _, part = number.partition(".")
    digits = whole + part
    if not (whole and digits.isascii() and digits.isdigit() and len(digits) <= 18) or (part and not unit):
        raise UsageError(f"{where}: '{text[:40]}' is not a size", hint="write bytes, or 500M, 20G, 1.5T")
    count: int = int(digits) * _SIZES.get(unit, 1) // 10 ** len(part)
    return count


def duration_ns(text: str, where: str) -> int:
    """Return the nanoseconds of a duration such as `90s`, `12h`, `7d`, `2w`, `1y`, or several: `1d12h`.

    Errors: E_USAGE naming `where`.
    """
    total, digits = 0, ""
    for character in text:
        if character.isascii() and character.isdigit() and len(digits) < _MAX_DIGITS:
            digits += character
        elif digits and character in _SECONDS:
            total += int(digits) * _SECONDS[character]
            digits = ""
        else:
            digits = "x"
            break
    if digits or not text:
        raise UsageError(f"{where}: '{text[:40]}' is not a duration", hint="write 90s, 30m, 12h, 7d, 2w or 1y")
    return total * 1_000_000_000
