"""The paths and patterns that a command was given, and what they match in trees.

Source: jvs-restore(1).
"""

from __future__ import annotations

from jvs import canon
from jvs.errors import NotFound
from jvs.fs import listing
from jvs.fs import paths as fs_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jvs.tree.node import Entry


def stored_path(value: Any) -> bytes:
    """Return a path of a record, as bytes."""
    return canon.path_from_json(value if isinstance(value, dict) else {"path": value}).strip(b"/")


def within(paths: list[bytes], own: list[bytes]) -> list[bytes]:
    """Return what two lists of paths have in common."""
    found = [path for path in paths if any(covers(mine, path) for mine in own)]
    return found + [mine for mine in own if any(covers(path, mine) for path in paths) and mine not in found]


def covers(above: bytes, path: bytes) -> bool:
    """Answer whether a path is another one or lies below it; all lie below the empty path."""
    return above in (b"", path) or path.startswith(above + b"/")


def chosen_names(paths: list[bytes]) -> dict[bytes, set[bytes]]:
    """Return which names of which directories lead to some paths. Errors: E_PATH_ESCAPE.

    A path that is named itself is taken whole; so a path below another one adds nothing.
    """
    split = sorted((fs_paths.split_relative(path) for path in paths), key=len)
    only: dict[bytes, set[bytes]] = {b"": set()}
    whole: set[bytes] = set()
    for parts in split:
        if not parts:
            return {}
        ancestors = [b"/".join(parts[:i]) for i in range(len(parts) + 1)]
        if whole.intersection(ancestors):
            continue
        whole.add(ancestors[-1])
        for above, part in zip(ancestors, parts, strict=False):
            only.setdefault(above, set()).add(part)
    return only


def is_pattern(path: bytes) -> bool:
    """Answer whether a path has wildcards."""
    return any(c in path for c in b"*?[")


def match_paths(load: Callable[[bytes], list[Entry]], roots: list[bytes], paths: list[bytes]) -> list[bytes]:
    """Replace patterns by the paths that they match in any of some trees, topmost first.

    A path that is there by that very name is no pattern. `*` matches across directories, as in git.
    Errors: E_NOT_FOUND for a path or pattern that neither the snapshot nor the worktree has.
    """
    import fnmatch

    plain = [path for path in paths if not is_pattern(path) or any(find_entry(load, root, path) for root in roots)]
    patterns = [path for path in paths if path not in plain]
    chosen = list(plain)
    missing = [path for path in plain if path and not any(find_entry(load, root, path) for root in roots)]
    for pattern in patterns:
        matched = [path for root in roots for path in all_paths(load, root) if fnmatch.fnmatchcase(path, pattern)]
        if not matched:
            missing.append(pattern)
        chosen += matched
    if missing:
        shown = missing[0].decode("utf-8", "backslashreplace")
        raise NotFound(
            f"neither the snapshot nor the worktree has '{shown}'",
            hint="'jvs-ls-tree -r SNAPSHOT' lists what a snapshot holds",
            path=shown,
        )
    return sorted(set(chosen))


def find_entry(load: Callable[[bytes], list[Entry]], root: bytes, path: bytes) -> Entry | None:
    """Return the entry of a path in a tree, or None."""
    found: Entry | None = None
    digest: bytes | None = root
    for part in path.split(b"/"):
        if digest is None:
            return None
        found = next((entry for entry in load(digest) if entry[0] == part), None)
        if found is None:
            return None
        digest = found[4] if found[1] == listing.DIR else None
    return found


def all_paths(load: Callable[[bytes], list[Entry]], root: bytes) -> list[bytes]:
    """Return every path of a tree."""
    found = []
    stack = [(b"", root)]
    while stack:
        above, digest = stack.pop()
        for entry in load(digest):
            path = listing.relative(above, entry[0])
            found.append(path)
            if entry[1] == listing.DIR:
                stack.append((path, entry[4]))
    return found
