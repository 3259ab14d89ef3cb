"""List the operations in flight

Prints one line for each intent: operation id, operation, worktree (`-` for none), `alive` or `dead`, pid, host, time,
with TABs between. An operation whose owner is dead is recovered by the next command that changes something. Only looks;
takes no lock for longer than the question takes.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, Busy, PartialSnapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from jvs.store.shapes import Intent
    from jvs.store.store import Store

    class OwnerItem(TypedDict):
        """Who works on an operation."""

        pid: int | None
        host: str | None
        locked: bool | None

    class Phase(TypedDict, total=False):
        """How far an operation has come, where it says so."""

        phase: str

    class IntentItem(Phase):
        """One operation in flight, as `--json` prints it."""

        operation_id: str
        operation: str
        worktree: str | None
        created_at: str
        alive: bool
        owner: OwnerItem


RAISES = (*OPENING, PartialSnapshot)
SEE_ALSO = ("jvs-write-intent(1)", "jvs-clear-intent(1)", "jvs-doctor(1)", "jvs-protocol(7)")
_LOCKS = {"pin": "pins", "unpin": "pins", "config": "config"}
EXAMPLES = (("jvs-list-intents", "who is at work, and who died"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    return cli.make_parser("list-intents", __doc__, jsonl=True)


def work(args: argparse.Namespace) -> cli.Result:
    """Read all intents and ask for each whether its owner lives."""
    from jvs.store import intent

    store = cli.open_store(args)
    found = [_describe(store, record) for record in intent.load_all(store.layout)]
    lines = ["\t".join(_fields(item)) + "\n" for item in found]
    return cli.Result(found, "".join(lines), items=found)


def _describe(store: Store, record: Intent) -> IntentItem:
    from jvs.store import intent

    alive = intent.is_alive(record, lock_held=_is_free(store, record["operation"], record["worktree"]))
    owner = record["owner"]
    return {
        "operation_id": record["operation_id"],
        "operation": record["operation"],
        "worktree": record["worktree"],
        "created_at": record["created_at"],
        **_phase(record),
        "alive": alive,
        "owner": {"pid": owner.get("pid"), "host": owner.get("host"), "locked": owner.get("locked")},
    }


def _phase(facts: Mapping[str, object]) -> Phase:
    return {"phase": str(facts["phase"])} if "phase" in facts else {}


def _is_free(store: Store, operation: str, name: str | None) -> bool:
    """Answer whether nobody holds the lock of an operation, which tells that an owner who held it is dead."""
    from jvs.fs import locks
    from jvs.names import check_worktree_name

    wanted = _LOCKS.get(operation, "repo") if name is None else f"worktree-{check_worktree_name(name)}"
    try:
        # Shared: two who ask at once do not take each other for the owner.
        locks.acquire(store.layout.lock(wanted), exclusive=False, wait=0).close()
    except Busy:
        return False
    return True


def _fields(item: IntentItem) -> list[str]:
    owner = item["owner"]
    return [
        item["operation_id"],
        item["operation"],
        item["worktree"] or "-",
        "alive" if item["alive"] else "dead",
        str(owner["pid"]),
        str(owner["host"]),
        item["created_at"],
    ]


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
