"""What a copy could not keep, as a descriptor lists it under `degraded`.

Source: jvs-engines(7), Fidelity.
"""

from __future__ import annotations

from jvs import canon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    class Loss(canon.PathJSON):
        """What of one entry could not be kept, and why."""

        what: str
        why: str


class Losses:
    """What a copy could not keep, gathered on the way."""

    def __init__(self) -> None:
        self._found: set[tuple[bytes, str, str]] = set()

    def add(self, path: bytes, what: str, why: str) -> None:
        """Note one loss. `what` is owner, mode, times, acl, xattr:NAME, hardlink, special, torn or unreadable."""
        self._found.add((path, what, why))

    def as_json(self) -> list[Loss]:
        """Return the `degraded` list of a descriptor, sorted. Shape: `path`, maybe `path_b64`, `what`, `why`."""
        return [{**canon.path_json(path), "what": what, "why": why} for path, what, why in sorted(self._found)]

    def clear(self) -> None:
        """Begin anew."""
        self._found.clear()

    def __iter__(self) -> Iterator[tuple[bytes, str, str]]:
        """Yield them as `add` takes them."""
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
