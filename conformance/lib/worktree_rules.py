"""The rules about worktrees: registered and complete (I3, I4), at snapshots that are visible (I11)."""

from __future__ import annotations

import os

from lib.reader import Repo
from lib.treehash import DIR, Entry, Tree
from lib.violations import Expect, Violation


def check_worktrees(repo: Repo, expect: Expect, found: list[Violation], recovered: bool) -> None:
    visible = repo.visible()
    busy = _busy(repo)
    for name, config in repo.configs.items():
        directory = repo.worktree_dir(name)
        if name in expect.offline and not os.path.lexists(directory):
            continue
        if not os.path.isdir(directory) or os.path.islink(directory):
            found.append(Violation("I3", f"worktrees/{name}", "is registered, and its directory is missing"))
            continue
        if config is None:
            continue
        head, latest = repo.effective(config["head_snapshot_id"]), repo.effective(config["latest_snapshot_id"])
        for which, snapshot_id in (("head", head), ("latest", latest)):
            if snapshot_id is not None and snapshot_id not in visible:
                found.append(Violation("I11", f"worktrees/{name}", f"{which} names '{snapshot_id}', not visible"))
        if head != latest and name not in expect.may_detach and name not in busy and expect.worktrees:
            found.append(Violation("I11", f"worktrees/{name}", f"is detached at {head}; latest is {latest}"))
        if name in expect.worktrees:
            _worktree_content(repo, name, expect.worktrees[name], found, mixed=name in busy and not recovered)
    for name in expect.worktrees:
        if name not in repo.configs and name not in busy:
            found.append(Violation("I4", f"worktrees/{name}", "is no longer registered"))
    for name in os.listdir(repo.forks) if os.path.isdir(repo.forks) else ():
        if name not in repo.configs and not name.startswith(".jvs-tmp-") and name not in busy:
            where = os.path.relpath(os.path.join(repo.forks, name), repo.jvs)
            found.append(Violation("I14", where, "is not a registered worktree"))


def _busy(repo: Repo) -> set[str]:
    """Return the worktrees that pending operations work on, under the old name and the new one."""
    names: set[str] = set()
    for intent in repo.intents.values():
        if intent is not None:
            names |= {value for value in intent.values() if isinstance(value, str)}
    return names


def _worktree_content(repo: Repo, name: str, allowed: list[Tree], found: list[Violation], *, mixed: bool) -> None:
    tree = repo.tree_of(name)
    if tree.root_hash in {other.root_hash for other in allowed}:
        return
    names = {path for other in allowed for path in other.entries}
    for path in sorted(set(tree.entries) | names):
        entry = tree.entries.get(path)
        known = [other.entries.get(path) for other in allowed]
        if mixed and (b".jvs-tmp-" in path or entry is None):
            continue
        if entry not in known and not _same_directory(entry, known):
            shown = path.decode("utf-8", "backslashreplace")
            found.append(Violation("I4", f"worktree {name}/{shown}", f"is {entry}, expected one of {known}"))
            return
    if not mixed:
        found.append(Violation("I4", f"worktree {name}", "is a mixture of its states, and no operation is pending"))


def _same_directory(entry: Entry | None, known: list[Entry | None]) -> bool:
    """Answer whether an entry is a directory in some known state as well: what is inside is compared by itself."""
    return entry is not None and entry.kind == DIR and any(other and other.kind == DIR for other in known)
