"""Streams that are cut, damaged or made to do harm: refused with their class, nothing outside, nothing left."""

from __future__ import annotations

import hashlib
import io
import os
import random

import making
import pytest

from jvs import canon
from jvs.errors import (
    DescriptorCorrupt,
    FormatUnsupported,
    JvsError,
    LineageBroken,
    PartialSnapshot,
    PathEscape,
    PayloadHashMismatch,
)
from jvs.operations import travelling
from jvs.store import intent, lineage
from jvs.stream import building, items, receiving

META = [0o644, os.getuid(), os.getgid(), 1, None]
DIR_META = [0o755, os.getuid(), os.getgid(), 1, None]
ROUNDS = int(os.environ.get("JVS_STREAM_FUZZ", "60"))


@pytest.fixture
def source(tmp_path):
    made = making.make_store(tmp_path / "source")
    making.write(making.main_of(made), {"a": "1", "d/b": "22"})
    making.snapshot(made, "one", tags=["t"])
    return made


@pytest.fixture
def target(tmp_path):
    return making.make_store(tmp_path / "target")


@pytest.fixture
def data(source):
    file = io.BytesIO()
    travelling.send(source, ["LATEST"], file)
    return file.getvalue()


def everything(root):
    """Return all names in a repository, but for locks and the index, with the bytes of the log."""
    names = sorted(
        os.path.join(place, name)
        for place, directories, files in os.walk(root)
        for name in (*directories, *files)
        if "/locks" not in place and not name.startswith("index.sqlite")
    )
    with open(os.path.join(root, ".jvs/audit/audit.jsonl"), "rb") as file:
        return names, file.read()


def items_of(data):
    """Return the items of a stream as values."""
    reader = items.ItemReader(io.BytesIO(data))
    found = [reader.header()]
    while found[-1][0] != items.END:
        found.append(reader.item())
    return found


def stream_of(found):
    """Return the stream of some items, with the right hash at its end."""
    digest, parts = hashlib.sha256(), []
    for item in found:
        if item[0] != items.END:
            parts.append(canon.cbor_encode(item))
            content = item[2] if item[0] == items.DATA and isinstance(item[2], bytes) else b""
            digest.update(parts[-1][: len(parts[-1]) - len(content)])
    return b"".join(parts) + canon.cbor_encode([items.END, digest.digest()])


def refused(target, data, *classes):
    before = everything(target.root)
    with pytest.raises(classes or JvsError) as failure:
        travelling.receive(target, io.BytesIO(data))
    assert everything(target.root) == before
    assert failure.value.name != "E_INTERNAL"


def test_cut_at_every_byte_nothing_is_left_and_all_of_it_is_complete(fs_at, data):
    target = making.make_store(fs_at("tmpfs") / "target")  # where a sync costs nothing
    before = everything(target.root)
    for length in range(len(data)):
        with pytest.raises((PartialSnapshot, FormatUnsupported, DescriptorCorrupt)):
            travelling.receive(target, io.BytesIO(data[:length]))
        assert intent.list_ids(target.layout) == []
        if length % 50 == 0:
            assert everything(target.root) == before
    assert everything(target.root) == before
    assert len(travelling.receive(target, io.BytesIO(data))["snapshots"]) == 1
    assert making.violations(target.root) == []


def test_any_other_byte_is_noticed(target, data):
    chance = random.Random(20)
    before = everything(target.root)
    for _ in range(ROUNDS):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 3))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if bytes(damaged) == data:
            continue
        with pytest.raises(JvsError) as failure:
            travelling.receive(target, io.BytesIO(bytes(damaged)))
        assert failure.value.name != "E_INTERNAL", bytes(damaged).hex()
    assert everything(target.root) == before


