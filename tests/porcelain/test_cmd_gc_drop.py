"""`jvs gc drop`: exactly what is named goes, or nothing."""

from __future__ import annotations

import making
import pytest

from jvs.store import lineage


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    for number in range(4):
        making.write(making.main_of(made), {"same": "s", "changing": str(number) * 9000})
        making.snapshot(made, f"note {number}", tags=["kept"] if number == 1 else [])
    monkeypatch.chdir(tmp_path / "repo" / "main")
    return made


def visible(store) -> list[str]:
    return sorted(lineage.visible_ids(store.layout))


def test_what_is_named_goes_and_the_rest_stays(store):
    ids = visible(store)
    said = making.run("gc", "drop", ids[0], ids[2])
    assert said.exit == 0 and "Collected 2 snapshots, freeing" in said.text
    assert visible(store) == [ids[1], ids[3]]
    assert making.run("verify", "--all").exit == 0 and making.run("doctor", "--strict").exit == 0


def test_one_protected_snapshot_keeps_all(store):
    ids = visible(store)
    for protected, why in ((ids[3], "head"), (ids[1], "tag")):
        said = making.run("gc", "drop", ids[0], protected)
        assert said.exit != 0 and "protected" in said.err and why in said.err
        assert visible(store) == ids
    assert making.run("gc", "drop", "--drop-tagged", ids[1]).exit == 0
    assert ids[1] not in visible(store)


def test_a_dry_run_says_what_would_go(store):
    ids = visible(store)
    said = making.run("gc", "drop", "--dry-run", "HEAD~1", "--json").json
    assert said["candidates"] == [ids[2]] and said["done"] is None
    assert said["deletable_bytes_estimate"] > 0
    assert visible(store) == ids


def test_a_line_goes_on_where_one_was_dropped(store):
    ids = visible(store)
    assert making.run("gc", "drop", ids[2]).exit == 0
    assert making.run("restore", ids[1]).exit == 0
    assert [row["snapshot_id"] for row in making.run("history", "--all", "--json").json if row.get("collected")] in (
        [],
        [ids[2]],
    )


def test_a_target_that_is_not_there_is_refused(store):
    ids = visible(store)
    assert making.run("gc", "drop", "nothing").exit == 5
    assert making.run("gc", "drop", "1700000000000-00000000").exit != 0
    assert visible(store) == ids
