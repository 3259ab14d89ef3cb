"""Faults that are known and not repaired: each row names tests that fail today, and why. A fix removes its rows.

A key is `file::test` for all cases of a test, or `file::test[case]`. The tests are marked xfail, strictly: one that
passes is a failure until its row has been removed.
"""

from __future__ import annotations

BY_CAUSE: dict[str, list[str]] = {
    "a collection makes new files before it frees any": [
        "test_isolation.py::test_a_collection_on_a_full_xfs[parent pointers]",
        "test_isolation.py::test_a_collection_without_free_inodes",
    ],
    "a directory that cannot be renamed (EXDEV) is not copied, and is not said before": [
        "test_isolation.py::test_a_directory_of_the_lower_layer_is_displaced",
        "test_isolation.py::test_a_repository_in_a_lower_layer",
    ],
}

KNOWN_FAULTS = {key: cause for cause, keys in BY_CAUSE.items() for key in keys}