def test_items_in_any_order_with_the_right_hash_do_no_harm(target, data):
    """A fuzzer over items: dropped, doubled, exchanged, taken from elsewhere; the hash at the end is always right."""
    chance = random.Random(21)
    found = items_of(data)
    others = [
        [items.REMOVE, b"a"],
        [items.ENTER, b".."],
        [items.LINK, b"x", b"../../../x"],
        [items.FILE, b"a", META, 1 << 50, None],
        [items.DATA, 1 << 40, b"x"],
        [items.SPECIAL, b"l", META, 2, b"/etc"],
        [items.LEAVE, DIR_META],
        [items.ENTER, b"l"],
        [items.FILE_END],
    ]
    before = everything(target.root)
    for _ in range(ROUNDS):
        mixed = [list(item) for item in found]
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(1, len(mixed) - 1)
            what = chance.randrange(4)
            if what == 0:
                mixed.insert(at, chance.choice(others))
            elif what == 1:
                mixed.pop(at)
            elif what == 2:
                mixed.insert(at, list(chance.choice(found[1:-1])))
            else:
                mixed[at], mixed[at - 1 or 1] = mixed[at - 1 or 1], mixed[at]
            if len(mixed) < 3:
                break
        if mixed[:-1] == found[:-1]:
            continue
        try:
            travelling.receive(target, io.BytesIO(stream_of(mixed)))
        except JvsError as error:
            assert error.name != "E_INTERNAL", mixed
            assert everything(target.root) == before
        else:  # the same tree by another way
            assert making.violations(target.root) == []
            target = making.make_store(os.path.join(os.path.dirname(target.root), f"again-{chance.random()}"))
            before = everything(target.root)


def with_tree(data, *tree):
    """Return the stream with another tree."""
    found = items_of(data)
    start = next(i for i, item in enumerate(found) if item[0] == items.SNAPSHOT) + 1
    return stream_of([*found[:start], *tree])


ROOT_LEAVE = [items.LEAVE, DIR_META]
EMPTY_FILE = ([items.FILE, b"f", META, 0, None], [items.FILE_END])


@pytest.mark.parametrize(
    ("tree", "kind"),
    [
        ([[items.ENTER, b".."]], PathEscape),
        ([[items.MAKE, b"a/b"]], PathEscape),
        ([[items.MAKE, b"/etc"]], PathEscape),
        ([[items.MAKE, b""]], PathEscape),
        ([[items.MAKE, b"x\0y"]], PathEscape),
        ([[items.REMOVE, b".."]], PathEscape),
        ([[items.FILE, b"../../f", META, 0, None]], PathEscape),
        ([[items.SPECIAL, b"l", META, 2, b"/"], [items.ENTER, b"l"]], PathEscape),
        ([[items.SPECIAL, b"l", META, 2, b"/etc"], [items.LINK, b"m", b"l/passwd"]], PathEscape),
        ([[items.LINK, b"m", b"/etc/passwd"]], PathEscape),
        ([[items.LINK, b"m", b"../../audit/audit.jsonl"]], PathEscape),
        ([[items.LINK, b"m", b"m"]], PartialSnapshot),
        ([[items.LINK, b"m", b"nothing"]], PartialSnapshot),
        ([[items.MAKE, b"d"], [items.LEAVE, DIR_META], [items.LINK, b"m", b"d"]], PartialSnapshot),
        ([[items.MAKE, b"d"], [items.MAKE, b"d"]], None),
        ([[items.REMOVE, b"nothing"]], PartialSnapshot),
        ([[items.FILE, b"f", META, 1 << 60, None]], PartialSnapshot),
        ([[items.FILE, b"f", META, 1, b"a"]], PartialSnapshot),
        ([[items.FILE, b"f", META, 2, None], [items.DATA, 1, b"xx"]], PartialSnapshot),
        ([[items.FILE, b"f", META, 2, None], [items.DATA, 1, b"x"], [items.DATA, 0, b"x"]], PartialSnapshot),
        ([[items.FILE, b"f", META, 2, None], [items.ZEROS, 0, 1]], PartialSnapshot),
        ([[items.FILE, b"f", META, 2, None], ROOT_LEAVE], PartialSnapshot),
        ([[items.FILE, b"f", [0o10644, 0, 0, 0, None], 0, None]], PartialSnapshot),
        ([[items.FILE, b"f", [0o644, -1, 0, 0, None], 0, None]], PartialSnapshot),
        ([[items.FILE, b"f", [0o644, 0, 0, 1 << 70, None], 0, None]], PartialSnapshot),
        ([[items.FILE, b"f", [0o644, 0, 0, 0, [b"x"]], 0, None]], PartialSnapshot),
        ([[items.SPECIAL, b"s", META, 9, b""]], PartialSnapshot),
        ([[items.SPECIAL, b"s", META, 5, b"1:x"]], PartialSnapshot),
        ([[items.DATA, 0, b"x"]], PartialSnapshot),
        ([[items.MAKE, b"d"]] * 1, PartialSnapshot),
        ([ROOT_LEAVE, ROOT_LEAVE], PayloadHashMismatch),
        ([*EMPTY_FILE, ROOT_LEAVE], PayloadHashMismatch),
        ([ROOT_LEAVE], PayloadHashMismatch),
        ([], PartialSnapshot),
    ],
)
def test_a_tree_that_is_none_is_refused(tree, kind, target, data):
    refused(target, with_tree(data, *tree), *(() if kind is None else (kind,)))


