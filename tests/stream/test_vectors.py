"""The streams in `vectors/`, which other implementations can read: they stay readable, and give the same snapshots."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import cbor2
import making
import pytest

from jvs.errors import NotFound
from jvs.operations import looking, travelling
from jvs.store import lineage

VECTORS = Path(__file__).resolve().parent / "vectors"
EXPECTED = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))
SNAPSHOTS = EXPECTED["snapshots"]
STREAMS = ("two-snapshots.stream", "increment.stream")


def items(data):
    """Return the items of a stream, as a library reads them that knows nothing of us."""
    file = io.BytesIO(data)
    found = []
    while file.tell() < len(data):
        found.append(cbor2.load(file))
    return found


def sealed(data):
    """Return the hash of all bytes before the end, but for the bytes of files: the last ones of items of kind 10."""
    file, digest = io.BytesIO(data), hashlib.sha256()
    while (start := file.tell()) < len(data):
        item = cbor2.load(file)
        stop = file.tell() - (len(item[2]) if item[0] == 10 else 0)
        digest.update(data[start:stop])
    return digest.digest()


@pytest.fixture
def target(tmp_path):
    return making.make_store(tmp_path / "target")


@pytest.mark.parametrize("name", STREAMS)
def test_they_are_as_they_were(name):
    data = (VECTORS / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == EXPECTED[name]["sha256"]
    found = items(data)
    assert found[0][:2] == [0, "jvs-stream-1"]
    assert [item[0] for item in found].count(1) == len(found[0][3])
    end = cbor2.dumps(found[-1])
    assert data.endswith(end) and found[-1] == [3, sealed(data[: -len(end)])]
    depth = 0
    for item in found:  # each tree leaves what it entered, and its root
        depth += {1: 1, 4: 1, 5: 1, 6: -1}.get(item[0], 0)
        assert depth >= 0
    assert depth == 0


def test_they_give_the_snapshots_that_they_were_made_of(target):
    answer = travelling.receive(target, io.BytesIO((VECTORS / "two-snapshots.stream").read_bytes()))
    assert answer["snapshots"] == sorted(SNAPSHOTS)
    for snapshot_id, wanted in SNAPSHOTS.items():
        made = lineage.load_visible(target, snapshot_id)
        assert (made["note"], made["tags"]) == (wanted["note"], wanted["tags"])
        assert (made["parent_id"], made["payload_root_hash"]) == (wanted["parent"], wanted["payload_root_hash"])
    reports, lines, chain = looking.verify_all(target)
    assert [str(report.error) for report in reports if report.error] == [] and lines == [] and chain.problems == []
    again = travelling.receive(target, io.BytesIO((VECTORS / "increment.stream").read_bytes()))
    assert again["snapshots"] == []


def test_an_increment_needs_what_it_stands_on(target):
    with pytest.raises(NotFound):
        travelling.receive(target, io.BytesIO((VECTORS / "increment.stream").read_bytes()))


def test_the_stream_of_the_page_is_one(target):
    """A header of 54 bytes and an end, written by hand as jvs-stream(5) shows them."""
    repository = "0" * 8 + "-0000-4000-8000-" + "0" * 12
    header = b"\x84\x00\x6cjvs-stream-1\x78\x24" + repository.encode() + b"\x80"
    assert len(header) == 54
    stream = header + b"\x82\x03\x58\x20" + hashlib.sha256(header).digest()
    assert travelling.receive(target, io.BytesIO(stream))["snapshots"] == []
