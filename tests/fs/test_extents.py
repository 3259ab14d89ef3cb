"""Places of files on the disk: what is equal, what is not told, and what proves nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jvs.fs import copyfile, extents

PART = 1 << 16
SIZE = 16 * PART


@pytest.fixture(params=["xfs", "btrfs"])
def pair(request: pytest.FixtureRequest, fs_at: Any) -> Iterator[tuple[int, int]]:
    """Return an open file and a clone of it, which share all blocks."""
    home: Path = fs_at(request.param)
    (home / "old").write_bytes(os.urandom(SIZE))
    old, new = os.open(home / "old", os.O_RDWR), os.open(home / "new", os.O_RDWR | os.O_CREAT)
    os.fsync(old)
    assert copyfile.reflink(old, new)
    yield old, new
    os.close(old)
    os.close(new)


def test_a_clone_lies_where_its_original_does(pair: tuple[int, int]) -> None:
    old, new = pair
    assert extents.places(old) == extents.places(new) != []
    assert extents.unchanged_parts(new, old, PART) == set(range(16))


def test_what_was_written_lies_elsewhere(pair: tuple[int, int]) -> None:
    old, new = pair
    os.pwrite(new, b"x", 3 * PART + 7)
    os.pwrite(new, bytes(PART), 9 * PART - 1)
    assert extents.unchanged_parts(new, old, PART) == set(range(16)) - {3, 8, 9}


def test_a_longer_or_shorter_file_shares_only_whole_parts(pair: tuple[int, int]) -> None:
    old, new = pair
    os.ftruncate(new, 10 * PART + 5)
    assert extents.unchanged_parts(new, old, PART) == set(range(10))
    assert extents.unchanged_parts(old, new, PART) == set(range(10))


def test_a_hole_equals_only_a_hole(fs_at: Any) -> None:
    home: Path = fs_at("xfs")
    for name in ("old", "new"):
        with (home / name).open("wb") as file:
            file.truncate(SIZE)
    old, new = os.open(home / "old", os.O_RDWR), os.open(home / "new", os.O_RDWR)
    assert extents.unchanged_parts(new, old, PART) == set(range(16))
    os.pwrite(new, bytes(4096), 5 * PART)
    assert extents.unchanged_parts(new, old, PART) == set(range(16)) - {5}
    os.close(old)
    os.close(new)


def test_preallocated_space_proves_nothing(pair: tuple[int, int]) -> None:
    old, new = pair
    for fd in pair:
        os.ftruncate(fd, SIZE + 2 * PART)
        os.posix_fallocate(fd, SIZE, 2 * PART)
    assert extents.unchanged_parts(new, old, PART) <= set(range(16))


def test_files_of_two_filesystems_are_not_compared(fs_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fds = []
    for name in ("xfs", "btrfs", "ext4"):
        path = fs_at(name) / "file"
        path.write_bytes(bytes(SIZE))
        fds.append(os.open(path, os.O_RDONLY))
    monkeypatch.setattr(extents, "places", lambda fd: [(0, 4096, SIZE)])
    for one in fds:
        for other in fds:
            if one != other:
                assert extents.unchanged_parts(one, other, PART) == set()
    assert extents.unchanged_parts(fds[2], fds[2], PART) == set()
    for fd in fds:
        os.close(fd)


def test_a_map_that_changes_meanwhile_proves_nothing(pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = pair
    real, asked = extents.places, []

    def moving(fd: int) -> Any:
        asked.append(fd)
        if len(asked) == 3:
            os.pwrite(new, b"x", 0)
            os.fsync(new)
        return real(fd)

    monkeypatch.setattr(extents, "places", moving)
    assert extents.unchanged_parts(new, old, PART) == set()
    assert asked == [new, old, new]


def test_too_many_pieces_prove_nothing(pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = pair
    for at in range(0, 8 * PART, 8192):
        os.pwrite(new, b"x" * 4096, at)
        os.fsync(new)
    monkeypatch.setattr(extents, "MOST_EXTENTS", 5)
    assert extents.unchanged_parts(new, old, PART) == set()


@pytest.mark.parametrize("at_once", [1, 2, 1024])
def test_long_maps_come_in_pieces(pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    new = pair[1]
    for at in range(0, SIZE, 4 * 8192):
        os.pwrite(new, os.urandom(4096), at)
    wanted = extents.places(new)
    monkeypatch.setattr(extents, "_AT_ONCE", at_once)
    assert extents.places(new) == wanted


def naively(one: list[Any], other: list[Any], size: int) -> set[int]:
    """Compare two maps byte by byte."""

    def at(found: list[Any], byte: int) -> Any:
        for begin, place, length in found:
            if begin <= byte < begin + length:
                return object() if place == extents.UNKNOWN else place + byte - begin
        return None

    return {byte for byte in range(size) if at(one, byte) != at(other, byte)}


@pytest.mark.parametrize("seed", range(40))
def test_differing_parts_are_those_whose_bytes_have_other_places(seed: int) -> None:
    chance = random.Random(seed)

    def any_map() -> list[tuple[int, int, int]]:
        found, at = [], 0
        while at < 60:
            length = chance.randrange(1, 12)
            if chance.random() < 0.7:
                place = chance.choice((extents.UNKNOWN, at + 1000, at + 1000, at + 1000, chance.randrange(5000)))
                found.append((at, place, length))
            at += length
        return found

    one, other = any_map(), any_map()
    found = {byte for start, end in extents.differing(one, other, 55) for byte in range(start, end)}
    assert found == naively(one, other, 55)
