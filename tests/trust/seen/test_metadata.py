"""Metadata is compared and restored: owner, times, every attribute that is kept, hard-link groups."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Lab, same
from own_mounts import needs_root
from sample import filled


def is_clean(lab: Lab) -> bool:
    return lab.json("status")["clean"]


def takes_one(lab: Lab) -> bool:
    """Answer whether `snapshot --if-changed` takes a snapshot."""
    before = lab.visible()
    lab.jvs("snapshot", "seen", "--if-changed")
    return lab.visible() != before


def chown(main: Path) -> None:
    os.chown(main / "b", 1000, 1001)


def chown_link(main: Path) -> None:
    os.chown(main / "link", 1000, 1001, follow_symlinks=False)


def chown_directory(main: Path) -> None:
    os.chown(main / "d/e", 1000, 1001)


def chown_top(main: Path) -> None:
    os.chown(main, 1000, 1001)


def touch(main: Path) -> None:
    os.utime(main / "b", ns=(10**18, 10**18))


def touch_by_a_nanosecond(main: Path) -> None:
    st = (main / "b").stat()
    os.utime(main / "b", ns=(st.st_atime_ns, st.st_mtime_ns + 1))


def touch_link(main: Path) -> None:
    os.utime(main / "link", ns=(10**18, 10**18), follow_symlinks=False)


def touch_directory(main: Path) -> None:
    os.utime(main / "d/e", ns=(10**18, 10**18))


def trusted(main: Path) -> None:
    os.setxattr(main / "b", "trusted.jvs-test", b"value")


def trusted_of_a_directory(main: Path) -> None:
    os.setxattr(main / "d", "trusted.jvs-test", b"value")


def user_attribute(main: Path) -> None:
    os.setxattr(main / "b", "user.jvs-test", b"value")


def broken_link_group(main: Path) -> None:
    data = main / "new"
    data.write_bytes((main / "a").read_bytes())
    st = (main / "a").stat()
    os.utime(data, ns=(st.st_atime_ns, st.st_mtime_ns))
    os.rename(data, main / "a")


def joined_link_group(main: Path) -> None:
    (main / "twin").write_bytes((main / "b").read_bytes())
    (main / "twin").unlink()
    os.link(main / "b", main / "twin")


SEEN_ONLY_BY_RESTORE = {touch_directory}
"""Every temporary file moves the times of its directory: they are restored, and are no change."""

METADATA: list[Callable[[Path], None]] = [
    chown,
    chown_link,
    chown_directory,
    chown_top,
    touch,
    touch_by_a_nanosecond,
    touch_link,
    touch_directory,
    trusted,
    trusted_of_a_directory,
    user_attribute,
    broken_link_group,
    joined_link_group,
]
ids = [change.__name__ for change in METADATA]


def apply_or_skip(change: Callable[[Path], None], lab: Lab) -> None:
    try:
        change(lab.main)
    except OSError as error:
        pytest.skip(f"cannot be made here: {error}")


@needs_root
@pytest.mark.parametrize("change", METADATA, ids=ids)
def test_status_sees_a_change_of_metadata(lab, change):
    apply_or_skip(change, lab)
    assert is_clean(lab) == (change in SEEN_ONLY_BY_RESTORE)


@needs_root
@pytest.mark.parametrize("change", METADATA, ids=ids)
def test_if_changed_sees_a_change_of_metadata(lab, change):
    apply_or_skip(change, lab)
    assert takes_one(lab) == (change not in SEEN_ONLY_BY_RESTORE)


@needs_root
@pytest.mark.parametrize("change", METADATA, ids=ids)
def test_a_restore_puts_metadata_right_and_undo_brings_it_back(lab, change):
    before = lab.facts()
    owner = (lab.main.stat().st_uid, trusted_of(lab))
    apply_or_skip(change, lab)
    changed = (lab.facts(), trusted_of(lab))
    lab.jvs("restore", "first")
    assert same(before, lab.facts()) == []
    assert (lab.main.stat().st_uid, trusted_of(lab)) == owner
    lab.jvs("undo")
    assert same(changed[0], lab.facts()) == []
    assert trusted_of(lab) == changed[1]


def trusted_of(lab: Lab) -> list[str]:
    found = [(path, os.listxattr(path, follow_symlinks=False)) for path in sorted(lab.main.rglob("*"))]
    return [f"{path}:{name}" for path, names in found for name in names if "jvs-test" in name]


@needs_root
@pytest.mark.parametrize("change", [chown, touch, trusted], ids=["chown", "touch", "trusted"])
def test_diff_says_what_of_the_metadata_differs(lab, change):
    apply_or_skip(change, lab)
    word = {"chown": "owner", "touch": "mtime", "trusted": "xattr"}[change.__name__]
    entries = lab.json("diff", "first")["modified"]
    assert [entry["path"] for entry in entries] == ["b"]
    assert any(word in what for what in entries[0]["changed"]), entries


@needs_root
def test_metadata_alone_is_not_the_same_snapshot(lab):
    chown(lab.main)
    second = lab.take("second")
    os.chown(lab.main / "b", 0, 0)
    lab.jvs("restore", second)
    st = (lab.main / "b").stat()
    assert (st.st_uid, st.st_gid) == (1000, 1001)


MANY = 400
"""So many that a look remembers what it found."""


@pytest.fixture
def large(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "r")
    lab.write({f"d{i}/f{j}": f"{i} {j}" for i in range(20) for j in range(MANY // 20)})
    lab.take("first", "-t", "first")
    return lab


@needs_root
def test_what_a_look_remembered_is_seen_by_the_next_one(large: Lab) -> None:
    for path in large.main.glob("d*/f*"):
        os.utime(path, ns=(10**18, 10**18))
    os.chown(large.main / "d3/f3", 1000, 1001)
    time.sleep(0.05)
    for _ in range(3):
        found = {e["path"]: e["changed"] for e in large.json("status")["modified"]}
        assert len(found) == MANY
        assert found.pop("d3/f3") == ["owner", "mtime"]
        assert all(words == ["mtime"] for words in found.values())
    large.jvs("restore", "first")
    assert is_clean(large)
    large.jvs("undo")
    assert {e["path"] for e in large.json("status")["modified"]} > {"d3/f3"}


@needs_root
def test_marked_entries_are_not_read_again(large: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from jvs.tree import leaves

    for path in large.main.glob("d*/f*"):
        os.chown(path, 1000, 1001)
    time.sleep(0.05)
    assert not is_clean(large)
    read = []
    real = leaves.hash_open_file
    monkeypatch.setattr(leaves, "hash_open_file", lambda fd, **more: read.append(fd) or real(fd, **more))
    assert not is_clean(large)
    assert read == []


@needs_root
@pytest.mark.parametrize("change", [touch, chown, trusted, broken_link_group], ids=lambda change: change.__name__)
@pytest.mark.parametrize("filesystem", ["ext4", "btrfs", "xfs", "tmpfs"])
def test_it_is_seen_against_every_snapshot_on_every_filesystem(
    fs_at: Callable[[str], Path], filesystem: str, change: Callable[[Path], None]
) -> None:
    """Also where the rows of the index describe another snapshot than the one that is compared with."""
    lab = filled(Lab(fs_at(filesystem) / "r"))
    lab.write({f"more/{number}": str(number) for number in range(250)})
    lab.take("second", "-t", "second")
    time.sleep(0.05)
    apply_or_skip(change, lab)
    changed = lab.facts()
    third = lab.take("third", "-t", "third")
    assert is_clean(lab)
    assert [e["path"] for e in lab.json("diff", "second")["modified"]] != []
    lab.jvs("restore", "second")
    for _ in range(3):
        assert is_clean(lab), lab.say("status").text
    assert [e["path"] for e in lab.json("diff", third)["modified"]] != []
    lab.jvs("restore", "third")
    assert same(changed, lab.facts()) == []
    apply_or_skip(user_attribute, lab)
    os.utime(lab.main / "more/7", ns=(5, 5))
    assert "more/7" in {e["path"] for e in lab.json("status")["modified"]}
    lab.jvs("restore", "third", "--", "more")
    assert (lab.main / "more/7").stat().st_mtime_ns != 5


def test_every_name_of_a_broken_group_becomes_one_file_again(lab: Lab) -> None:
    for name in ("x1", "d/x2", "d/x3"):
        os.link(lab.main / "a", lab.main / name)
    lab.take("five", "-t", "five")
    os.link(lab.main / "d/x2", lab.main / "d/tmp")
    for name in ("x1", "a"):
        data, st = (lab.main / name).read_bytes(), (lab.main / name).stat()
        (lab.main / name).unlink()
        (lab.main / name).write_bytes(data)
        os.utime(lab.main / name, ns=(st.st_atime_ns, st.st_mtime_ns))
    (lab.main / "d/tmp").unlink()
    assert not is_clean(lab)
    lab.jvs("restore", "five")
    assert len({(lab.main / name).stat().st_ino for name in ("a", "x1", "d/x2", "d/x3", "d/linked")}) == 1
    assert is_clean(lab)