def test_directories_nest_only_so_deep(target, data, monkeypatch):
    monkeypatch.setattr(building, "MOST_LEVELS", 20)
    refused(target, with_tree(data, *([items.MAKE, b"d"] for _ in range(30))), PartialSnapshot)


def test_announced_lengths_reserve_nothing(target, data):
    head = canon.cbor_encode(items_of(data)[0])
    for bomb in (
        b"\x9b" + b"\xff" * 8,
        b"\x82\x0a\x5b\x00\x00\x7f\xff\xff\xff\xff\xff",
        b"\x82" * 100_000,
        b"\x82\x06\x85\x00\x00\x00\x00\xba\xff\xff\xff\xff",
        b"\x82\x04\x5f\x41a\xff",
        b"\xc2\x41\x01",
        b"\x82\x04\xfb" + b"\0" * 8,
        b"\x82\x18\x04\x41a",
    ):
        refused(target, head + bomb, PartialSnapshot)


def test_what_is_no_stream_is_reported_so(target):
    for other in (
        b"",
        b"hello, this is text\n",
        b"\x1f\x8b\x08" + b"\0" * 50,
        canon.cbor_encode([0, "jvs-stream-2", "", []]),
    ):
        refused(target, other, FormatUnsupported, PartialSnapshot)


def test_descriptors_are_checked_before_anything_is_built(target, data):
    found = items_of(data)
    at = next(i for i, item in enumerate(found) if item[0] == items.SNAPSHOT)
    for old, new in ((b'"one"', b'"two"'), (b'"main"', b'"../x"'), (b"\n", b"")):
        changed = [list(item) for item in found]
        changed[at][3] = changed[at][3].replace(old, new)
        refused(target, stream_of(changed), DescriptorCorrupt)


def test_a_child_without_its_parent_is_refused(source, target):
    making.write(making.main_of(source), {"a": "2"})
    making.snapshot(source, "two")
    file = io.BytesIO()
    travelling.send(source, ["LATEST"], file, only=True)
    found = [item for item in items_of(file.getvalue()) if item[0] != items.BOUNDARY]
    refused(target, stream_of(found), LineageBroken)


def test_a_crash_after_any_step_is_undone_or_completed(target, data, monkeypatch):
    """Die at each name that is made final, and before: the next command leaves nothing of it, or all of it."""

    class Died(BaseException):
        pass

    publish, visible, died = receiving.durable.publish, [], 0
    for step in range(4):
        count = 0

        def dying(source, final, step=step):
            nonlocal count
            if count == step:
                raise Died
            count += 1
            publish(source, final)

        monkeypatch.setattr(receiving, "_roll_back", lambda store, pending: False)
        monkeypatch.setattr(receiving.durable, "publish", dying)
        if step == 2:  # all names are final, and the log says nothing yet
            monkeypatch.setattr(receiving, "_details", dying)
        try:
            travelling.receive(target, io.BytesIO(data))
        except Died:
            died += 1
        monkeypatch.undo()
        if intent.list_ids(target.layout):
            assert not set(lineage.visible_ids(target.layout)) & set(receiving_ids(data))
        making.snapshot(target, f"the next command {step}")
        assert making.violations(target.root) == []
        assert intent.list_ids(target.layout) == []
        visible.append(len([i for i in lineage.visible_ids(target.layout) if i in receiving_ids(data)]))
    assert visible == [0, 0, 1, 1] and died == 3


def receiving_ids(data):
    return items_of(data)[0][3]
