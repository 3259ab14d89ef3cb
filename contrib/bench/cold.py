"""Reading with nothing in memory: what verify of large files takes when the disk has to be asked."""

from __future__ import annotations

from pathlib import Path

from cases import Place
from measure import Took, run

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def measure(place: Place) -> None:
    """Verify the head, against `cat` of its files to nowhere, both after the caches were dropped; needs root."""
    verify = [place.jvs, "verify", "--no-progress"]

    def mine() -> Took:
        _forget()
        return run(verify, place.main)

    def theirs() -> Took:
        _forget()
        return run(["sh", "-c", "find . -type f -exec cat {} + > /dev/null"], place.main)

    place.pair("verify, cold cache", mine, theirs, "cat to nowhere, cold")


def _forget() -> None:
    run(["sync"])
    DROP_CACHES.write_text("3\n")
