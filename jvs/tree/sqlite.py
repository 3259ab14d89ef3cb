"""SQLite without the adapters of the standard module, which load `datetime` and more for types that jvs stores none of.

`sqlite3` is the standard module to a type checker and to a Python that has no `_sqlite3`; else its C part alone, which
has the same names and classes and loads in a sixth of the time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3 as sqlite3
else:
    try:
        import _sqlite3 as sqlite3
    except ImportError:
        import sqlite3

__all__ = ["sqlite3"]
