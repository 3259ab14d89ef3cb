"""A line with all its words goes to another filesystem and back: the same ids, words and hashes, in the same space.

JVS_TEST_LONG takes fifty snapshots, and five of 100 MB, as the promise says; else a few small ones.
"""

from __future__ import annotations

import io
import os

import making
import pytest
from own_filesystem import used

from jvs.operations import annotating, looking, travelling
from jvs.store import lineage

LONG = bool(os.environ.get("JVS_TEST_LONG"))
SNAPSHOTS = 50 if LONG else 4
LARGE_BYTES = (100 if LONG else 9) << 20
PAIRS = [("btrfs", "xfs"), *([("ext4", "btrfs"), ("xfs", "ext4")] if LONG else [])]


def carry(source, target, **options) -> int:
    stream = io.BytesIO()
    travelling.send(source, options.pop("targets", ["LATEST"]), stream, **options)
    stream.seek(0)
    travelling.receive(target, stream)
    return stream.seek(0, io.SEEK_END)


def said(store) -> list[dict]:
    """Return all that is known of each snapshot, with what was said later."""
    return [annotating.shown(store, i) for i in sorted(lineage.visible_ids(store.layout))]


def fill(main, number: int) -> None:
    making.write(main, {f"d{n}/f{n}": f"{n} " * (200 + n) for n in range(0 if number else 60)})
    making.write(main, {f"d{number % 7}/new{number}": f"{number}" * 900, "changing": f"{number}" * 5000})
    if number % 3 == 0:
        (main / "large").write_bytes(os.urandom(5 << 20 if number == 0 else 1 << 20))
    elif number % 3 == 1:
        with open(main / "large", "r+b") as file:
            file.seek(number << 12)
            file.write(b"changed")


def test_a_line_goes_there_and_back(own_fs):
    first, second = own_fs("btrfs"), own_fs("xfs")
    before = used(first)
    source = making.make_store(first / "source")
    ids = []
    for number in range(SNAPSHOTS):
        fill(making.main_of(source), number)
        ids.append(making.snapshot(source, f"note {number}", tags=[f"t{number}"], meta={"loss": str(number)}))
        if number % 4 == 0:
            annotating.note(source, ids[-1]["snapshot_id"], f"said later {number}")
    here = used(first) - before
    target, start = making.make_store(second / "target"), used(second)
    carry(source, target)
    there = used(second) - start
    back, start = making.make_store(first / "back"), used(first)
    carry(target, back, targets=[ids[-1]["snapshot_id"]])
    again = used(first) - start
    assert said(source) == said(target) == said(back) and len(said(back)) == SNAPSHOTS
    for store in (target, back):
        reports, lines, chain = looking.verify_all(store)
        assert [str(report.error) for report in reports if report.error] == []
        assert lines == [] and chain.problems == [] and looking.doctor(store, strict=True).findings == []
    print(f"{here=} {there=} {again=}")
    assert again <= here * 1.1 + (1 << 20)


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_what_five_snapshots_share_stays_shared(here, there, own_fs):
    source, place = making.make_store(own_fs(here) / "source"), own_fs(there)
    target = making.make_store(place / "target")
    large = making.main_of(source) / "large"
    large.write_bytes(os.urandom(LARGE_BYTES))
    last = making.snapshot(source)["snapshot_id"]
    carry(source, target)
    one = used(place)
    for number in range(4):
        with open(large, "r+b") as file:
            file.seek(number * LARGE_BYTES // 5 + 12345)
            file.write(b"changed")
        new = making.snapshot(source)["snapshot_id"]
        assert carry(source, target, since=last, targets=[new]) < 1 << 20
        last = new
    assert looking.doctor(target, strict=True).findings == []
    print(f"{used(place) - one=}")
    if there != "ext4":
        assert used(place) - one <= 5 << 20
