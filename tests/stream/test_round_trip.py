"""Streams between repositories: what arrives is what was sent, on every pair of filesystems, and costs what changed."""

from __future__ import annotations

import io
import os

import making
import own_filesystem
import pytest
import zoo

from jvs.errors import Exists, NotFound
from jvs.operations import annotating, looking, travelling
from jvs.store import boundary, intent, lineage


def sent(store, *targets, **options):
    file = io.BytesIO()
    travelling.send(store, targets or ["LATEST"], file, **options)
    return file.getvalue()


def received(store, data):
    return travelling.receive(store, io.BytesIO(data))


def assert_clean(store):
    reports, lines, chain = looking.verify_all(store)
    assert [str(report.error) for report in reports if report.error] == [] and lines == [] and chain.problems == []
    diagnosis = looking.doctor(store, strict=True)
    assert [str(finding.error) for finding in diagnosis.findings] == []


def payload(store, snapshot_id):
    return str(store.layout.payload(snapshot_id))


def assert_equal(one, other, snapshot_id):
    trees = [zoo.describe_tree(payload(store, snapshot_id)) for store in (one, other)]
    assert zoo.diff_trees(*trees, ignore=("data",)) == []


@pytest.fixture
def source(tmp_path):
    return making.make_store(tmp_path / "source")


@pytest.fixture
def target(tmp_path):
    return making.make_store(tmp_path / "target")


def test_a_zoo_arrives_as_it_is(source, target):
    zoo.make_zoo(making.main_of(source))
    made = making.snapshot(source, "all kinds", tags=["zoo"])
    answer = received(target, sent(source))
    assert answer["snapshots"] == [made["snapshot_id"]] and answer["degraded"] == []
    assert lineage.load_visible(target, made["snapshot_id"]) == made
    assert_equal(source, target, made["snapshot_id"])
    assert_clean(target)


def test_a_line_arrives_with_words_and_dates_and_goes_on(source, target):
    main = making.main_of(source)
    made = []
    for number in range(4):
        making.write(main, {"a": f"{number}", f"d/{number}": "x" * number})
        made.append(making.snapshot(source, f"note {number}", tags=[f"t{number}"]))
    annotating.note(source, made[1]["snapshot_id"], "said later")
    received(target, sent(source, made[1]["snapshot_id"]))
    answer = received(target, sent(source, since=made[1]["snapshot_id"]))
    assert answer["snapshots"] == [record["snapshot_id"] for record in made[2:]] and answer["boundary"] == []
    assert lineage.all_records(target.layout) == {record["snapshot_id"]: record for record in made}
    assert annotating.shown(target, made[1]["snapshot_id"])["note"] == "said later"
    again = received(target, sent(source))
    assert again["snapshots"] == [] and again["present"] == [record["snapshot_id"] for record in made]
    assert_clean(target)
    assert making.violations(target.root) == []


def test_changes_of_every_kind_arrive(source, target):
    main = making.main_of(source)
    zoo.make_zoo(main)
    first = making.snapshot(source, "before")
    zoo.remove_zoo(main)
    making.write(main, {"kept": "1", "gone/x": "2", "becomes-dir": "3", "became/y": "4", "g1": "5", "meta": "6"})
    os.link(main / "g1", main / "g2")
    os.link(main / "g1", main / "g3")
    os.mkfifo(main / "fifo")
    os.symlink("kept", main / "link")
    second = making.snapshot(source, "after")
    (main / "becomes-dir").unlink()
    making.write(main, {"becomes-dir/z": "7"})
    making.remove(main / "became")
    making.remove(main / "gone")
    (main / "became").write_text("8")
    (main / "g1").unlink()
    (main / "g1").write_text("5")
    os.utime(main / "meta", ns=(1, 2))
    (main / "link").unlink()
    os.symlink("meta", main / "link")
    os.setxattr(main / "kept", "user.x", b"y")
    os.chmod(main, 0o711)
    third = making.snapshot(source, "mixed")
    received(target, sent(source))
    for record in (first, second, third):
        assert_equal(source, target, record["snapshot_id"])
    assert_clean(target)


