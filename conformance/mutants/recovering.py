"""Mutants of recovery: what is done with a snapshot that died, and with the end of the log."""

from __future__ import annotations

from mutants.edits import Drop, Mutant, Swap

_WHEN_DONE = "    if paths.exists(layout.descriptor(snapshot_id)):\n        return False\n"
_KILL, _MODEL = ("kill:snapshot",), ("model:snapshot",)

RECOVERING = (
    Mutant(
        "no-recovery",
        "nothing recovers what died",
        (Swap("store/changing.py", "if not listing.names(store.layout.intents):", "if True:"),),
        _KILL,
    ),
    Mutant(
        "recovering-forgets-audit",
        "a completed snapshot gets no audit record",
        (Drop("publish/run.py", "write_ahead.append(store, pending, descriptor_checksum"),),
        _KILL,
    ),
    Mutant(
        "recovering-forgets-head",
        "a completed snapshot does not become the head",
        (
            Swap(
                "publish/run.py",
                '    try:\n        worktree.move_head(\n            layout,\n            record["worktree_name"]',
                '    try:\n        0 and worktree.move_head(\n            layout,\n            record["worktree_name"]',
            ),
        ),
        _KILL,
    ),
    Mutant(
        "recovering-forward-early",
        "a snapshot whose descriptor has no name yet is taken for done",
        (
            Swap(
                "publish/run.py",
                _WHEN_DONE,
                "    if paths.exists(layout.descriptor_tmp(snapshot_id)):\n        return False\n" + _WHEN_DONE,
            ),
        ),
        _KILL,
    ),
    Mutant(
        "recovering-back-late",
        "a snapshot whose descriptor has its name is rolled back",
        (Swap("publish/run.py", _WHEN_DONE, "    durable.unlink(layout.descriptor(snapshot_id), missing_ok=True)\n"),),
        _KILL,
    ),
    Mutant(
        "recovering-keeps-payload",
        "a roll-back leaves the half-made payload",
        (Drop("publish/run.py", "registry.remove_any(layout.snapshots / entry"),),
        _KILL,
    ),
    Mutant(
        "recovering-appends-twice",
        "recovery does not check whether the audit record is there already",
        (Swap("store/audit.py", "            if after_seq is not None:\n", "            if False:\n"),),
        _KILL,
    ),
    Mutant(
        "torn-tail-kept",
        "a torn last line of the log is not moved away",
        (Swap("store/audit.py", "            if torn:\n", "            if False:\n"),),
        _MODEL,
    ),
)
