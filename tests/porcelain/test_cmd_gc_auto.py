"""`jvs gc auto`: a policy or a budget, planned and carried out in one."""

from __future__ import annotations

import os

import making
import pytest

from jvs import units
from jvs.errors import UsageError
from jvs.store import lineage

SIZE = 200_000


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    making.write(making.main_of(made), {"same": b"s" * SIZE})
    for number in range(5):
        making.write(making.main_of(made), {"changing": os.urandom(SIZE)})
        making.snapshot(made, f"note {number}", tags=["good"] if number == 1 else [])
    monkeypatch.chdir(tmp_path / "repo" / "main")
    return made


def visible(store) -> list[str]:
    return sorted(lineage.visible_ids(store.layout))


def test_a_policy_is_carried_out(store):
    ids = visible(store)
    said = making.run("gc", "auto", "--keep-last", "2")
    assert said.exit == 0 and "Collected 2 snapshots, freeing" in said.text
    assert visible(store) == [ids[1], ids[3], ids[4]], "what the tag names stays"


def test_within_the_budget_nothing_goes(store):
    ids = visible(store)
    said = making.run("gc", "auto", "--max-bytes", "1G", "--json").json
    assert (said["candidates"], said["done"]) == ([], None) and said["used_bytes"] < 1 << 30
    assert visible(store) == ids


def test_the_oldest_go_until_the_rest_fits(store):
    ids = visible(store)
    budget = 4 * SIZE + 80_000  # what three snapshots hold, and what each of them takes besides
    said = making.run("gc", "auto", "--max-bytes", str(budget), "--json").json
    assert said["done"]["collected"] == [ids[0], ids[2]], "the tag keeps the second"
    assert said["used_bytes"] <= budget
    assert making.run("gc", "auto", "--max-bytes", str(budget), "--json").json["done"] is None
    assert making.run("verify", "--all").exit == 0 and making.run("doctor", "--strict").exit == 0


def test_what_is_protected_stays_although_it_is_more(store):
    ids = visible(store)
    said = making.run("gc", "auto", "--max-bytes", "0", "--keep-last", "2")
    assert said.exit == 0 and "which protected ones take" in said.text
    assert visible(store) == [ids[1], ids[3], ids[4]]


def test_a_dry_run_removes_nothing(store):
    ids = visible(store)
    assert "would go" in making.run("gc", "auto", "--max-bytes", "0", "--dry-run").text
    assert visible(store) == ids


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("17", 17), ("500M", 500 << 20), ("20G", 20 << 30), ("1.5TiB", 3 << 39), ("2kB", 2048), ("3 MiB", None)],
)
def test_sizes(text, count):
    if count is None:
        with pytest.raises(UsageError):
            units.parse_size(text, "here")
    else:
        assert units.parse_size(text, "here") == count


@pytest.mark.parametrize("text", ["", "G", "-1", "1.5", "1e9", "x", "9" * 30, "1,5G"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError):
        units.parse_size(text, "here")
