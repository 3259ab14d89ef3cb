"""`Repository` about space and travel: the same as the commands, with values."""

from __future__ import annotations

import io

import making
import pytest

from jvs import Repository
from jvs.errors import GcPlanMismatch


@pytest.fixture
def repo(tmp_path):
    store = making.make_store(tmp_path / "repo")
    for number in range(4):
        making.write(making.main_of(store), {"a": f"{number}" * 9000})
        making.snapshot(store, f"note {number}")
    return Repository.open(store.root)


def ids(repo: Repository) -> list[str]:
    return [record["snapshot_id"] for record in repo.history()]


def test_snapshots_go_to_another_repository(repo, tmp_path):
    other = Repository.init(tmp_path / "other")
    line, stream = ids(repo), io.BytesIO()
    assert repo.send(stream, line[2])["snapshots"] == line[:1:-1]
    stream.seek(0)
    assert other.receive(stream)["snapshots"] == line[:1:-1]
    change = io.BytesIO()
    repo.send(change, since=line[2])
    change.seek(0)
    assert other.receive(change)["snapshots"] == line[1::-1]


def test_what_takes_the_space_is_reported_and_goes(repo):
    line = ids(repo)
    listed = repo.du()
    assert {one["snapshot_id"] for one in listed["snapshots"]} == set(line)
    assert {one["snapshot_id"] for one in repo.du(line[1], "HEAD")["snapshots"]} == {line[0], line[1]}
    with pytest.raises(GcPlanMismatch):
        repo.gc_drop("HEAD")
    assert repo.gc_drop(line[2])["collected"] == [line[2]]
    assert repo.gc_auto({"keep_last": 9}) is None
    done = repo.gc_auto({"keep_last": 1})
    assert done is not None and done["collected"] == sorted([line[1], line[3]])
    assert repo.gc_auto(max_bytes=1 << 40) is None
