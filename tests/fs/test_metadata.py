"""Copying single entries: every kind, all metadata, holes, and an honest list of what was lost."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import making
import pytest
from treefacts import describe_tree, diff_trees
from zoo import ACL, CAPABILITY, make_zoo

from jvs import canon
from jvs.fs import copyfile, listing, metadata, paths
from jvs.fs.metadata import Losses

OTHER = 1234


@pytest.fixture
def pair(fs_dir: Path) -> tuple[Path, Path]:
    source, target = fs_dir / "source", fs_dir / "target"
    source.mkdir()
    target.mkdir()
    return source, target


@pytest.fixture
def plain(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    return source, target


@pytest.fixture
def not_root(plain: tuple[Path, Path]) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    for above in [plain[0].parent, *plain[0].parent.parents][:4]:
        os.chmod(above, os.stat(above).st_mode | 0o755)
    for directory in plain:
        os.chown(directory, OTHER, OTHER)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(OTHER)
    os.seteuid(OTHER)
    yield
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(groups)


def copy_all(source: Path, target: Path, *, share: bool = True) -> Losses:
    """Copy every entry of one directory to another."""
    losses = Losses()
    src, dst = paths.open_dir(making.at(source)), paths.open_dir(making.at(target))
    try:
        for name, st in zip(*listing.list_dir(src), strict=True):
            if not stat.S_ISDIR(st.st_mode):
                metadata.copy_entry(src, name, dst, st, name, losses, share=share)
    finally:
        os.close(src)
        os.close(dst)
    return losses


def files_only(root: Path) -> dict:
    """Describe what lies directly in a directory and is no directory itself."""
    facts = describe_tree(root).items()
    return {p: f | {"links": None} for p, f in facts if p and b"/" not in p and f["kind"] != stat.S_IFDIR}


@pytest.mark.parametrize("share", [True, False], ids=["share", "copy"])
def test_every_kind_is_equal_after_copying(pair: tuple[Path, Path], share: bool):
    make_zoo(pair[0], many=5, skip=("deep",))
    for folder in ("names", "links", "modes", "holes", "content", "owners", "times"):
        inside, outside = pair[0] / folder, pair[1] / folder
        if inside.is_dir():
            outside.mkdir()
            assert copy_all(inside, outside, share=share).as_json() == []
            assert diff_trees(files_only(inside), files_only(outside)) == []
    assert copy_all(pair[0], pair[1], share=share).as_json() == []
    assert diff_trees(files_only(pair[0]), files_only(pair[1])) == []


def test_copy_under_another_name(plain: tuple[Path, Path]):
    (plain[0] / "a").write_bytes(b"x")
    losses = Losses()
    src, dst = os.open(plain[0], os.O_RDONLY), os.open(plain[1], os.O_RDONLY)
    st = os.lstat(plain[0] / "a")
    kept = metadata.copy_entry(src, b"a", dst, st, b"a", losses, target_name=b".jvs-tmp-1")
    os.close(src)
    os.close(dst)
    assert kept is not None and not kept.lost
    assert (plain[1] / ".jvs-tmp-1").read_bytes() == b"x"


def test_target_that_exists_is_never_overwritten(plain: tuple[Path, Path]):
    (plain[0] / "a").write_bytes(b"new")
    (plain[1] / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        copy_all(*plain)
    assert (plain[1] / "a").read_bytes() == b"old"


def test_a_link_is_never_followed(plain: tuple[Path, Path], tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    os.chmod(secret, 0o600)
    os.symlink(secret, plain[0] / "link")
    os.utime(plain[0] / "link", ns=(1, 2), follow_symlinks=False)
    before = os.lstat(secret)
    assert copy_all(*plain).as_json() == []
    assert os.readlink(plain[1] / "link") == str(secret)
    assert os.lstat(plain[1] / "link").st_mtime_ns == 2
    assert os.lstat(secret) == before


def test_fifo_socket_and_device_are_not_opened(plain: tuple[Path, Path]):
    """A fifo without a writer would hang for ever; the test would too."""
    os.mkfifo(plain[0] / "fifo", 0o4640)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(plain[0] / "sock"))
    os.mknod(plain[0] / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    os.setxattr(plain[0] / "fifo", "system.posix_acl_access", ACL)
    worker = threading.Thread(target=copy_all, args=plain, daemon=True)
    worker.start()
    worker.join(10)
    assert not worker.is_alive()
    assert diff_trees(describe_tree(plain[0]), describe_tree(plain[1]), ("mtime_ns",)) == []


def test_inherited_acl_does_not_stick(plain: tuple[Path, Path]):
    (plain[0] / "file").write_bytes(b"x")
    os.setxattr(plain[1], "system.posix_acl_default", ACL)
    assert copy_all(*plain).as_json() == []
    assert "system.posix_acl_access" not in os.listxattr(plain[1] / "file")
    assert stat.S_IMODE(os.stat(plain[1] / "file").st_mode) == 0o644


def test_set_id_bits_and_capabilities_survive_the_change_of_owner(plain: tuple[Path, Path]):
    file = plain[0] / "file"
    file.write_bytes(b"x")
    os.chown(file, 1234, 2345)
    os.chmod(file, 0o6755)
    os.setxattr(file, "security.capability", CAPABILITY)
    os.chmod(file, 0o6755)
    assert copy_all(*plain).as_json() == []
    assert diff_trees(describe_tree(plain[0]), describe_tree(plain[1]), ("mtime_ns",)) == []


def test_holes_stay_and_tail_holes_too(pair: tuple[Path, Path]):
    with open(pair[0] / "sparse", "wb") as file:
        file.seek(8 << 20)
        file.write(b"data" * 1024)
        file.truncate(64 << 20)
    assert copy_all(*pair, share=False).as_json() == []
    one, other = os.stat(pair[0] / "sparse"), os.stat(pair[1] / "sparse")
    assert other.st_size == 64 << 20
    assert other.st_blocks <= one.st_blocks + 256


def test_digest_on_the_way_counts_holes_as_zeros(plain: tuple[Path, Path]):
    import hashlib

    with open(plain[0] / "sparse", "wb") as file:
        file.seek(3 << 20)
        file.write(b"data")
        file.truncate(5 << 20)
    digest = hashlib.sha256()
    with open(plain[0] / "sparse", "rb") as source, open(plain[1] / "copy", "w+b") as target:
        copyfile.copy_data(source.fileno(), target.fileno(), os.fstat(source.fileno()), digest)
    whole = (plain[0] / "sparse").read_bytes()
    assert (plain[1] / "copy").read_bytes() == whole
    assert digest.digest() == hashlib.sha256(whole).digest()


def test_source_that_shrinks_ends_the_copy(plain: tuple[Path, Path]):
    """The stat promises more than is there; the copy must neither wait nor invent bytes."""
    path = plain[0] / "file"
    with open(path, "wb") as file:
        file.truncate(10 << 20)
        file.write(b"x" * 100_000)
    promised = os.stat(path)
    os.truncate(path, 50_000)
    with open(path, "rb") as source, open(plain[1] / "copy", "w+b") as target:
        copyfile.copy_data(source.fileno(), target.fileno(), promised)
    assert (plain[1] / "copy").read_bytes() == b"x" * 50_000


def test_file_that_never_holds_still_is_torn(plain: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    path = plain[0] / "log"
    path.write_bytes(b"x")
    copied = copyfile.copy_data

    def busy(source: int, target: int, st: os.stat_result, digest: object = None) -> None:
        copied(source, target, st, digest)
        with open(path, "ab") as file:
            file.write(b"x")

    monkeypatch.setattr(copyfile, "copy_data", busy)
    losses = copy_all(*plain, share=False)
    assert [(loss["path"], loss["what"]) for loss in losses.as_json()] == [("log", "torn")]
    assert (plain[1] / "log").read_bytes().startswith(b"xx")


def test_file_that_changed_once_is_copied_again(plain: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    path = plain[0] / "log"
    path.write_bytes(b"first, and longer")
    copied = copyfile.copy_data
    calls = []

    def once(source: int, target: int, st: os.stat_result, digest: object = None) -> None:
        copied(source, target, st, digest)
        calls.append(1)
        if len(calls) == 1:
            path.write_bytes(b"second")

    monkeypatch.setattr(copyfile, "copy_data", once)
    assert copy_all(*plain, share=False).as_json() == []
    assert (plain[1] / "log").read_bytes() == b"second"


@pytest.mark.parametrize("number", [18, 38, 22, 95])  # EXDEV, ENOSYS, EINVAL, EOPNOTSUPP
def test_kernel_that_cannot_copy_is_read_from(plain: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, number: int):
    (plain[0] / "file").write_bytes(b"content" * 1000)

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    assert copy_all(*plain, share=False).as_json() == []
    assert (plain[1] / "file").read_bytes() == b"content" * 1000


def test_kernel_that_copies_nothing_is_read_from(plain: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    (plain[0] / "file").write_bytes(b"content")
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    copy_all(*plain, share=False)
    assert (plain[1] / "file").read_bytes() == b"content"


def test_full_disk_is_an_error_and_no_loss(plain: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    (plain[0] / "file").write_bytes(b"content")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="No space"):
        copy_all(*plain, share=False)


def test_foreign_owner_is_a_loss_and_its_set_id_bits_go(plain: tuple[Path, Path], not_root: None):
    os.seteuid(0)
    (plain[0] / "suid").write_bytes(b"x")
    os.chown(plain[0] / "suid", 0, 0)
    os.chmod(plain[0] / "suid", 0o6755)
    os.setegid(OTHER)
    os.seteuid(OTHER)
    found = copy_all(*plain).as_json()
    assert [(loss["path"], loss["what"]) for loss in found] == [("suid", "mode"), ("suid", "owner")]
    assert all(loss["why"] for loss in found)
    st = os.stat(plain[1] / "suid")
    assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (OTHER, 0o755)


def test_device_without_the_right_to_make_one_is_a_loss(plain: tuple[Path, Path], not_root: None):
    os.seteuid(0)
    os.mknod(plain[0] / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    os.chown(plain[0] / "disk", OTHER, OTHER)
    os.seteuid(OTHER)
    assert [loss["what"] for loss in copy_all(*plain).as_json()] == ["special"]
    assert os.listdir(plain[1]) == []


def test_capability_without_the_right_to_give_one_is_a_loss(plain: tuple[Path, Path], not_root: None):
    os.seteuid(0)
    (plain[0] / "ping").write_bytes(b"x")
    os.chown(plain[0] / "ping", OTHER, OTHER)
    os.setxattr(plain[0] / "ping", "security.capability", CAPABILITY)
    os.seteuid(OTHER)
    losses = copy_all(*plain)
    assert [loss["what"] for loss in losses.as_json()] == ["xattr:security.capability"]


def test_losses_are_sorted_once_each_and_keep_odd_names():
    losses = Losses()
    for path in (b"b", b"a\xff", b"b"):
        losses.add(path, "owner", "why")
    found = losses.as_json()
    assert len(losses) == 2
    assert [canon.path_from_json(loss) for loss in found] == [b"a\xff", b"b"]
