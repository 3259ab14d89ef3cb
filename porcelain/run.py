"""Run a command between snapshots, and roll back when it fails

Takes a snapshot of the worktree when it changed since the head, runs CMD, and says which paths CMD changed. With
--rollback a CMD that fails is undone: the files go back to the snapshot, and what CMD had written is kept for `jvs
undo`. The exit code is that of CMD, or 128 plus the number of the signal that ended it. With --json the report is the
only thing on stdout, and what CMD prints goes to stderr.
"""

from __future__ import annotations

import argparse
import sys

from jvs import cli
from jvs.errors import CHANGING, CloneIncomplete, Detached, NotFound, PayloadHashMismatch, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.store import Store
    from jvs.terminal import Terminal

RAISES = (*CHANGING, Detached, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = ("jvs-snapshot(1)", "jvs-restore(1)", "jvs-undo(1)", "jvs-agents(7)")
EXAMPLES = (
    ("jvs run --rollback -- make install", "keep the result of a command, or nothing of it"),
    ("jvs run --note 'before cleanup' -- rm -r old", "have a way back"),
)
LISTED = 20


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("run", __doc__)
    parser.add_argument("--note", metavar="N", help="the note of the snapshot (the command line)")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="a tag for the snapshot; repeatable")
    parser.add_argument("--rollback", action="store_true", help="restore the files when CMD fails")
    parser.add_argument("--after", action="store_true", help="take a snapshot of what CMD changed, too")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    parser.add_argument("words", metavar="CMD", nargs=argparse.REMAINDER, help="the command, after '--'")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Snapshot if changed, run, compare, and roll back if asked to."""
    words = args.words
    if not words:
        raise UsageError("name a command to run", hint="jvs run [--rollback] -- CMD ...")
    import shlex

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    store.require_worktree(name)
    line = shlex.join(words)
    before, created = _snapshot(store, name, args.note or f"before: {line}"[:500], args.tag)
    code = _run(words, quiet=args.json)
    changes = _changes(store, name, before)
    rolled_back = bool(changes) and code != 0 and args.rollback
    if rolled_back:
        _restore(store, name, before)
    after = None
    if args.after and changes and not rolled_back:
        after, _ = _snapshot(store, name, f"after: {line}"[:500], args.tag)
    value = {
        "command": words,
        "exit": code,
        "worktree": name,
        "snapshot_id": before,
        "created": created,
        "rolled_back": rolled_back,
        "after_snapshot_id": after,
        "changes": changes,
    }
    return cli.Result(value, lambda terminal: _text(value, terminal), exit=code)


def _snapshot(store: Store, name: str, note: str, tags: list[str]) -> tuple[str, bool]:
    """Return the snapshot that holds the files as they are, and whether it had to be taken."""
    from jvs import look, publish

    same = look.unchanged_since(store, name)
    if same is not None:
        return same, False
    with store.changing(name):
        return publish.publish(store, name, note=note, tags=tags)["snapshot_id"], True


def _run(words: list[str], *, quiet: bool) -> int:
    import signal
    import subprocess

    try:
        # The command gets the terminal's signals itself; we live on to say what became of the files.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            code = subprocess.run(
                words, check=False, stdout=sys.stderr if quiet else None, preexec_fn=_default_signals
            ).returncode
        finally:
            signal.signal(signal.SIGINT, before)
    except OSError as error:
        raise NotFound(f"'{words[0]}' cannot be run: {error.strerror}", hint="check its name and PATH") from error
    return 128 - code if code < 0 else code


def _default_signals() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _changes(store: Store, name: str, before: str) -> list[dict[str, Any]]:
    """Return what differs from the snapshot now, path by path."""
    from jvs import canon, descriptor, look, tree, trees

    found = look.walk_now(store, name)
    known = trees.Trees(store)
    known.add(found)
    record = descriptor.load(store.layout, before)
    if found.root_hash == record["payload_root_hash"]:
        return []
    root = known.root(record)
    assert root is not None
    changes: list[dict[str, Any]] = []
    if root[:2] != found.root[:2]:
        changes.append({"path": ".", "change": "modified"})
    for path, old, new in tree.compare(known.load, root[2], found.digest):
        word = "added" if old is None else "removed" if new is None else "modified"
        changes.append({**canon.path_json(path), "change": word})
    return changes


def _restore(store: Store, name: str, snapshot_id: str) -> None:
    from jvs import journal, restore

    with store.changing(name):
        restore.restore(store, name, snapshot_id)
    journal.prune(store, name)


def _text(value: dict[str, Any], terminal: Terminal) -> str:
    """Say it on few lines: what CMD printed came before."""
    from jvs.terminal import plural, show_text

    signs = {"added": "+", "modified": "~", "removed": "-"}
    changes = value["changes"]
    lines = [f"{signs[item['change']]} {show_text(item['path'])}" for item in changes[:LISTED]]
    if len(changes) > LISTED:
        lines.append(f"... and {len(changes) - LISTED} more; '--json' lists them")
    if value["rolled_back"]:
        lines.append(f"exit {value['exit']}: rolled back {plural(len(changes), 'change')} to {value['snapshot_id']}")
        lines.append("what it had written is kept: 'jvs undo' brings it back")
    elif changes:
        lines.append(f"exit {value['exit']}: {plural(len(changes), 'change')} since {value['snapshot_id']}")
    else:
        lines.append(f"exit {value['exit']}: no changes since {value['snapshot_id']}")
    if value["after_snapshot_id"]:
        lines.append(f"Created snapshot {value['after_snapshot_id']}")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
