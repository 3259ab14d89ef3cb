"""One suite over every engine, on every filesystem where it works: what a clone must be, whoever makes it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import making
import pytest
from conftest import FsAt
from treefacts import describe_tree, diff_trees, opened
from zoo import make_zoo

from jvs.engine import base as engine
from jvs.engine import registry, traits
from jvs.errors import Exists, NotFound
from jvs.tree import scan

group = pytest.mark.xdist_group
PLACES = [
    ("copy", "ext4"),
    ("copy", "tmpfs"),
    ("copy", "xfs"),
    ("copy", "btrfs"),
    pytest.param(("copy", "juicefs-sqlite"), marks=group("juicefs-sqlite")),
    pytest.param(("copy", "juicefs-redis"), marks=group("juicefs-redis")),
    ("reflink-copy", "xfs"),
    ("reflink-copy", "btrfs"),
    ("btrfs-snapshot", "btrfs"),
    pytest.param(("juicefs-clone", "juicefs-sqlite"), marks=group("juicefs-sqlite")),
    pytest.param(("juicefs-clone", "juicefs-redis"), marks=group("juicefs-redis")),
]


class Place:
    """An engine on a filesystem, with a worktree to fill and a store to clone into."""

    def __init__(self, name: str, filesystem: str, root: Path) -> None:
        self.engine = registry.get(name, making.engine_options())
        self.filesystem = filesystem
        self.root = root
        self.worktree = root / "main"
        self.store = root / "store"
        self.engine.make_worktree(making.at(self.worktree))
        self.store.mkdir()
        self.rows: dict = {}
        self.nodes: dict = {}
        self.base: str | None = None

    def clone(self, name: str = "one", **options) -> engine.Cloned:
        """Clone the worktree the way a snapshot does: with what the index knows."""
        target = str(self.store / name)
        options.setdefault("rows", self.rows)
        options.setdefault("base_payload", making.at(self.base))
        request = engine.Request(making.at(self.worktree), making.at(target), known=making.Known(self.nodes), **options)
        cloned = self.engine.clone(request)
        if cloned.tree is not None and request.paths is None:
            for path in cloned.tree.gone:
                self.rows.pop(path, None)
            self.rows.update({path: (row, digest) for path, row, digest in cloned.tree.rows})
            self.nodes.update(cloned.tree.nodes)
            self.base = target
        return cloned

    def read(self, path: Path) -> scan.ScanResult:
        """Hash a tree without any help."""
        _, btrfs = traits.scan_flags(making.at(path))
        return scan.Scanner(scan.Hasher(), btrfs=btrfs).run(making.at(path))


@pytest.fixture(params=PLACES, ids=lambda value: "-on-".join(value))
def place(request: pytest.FixtureRequest, fs_at: FsAt) -> Place:
    name, filesystem = request.param
    return Place(name, filesystem, fs_at(filesystem))


def fill(place: Place) -> None:
    """Build the zoo, without the attribute that has no value where JuiceFS cannot clone one."""
    make_zoo(place.worktree)
    if (place.engine.name, place.filesystem) == ("juicefs-clone", "juicefs-sqlite"):
        os.removexattr(place.worktree / "xattrs", "user.empty")


def age(root: Path) -> None:
    """Wait until nothing in a tree is young any more: until then no stamp counts."""
    import time

    time.sleep(0.05)


def differences(source: Path, target: Path) -> list[str]:
    return diff_trees(describe_tree(source), describe_tree(target))


def same_tree(found: scan.ScanResult | None, fresh: scan.ScanResult) -> None:
    assert found is not None
    assert found.root_hash == fresh.root_hash
    assert found.payload() == fresh.payload()
    assert set(found.nodes) <= set(fresh.nodes)


def test_probe_says_that_it_works(place: Place):
    answer = place.engine.probe(making.at(place.worktree), making.at(place.store))
    assert answer.works, answer.why
    assert answer.cost in ("O(1)", "O(entries)", "O(bytes)")


def test_zoo_comes_out_equal_and_nothing_is_degraded(place: Place):
    fill(place)
    before = describe_tree(place.worktree)
    cloned = place.clone()
    assert cloned.degraded == []
    assert cloned.engine == place.engine.name
    assert diff_trees(before, describe_tree(place.store / "one")) == []
    assert diff_trees(before, describe_tree(place.worktree)) == [], "cloning changed the worktree"


def test_tree_of_the_clone_is_what_a_fresh_walk_finds(place: Place):
    fill(place)
    cloned = place.clone()
    fresh = place.read(place.store / "one")
    same_tree(cloned.tree, fresh)
    assert set(cloned.tree.nodes) == set(fresh.nodes)
    assert fresh.root_hash == place.read(place.worktree).root_hash


def test_second_clone_with_rows_is_equal_too(place: Place):
    fill(place)
    age(place.worktree)
    place.clone("one")
    assert place.rows
    age(place.worktree)
    change(place.worktree)
    before = describe_tree(place.store / "one")
    cloned = place.clone("two")
    assert cloned.degraded == []
    # XFS fills the surroundings of what is written to a shared block: the worktree's file has fewer holes then.
    ignore = ("data",) if place.filesystem == "xfs" else ()
    assert diff_trees(describe_tree(place.worktree), describe_tree(place.store / "two"), ignore) == []
    same_tree(cloned.tree, place.read(place.store / "two"))
    assert diff_trees(before, describe_tree(place.store / "one")) == [], "the first clone changed"


def test_third_clone_without_changes_has_the_same_hash(place: Place):
    fill(place)
    age(place.worktree)
    first = place.clone("one")
    second = place.clone("two")
    third = place.clone("three")
    assert first.tree.root_hash == second.tree.root_hash == third.tree.root_hash
    assert first.tree.payload() == third.tree.payload()
    assert differences(place.worktree, place.store / "three") == []
    same_tree(third.tree, place.read(place.store / "three"))


def change(root: Path) -> None:
    """Change a zoo in many ways: content, metadata, names, kinds, links."""
    (root / "nested-new").mkdir()
    (root / "nested-new" / "file").write_bytes(b"new")
    (root / "hard" / "three").write_bytes(b"other content for three names\n")
    os.link(root / "hard" / "pair", root / "nested-new" / "third-of-pair")
    os.unlink(root / "hard" / "Pair")
    (root / "hard" / "Pair").write_bytes(b"pair\n")
    os.chmod(root / "hard" / "Pair", 0o600)
    os.rename(root / "names", root / "renamed")
    os.unlink(root / "fifo")
    (root / "fifo").write_bytes(b"a file now")
    os.unlink(root / "empty-file")
    (root / "empty-file").mkdir()
    (root / "links" / "target").write_bytes(b"TARGET\n")
    os.unlink(root / "links" / "dangling")
    os.symlink("elsewhere", root / "links" / "dangling")
    os.chmod(root / "modes" / "f0444", 0o640)
    os.utime(root / "modes" / "f0755", ns=(1, 1_500_000_000_123_456_789))
    os.chmod(root / "empty-dir", 0o711)
    with open(root / "holes" / "middle", "r+b") as file:
        file.write(b"x")


def test_hard_link_groups_stay_groups_when_a_directory_moves(place: Place):
    for name in ("a", "b", "c"):
        (place.worktree / name).mkdir()
    (place.worktree / "a" / "one").write_bytes(b"content")
    os.link(place.worktree / "a" / "one", place.worktree / "b" / "two")
    os.link(place.worktree / "a" / "one", place.worktree / "c" / "three")
    age(place.worktree)
    place.clone("one")
    os.rename(place.worktree / "b", place.worktree / "z")
    place.clone("two")
    assert differences(place.worktree, place.store / "two") == []
    os.rename(place.worktree / "a", place.worktree / "y")
    os.rename(place.worktree / "z", place.worktree / "a0")
    place.clone("three")
    assert differences(place.worktree, place.store / "three") == []


def test_files_that_are_not_linked_are_never_linked(place: Place):
    one, other = place.worktree / "one", place.worktree / "other"
    one.write_bytes(b"same")
    os.link(one, other)
    os.utime(one, ns=(5, 5))
    age(place.worktree)
    place.clone("one")
    other.unlink()
    other.write_bytes(b"same")
    os.utime(other, ns=(5, 5))
    os.chmod(one, 0o600)
    os.chmod(one, 0o644)
    place.clone("two")
    assert differences(place.worktree, place.store / "two") == []


def test_clone_is_independent_of_the_worktree(place: Place):
    file = place.worktree / "file"
    file.write_bytes(b"before")
    age(place.worktree)
    place.clone("one")
    place.clone("two")
    with open(file, "r+b") as handle:
        handle.write(b"AFTER!")
    assert (place.store / "one" / "file").read_bytes() == b"before"
    assert (place.store / "two" / "file").read_bytes() == b"before"


def test_clone_without_hash_is_complete(place: Place):
    fill(place)
    cloned = place.clone(hash=False)
    assert cloned.tree is None
    assert cloned.degraded == []
    assert differences(place.worktree, place.store / "one") == []


def test_fork_is_equal_writable_and_apart(place: Place):
    fill(place)
    place.clone("one")
    payload = describe_tree(place.store / "one")
    fork = place.root / "fork"
    request = engine.Request(making.at(place.store / "one"), making.at(fork), hash=False)
    forked = place.engine.fork(request)
    assert forked.degraded == []
    assert differences(place.worktree, fork) == []
    with open(fork / "links" / "target", "r+b") as handle:
        handle.write(b"CHANGED")
    (fork / "new").write_bytes(b"new")
    (fork / "empty-dir" / "new").write_bytes(b"new")
    assert diff_trees(payload, describe_tree(place.store / "one")) == []


def test_partial_clone_holds_the_paths_and_what_leads_to_them(place: Place):
    fill(place)
    cloned = place.clone(paths=[b"hard/one", b"links/file", b"fifo"])
    assert cloned.engine in engine.NAMES
    found = describe_tree(place.store / "one")
    wanted = describe_tree(place.worktree)
    expected = {p for p in wanted if p in (b"", b"hard", b"links", b"links/file", b"fifo") or p.startswith(b"hard/one")}
    assert set(found) == expected
    for path in expected:
        same = ("mode", "mtime_ns", "sha256", "target", "uid", "gid", "xattrs")
        assert [found[path][key] for key in same] == [wanted[path][key] for key in same], path
    same_tree(cloned.tree, place.read(place.store / "one"))
    assert cloned.tree.rows == []


def test_times_and_modes_of_the_worktree_stay(place: Place):
    fill(place)
    with opened(place.worktree) as base:
        before = {name: stamps(base + b"/" + name) for name in os.listdir(base)}
        place.clone()
        assert {name: stamps(base + b"/" + name) for name in os.listdir(base)} == before


def stamps(path: bytes) -> tuple:
    st = os.lstat(path)
    return st.st_mode, st.st_atime_ns if not stat.S_ISLNK(st.st_mode) else 0, st.st_mtime_ns, st.st_ctime_ns


def test_root_directory_keeps_mode_times_and_xattrs(place: Place):
    os.chmod(place.worktree, 0o2751)
    (place.worktree / "file").write_bytes(b"x")
    try:
        os.setxattr(place.worktree, "user.color", b"green")
    except OSError:
        assert place.filesystem == "tmpfs"  # only there may user attributes be missing
    os.utime(place.worktree, ns=(11, 1_600_000_000_000_000_007))
    place.clone()
    assert differences(place.worktree, place.store / "one") == []


def test_existing_target_is_refused(place: Place):
    (place.store / "one").mkdir()
    with pytest.raises(Exists) as caught:
        place.clone()
    assert caught.value.hint


def test_missing_source_is_refused(place: Place):
    request = engine.Request(making.at(place.root / "nowhere"), making.at(place.store / "one"))
    with pytest.raises(NotFound):
        place.engine.clone(request)
    assert not (place.store / "one").exists()


def test_remove_takes_everything_away(place: Place):
    fill(place)
    place.clone()
    place.engine.remove(making.at(place.store / "one"))
    assert os.listdir(place.store) == []


def test_remove_any_finds_out_what_it_is(place: Place):
    fill(place)
    place.clone()
    registry.remove_any(making.at(place.store / "one"), making.engine_options())
    registry.remove_any(making.at(place.store / "one"), making.engine_options())
    registry.remove_any(making.at(place.worktree), making.engine_options())
    assert os.listdir(place.store) == []
    assert not place.worktree.exists()


def test_pick_takes_what_was_asked_for(place: Place):
    picked = registry.pick(
        place.engine.name, making.at(place.worktree), making.at(place.store), making.engine_options()
    )
    assert picked.name == place.engine.name


def test_pick_prefers_the_cheapest(place: Place):
    best = {"btrfs": "reflink-copy", "xfs": "reflink-copy", "ext4": "copy", "tmpfs": "copy"}
    if place.engine.name == "btrfs-snapshot":
        best["btrfs"] = "btrfs-snapshot"
    picked = registry.pick(None, making.at(place.worktree), making.at(place.store), making.engine_options())
    assert picked.name == best.get(place.filesystem, "juicefs-clone")


def test_empty_tree(place: Place):
    cloned = place.clone()
    assert cloned.tree.payload() == {"files": 0, "dirs": 0, "symlinks": 0, "others": 0, "bytes": 0}
    assert os.listdir(place.store / "one") == []


def test_big_file_in_parallel_has_the_right_hash(place: Place):
    block = os.urandom(1 << 20)
    with open(place.worktree / "big", "wb") as file:
        for i in range(9):
            file.write(block[i:] + block[:i])
    (place.worktree / "small").write_bytes(b"small")
    cloned = place.clone(jobs=2)
    same_tree(cloned.tree, place.read(place.worktree))
    assert differences(place.worktree, place.store / "one") == []
