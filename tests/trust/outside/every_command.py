"""Words for every command of the table, so that a test can run them all over one repository."""

from __future__ import annotations

import json
from pathlib import Path

from jvs.cli import commands

NOT_RUN = {
    "conformance run": "judges an installation in directories of its own, for minutes",
    "conformance list": "reads no repository",
    "torture": "works in directories of its own, for minutes",
    "completion": "prints a text; what it does is in test_nothing_runs_unasked.py",
    "help": "reads no repository",
    **{
        f"agent {word}": "reads no repository, but the settings of an agent"
        for word in ("install", "uninstall", "status")
    },
    "version": "reads no repository",
    "mcp": "serves until its input ends; what its tools may do is in tests/contrib/test_agents.py",
}
READS = "reads"
CHANGES = "changes"
GUESSED = "guessed"
"""Words that may be wrong, of commands that have none here."""

STEPS = (
    *("write-intent", "clone-tree", "hash-tree", "sync-tree", "write-descriptor", "write-ready", "rename-ready"),
    *("update-head", "chain-append", "clear-intent"),
)


def clone_of(root: Path) -> Path:
    """Return where a repository is cloned to."""
    return root.parent / "cloned"


def _plain(name: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return words for a command that nobody has thought about here."""
    kind = commands.COMMANDS[name][0]
    words = (commands.program_of(name),) if kind == commands.PLUMBING else tuple(name.split(" "))
    return [(GUESSED, words), (GUESSED, (*words, "HEAD"))]


def table(root: Path) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Return for each command the ways to call it here, each with whether it changes anything."""
    plans = sorted((root / ".jvs/gc/plans").glob("*.json"))
    plan = plans[-1].stem if plans else "0" * 32
    ids = sorted(path.stem for path in (root / ".jvs/descriptors").glob("*.json"))
    one = ids[0] if ids else "HEAD"
    return {
        **{name: _plain(name) for name in commands.COMMANDS if name not in NOT_RUN},
        "init": [(CHANGES, ("init", str(root)))],
        "snapshot": [(CHANGES, ("snapshot", "x")), (CHANGES, ("snapshot", "--if-changed", "-w", "side"))],
        "history": [(READS, ("history", "--all", "--graph")), (READS, ("history", "--json"))],
        "status": [(READS, ("status",)), (READS, ("status", "-w", "side", "--json"))],
        "diff": [(READS, ("diff", "-p", "HEAD"))],
        "show": [(READS, ("show",)), (READS, ("show", one, "--json"))],
        "restore": [(CHANGES, ("restore", one)), (CHANGES, ("restore", "HEAD", "--", "a", "dir"))],
        "undo": [
            (CHANGES, ("undo",)),
            (CHANGES, ("undo", "--redo")),
            (READS, ("undo", "--list")),
            (CHANGES, ("undo", "-w", "side")),
        ],
        "run": [(CHANGES, ("run", "--rollback", "--", "true"))],
        "ls": [(READS, ("ls", "-r", one)), (READS, ("ls", "HEAD:dir", "--json"))],
        "cat": [(READS, ("cat", "HEAD:dir/b"))],
        "cat-file": [(READS, ("jvs-cat-file", f"{one}:a"))],
        "tag": [(CHANGES, ("tag", one, "more")), (CHANGES, ("tag", "-d", "HEAD", "six"))],
        "note": [(CHANGES, ("note", one, "another"))],
        "meta": [(CHANGES, ("meta", one, "loss=0.5"))],
        "merge": [(CHANGES, ("merge", "side"))],
        "enter": [(READS, ("enter", "side", "--", "true"))],
        "try": [(CHANGES, ("try", "--apply", "--", "rm", "-f", "a")), (READS, ("try", "--list"))],
        "gc drop": [(CHANGES, ("gc", "drop", one))],
        "gc auto": [(CHANGES, ("gc", "auto", "--keep-last", "1"))],
        "merge-base": [(READS, ("jvs-merge-base", one, "HEAD"))],
        "worktree list": [(READS, ("worktree", "list")), (READS, ("worktree", "list", "--json"))],
        "worktree create": [(CHANGES, ("worktree", "create", "created"))],
        "worktree fork": [(CHANGES, ("worktree", "fork", "HEAD", "fresh"))],
        "worktree path": [(READS, ("worktree", "path", "side"))],
        "worktree rename": [
            (CHANGES, ("worktree", "rename", "side", "elsewhere")),
            (CHANGES, ("worktree", "rename", "linked", "elsewhere")),
        ],
        "worktree remove": [
            (CHANGES, ("worktree", "remove", "--force", "side")),
            (CHANGES, ("worktree", "remove", "--force", "--discard", "renamed")),
            (CHANGES, ("worktree", "remove", "--force", "--discard", "linked")),
        ],
        "worktree move": [
            (CHANGES, ("worktree", "move", "side", str(root / "moved"))),
            (CHANGES, ("worktree", "move", "side")),
        ],
        "worktree attach": [(CHANGES, ("worktree", "attach", ".")), (CHANGES, ("worktree", "attach", "..", "side"))],
        "verify": [(READS, ("verify", "--all")), (READS, ("verify", one, "--json"))],
        "doctor": [
            (CHANGES, ("doctor", "--repair-runtime")),
            (READS, ("doctor", "--strict", "--json")),
            (CHANGES, ("doctor", "--repair", "clean_intents")),
        ],
        "du": [(READS, ("du",)), (READS, ("du", one, "HEAD", "--json"))],
        "gc plan": [(CHANGES, ("gc", "plan", "--keep-last", "1", "--drop-tagged"))],
        "gc run": [(CHANGES, ("gc", "run", "--plan-id", plan, "--keep-last", "1", "--drop-tagged", "--allow-newer"))],
        "gc pin": [(CHANGES, ("gc", "pin", one))],
        "gc unpin": [(CHANGES, ("gc", "unpin", one))],
        "gc pins": [(READS, ("gc", "pins"))],
        "info": [(READS, ("info", "--sizes"))],
        "detach": [(CHANGES, ("detach",))],
        "clone": [(READS, ("clone", str(root), str(clone_of(root))))],
        "hooks list": [(READS, ("hooks", "list"))],
        "hooks allow": [(CHANGES, ("hooks", "allow"))],
        "hooks deny": [(CHANGES, ("hooks", "deny"))],
        "config get": [(READS, ("config", "get", "default_engine"))],
        "config set": [(CHANGES, ("config", "set", "retention.keep_last", "3"))],
        "config unset": [(CHANGES, ("config", "unset", "retention.keep_last"))],
        "config list": [(READS, ("config", "list", "--show-origin"))],
        "check-worktree": [(READS, ("jvs-check-worktree", "--record", "main"))],
        **{name: [(CHANGES, (f"jvs-{name}", "--record"))] for name in STEPS},
        "resolve": [(READS, ("jvs-resolve", "HEAD~1"))],
        "cat-descriptor": [(READS, ("jvs-cat-descriptor", one))],
        "list-snapshots": [(READS, ("jvs-list-snapshots", "--json"))],
        "ls-tree": [(READS, ("jvs-ls-tree", "-r", one))],
        "diff-tree": [(READS, ("jvs-diff-tree", one, "HEAD"))],
        "probe-engine": [(READS, ("jvs-probe-engine",))],
        "list-intents": [(READS, ("jvs-list-intents",))],
        "verify-snapshot": [(READS, ("jvs-verify-snapshot", one))],
        "chain-check": [(READS, ("jvs-chain-check",))],
        "with-lock": [(CHANGES, ("jvs-with-lock", "main", "--", "true"))],
        "apply-tree": [(CHANGES, ("jvs-apply-tree", str(root / ".jvs/snapshots" / one), str(root / "worktrees/side")))],
        "mark-live": [(READS, ("jvs-mark-live", "--candidates"))],
        "prune-snapshot": [(CHANGES, ("jvs-prune-snapshot", one, "--keep-last", "1", "--drop-tagged"))],
    }


def invocations(root: Path, kind: str | None = None) -> list[tuple[str, ...]]:
    """Return every way to call every command; steps of a publication only as far as they need no record."""
    ways = [way for name, rows in table(root).items() if name not in STEPS for way in rows]
    return [words for what, words in ways if kind in (None, what)]


def record_of(text: bytes) -> dict[str, object]:
    """Return a publish record."""
    return dict(json.loads(text))
