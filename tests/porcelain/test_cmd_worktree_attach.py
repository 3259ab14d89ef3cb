"""What `jvs worktree attach` says; what it does is in tests/worktrees/test_elsewhere.py."""

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
    assert run("worktree", "move", "side", str(tmp_path / "there")).exit == 0
    (tmp_path / "there").rename(tmp_path / "other")
    said = run("worktree", "attach", str(tmp_path / "other"), "--json")
    assert said.json == {"name": "side", "path": str(tmp_path / "other")}
    assert run("worktree", "attach", ".").text == f"Attached {tmp_path / 'lab'} as worktree 'main'\n"
    assert "E_NOT_FOUND" in run("worktree", "attach", str(tmp_path)).err
