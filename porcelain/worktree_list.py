"""List the worktrees

For each: its name, the short ids of head and latest, whether it is detached, and where its files are. main comes
first. Writes nothing.
"""

from __future__ import annotations

import argparse

from jvs import cli
from jvs.errors import READING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.store import Store
    from jvs.terminal import Terminal

RAISES = READING
SEE_ALSO = ("jvs-worktree-fork(1)", "jvs-worktree-path(1)", "jvs-status(1)")
EXAMPLES = (("jvs worktree list", "show all worktrees"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    return cli.make_parser("worktree list", __doc__, jsonl=True)


def work(args: argparse.Namespace) -> cli.Result:
    """List."""
    from jvs import worktree

    store = cli.open_store(args)
    items = [_item(store, name) for name in worktree.names(store.layout)]
    return cli.Result(items, lambda terminal: _table(terminal, store, items), items=items)


def _item(store: Store, name: str) -> dict[str, Any]:
    import os

    from jvs import worktree

    config = worktree.load(store.layout, name)
    head, latest = store.head_of(name)
    path = store.layout.worktree_dir(name)
    return {
        "name": name,
        "path": path,
        "created_at": config["created_at"],
        "base_snapshot_id": config["base_snapshot_id"],
        "head_snapshot_id": head,
        "latest_snapshot_id": latest,
        "detached": head != latest,
        "missing": not os.path.isdir(path),
        "here": name == store.worktree_here,
    }


def _table(terminal: Terminal, store: Store, items: list[dict[str, Any]]) -> str:
    from jvs import refs

    short = refs.ShortIds.among_all(store.layout)
    width = max((len(item["name"]) for item in items), default=0)
    lines = []
    for item in items:
        mark = "*" if item["here"] else " "
        head = short(item["head_snapshot_id"]) if item["head_snapshot_id"] else "-"
        state = " (detached)" if item["detached"] else ""
        state += " (missing)" if item["missing"] else ""
        name = terminal.paint(f"{item['name']:<{width}}", "green" if item["here"] else "bold")
        lines.append(f"{mark} {name}  {terminal.paint(f'{head:<8}', 'yellow')}  {item['path']}{state}\n")
    return "".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
