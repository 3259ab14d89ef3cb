"""Finding changes by searching the filesystem's tree gives the same as walking."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import making
import pytest

from jvs.engine import registry
from jvs.engine.btrfs import engine as btrfs
from jvs.engine.btrfs import ioctl
from jvs.engine.btrfs import search as btrfs_search
from jvs.fs import listing
from jvs.publish import run as publishing
from jvs.store import changing, init
from jvs.store.settings import Settings
from jvs.store.store import Store
from jvs.tree import scan


@pytest.fixture
def store(btrfs_dir: Path) -> Store:
    settings = Settings.from_environment({})
    root = str(btrfs_dir / "repo")
    init.create(root, settings)
    made = Store.open(root, settings)
    fill(Path(root) / "main")
    return made


def fill(main: Path) -> None:
    for d in range(12):
        directory = main / f"d{d}" / "inner"
        directory.mkdir(parents=True)
        for f in range(8):
            (directory / f"f{f}").write_text(f"{d} {f}")
    os.link(main / "d0" / "inner" / "f0", main / "d1" / "linked")


def take(store: Store) -> dict:  # type: ignore[type-arg]
    with changing.worktree(store, "main"):
        return publishing.publish(store, "main")


def fresh_hash(store: Store, record: dict) -> tuple[str, dict[str, int]]:  # type: ignore[type-arg]
    found = scan.Scanner(scan.Hasher(), btrfs=True).run(store.layout.payload(record["snapshot_id"]))
    return found.root_hash, found.payload()


def overwrite(main: Path) -> None:
    path = main / "d3" / "inner" / "f3"
    before = path.stat()
    path.write_text("x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def through_another_name(main: Path) -> None:
    (main / "d1" / "linked").write_text("0 9")


def rename_directory(main: Path) -> None:
    (main / "d4").rename(main / "d40")


def trade_places(main: Path) -> None:
    (main / "d5").rename(main / "tmp")
    (main / "d6").rename(main / "d5")
    (main / "tmp").rename(main / "d6")


def remove_directory(main: Path) -> None:
    shutil.rmtree(main / "d7")


def change_mode(main: Path) -> None:
    (main / "d8" / "inner").chmod(0o700)
    (main / "d9" / "inner" / "f1").chmod(0o4755)


def set_attribute(main: Path) -> None:
    os.setxattr(main / "d10" / "inner" / "f2", "user.note", b"x")


def deep_new(main: Path) -> None:
    (main / "d11" / "a" / "b" / "c").mkdir(parents=True)
    (main / "d11" / "a" / "b" / "c" / "new").write_text("new")


CHANGES = [
    overwrite,
    through_another_name,
    rename_directory,
    trade_places,
    remove_directory,
    change_mode,
    set_attribute,
    deep_new,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_search_finds_what_a_walk_finds(store: Store, change) -> None:  # type: ignore[no-untyped-def]
    take(store)
    change(Path(store.root) / "main")
    record = take(store)
    assert (record["payload_root_hash"], record["payload"]) == fresh_hash(store, record)


def test_a_long_random_history_stays_right(store: Store) -> None:
    main = Path(store.root) / "main"
    chance = random.Random(7)
    take(store)
    for step in range(12):
        files = [path for path in main.rglob("*") if path.is_file()]
        for path in chance.sample(files, 3):
            if chance.random() < 0.3:
                path.unlink()
            else:
                path.write_text(f"{step} {chance.random()}")
        target = chance.choice([path for path in main.iterdir() if path.is_dir()])
        target.rename(target.with_name(f"{target.name}-{step}"))
        record = take(store)
        assert (record["payload_root_hash"], record["payload"]) == fresh_hash(store, record)


def test_the_search_is_used_and_names_few_directories(store: Store) -> None:
    first = take(store)
    (Path(store.root) / "main" / "d2" / "inner" / "f2").write_text("changed")
    second = take(store)
    payload = store.layout.payload
    found = btrfs_search.changed_directories(
        making.at(payload(second["snapshot_id"])), making.at(payload(first["snapshot_id"]))
    )
    assert found == {b"d2/inner"}


def test_what_only_leads_to_a_change_is_not_listed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    take(store)
    take(store)  # the stamps of the first one were too young to be kept
    (Path(store.root) / "main" / "d2" / "inner" / "f2").write_text("changed")
    (Path(store.root) / "main" / "d3" / "inner" / "f3").write_text("longer than before")
    listed: list[str] = []
    list_dir = listing.list_dir
    monkeypatch.setattr(
        listing,
        "list_dir",
        lambda fd: listed.append(os.readlink(f"/proc/self/fd/{fd}").split(".tmp")[1]) or list_dir(fd),
    )
    record = take(store)
    assert sorted(listed) == ["/d2/inner", "/d3/inner"]
    monkeypatch.undo()
    assert (record["payload_root_hash"], record["payload"]) == fresh_hash(store, record)


def test_switched_off_it_gives_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    take(store)
    overwrite(Path(store.root) / "main")
    searched = take(store)
    monkeypatch.setattr(btrfs.BtrfsEngine, "search", False)
    assert take(store)["payload_root_hash"] == searched["payload_root_hash"]


def test_a_replaced_worktree_is_not_taken_for_the_old_one(store: Store) -> None:
    main = Path(store.root) / "main"
    take(store)
    ioctl.snapshot(making.at(main), making.at(main.with_name("older")), 0)
    (main / "d2" / "inner" / "f2").write_text("changed")
    take(store)
    registry.remove_any(making.at(main), making.engine_options())
    main.with_name("older").rename(main)
    record = take(store)
    assert (record["payload_root_hash"], record["payload"]) == fresh_hash(store, record)
