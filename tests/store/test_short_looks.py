"""What a short look passes is what a full comparison passes, whatever was done to the metadata of the files."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import making
import pytest
import zoo

from jvs.fs import xattrs
from jvs.store import descriptor, worktree_scan
from jvs.store.store import Store
from jvs.tree import kept


def facts(store: Store, snapshot_id: str) -> tuple[Any, ...]:
    found = worktree_scan.walk_now(store, "main", compare=descriptor.load(store.layout, snapshot_id))
    differs = {path: sorted(words) for path, words in found.differs.items()}
    return found.root_hash, found.payload(), differs, found.marks_hold


def compared_both_ways(store: Store, snapshot_id: str, monkeypatch: pytest.MonkeyPatch) -> dict[bytes, list[str]]:
    short = facts(store, snapshot_id)
    with monkeypatch.context() as patch:
        patch.setattr(kept.KeptHasher, "short_looks", False)
        assert facts(store, snapshot_id) == short
    return short[2]


def do_something(path: Path, chance: random.Random, other: Path) -> None:
    """Do one thing to a file that moves something that is kept, or puts it back."""
    st = path.lstat()
    act = chance.randrange(10)
    if act == 0:
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns + chance.choice((0, 1, 10**9))))
    elif act == 1:
        path.chmod(0o640)
    elif act == 2 and os.geteuid() == 0:
        os.chown(path, chance.choice((0, 7)), chance.choice((0, 7)))
    elif act == 3 and hasattr(os, "setxattr"):
        os.setxattr(path, chance.choice(("user.a", "trusted.b") if os.geteuid() == 0 else ("user.a",)), b"v")
    elif act == 4:
        path.unlink()
        os.link(other, path)
    elif act == 5:
        shutil.copy2(path, path.with_name("away"))
        os.replace(path.with_name("away"), path)
    elif act == 6:
        path.unlink()
        path.symlink_to("nowhere")
    elif act == 7:
        path.unlink()
        path.mkdir()
    elif act == 8:
        path.rename(path.with_name("renamed"))
    else:
        path.write_bytes(b"other content")
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


@pytest.mark.parametrize("seed", range(12))
def test_random_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    store = making.make_store(tmp_path / "repo")
    main = making.main_of(store)
    for d in range(4):
        (main / f"d{d}").mkdir()
        for f in range(8):
            (main / f"d{d}/f{f}").write_text(f"{d} {f}")
    os.link(main / "d0/f0", main / "d1/linked")
    os.link(main / "d2/f1", main / "d2/linked")
    os.setxattr(main / "d3/f3", "user.kept", b"kept")
    first = making.snapshot(store)["snapshot_id"]
    files = sorted(path for path in main.rglob("*") if path.is_file())
    for path in chance.sample(files, 6):
        if path.exists() and not path.is_symlink():
            do_something(path, chance, main / "d0/f7")
    compared_both_ways(store, first, monkeypatch)
    second = making.snapshot(store)[
        "snapshot_id"
    ]  # its payload shares files with the first one: all have several names
    assert compared_both_ways(store, second, monkeypatch) == {}
    (main / "d0/f6").touch()
    compared_both_ways(store, first, monkeypatch)
    compared_both_ways(store, second, monkeypatch)


def test_every_kind_of_file(fs_dir: Path, fs_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = making.make_store(fs_dir / "repo")
    main = making.main_of(store)
    skip = {"xattrs"} if fs_name.startswith("juicefs") else set()  # it does not clone one without a value
    zoo.make_zoo(main / "zoo", many=20, skip=skip)
    first = making.snapshot(store)["snapshot_id"]
    assert all(not kept.shown_words(w) for w in compared_both_ways(store, first, monkeypatch).values())
    for path in (main / "zoo").iterdir():
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(1, 1))
    assert any(kept.MTIME in words for words in compared_both_ways(store, first, monkeypatch).values())


def test_labels_of_the_system_are_not_looked_at_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.listxattr
    monkeypatch.setattr(os, "listxattr", lambda *given, **more: [*real(*given, **more), "security.selinux"])
    (tmp_path / "file").touch()
    assert xattrs.names_at(os.fsencode(tmp_path / "file")) == []
