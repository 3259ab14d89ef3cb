"""`jvs-merge-base`: where lines meet."""

from __future__ import annotations

import making
import pytest
from making import plumb


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    making.write(making.main_of(made), {"a": "1"})
    making.snapshot(made, "first")
    making.write(making.main_of(made), {"a": "2"})
    making.snapshot(made, "second")
    return made


def test_of_a_line_it_is_the_older_one(store):
    first = plumb("resolve", "first").text
    assert plumb("merge-base", "HEAD", "first").text == first
    assert plumb("merge-base", "--json", "first", "HEAD").json == [first.strip()]
    assert plumb("merge-base", "first", "nowhere").exit == 5


def test_snapshots_that_have_nothing_in_common(store):
    assert making.run("worktree", "create", "apart").exit == 0
    making.write(making.main_of(store).parent / "worktrees/apart", {"b": "1"})
    made = making.snapshot(store, "apart", "apart")
    assert plumb("merge-base", "HEAD", made["snapshot_id"]).exit == 5