def test_what_was_not_sent_is_a_declared_end(source, target):
    main = making.main_of(source)
    made = []
    for number in range(3):
        making.write(main, {"a": f"{number}"})
        made.append(making.snapshot(source, f"note {number}")["snapshot_id"])
    answer = received(target, sent(source, made[2], only=True))
    assert answer["snapshots"] == [made[2]] and answer["boundary"] == [made[1]]
    line = list(lineage.line(target.layout, made[2]))
    assert [record["snapshot_id"] for record in line] == [made[2], made[1]] and line[1]["collected"]
    assert_clean(target)
    assert making.violations(target.root) == []
    received(target, sent(source, made[1]))
    assert [record["snapshot_id"] for record in lineage.line(target.layout, made[2])] == made[::-1]
    assert_clean(target)


def test_a_base_that_is_not_there_is_named(source, target):
    making.write(making.main_of(source), {"a": "1"})
    first = making.snapshot(source)["snapshot_id"]
    making.write(making.main_of(source), {"a": "2"})
    making.snapshot(source)
    with pytest.raises(NotFound, match=first):
        received(target, sent(source, since=first))
    assert lineage.visible_ids(target.layout) == [] and intent.list_ids(target.layout) == []


def test_another_snapshot_of_the_same_id_is_refused(source, target):
    making.write(making.main_of(source), {"a": "1"})
    made = making.snapshot(source)
    received(target, sent(source))
    path = source.layout.descriptor(made["snapshot_id"])
    from jvs.store import descriptor, records

    other = {**made, "note": "forged"}
    other["descriptor_checksum"] = descriptor.checksum(other)
    records.save(path, other)
    records.save(source.layout.ready(made["snapshot_id"]), descriptor.ready_of(other))
    with pytest.raises(Exists):
        received(target, sent(source))
    assert boundary.ids(target.layout) == []


PAIRS = [
    *[("btrfs", "xfs"), ("xfs", "btrfs"), ("ext4", "btrfs"), ("btrfs", "ext4"), ("xfs", "ext4"), ("ext4", "xfs")],
    *[
        pytest.param(*pair, marks=pytest.mark.xdist_group("juicefs-sqlite"))
        for name in ("btrfs", "xfs", "ext4")
        for pair in ((name, "juicefs-sqlite"), ("juicefs-sqlite", name))
    ],
]


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_every_pair_of_filesystems(here, there, fs_at):
    source, target = making.make_store(fs_at(here) / "source"), making.make_store(fs_at(there) / "target")
    main = making.main_of(source)
    making.write(main, {"a": "1", "d/e/f": "2", "\xe9\n": "3"})
    os.link(main / "a", main / "d/a-too")
    os.mkfifo(main / "fifo", 0o640)
    os.symlink("../nowhere", main / "d/link")
    os.setxattr(main / "a", "user.note", b"kept")
    os.chown(main / "d/e/f", 1234, 2345)
    os.utime(main / "d/e", ns=(1, 1_234_567_890_123_000_000))
    with open(main / "holes", "wb") as file:
        file.truncate(6 << 20)
    made = [making.snapshot(source, "one", tags=["t"])]
    making.write(main, {"large": os.urandom(5 << 20), "small": "1"})
    made.append(making.snapshot(source, "two"))
    with open(main / "large", "r+b") as file:
        file.seek((4 << 20) + 5)
        file.write(b"changed")
    made.append(making.snapshot(source, "three"))
    data = sent(source)
    answer = received(target, data)
    assert answer["degraded"] == []
    assert lineage.all_records(target.layout) == {record["snapshot_id"]: record for record in made}
    back = making.make_store(fs_at(here) / "back")
    received(back, sent(target, made[-1]["snapshot_id"]))
    for record in made:
        for other in (target, back):
            assert_equal(source, other, record["snapshot_id"])
    assert_clean(target)
    assert_clean(back)


@pytest.mark.parametrize("name", ["xfs", "btrfs"])
def test_what_snapshots_share_stays_shared_and_a_change_costs_what_it_is(name, own_fs):
    place = own_fs(name)
    source, target = making.make_store(place / "source"), making.make_store(place / "target")
    large = making.main_of(source) / "large"
    large.write_bytes(os.urandom(24 << 20))
    made = [making.snapshot(source)["snapshot_id"]]
    sizes, used = [], []
    for number in range(5):
        received(target, data := sent(source, since=made[-2] if number else None))
        sizes.append(len(data))
        used.append(own_filesystem.used(place))
        with open(large, "r+b") as file:
            file.seek(number * (5 << 20) + 12345)
            file.write(b"changed")
        made.append(making.snapshot(source)["snapshot_id"])
    assert max(sizes[1:]) < 100_000
    assert used[-1] - used[0] < 5 << 20
    assert_clean(target)
