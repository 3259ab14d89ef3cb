"""One name in many nodes that are alike: the answer is that of taking each node apart."""

from __future__ import annotations

import random

import pytest

from jvs import canon
from jvs.tree import alike, node

NAMES = [b"a", b"dir", b"file.txt", b"n" * 23, b"n" * 24, b"n" * 255, b"\x86\x41a\x00\x00\x00\x58\x20"]
SIZES = [0, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1]
MODES = [0, 0o600, 0o644, 0o755, 0o7777]


def entry(name: bytes, chance: random.Random) -> node.Entry:
    xattrs = {b"user.x": chance.randbytes(3)} if chance.random() < 0.02 else None
    return name, chance.randrange(7), chance.choice(MODES), chance.choice(SIZES), chance.randbytes(32), xattrs


def answer(find, data: bytes) -> object:
    try:
        return find(data)
    except ValueError:
        return "ValueError"


@pytest.mark.parametrize("seed", range(8))
def test_it_finds_what_a_look_into_each_node_finds(seed: int) -> None:
    chance = random.Random(seed)
    others = [b"%c%d" % (97 + number % 26, number) for number in range(chance.choice([0, 3, 30, 300]))]
    entries = {name: entry(name, chance) for name in [*NAMES, *others]}
    finders = [alike.Finder(name) for name in (*NAMES, b"not there")]
    for _ in range(60):
        name = chance.choice(list(entries))
        match chance.randrange(12):
            case 0:
                entries.pop(name)
            case 1:
                name = chance.choice(NAMES)
                entries[name] = entry(name, chance)
            case 2:  # another name of the same length
                old = entries.pop(name)
                new = bytes(chance.sample(range(97, 123), 1)) + name[1:]
                entries[new] = (new, *old[1:])
            case _:
                entries[name] = (*entries[name][:4], chance.randbytes(32), entries[name][5])
        data = node.encode_node([entries[name] for name in sorted(entries)])
        for finder in finders:
            assert finder.find(data) == node.find(data, finder.name)


def test_an_entry_within_a_name_is_none() -> None:
    inner = canon.cbor_encode([b"dir", 1, 0o755, 70_000, b"\x11" * 32, None]).replace(b"\0", b"\1")
    entries = [(inner, 0, 0o644, 5, b"\x22" * 32, None), (b"z", 0, 0o644, 5, b"\x33" * 32, None)]
    finder = alike.Finder(b"dir")
    real = sorted([*entries, (b"dir", 1, 0o755, 70_000, b"\x44" * 32, None)])
    for held in (real, sorted(entries), real, sorted(entries)):
        data = node.encode_node(held)
        assert finder.find(data) == node.find(data, b"dir")


@pytest.mark.parametrize("wrong", [7, "text", [b"b"], [b"b", 0, -1, 5, b"\x33" * 32, None], [b"b", 0, 0, 0, 0, 0]])
def test_a_node_that_nobody_made_raises_what_a_look_into_it_raises(wrong: object) -> None:
    data = canon.cbor_encode([[b"a", 0, 0o644, 5, b"\x22" * 32, None], wrong])
    finder = alike.Finder(b"a")
    for _ in range(3):
        assert answer(finder.find, data) == answer(lambda data: node.find(data, b"a"), data)


def test_nodes_that_are_alike_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    names = [b"d%02d" % number for number in range(50)]
    nodes = [node.encode_node([(n, 1, 0o755, 70_000, chance.randbytes(32), None) for n in names]) for _ in range(20)]
    taken = []
    real = node.find
    monkeypatch.setattr(node, "find", lambda data, name: taken.append(data) or real(data, name))
    finder = alike.Finder(b"d07")
    assert [finder.find(data) for data in nodes] == [real(data, b"d07") for data in nodes]
    assert len(taken) == 1
