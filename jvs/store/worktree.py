"""Worktree configurations: head, latest, base; and moving the head by compare-and-swap.

Source: jvs-format(5), Worktree configuration; jvs-protocol(7), Publish, step 11.
"""

from __future__ import annotations

from jvs import clock
from jvs.errors import Busy, LineageBroken, NameInvalid, NotFound, StaleHead
from jvs.fs import durable, listing, locks, paths
from jvs.names import check_worktree_name
from jvs.store import intent, placement, pointer, records
from jvs.store.layout import IN_PLACE, MAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, NotRequired, TypedDict

    from jvs.store.layout import Layout

    class PlaceBefore(TypedDict):
        """Where a worktree was, and with which token."""

        path: str | None
        token: str | None

    class WorktreeFacts(TypedDict):
        """What is known of a worktree but where it is; `event_id` is the audit event that last moved its head.

        `merging` are snapshots that were merged into the files, and that the next snapshot names. The pointer of a
        worktree elsewhere has the same `token`; `was` is where it was before an operation that is not done.
        """

        name: str
        made_as: NotRequired[str]
        created_at: str
        base_snapshot_id: str | None
        head_snapshot_id: str | None
        latest_snapshot_id: str | None
        event_id: NotRequired[str | None]
        merging: NotRequired[list[str]]
        token: NotRequired[str]
        was: NotRequired[PlaceBefore]

    class WorktreeConfig(WorktreeFacts):
        """The configuration of a worktree.

        `path` is where its files are, from the repository's directory; null, or missing, is the classic place.
        """

        path: NotRequired[str | None]

    HeadField = Literal["head_snapshot_id", "latest_snapshot_id", "base_snapshot_id"]

OPTIONAL = {
    "made_as": records.is_name,
    "event_id": records.is_text_or_null,
    "merging": records.are_ids,
    "path": lambda value: value in (None, IN_PLACE) or pointer.is_way(value),
    "token": pointer.is_token,
    "was": placement.is_before,
}
FIELDS = {
    "name": records.is_name,
    "created_at": records.is_time,
    "base_snapshot_id": records.is_id_or_null,
    "head_snapshot_id": records.is_id_or_null,
    "latest_snapshot_id": records.is_id_or_null,
}


def new_config(
    name: str,
    base: str | None = None,
    event_id: str | None = None,
    path: str | None = None,
    token: str | None = None,
) -> WorktreeConfig:
    """Return the configuration of a new worktree that holds the files of `base` (None: nothing yet)."""
    config: WorktreeConfig = {
        "name": name,
        "path": path,
        "made_as": name,
        "created_at": clock.rfc3339(),
        "base_snapshot_id": base,
        "head_snapshot_id": base,
        "latest_snapshot_id": base,
        "event_id": event_id,
    }
    if token is not None:
        config["token"] = token
    return config


def identity(config: WorktreeConfig) -> str:
    """Return what tells a worktree from another of the same name: the name that it was made with, and when.

    A rename keeps it. Configurations without `made_as` are of worktrees that were never renamed.
    """
    return f"{config.get('made_as') or config['name']} {config['created_at']}"


def load(layout: Layout, name: str) -> WorktreeConfig:
    """Read the configuration of a worktree.

    Shape: `event_id` is the audit event that last moved the head, so that a cut log shows.
    Errors: E_NOT_FOUND; E_BUSY while it is being made, renamed or removed; E_LINEAGE_BROKEN when it is damaged.
    """
    config = _read(layout, name) or _read_again(layout, name)
    if config["name"] != name:
        raise LineageBroken(
            f"the configuration of worktree '{name}' is that of '{config['name']}'",
            hint=f"correct 'name' in '{layout.worktree_config(name)}'",
        )
    if config.get("path") == IN_PLACE and name != MAIN:
        raise LineageBroken(
            f"worktree '{name}' cannot be in place",
            hint=f"remove 'path' from '{layout.worktree_config(name)}'",
        )
    if placement.is_elsewhere(config) and "token" not in config:
        raise LineageBroken(
            f"the configuration of worktree '{name}' has a 'path' and no 'token'",
            hint=f"jvs worktree attach DIRECTORY {name}",
        )
    return config


