"""What a removed worktree comes back to: heads that are still there, and a place that is its own.

Source: jvs-protocol(7), Undo.
"""

from __future__ import annotations

from jvs import progress
from jvs.errors import LineageBroken
from jvs.fs import paths
from jvs.store import attaching, lineage, placement, pointer, records, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.shapes import ReturnIntent
    from jvs.store.store import Store

_HEADS: dict[str, worktree.HeadField] = {
    "head": "head_snapshot_id",
    "latest": "latest_snapshot_id",
    "base": "base_snapshot_id",
}


def heads_left(store: Store, config: worktree.WorktreeConfig) -> dict[str, str | None]:
    """Return what the heads of a removed worktree are to be now; none when all those snapshots are still there.

    Where a collection took one, the nearest ancestor that is there takes its place.
    """
    there = set(lineage.visible_ids(store.layout))
    heads = {key: config[field] for key, field in _HEADS.items()}
    left = {key: _nearest(store, head, there) for key, head in heads.items()}
    return left if left != heads else {}


def _nearest(store: Store, head: str | None, there: set[str]) -> str | None:
    return next((r["snapshot_id"] for r in lineage.line(store.layout, head) if r["snapshot_id"] in there), None)


def move_heads(pending: ReturnIntent, path: Below) -> None:
    """Write down where the heads of a worktree that comes back are now, and which record says so."""
    after = pending["audit"]["details"].get("after")
    if after is None or not paths.exists(path):
        return
    config: worktree.WorktreeConfig = records.load(path, worktree.FIELDS, LineageBroken)
    for key, field in _HEADS.items():
        config[field] = after[key] if key in after else pending["audit"]["details"].get(key)
    config["event_id"] = pending["audit"]["event_id"]
    records.save(path, config)


def place_back(store: Store, name: str, kept: Below, path: Below) -> Below:
    """Return where a removed worktree comes back to: outside only where the user's own memory says that it was there.

    Else a record of a repository that somebody made could put files anywhere; it comes back inside then.
    """
    if not paths.exists(path):
        return store.layout.place_of(name)
    config: worktree.WorktreeConfig = records.load(path, worktree.FIELDS, LineageBroken, worktree.OPTIONAL)
    if not placement.is_elsewhere(config):
        return store.layout.usual_dir(name)
    wanted = placement.at(store.root, config["path"] or "")
    free = paths.is_dir(kept) and not paths.exists(wanted) and paths.is_dir(wanted.parent)
    if free and attaching.is_remembered(store, wanted) and placement.is_on_mount_of(wanted, store.layout.control):
        return wanted
    if not paths.is_dir(kept) and paths.is_dir(wanted):
        return wanted
    if paths.is_dir(kept):
        pointer.remove(kept, config.get("token", ""))
    config["path"] = None
    config.pop("token", None)
    records.save(path, config)
    progress.remark(f"worktree '{name}' comes back inside the repository: '{wanted}' is not its place any more")
    return store.layout.usual_dir(name)
