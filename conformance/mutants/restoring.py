"""Mutants of restore: its journal, its order, its syncs, and how it is carried on after a crash."""

from __future__ import annotations

from mutants.edits import Drop, Mutant, Swap

_RESUME = "        _apply(applier, record, resume=True)\n"

RESTORING = (
    Mutant(
        "restore-clears-first",
        "a restore removes its intent before the head moves",
        (
            Swap(
                "restore/run.py",
                "        _move_head(store, pending, record)\n    return",
                "        intent.clear(layout, operation_id)\n        _move_head(store, pending, record)\n    return",
            ),
        ),
        ("kill:restore",),
    ),
    Mutant(
        "restore-without-journal",
        "a restore changes files before its journal is there",
        (
            Drop("restore/run.py", "journal.begin(layout, record, steps, seq="),
            Swap(
                "restore/run.py",
                "        applier = _applier(store, record, steps)\n",
                "        durable.make_dir(layout.undo_dir(operation_id))\n"
                "        durable.make_dir(journal.files(layout, operation_id))\n"
                "        applier = _applier(store, record, steps)\n",
            ),
        ),
        ("kill:restore",),
    ),
    Mutant(
        "journal-not-synced",
        "the journal of a restore is not durable before files move",
        (
            Drop("restore/journal.py", "durable.fsync_dir(layout.undo)  # or op.json could be there"),
            Swap("restore/journal.py", '"delta.cbor", data)', '"delta.cbor", data, sync=False)'),
        ),
        ("model:restore",),
    ),
    Mutant(
        "restore-not-synced",
        "a restore reports success before the files are durable",
        (Swap("restore/apply.py", "after=True)\n        self.places.sync()\n", "after=True)\n"),),
        ("model:restore",),
    ),
    Mutant(
        "new-contents-not-synced",
        "names lead to restored files before their contents are durable",
        (
            Swap(
                "restore/apply.py",
                'step("durable"):\n                self.places.sync_new()\n',
                'step("durable"):\n                pass\n',
            ),
        ),
        ("model:restore",),
    ),
    Mutant(
        "rooms-not-synced",
        "files move below undo/ before the directories there are durable",
        (
            Swap(
                "restore/apply.py",
                "self.delta.goes_first(i) for i in left):\n                    self.places.sync_new()\n",
                "self.delta.goes_first(i) for i in left):\n                    pass\n",
            ),
        ),
        ("model:restore-directory",),
    ),
    Mutant(
        "restore-overwrites",
        "a restore removes what it displaces",
        (
            Swap(
                "restore/replace.py",
                "moving.shift(parent, name, there, last)\n            self.log.note_in_place",
                "removal.remove_tree(name, dir_fd=parent)\n            self.log.note_in_place",
            ),
        ),
        ("kill:restore",),
    ),
    Mutant(
        "restore-gives-up",
        "a restore that died is not carried on",
        (
            Swap(
                "restore/run.py",
                _RESUME,
                "        release.discard(store, operation_id)\n        intent.clear(layout, operation_id)\n"
                '        return ""\n',
            ),
        ),
        ("kill:restore",),
    ),
    Mutant(
        "restore-does-all-again",
        "recovery of a restore does not check what was done already",
        (Swap("restore/apply.py", "if not restore_resume.finish_half(self.work, i)]", "if True]"),),
        ("kill:restore", "kill:undo"),
    ),
    Mutant(
        "restore-forgets-head",
        "recovery of a restore leaves the head where it was",
        (
            Swap(
                "restore/run.py",
                _RESUME,
                _RESUME + '    record["after"] = record["before"]\n',
            ),
        ),
        ("kill:restore",),
    ),
)