def _read(layout: Layout, name: str) -> WorktreeConfig | None:
    try:
        config: WorktreeConfig = records.load(layout.worktree_config(name), FIELDS, LineageBroken, OPTIONAL)
        return config
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read_again(layout: Layout, name: str) -> WorktreeConfig:
    """Say why a worktree has no configuration, or read the one that it has got meanwhile.

    While a worktree is made, renamed or removed its files and its configuration are not always both there. The intent
    is looked for first: when it is gone by then, what is looked at after it is as the operation left it.
    """
    at_work = intent.on_worktree(layout, name)
    if at_work is not None:
        raise Busy(
            f"worktree '{name}' is being made, renamed or removed (operation {at_work['operation_id']})",
            hint="wait for that to end; if it died, the next command that changes something recovers it",
            worktree=name,
        )
    config = _read(layout, name)
    if config is not None:
        return config
    if name == MAIN or paths.is_dir(layout.worktree_dir(name)):
        raise LineageBroken(
            f"the configuration of worktree '{name}' is missing",
            hint=f"restore '{layout.worktree_config(name)}' from a copy of the repository",
        )
    raise NotFound(f"there is no worktree '{name}'", hint="'jvs worktree list' shows the worktrees", worktree=name)


def names(layout: Layout) -> list[str]:
    """Return the worktrees, main first, then by name. Odd entries are left out; doctor reports them."""
    found = []
    for name in listing.names(layout.worktrees):
        try:
            found.append(check_worktree_name(name))
        except NameInvalid:
            continue
    return sorted(found, key=lambda name: (name != MAIN, name))


def move_head(
    layout: Layout,
    name: str,
    new: str | None,
    *,
    expected: str | None,
    latest: str | None,
    event_id: str | None,
    wait: float = locks.DEFAULT_WAIT_SECONDS,
    holds_merge: bool = False,
) -> WorktreeConfig:
    """Set head and latest when the head is still what the caller saw; done already is success.

    `holds_merge` says that the new head names what was merged, which then is no more to be named.

    Durable: yes. Errors: E_STALE_HEAD when somebody else moved it; E_BUSY.
    """
    with locks.acquire_brief(layout.lock(f"head-{name}"), wait=wait):
        config = load(layout, name)
        if config["head_snapshot_id"] == new and config["latest_snapshot_id"] == latest:
            return config
        if config["head_snapshot_id"] != expected:
            raise StaleHead(
                f"the head of '{name}' is '{config['head_snapshot_id']}', not '{expected}'",
                hint="somebody else moved it: look at 'jvs history' and run the command again",
                head=config["head_snapshot_id"],
                expected=expected,
            )
        if holds_merge:
            config.pop("merging", None)
        config.update({"head_snapshot_id": new, "latest_snapshot_id": latest, "event_id": event_id})
        records.save(layout.worktree_config(name), config)
        return config


def set_merging(layout: Layout, name: str, merging: list[str], *, wait: float = locks.DEFAULT_WAIT_SECONDS) -> None:
    """Note which merged snapshots the next snapshot of a worktree names. Durable: yes. Errors: E_BUSY."""
    with locks.acquire_brief(layout.lock(f"head-{name}"), wait=wait):
        config = load(layout, name)
        if config.get("merging", []) == merging:
            return
        if merging:
            config["merging"] = merging
        else:
            del config["merging"]
        records.save(layout.worktree_config(name), config)


def set_place(
    layout: Layout,
    name: str,
    path: str | None,
    token: str | None,
    *,
    was: PlaceBefore | None = None,
    wait: float = locks.DEFAULT_WAIT_SECONDS,
) -> WorktreeConfig:
    """Note where a worktree is, and until that is done where it was. Durable: yes. Errors: E_BUSY."""
    with locks.acquire_brief(layout.lock(f"head-{name}"), wait=wait):
        config = load(layout, name)
        config.pop("token", None)
        config.pop("was", None)
        config["path"] = path
        if token is not None:
            config["token"] = token
        if was is not None:
            config["was"] = was
        records.save(layout.worktree_config(name), config)
        return config


def sweep(layout: Layout, name: str, *, wait: float = locks.DEFAULT_WAIT_SECONDS) -> None:
    """Remove what a crash left of writing a configuration that was not renamed yet. Errors: E_BUSY, OSError."""
    with locks.acquire_brief(layout.lock(f"head-{name}"), wait=wait):
        durable.unlink(layout.worktree_config(name).plus(".tmp"), missing_ok=True)
