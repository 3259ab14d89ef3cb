"""Faults that are known and not repaired: each row names tests that fail today, and why. A fix removes its rows.

A key is `file::test` for all cases of a test, or `file::test[case]`. The tests are marked xfail, strictly: one that
passes is a failure until its row has been removed.
"""

from __future__ import annotations

BY_CAUSE: dict[str, list[str]] = {}

KNOWN_FAULTS = {key: cause for cause, keys in BY_CAUSE.items() for key in keys}
