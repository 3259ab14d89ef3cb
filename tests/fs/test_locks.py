"""Locks: they exclude, they are shared, they wait, they die with their holder, and they name who holds them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import making
import pytest

from jvs import clock
from jvs.errors import Busy, IOFailure
from jvs.fs import locks

HOLD = """
import sys
from jvs.fs import locks, rooted
lock = locks.acquire(rooted.at(sys.argv[1]), exclusive=sys.argv[2] == "x", wait=10, command="jvs snapshot nightly")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Return a function that lets another process hold a lock until the test ends."""
    running = []

    def hold(path, how="x"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in running:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_an_exclusive_lock_excludes_everybody(tmp_path):
    path = str(tmp_path / "a.lock")
    with locks.acquire(making.at(path), wait=0):
        for exclusive in (True, False):
            with pytest.raises(Busy):
                locks.acquire(making.at(path), exclusive=exclusive, wait=0)
    locks.acquire(making.at(path), wait=0).close()


def test_a_shared_lock_is_shared_and_keeps_the_exclusive_out(tmp_path):
    path = str(tmp_path / "a.lock")
    one, other = (locks.acquire(making.at(path), exclusive=False, wait=0) for _ in range(2))
    with one, other, pytest.raises(Busy):
        locks.acquire(making.at(path), wait=0)


def test_busy_names_the_holder(tmp_path, holder):
    process = holder(tmp_path / "worktree-main.lock")
    with pytest.raises(Busy) as caught:
        locks.acquire(making.at(tmp_path / "worktree-main.lock"), wait=0)
    assert f"held by pid {process.pid} on {os.uname().nodename} (jvs snapshot nightly)" in caught.value.message
    assert "'worktree-main'" in caught.value.message
    assert "--wait" in caught.value.hint
    assert caught.value.facts["lock"] == "worktree-main"


def test_a_lock_dies_with_its_holder(tmp_path, holder):
    path = tmp_path / "a.lock"
    process = holder(path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    locks.acquire(making.at(path), wait=0).close()


def test_waiting_ends_when_the_lock_is_let_go(tmp_path):
    path = str(tmp_path / "a.lock")
    held = locks.acquire(making.at(path), wait=0)
    threading.Timer(0.1, held.close).start()
    before = clock.monotonic()
    locks.acquire(making.at(path), wait=10).close()
    assert clock.monotonic() - before < 5


def test_waiting_ends_after_the_time_that_was_given(tmp_path, monkeypatch):
    path = str(tmp_path / "a.lock")
    now = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(clock, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    with locks.acquire(making.at(path), wait=0), pytest.raises(Busy, match="waited 7 s"):
        locks.acquire(making.at(path), wait=7)
    assert now[0] == pytest.approx(7)


def test_whoever_needs_the_repository_alone_is_not_starved_by_sharers(tmp_path):
    first = locks.acquire_repository(making.at(tmp_path), exclusive=False, wait=0)
    got = []

    def want_alone():
        with locks.acquire_repository(making.at(tmp_path), exclusive=True, wait=30):
            got.append("alone")

    thread = threading.Thread(target=want_alone)
    thread.start()
    while not _is_locked(tmp_path / "gate.lock"):
        clock.sleep(0.002)
    with pytest.raises(Busy):  # newcomers queue behind the one who waits, though the lock itself is only shared
        locks.acquire_repository(making.at(tmp_path), exclusive=False, wait=0)
    first.close()
    thread.join()
    assert got == ["alone"]
    locks.acquire_repository(making.at(tmp_path), exclusive=False, wait=0).close()


def _is_locked(path) -> bool:
    try:
        locks.acquire(making.at(path), exclusive=False, wait=0).close()
        return False
    except Busy:
        return True


def test_a_link_in_the_place_of_a_lock_is_refused(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "a.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(IOFailure):
        locks.acquire(making.at(tmp_path / "a.lock"), wait=0)
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_full_disk_keeps_nobody_from_locking(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with locks.acquire(making.at(tmp_path / "a.lock"), wait=0), pytest.raises(Busy):
        locks.acquire(making.at(tmp_path / "a.lock"), wait=0)


def test_what_a_foreign_holder_wrote_is_printable(tmp_path):
    (tmp_path / "a.lock").write_bytes(b"12 host \x1b[31mred\xff\n")
    fd = os.open(tmp_path / "a.lock", os.O_RDONLY)
    try:
        assert locks.holder_of(fd).isprintable()
        assert locks.holder_of(fd).startswith("pid 12 on host (")
    finally:
        os.close(fd)


def test_a_directory_can_be_locked_itself(tmp_path):
    with locks.acquire_directory(making.at(tmp_path), wait=0), pytest.raises(Busy):
        locks.acquire_directory(making.at(tmp_path), wait=0)
    assert os.listdir(tmp_path) == []
    with pytest.raises(IOFailure):
        locks.acquire_directory(making.at(tmp_path / "none"), wait=0)


def test_a_refused_lock_leaves_no_descriptor_open(tmp_path):
    path = str(tmp_path / "a.lock")
    with locks.acquire(making.at(path), wait=0):
        before = len(making.descriptors())
        for _ in range(5):
            with pytest.raises(Busy):
                locks.acquire(making.at(path), wait=0)
        assert len(making.descriptors()) == before


def test_closing_twice_is_harmless(tmp_path):
    lock = locks.acquire(making.at(tmp_path / "a.lock"), wait=0)
    assert os.fstat(lock.fileno())
    lock.close()
    lock.close()


def test_locks_hold_on_every_filesystem(fs_dir, holder):
    holder(fs_dir / "a.lock")
    with pytest.raises(Busy):
        locks.acquire(making.at(fs_dir / "a.lock"), wait=0)


def test_locks_hold_between_two_mounts_of_one_volume(two_hosts):
    here, there = two_hosts
    with locks.acquire(making.at(here / "a.lock"), wait=0), pytest.raises(Busy):
        locks.acquire(making.at(there / "a.lock"), wait=1)
    locks.acquire(making.at(there / "a.lock"), wait=1).close()


def test_a_brief_lock_is_waited_for_even_by_who_does_not_want_to_wait(tmp_path):
    path = str(tmp_path / "audit.lock")
    held = locks.acquire(making.at(path))
    threading.Timer(0.2, held.close).start()
    began = clock.monotonic()
    with locks.acquire_brief(making.at(path), wait=0):
        assert clock.monotonic() - began >= 0.1


def test_head_and_audit_are_such_locks(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "lab")
    brief = []
    real = locks.acquire_brief

    def noting(path, **more):
        brief.append(path.name)
        return real(path, **more)

    monkeypatch.setattr(locks, "acquire_brief", noting)
    making.snapshot(store)
    assert brief == ["head-main.lock", "audit.lock"]
