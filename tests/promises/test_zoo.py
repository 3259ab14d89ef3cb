"""The zoo must hold what it says, on every filesystem; and looking at it must tell trees apart."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest
import zoo
from treefacts import describe_tree, diff_trees, remove_tree

from jvs import names

MISSING = {  # what these filesystems are known not to hold; anything else that goes missing is a regression
    "ext4": set(),
    "xfs": set(),
    "btrfs": set(),
    "tmpfs": {"xattrs"},  # user.* since Linux 6.6
    "juicefs-sqlite": {"capability", "time of early"},
    "juicefs-redis": {"capability", "time of early"},
}


@pytest.fixture(autouse=True)
def no_hanging() -> Iterator[None]:
    """Stop a test that waits for ever, for example on a fifo."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError("waited for a minute")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(os.geteuid() != 0, reason="devices and foreign owners need root")
def test_zoo_is_whole_on_every_filesystem(fs_name: str, fs_dir: Path) -> None:
    missing = zoo.make_zoo(fs_dir / "zoo")
    assert set(missing) <= MISSING[fs_name], missing


def test_describing_twice_gives_the_same(fs_dir: Path) -> None:
    root = fs_dir / "zoo"
    zoo.make_zoo(root)
    first = describe_tree(root)
    assert diff_trees(first, describe_tree(os.fsencode(root))) == []


def test_two_zoos_differ_in_nothing_but_times_that_were_not_set(tmp_path: Path) -> None:
    for name in ("a", "b"):
        zoo.make_zoo(tmp_path / name)
    assert diff_trees(describe_tree(tmp_path / "a"), describe_tree(tmp_path / "b"), ignore=["mtime_ns"]) == []
    remove_tree(tmp_path / "a")
    remove_tree(tmp_path / "b")


def test_zoo_holds_what_it_promises(tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    missing = zoo.make_zoo(root, many=30)
    tree = describe_tree(root)
    kinds = {facts["kind"] for facts in tree.values()}
    wanted = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK}
    wanted |= {stat.S_IFCHR} if "char-device" not in missing else set()
    wanted |= {stat.S_IFBLK} if "block-device" not in missing else set()
    assert kinds == wanted
    assert max(map(len, tree)) > 4096
    assert {len(name) for path in tree for name in path.split(b"/")} >= {255}
    assert tree[b"hard/pair"]["links"] == {b"hard/pair", b"hard/Pair"}
    assert len(tree[b"hard/three"]["links"]) == 3
    assert tree[b"times/late"]["mtime_ns"] == zoo.LATE_NS
    assert tree[b"times/link"]["mtime_ns"] % 1000 == 8
    assert tree[b"links/dangling"]["target"] == b"no/such/file"
    assert {b"normal/" + zoo.NFC, b"normal/" + zoo.NFD} <= tree.keys()
    assert {b"many/07/file-0017.txt", b".READY", b".jvs-tmp-x", b"project/.git/HEAD"} <= tree.keys()
    assert tree[b"modes/f4755"]["mode"] == 0o4755
    assert tree[b"modes/d0000"]["mode"] == 0
    if os.geteuid() == 0:
        assert tree[b"owners/link"]["uid"] == zoo.FOREIGN[0]
        assert b"modes/d0000/below/more" in tree
    remove_tree(root)
    assert not os.path.lexists(root)


def test_holes_are_seen_where_the_filesystem_shows_them(ext4_dir: Path) -> None:
    zoo.make_zoo(ext4_dir / "zoo", many=0)
    tree = describe_tree(ext4_dir / "zoo")
    mib = 1 << 20
    assert tree[b"holes/all"]["data"] == ()
    assert tree[b"holes/start"]["data"] == ((3 * mib, 3 * mib + 65536),)
    assert tree[b"holes/end"]["data"] == ((0, 65536),)
    assert len(tree[b"holes/middle"]["data"]) == 2
    assert tree[b"content/zeros"]["data"] == ((0, 200_000),)


