"""What a worktree's user excludes: `.jvsignore` at its root, and the settings `exclude` and `exclude_caches`.

The rules are read once for each operation, under its lock. A snapshot's descriptor keeps those that it was taken by.
Source: jvs-config(5), What is excluded; jvs-format(5), Descriptor.
"""

from __future__ import annotations

import os

from jvs import canon
from jvs.errors import UsageError, from_oserror
from jvs.fs import listing, paths
from jvs.tree.exclusion import Exclusion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor, Excluded
    from jvs.store.layout import Layout
    from jvs.store.settings import Settings

IGNORE_FILE = ".jvsignore"
_MAX_BYTES = 1 << 20
_MOST_NAMED = 100


def read(layout: Layout, settings: Settings, name: str) -> Exclusion:
    """Read the rules that are in force in a worktree. Errors: as `read_at`."""
    return read_at(layout.worktree_dir(name), settings)


def read_at(directory: Below, settings: Settings) -> Exclusion:
    """Read the rules for a directory: those of the settings first, so that its own file can undo them.

    Errors: E_USAGE for a rule that means nothing, and for a `.jvsignore` that is no file; E_IO.
    """
    rules = _lines(settings.get("exclude"))
    place = directory / IGNORE_FILE
    if paths.exists(place):
        try:
            text = paths.read_file(place, _MAX_BYTES).decode("utf-8")
        except OSError as error:
            if error.errno in (22, 40, 27, 21):  # EINVAL: not a regular file; ELOOP: a link; EFBIG; EISDIR
                raise UsageError(f"'{place}' is not a text file", hint="write rules into it, or rename it") from error
            raise from_oserror(error, f"reading '{place}'") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"'{place}' is not valid UTF-8", hint="write the rules as UTF-8 text") from error
        rules += _lines(text.split("\n"))
    return Exclusion(rules, caches=settings.get("exclude_caches"))


def _lines(lines: list[str]) -> list[str]:
    """Return the lines that are rules. Source: gitignore(5): blank lines and `#` are none, trailing blanks go."""
    found = []
    for line in lines:
        rule = line.rstrip("\r\n")
        while rule.endswith(" ") and not rule.endswith("\\ "):
            rule = rule[:-1]
        if rule and not rule.startswith("#"):
            found.append(rule)
    return found


def of_snapshot(record: Descriptor) -> Exclusion:
    """Return the rules that a snapshot was taken by. Errors: E_USAGE for rules that this version does not know."""
    kept = record.get("excluded")
    return Exclusion(kept["rules"], caches=kept["caches"]) if kept is not None else Exclusion()


def same_rules(record: Descriptor, now: Exclusion) -> bool:
    """Answer whether a snapshot was taken by the rules that are in force now."""
    kept = record.get("excluded")
    before = (kept["rules"], kept["caches"]) if kept is not None else ([], False)
    return before == (now.rules, now.caches)


def holds_all(record: Descriptor) -> bool:
    """Answer whether a snapshot holds all that was in the worktree: nothing excluded, nothing that was not readable.

    Of the rest no row tells, and no filesystem that it changed, when it counts again.
    """
    return record.get("excluded") is None and not record["degraded"] and record["partial_paths"] is None


def describe(layout: Layout, name: str, exclude: Exclusion) -> Excluded | None:
    """Return the rules and what they leave out of the root of a worktree; None without rules. Errors: E_IO."""
    if not exclude.has_rules:
        return None
    fd = paths.open_dir(layout.worktree_dir(name))
    try:
        names, stats = listing.list_dir(fd)
        kept = set(exclude.rest(fd, b"", names, stats)[0])
    except OSError as error:
        raise from_oserror(error, f"reading worktree '{name}'") from error
    finally:
        os.close(fd)
    top = [label for label in names if label not in kept and label not in exclude.names]
    return {
        "rules": exclude.rules,
        "caches": exclude.caches,
        "top": [canon.path_json(label) for label in top[:_MOST_NAMED]],
        "entries": len(top),
    }
