"""What `du` says comes free is what `df` sees come free, on every filesystem: one snapshot, then several.

Tolerance: 10 % or 256 KiB where the filesystem was asked or shares nothing (`exact`), 15 % or 512 KiB for an estimate
over files and their extents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import making
import own_filesystem
import pytest
from own_filesystem import MAKE, used

from jvs.operations import collection, snapshots
from jvs.store import reserve
from jvs.store.store import Store

EXACT, ESTIMATED = (0.10, 256 << 10), (0.15, 512 << 10)


@pytest.fixture(
    params=[
        *(pytest.param(name, marks=pytest.mark.xdist_group("byte-figures")) for name in MAKE),
        pytest.param("juicefs-sqlite", marks=pytest.mark.xdist_group("juicefs-sqlite")),
    ]
)
def place(request, tmp_path) -> Iterator[Path]:
    """Return a directory on a filesystem on which nobody else works."""
    if request.param not in MAKE:
        yield request.getfixturevalue("fs_at")(request.param)
        return
    with own_filesystem.mounted(request.param, tmp_path) as made:
        yield made


def is_near(said: int, freed: int, *, exact: bool) -> bool:
    part, slack = EXACT if exact else ESTIMATED
    return abs(said - freed) <= max(part * freed, slack)


def fill(main: Path, turn: int, *, files: int) -> None:
    """Change a part of a large file, replace another one, grow a third, and touch a few of many small files."""
    if not turn:
        making.write(main, {f"d{n % 20}/f{n}": f"{n}\n" * 500 for n in range(files)})
        (main / "parts").write_bytes(os.urandom(12 << 20))
    with open(main / "parts", "r+b") as file:
        file.seek(turn << 20)
        file.write(os.urandom(1 << 20))
    (main / "whole").write_bytes(os.urandom((turn + 1) << 20))
    with open(main / "grows", "ab") as file:
        file.write(os.urandom(1 << 20))
    making.write(main, {f"d3/f{n}": f"{turn}\n" for n in range(turn)})


def history(place: Path) -> tuple[Store, list[str]]:
    files = 120 if place.name.startswith("fs-") else 12  # a process for each snapshot and file makes JuiceFS slow
    store = making.make_store(place / "lab")
    reserve.fill(store.layout)  # a collection makes it where it is missing
    made = []
    for turn in range(5):
        fill(making.main_of(store), turn, files=files)
        made.append(making.snapshot(store, f"turn {turn}")["snapshot_id"])
    return store, made


def test_what_du_says_comes_free_comes_free(place: Path) -> None:
    store, made = history(place)
    listed = collection.usage(store)
    assert [one["snapshot_id"] for one in listed["snapshots"]] != [] and listed["undo_bytes"] >= 0
    by_id = {one["snapshot_id"]: one for one in listed["snapshots"]}
    assert set(by_id) == set(made) and by_id[made[-1]]["kept"] and not by_id[made[2]]["kept"]
    before = used(place)
    done = collection.drop_these(store, [made[2]])[1]
    freed = before - used(place)
    said = by_id[made[2]]["exclusive_bytes"]
    assert is_near(said, freed, exact=listed["exact"]), (said, freed, listed["exact"])
    assert done is not None and is_near(done["freed_bytes"], freed, exact=done["exact"]), (done, freed)
    rest = collection.usage(store, [made[0], made[1], *made[3:-1]])
    alone = sum(one["exclusive_bytes"] for one in rest["snapshots"])
    assert rest["exclusive_bytes"] >= alone - EXACT[1]  # what one leaf of btrfs holds for two goes with either, in part
    before = used(place)
    plan, done = collection.drop_these(store, [made[0], made[1], *made[3:-1]])
    freed = before - used(place)
    for number, exact in (
        (rest["exclusive_bytes"], rest["exact"]),
        (plan.estimate_bytes, plan.estimate_exact),
        (done["freed_bytes"], done["exact"]),
    ):
        assert is_near(number, freed, exact=exact), (number, freed, exact)


def test_what_an_undo_needs_does_not_come_free(place: Path) -> None:
    """What a restore displaced and a snapshot holds is kept in `undo/` when that snapshot goes."""
    if place.name != "fs":
        pytest.skip("JuiceFS shares nothing that `df` sees")
    store, made = history(place)
    snapshots.restore(store, made[0], environment={})
    making.write(making.main_of(store), {"new": "x"})
    making.snapshot(store, "after")
    said = collection.usage(store, [made[-2], made[-1]])
    before = used(place)
    collection.drop_these(store, [made[-2], made[-1]])
    freed = before - used(place)
    assert is_near(said["exclusive_bytes"], freed, exact=False), (said["exclusive_bytes"], freed)
