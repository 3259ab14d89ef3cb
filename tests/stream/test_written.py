"""What a stream brings is hashed once, on its way to the disk, and what is known is not read at all."""

from __future__ import annotations

import io
import os
import random

import making
import pytest

from jvs.operations import looking, travelling
from jvs.store import leaf_lists, node_store
from jvs.stream import items
from jvs.stream.written import ContentHash, InOrder
from jvs.tree import leaves
from jvs.tree.leaves import LEAF_BYTES

SIZES = [0, 1, 5000, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 2 * LEAF_BYTES, 9 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_the_digest_is_that_of_the_file(size, tmp_path):
    chance = random.Random(size)
    with open(tmp_path / "file", "w+b") as file:
        file.truncate(size)
        content, at = ContentHash(size), 0
        while at < size:
            at += chance.choice([0, 0, 1, 70_000, LEAF_BYTES])  # a hole
            data = chance.randbytes(min(chance.choice([1, 65536, items.DATA_BYTES]), max(size - at, 0)))
            if data:
                content.take_at(at, data)
                os.pwrite(file.fileno(), data, at)
            at += len(data)
        lists: leaves.Lists = {}
        wanted = leaves.hash_open_file(file.fileno(), lists=lists)[0]
        assert content.result() == (wanted, lists[wanted][1] if lists else b"")


def test_work_is_done_in_order_and_its_errors_arrive():
    done, order = [], InOrder()
    try:
        for number in range(40):
            order.do(done.append, bytes([number]) * (300_000 if number % 3 else 10))
        order.wait()
        assert [part[0] for part in done] == list(range(40))
        order.do(lambda _: 1 // 0, bytes(300_000))
        with pytest.raises(ZeroDivisionError):
            order.wait()
    finally:
        order.close()


@pytest.fixture
def read(monkeypatch):
    """Return a list to which every read of content for its hash adds its bytes."""
    found: list[int] = []
    whole, part = leaves.hash_open_file, leaves.hash_range

    def of_file(fd, **options):
        answer = whole(fd, **options)
        found.append(answer[1])
        return answer

    def of_range(fd, start, stop, **options):
        found.append(stop - start)
        return part(fd, start, stop, **options)

    monkeypatch.setattr(leaves, "hash_open_file", of_file)
    monkeypatch.setattr(leaves, "hash_range", of_range)
    return found


def carry(source, target, **options):
    stream = io.BytesIO()
    travelling.send(source, ["LATEST"], stream, **options)
    return travelling.receive(target, io.BytesIO(stream.getvalue()))["snapshots"]


@pytest.mark.parametrize("name", ["tmpfs", "xfs", "btrfs"])
def test_what_is_known_is_not_read(name, fs_at, read):
    place = fs_at(name)
    source, target = making.make_store(place / "source"), making.make_store(place / "target")
    main = making.main_of(source)
    making.write(main, {f"d{n}/f": f"{n}" * 3000 for n in range(20)} | {"large": os.urandom(13 << 20)})
    os.link(main / "d1/f", main / "linked")
    making.snapshot(source)
    carry(source, target)
    first = making.snapshot(source, "the same")["snapshot_id"]
    read.clear()
    carry(source, target)
    assert read == []
    with open(main / "large", "r+b") as file:
        file.seek(5 << 20)
        file.write(b"changed")
    (main / "d3/f").unlink()
    os.link(main / "d4/f", main / "d3/f")
    making.write(main, {"d5/f": "new", "grown": b"x" * (5 << 20)})
    made = making.snapshot(source, "changed")
    read.clear()
    assert carry(source, target, since=first) == [made["snapshot_id"]]
    assert sum(read) <= LEAF_BYTES + 3000
    lists = leaf_lists.load(target.layout, made["snapshot_id"])
    assert len(lists) == 2 and all(leaves.is_list_of(digest, *listed) for digest, listed in lists.items())
    found = node_store.hash_payload(target.layout.payload(made["snapshot_id"]))
    assert found.root_hash == made["payload_root_hash"]
    assert looking.doctor(target, strict=True).findings == []