def test_acls_and_attributes_are_seen(xfs_dir: Path) -> None:
    assert "acl" not in zoo.make_zoo(xfs_dir / "zoo", many=0)
    tree = describe_tree(xfs_dir / "zoo")
    assert set(tree[b"acl-dir"]["xattrs"]) == {"system.posix_acl_access", "system.posix_acl_default"}
    assert "system.posix_acl_access" in tree[b"acl-dir/inherits"]["xattrs"]
    shown = subprocess.run(["getfacl", "-cn", "acl"], cwd=xfs_dir / "zoo", capture_output=True, text=True, check=True)
    assert "user:1234:r-x" in shown.stdout
    assert tree[b"xattrs"]["xattrs"]["user.text"] == b"value"


CHANGES = {
    "content": lambda at: at.joinpath("content/1").write_bytes(b"!"),
    "mode": lambda at: at.joinpath("empty-file").chmod(0o600),
    "kind": lambda at: (at.joinpath("empty-file").unlink(), at.joinpath("empty-file").mkdir()),
    "target": lambda at: (at.joinpath("links/up").unlink(), at.joinpath("links/up").symlink_to("elsewhere")),
    "mtime": lambda at: os.utime(at / "times/ns", ns=(0, 1)),
    "link split": lambda at: (at.joinpath("hard/Pair").unlink(), at.joinpath("hard/Pair").write_bytes(b"pair\n")),
    "removed": lambda at: at.joinpath("many/03/file-0003.txt").unlink(),
    "added": lambda at: at.joinpath("modes/d0700/new").mkdir(),
    "size": lambda at: os.truncate(at / "holes/all", 5 << 20),
    "hole filled": lambda at: _overwrite(at / "holes/all", bytes(4 << 20)),
    "in the deep": lambda at: _overwrite(at / os.fsdecode(zoo.DEEP_NAME) / "file", b"other"),
    "odd name": lambda at: _overwrite(at / "names" / os.fsdecode(b"\xff\xfe\x80"), b"other"),
}


def _overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_shows(change: str, tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    zoo.make_zoo(root, many=10)
    before = describe_tree(root)
    CHANGES[change](root)
    assert diff_trees(before, describe_tree(root)) != []
    remove_tree(root)


def test_ignored_fields_do_not_count_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    before = describe_tree(tmp_path)
    os.utime(tmp_path / "file", ns=(1, 1))
    assert diff_trees(before, describe_tree(tmp_path), ignore=["mtime_ns"]) == []
    with pytest.raises(ValueError, match="no such fields"):
        diff_trees(before, before, ignore=["mtime"])


def test_remove_tree_takes_read_only_subvolumes_away(btrfs_dir: Path) -> None:
    root = btrfs_dir / "tree"
    run = ["btrfs", "-q", "subvolume"]
    subprocess.run([*run, "create", root], check=True)
    zoo.make_zoo(root / "zoo", many=5)
    subprocess.run([*run, "create", root / "nested"], check=True)
    subprocess.run([*run, "snapshot", "-r", root, root / "nested" / "frozen"], check=True)
    remove_tree(root)
    assert os.listdir(btrfs_dir) == []


def test_remove_tree_goes_hundreds_of_levels_down(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("level", dir_fd=fd)
        below = os.open("level", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(tmp_path / "level")
    assert os.listdir(tmp_path) == []


def test_remove_tree_follows_no_link_and_takes_nothing_for_granted(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"kept")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert (tmp_path / "kept" / "file").read_bytes() == b"kept"


def test_the_second_mount_of_a_volume_sees_the_first(two_hosts: tuple[Path, Path]) -> None:
    first, second = two_hosts
    (first / "file").write_bytes(b"written here")
    assert "file" in os.listdir(second)
    assert (second / "file").read_bytes() == b"written here"


@pytest.mark.parametrize("name", hostile.GOOD_WORKTREE_NAMES)
def test_good_names_are_not_hostile(name: str) -> None:
    assert names.check_worktree_name(name) == name
