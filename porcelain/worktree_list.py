"""List the worktrees

For each: its name, the short ids of head and latest, whether it is detached, and where its files are. main comes
first. With --status also whether it is clean, or how many entries changed since its head. Writes nothing.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import READING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.store.store import Store
    from jvs.ui.terminal import Terminal

    class WorktreeItem(TypedDict):
        """One worktree, as `--json` prints it."""

        name: str
        path: str
        created_at: str
        base_snapshot_id: str | None
        head_snapshot_id: str | None
        latest_snapshot_id: str | None
        detached: bool
        missing: bool
        offline: bool
        here: bool
        clean: bool | None
        changes: int | None


RAISES = READING
SEE_ALSO = ("jvs-worktree-fork(1)", "jvs-worktree-path(1)", "jvs-status(1)")
EXAMPLES = (
    ("jvs worktree list", "show all worktrees"),
    ("jvs worktree list --status", "and what changed in each"),
)

_NARROW_COLUMNS = 50


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree list", __doc__, jsonl=True)
    parser.add_argument("--status", action="store_true", help="say of each what changed since its head")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """List."""
    from jvs.store import worktree

    store = cli.open_store(args)
    items = [_item(store, name) for name in worktree.names(store.layout)]
    if args.status:
        _add_states(store, items)
    return cli.Result(items, lambda screen: _table(screen, store, items), items=items)


def _add_states(store: Store, items: list[WorktreeItem]) -> None:
    """Say of each worktree that is there whether it is clean."""
    from jvs.operations import states

    there = [item for item in items if not item["missing"]]
    found = states.states(store, [item["name"] for item in there])
    for item in there:
        item["clean"], item["changes"] = found[item["name"]]


def _item(store: Store, name: str) -> WorktreeItem:
    from jvs.fs import paths
    from jvs.store import placement, worktree

    config = worktree.load(store.layout, name)
    head, latest = store.head_of(name)
    path, strange = store.layout.place_of(name), store.layout.is_strange(name)
    missing = not paths.is_dir(path)
    return {
        "name": name,
        "path": str(path),
        "created_at": config["created_at"],
        "base_snapshot_id": config["base_snapshot_id"],
        "head_snapshot_id": head,
        "latest_snapshot_id": latest,
        "detached": head != latest,
        "missing": missing or strange,
        "offline": missing and placement.is_elsewhere(config),
        "here": name == store.worktree_here,
        "clean": None,
        "changes": None,
    }


def _table(screen: Terminal, store: Store, items: list[WorktreeItem]) -> str:
    from jvs import units
    from jvs.store import refs
    from jvs.ui import terminal

    short = refs.ShortIds.among_all(store.layout)
    width = max((len(item["name"]) for item in items), default=0)
    if screen.tty:
        width = min(width, screen.width // 4)
    lines = []
    for item in items:
        mark = "*" if item["here"] else " "
        head = short(item["head_snapshot_id"]) if item["head_snapshot_id"] else "-"
        state = " (detached)" if item["detached"] else ""
        state += " (offline)" if item["offline"] else " (missing)" if item["missing"] else ""
        if item["clean"] is not None:
            state += " clean" if item["clean"] else f" {units.plural(item['changes'] or 0, 'change')}"
        if screen.tty and screen.width < _NARROW_COLUMNS:
            state = state.replace("detached", "det.").replace("missing", "mis.")
        name, path = terminal.cut(item["name"], width), terminal.show_text(item["path"])
        if screen.tty:
            path = terminal.cut_left(path, max(screen.width - width - len(head) - len(state) - 6, 3))
        name = screen.paint(f"{name:<{width}}", "green" if item["here"] else "bold")
        lines.append(f"{mark} {name}  {screen.paint(head, 'yellow')}{state}  {path}\n")
    return "".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
