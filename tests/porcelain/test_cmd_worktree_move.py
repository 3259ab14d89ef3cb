"""What `jvs worktree move` says; what it does is in tests/worktrees/test_elsewhere.py."""

from __future__ import annotations

import os

from making import main_of, make_store, run, snapshot, write


def test_it_says_where_the_worktree_is(tmp_path):
    store = make_store(tmp_path / "lab")
    write(main_of(store), {"a": "a"})
    snapshot(store)
    store.close()
    os.chdir(tmp_path / "lab")
    assert run("fork", "side").exit == 0
    said = run("worktree", "move", "side", str(tmp_path / "there"), "--json")
    assert said.json == {"name": "side", "path": str(tmp_path / "there")}
    said = run("worktree", "move", "side")
    assert said.text == f"Moved worktree 'side' to {tmp_path / 'lab/worktrees/side'}\n"
