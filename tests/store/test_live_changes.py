"""A look that asks btrfs what changed finds what a look finds that walks, whatever happened to the files."""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import making
import pytest

from jvs import system
from jvs.engine.btrfs import engine as btrfs
from jvs.engine.btrfs import ioctl, search
from jvs.repository import Repository
from jvs.store import descriptor, live_changes, worktree_scan
from jvs.tree import kept
from jvs.tree.hasher import Hasher
from jvs.tree.scan import Scanner

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may search trees")
FICLONE = 0x40049409


@pytest.fixture(autouse=True)
def ask_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask of small trees too, whatever other tests have in memory."""
    monkeypatch.setattr(live_changes, "LEAST_ENTRIES", 0)
    monkeypatch.setattr(live_changes, "UNWRITTEN_BYTES_PER_ENTRY", 1 << 40)
    monkeypatch.setattr(live_changes, "SEEN_SHARE", 0)


@pytest.fixture
def repository(btrfs_dir: Path) -> Iterator[Repository]:
    with Repository.init(btrfs_dir / "repo", environment={}) as made:
        fill(Path(made.path()))
        made.snapshot("first")
        made.snapshot("second")  # the stamps of the first one were too young to be kept
        yield made


def fill(main: Path) -> None:
    for d in range(6):
        inner = main / f"d{d}" / "inner"
        inner.mkdir(parents=True)
        for f in range(4):
            (inner / f"f{f}").write_text(f"{d} {f} " + "x" * 5000)
    os.link(main / "d0/inner/f0", main / "d1/linked")
    (main / "d2/inner/link").symlink_to("f0")
    (main / "d2/empty").mkdir()
    for name in ("mapped", "holes"):
        (main / name).write_bytes(b"m" * 20000)


def facts(found: Any) -> tuple[Any, ...]:
    """Everything that a command shows or decides by."""
    differs = {path: sorted(words) for path, words in found.differs.items() if words}
    return found.root_hash, found.digest, found.root, found.payload(), differs, sorted(found.unreadable)


class Looks:
    """Looks at a worktree with and without the search."""

    def __init__(self, repository: Repository, monkeypatch: pytest.MonkeyPatch, name: str = "main") -> None:
        self.repository = repository
        self.name = name
        self.asked: list[bool] = []
        """Whether each look that might ask rested on what it was told."""
        ask = live_changes.ask

        def spy(*given: Any, **options: Any) -> Any:
            said = ask(*given, **options)
            self.asked.append(said is not None)
            return said

        monkeypatch.setattr(live_changes, "ask", spy)
        self._patch = monkeypatch
        self.rested = False

    def look(self, *, asking: bool, compared: bool = True) -> tuple[Any, ...]:
        store = self.repository._store
        head, _ = store.head_of(self.name)
        record = descriptor.load(store.layout, head) if compared and head is not None else None
        with self._patch.context() as patch:
            patch.setattr(btrfs.BtrfsEngine, "search", asking)
            return facts(worktree_scan.walk_now(store, self.name, compare=record))

    def same(self) -> tuple[Any, ...]:
        """Return what both found, and hold that it is the same."""
        self.asked.clear()
        found = self.look(asking=True)
        self.rested = any(self.asked)
        assert found == self.look(asking=False)
        return found

    def both(self, *, asked: bool = True) -> tuple[Any, ...]:
        """As `same`, and hold that the filesystem was asked, or that it could not be."""
        found = self.same()
        assert self.rested is asked
        return found


@pytest.fixture
def looks(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(repository, monkeypatch)


def overwrite(main: Path) -> None:
    path = main / "d3/inner/f3"
    before = path.stat()
    path.write_text("y" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def store_through_a_mapping(main: Path) -> None:
    with (main / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages[0:1] = b"1"


def append(main: Path) -> None:
    with (main / "d0/inner/f1").open("a") as file:
        file.write("more")


def write_directly(main: Path) -> None:
    fd = os.open(main / "holes", os.O_RDWR | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as block:
            block[:] = b"o" * 4096
            assert os.pwritev(fd, [block], 4096) == 4096
    finally:
        os.close(fd)


def punch_a_hole(main: Path) -> None:
    with (main / "holes").open("r+b") as file:
        system.punch_hole(file.fileno(), 8192, 4096)


def preallocate(main: Path) -> None:
    with (main / "d0/inner/f2").open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 65536)


def clone_a_file(main: Path) -> None:
    with (main / "mapped").open("rb") as source, (main / "holes").open("r+b") as target:
        fcntl.ioctl(target.fileno(), FICLONE, source.fileno())


def truncate(main: Path) -> None:
    os.truncate(main / "d1/inner/f1", 10)


def through_another_name(main: Path) -> None:
    (main / "d1/linked").write_text("0 9")


def without_copying(main: Path) -> None:
    path = main / "nocow"
    path.touch()
    subprocess.run(["chattr", "+C", str(path)], check=True)
    path.write_bytes(b"a" * 9000)


def exchange(main: Path, other: bytes = b"d5") -> None:
    fd = os.open(main, os.O_RDONLY)
    try:
        assert system.renameat2(b"d4", other, fd, fd, system.RENAME_EXCHANGE)
    finally:
        os.close(fd)


def rename_over(main: Path) -> None:
    new = main / "d2/new"
    new.write_text("2 1 " + "x" * 5000)
    new.rename(main / "d2/inner/f1")


def move_away_and_back(main: Path) -> None:
    (main / "d3").rename(main / "away")
    (main / "away/inner/f0").write_text("changed while it was away")
    (main / "away").rename(main / "d3")


def change_modes(main: Path) -> None:
    (main / "d4/inner").chmod(0o700)
    (main / "d4/inner/f1").chmod(0o4755)


def change_owners(main: Path) -> None:
    os.chown(main / "d4/inner/f2", 12, 34)
    os.chown(main / "d2/inner/link", 12, 34, follow_symlinks=False)


def set_times(main: Path) -> None:
    os.utime(main / "d4/inner/f3", ns=(1, 10**18))


def set_attributes(main: Path) -> None:
    os.setxattr(main / "d5/inner/f2", "user.note", b"x")
    os.setxattr(main / "d5/inner", "trusted.note", b"x")


def set_acl(main: Path) -> None:
    entries = [
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 7, 77),
        (0x04, 4, 0xFFFFFFFF),
        (0x10, 7, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(main / "d5/inner/f3", "system.posix_acl_access", acl)


def set_capability(main: Path) -> None:
    os.setxattr(main / "d5/inner/f1", "security.capability", struct.pack("<5I", 0x02000000, 1, 0, 0, 0))


def add_link(main: Path) -> None:
    os.link(main / "d5/inner/f0", main / "d0/other name")


def break_link(main: Path) -> None:
    (main / "d1/linked").unlink()
    shutil.copy2(main / "d0/inner/f0", main / "d1/linked")


def make_special(main: Path) -> None:
    os.mkfifo(main / "d0/fifo")
    os.mknod(main / "d0/null", 0o20666, os.makedev(1, 3))
    (main / "d2/inner/link").unlink()
    (main / "d2/inner/link").symlink_to("f1")


def add(main: Path) -> None:
    (main / "d0/a/b/c").mkdir(parents=True)
    (main / "d0/a/b/c/new").write_text("new")
    (main / "odd\nname").write_text("odd")


def change_the_root(main: Path) -> None:
    main.chmod(0o711)
    os.setxattr(main, "user.note", b"x")


def replace_by_a_copy(main: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink", str(main / "d1"), str(main / "copy")], check=True)
    shutil.rmtree(main / "d1")
    (main / "copy").rename(main / "d1")
    (main / "d1/inner/f2").write_text("and then changed")


def exchange_with_a_file(main: Path) -> None:
    exchange(main, b"mapped")


def remove(main: Path) -> None:
    (main / "d0/inner/f3").unlink()
    shutil.rmtree(main / "d1/inner")
    (main / "d2/empty").rmdir()


def rename_directory(main: Path) -> None:
    (main / "d3").rename(main / "d0/d3")


def remove_everything(main: Path) -> None:
    for path in main.iterdir():
        making.remove(path)


CHANGES = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__]
CHANGES = [change for change in CHANGES if getattr(change, "__annotations__", {}).get("main") == "Path"]
CHANGES.remove(fill)


def test_there_are_many_kinds_of_change() -> None:
    assert len(CHANGES) >= 28


def test_each_change_is_found_as_a_walk_finds_it(looks: Looks, repository: Repository) -> None:
    main = Path(repository.path())
    for number, change in enumerate(CHANGES):
        clean = looks.look(asking=True)
        change(main)
        found = looks.both()
        shown = {path for path, words in found[4].items() if kept.shown_words(words)}
        assert found[:3] != clean[:3] or shown, change
        if number % 2:
            repository.snapshot(change.__name__)


def test_at_rest_nothing_is_listed_and_nothing_read(
    looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[bytes] = []
    real = Scanner._visit

    def spy(self: Scanner, fd: int, path: bytes, *more: Any, **options: Any) -> Any:
        listed.append(path)
        return real(self, fd, path, *more, **options)

    monkeypatch.setattr(Scanner, "_visit", spy)
    looks.look(asking=True)
    assert looks.asked == [True] and listed == []
    (Path(repository.path()) / "d3/inner/f3").write_text("changed")
    looks.look(asking=True)
    assert listed == [b"", b"d3", b"d3/inner"]
    assert worktree_scan.unchanged_since(repository._store, "main") is None


def test_a_look_that_compares_no_metadata(looks: Looks, repository: Repository) -> None:
    append(Path(repository.path()))
    change_owners(Path(repository.path()))
    assert looks.look(asking=True, compared=False) == looks.look(asking=False, compared=False)
    assert looks.asked == [True, False]


def test_stores_through_a_mapping_that_stays(looks: Looks, repository: Repository) -> None:
    with (Path(repository.path()) / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        found = set()
        for number in range(6):
            pages[number * 3000] = 64 + number
            found.add(looks.both()[0])
            if number % 2:
                repository.snapshot("between")
    assert len(found) == 6


def test_files_without_a_name_are_no_change(looks: Looks, repository: Repository) -> None:
    main = Path(repository.path())
    clean = looks.both()
    fd = os.open(main, os.O_RDWR | os.O_TMPFILE)
    (main / "d0/short").write_text("x")
    with (main / "d0/short").open("r+") as held:
        (main / "d0/short").unlink()
        os.write(fd, b"nobody sees it")
        held.write("nor this")
        held.flush()
        assert looks.both()[:4] == clean[:4]
    os.close(fd)


def test_more_names_than_one_item_holds(looks: Looks, repository: Repository) -> None:
    main = Path(repository.path())
    (main / "many").mkdir()
    for number in range(120):
        os.link(main / "d5/inner/f0", main / f"many/{number:0200}")
    os.link(main / "d5/inner/f0", main / "d3/last")
    for number in range(110):  # the directory has names in the second kind of item only
        (main / f"many/{number:0200}").unlink()
    looks.both()
    repository.snapshot("many")
    looks.both()
    (main / "d3/last").write_text("all of them")
    looks.both()


def test_a_long_random_history(looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = int(os.environ.get("JVS_TEST_LIVE_STEPS", "8"))
    monkeypatch.setattr(worktree_scan, "MUCH_READ", 3)  # looks leave rows
    chance = random.Random(int(os.environ.get("JVS_TEST_LIVE_SEED", "5")))
    main = Path(repository.path())
    ids = [repository.latest(), repository.snapshot("third")["snapshot_id"]]
    for step in range(steps):
        for _ in range(chance.randrange(1, 4)):
            disturb(main, chance, step)
        what = chance.random()
        if what < 0.3:
            ids.append(repository.snapshot(f"{step}")["snapshot_id"])
        elif what < 0.45:
            repository.restore(chance.choice(ids))
        elif what < 0.55:
            paths = [path for path in main.rglob("*") if path.is_file()]
            repository.snapshot(f"{step}", paths=[chance.choice(paths).relative_to(main)])
        elif what < 0.65 and repository.operations():
            repository.undo()
        looks.same()


def disturb(main: Path, chance: random.Random, step: int) -> None:
    """Do one thing to some file or directory."""
    files = [path for path in sorted(main.rglob("*")) if path.is_file() and not path.is_symlink()]
    dirs = [path for path in sorted(main.rglob("*")) if path.is_dir() and not path.is_symlink()]
    file, above = chance.choice(files), chance.choice(dirs)
    what = chance.randrange(9)
    fresh = above / f"n{step}-{chance.random()}"
    if what == 0 and len(files) > 10:
        file.unlink()
    elif what == 1:
        os.link(file, fresh)
    elif what == 2:
        file.chmod(chance.choice([0o600, 0o640, 0o755]))
    elif what == 3:
        file.rename(fresh)
    elif what == 4:
        other = chance.choice(dirs)
        if above != other and above not in other.parents and other not in above.parents:
            fd = os.open("/", os.O_RDONLY)
            system.renameat2(os.fsencode(above)[1:], os.fsencode(other)[1:], fd, fd, system.RENAME_EXCHANGE)
            os.close(fd)
    elif what == 5:
        other = chance.choice(dirs)
        if other != above and above not in other.parents:
            above.rename(other / f"m{step}-{chance.random()}")
    elif what == 6:
        fresh.mkdir()
    elif what == 7:
        os.chown(file, chance.randrange(3), 0)
    else:
        file.write_text(f"{chance.random()}")


# What is not certain is walked.


def test_a_restored_and_an_undone_head(looks: Looks, repository: Repository) -> None:
    main = Path(repository.path())
    first = repository.latest()
    overwrite(main)
    (main / "d2/inner/f2").unlink()
    repository.snapshot("changed")
    repository.restore(first)
    looks.both(asked=False)  # the index knows another snapshot
    append(main)
    looks.same()
    repository.undo()
    looks.same()
    change_owners(main)
    looks.same()


def test_after_a_restore_the_first_look_is_enough(
    looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worktree_scan, "MUCH_READ", 1)
    main = Path(repository.path())
    first = repository.latest()
    change_owners(main)
    overwrite(main)
    repository.snapshot("changed")
    repository.restore(first)
    clean = looks.both(asked=False)
    assert looks.both() == clean
    append(main)
    assert looks.both() != clean


def test_what_a_look_found_to_differ_differs_still(
    looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worktree_scan, "MUCH_READ", 1)
    main = Path(repository.path())
    first = repository.latest()
    change_owners(main)
    overwrite(main)
    repository.snapshot("changed")
    repository.restore(first, excepted=["d4"])
    found = looks.both(asked=False)
    assert found[4][b"d4/inner/f2"] == ["owner"]
    assert looks.both() == found


def test_a_change_in_the_transaction_after_the_snapshot(looks: Looks, repository: Repository) -> None:
    main, payload = making.at(repository.path()), making.at(Path(repository.path()).with_name("frozen"))
    ioctl.snapshot(main, payload, ioctl.RDONLY)
    append(Path(repository.path()))
    found = search.changed_now(main, payload, 2**40)
    assert found == {(Path(repository.path()) / "d0/inner").stat().st_ino: b"d0/inner"}


def test_a_partial_snapshot(looks: Looks, repository: Repository) -> None:
    main = Path(repository.path())
    overwrite(main)
    append(main)
    repository.snapshot("part", paths=["d3"])
    looks.same()
    change_modes(main)
    looks.same()


def test_a_fork(looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.fork(None, "other")
    other = Looks(repository, monkeypatch, "other")
    clean = other.both(asked=False)  # the index knows nothing of it
    tree = Path(repository.path("other"))
    append(tree)
    assert other.same() != clean
    repository.snapshot("in the fork", worktree="other")
    other.both()
    overwrite(tree)
    other.both()
    looks.both()


def test_what_is_excluded_and_then_is_not(looks: Looks, repository: Repository) -> None:
    main = Path(repository.path())
    (main / ".jvsignore").write_text("d5/\n")
    looks.both(asked=False)
    repository.snapshot("without")
    append(main)
    looks.both(asked=False)
    (main / ".jvsignore").unlink()
    found = looks.both(asked=False)
    assert found[3]["dirs"] == 13
    repository.snapshot("with")
    looks.both()
    assert all(report.payload_hash_valid for report in repository.verify())


def test_a_setting_that_excludes_and_then_does_not(looks: Looks, repository: Repository) -> None:
    made = repository
    with Repository.open(made.path(), environment={"JVS_EXCLUDE": "d5/"}) as excluding:
        excluding.snapshot("without")
    append(Path(made.path()))
    assert looks.both(asked=False)[3]["dirs"] == 13
    made.snapshot("with")
    assert looks.both()[3]["dirs"] == 13
    assert all(report.payload_hash_valid for report in made.verify())


def test_what_could_not_be_read_is_tried_again(
    looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = Path(repository.path())
    overwrite(main)
    with monkeypatch.context() as patch:

        def refuse(self: Hasher, *given: Any, **options: Any) -> Any:
            raise PermissionError(13, "not readable")

        patch.setattr(Hasher, "hash_original", refuse)
        patch.setattr(Hasher, "hash_file", refuse)
        assert repository.snapshot("without", allow_unreadable=True)["degraded"]
    assert looks.both(asked=False)[3]["files"] == 27
    repository.snapshot("with")
    assert looks.both()[3]["files"] == 27
    assert all(report.payload_hash_valid for report in repository.verify())


def test_a_nested_subvolume(looks: Looks, repository: Repository) -> None:
    ioctl.make_subvolume(making.at(Path(repository.path()) / "d4/nested"))
    with pytest.raises(Exception, match="nested"):
        looks.look(asking=True)
    assert looks.asked == [False]


def test_a_payload_that_took_the_place_of_another(looks: Looks, repository: Repository) -> None:
    main = Path(repository.path())
    payload = repository._store.layout.payload(repository.latest())
    overwrite(main)
    assert ioctl.destroy(payload)
    ready = Path(str(repository._store.layout.ready(repository.latest())))
    os.utime(ready, (10**9, 10**9))
    ioctl.snapshot(making.at(main), payload, ioctl.RDONLY)
    assert search.changed_now(making.at(main), payload, 10**9) is None
    looks.asked.clear()
    found = looks.look(asking=True)
    assert looks.asked == [False] and found == looks.look(asking=False)


def test_a_worktree_that_took_the_place_of_another(looks: Looks, repository: Repository) -> None:
    main = Path(repository.path())
    ioctl.snapshot(making.at(main), making.at(main.with_name("older")), 0)
    overwrite(main)
    main.rename(main.with_name("newer"))
    main.with_name("older").rename(main)
    looks.both(asked=False)


def test_much_that_is_not_written_yet(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_changes, "UNWRITTEN_BYTES_PER_ENTRY", 0)
    for said in (None, 1):
        monkeypatch.setattr(system, "unwritten_bytes", lambda said=said: said)
        looks.both(asked=False)


def test_who_may_not_search_walks(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, request: int, argument: Any = 0) -> None:
        if request == search.TREE_SEARCH_V2:
            raise PermissionError(1, "not permitted")
        call(fd, request, argument)

    call = system.ioctl
    monkeypatch.setattr(system, "ioctl", refuse)
    flushed: list[int] = []
    monkeypatch.setattr(system, "syncfs", flushed.append)
    looks.both(asked=False)
    assert not flushed


# Names that move while it looks.


@pytest.mark.parametrize("moment", ["_path_of", "_parents"])
def test_a_change_does_not_hide_behind_a_rename(
    looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    main = Path(repository.path())
    overwrite(main)
    changed = looks.both()
    real = getattr(search, moment)
    for place, back in itertools.product(("d3", "d3/inner", "d3/inner/f3"), (True, False)):
        source, target = main / place, main / "d5/elsewhere"

        def asked(fd: int, inode: int, source: Path = source, target: Path = target, back: bool = back) -> Any:
            source.rename(target)
            system.syncfs(fd)
            try:
                return real(fd, inode)
            finally:
                if back:
                    target.rename(source)
                setattr(search, moment, real)

        monkeypatch.setattr(search, moment, asked)
        looks.asked.clear()
        found = looks.look(asking=True)
        assert looks.asked == [True]
        assert found == looks.look(asking=False)
        assert (found[0] == changed[0]) is back
        if not back:
            target.rename(source)


@pytest.mark.parametrize("deep", ["d3", "d3/inner"])
def test_what_comes_back_after_it_was_asked_for_is_visited(
    looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch, deep: str
) -> None:
    main = Path(repository.path())
    (main / "d3/inner/a/b/c").mkdir(parents=True)
    (main / "d3/inner/a/b/c/file").write_text("before")
    repository.snapshot("deep")
    repository.snapshot("at rest")
    (main / "d3/inner/a/b/c/file").write_text("behind")
    changed = looks.both()
    (main / deep).rename(main / "d5/elsewhere")
    real = search.changed_now

    def asked(*given: Any) -> Any:
        found = real(*given)
        (main / "d5/elsewhere").rename(main / deep)
        return found

    monkeypatch.setattr(search, "changed_now", asked)
    found = looks.look(asking=True)
    assert looks.asked[-1] and found == looks.look(asking=False)
    assert found[0] == changed[0]


def test_names_that_never_stop_moving(looks: Looks, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    main = Path(repository.path())
    overwrite(main)
    real, moved = search._parents, []

    def asked(fd: int, inode: int) -> set[int]:
        moved.append((main / "d3").rename(main / f"m{len(moved)}"))
        try:
            return real(fd, inode)
        finally:
            moved[-1].rename(main / "d3")

    monkeypatch.setattr(search, "_parents", asked)
    looks.both(asked=False)
    assert len(moved) >= search.TRIES
