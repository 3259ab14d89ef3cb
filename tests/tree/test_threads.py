"""Threads for hashing: as many as there are to be had, and none is as good as many."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import making
import pytest

from jvs.tree import hasher, scan
from jvs.tree.threads import Threads


def allow(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let only so many threads begin."""
    begun: list[int] = []
    real = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if len(begun) >= most:
            raise RuntimeError("can't start new thread")
        begun.append(1)
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    return begun


@pytest.mark.parametrize("most", [0, 1, 2, 9])
def test_all_that_was_submitted_is_done_once(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    begun = allow(monkeypatch, most)
    done: list[int] = []
    threads = Threads(4)
    futures = [threads.submit(lambda number: done.append(number) or number, number) for number in range(50)]
    assert [future.result() for future in futures] == list(range(50))
    threads.end()
    assert sorted(done) == list(range(50))
    assert len(begun) == min(most, 4)


@pytest.mark.parametrize("most", [0, 3])
def test_an_error_is_that_of_its_job(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    allow(monkeypatch, most)
    threads = Threads(2)
    failing, good = threads.submit(int, "x"), threads.submit(int, "7")
    with pytest.raises(ValueError, match="x"):
        failing.result()
    assert good.result() == 7
    threads.end()


@pytest.mark.parametrize("slow_calls", [False, True])
@pytest.mark.parametrize("most", [0, 1])
def test_a_tree_hashes_the_same_without_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, slow_calls: bool
) -> None:
    monkeypatch.setattr(hasher, "BIG_BYTES", 10)
    making.write(tmp_path, {f"d{i}/f{j}": "x" * (i + j) for i in range(6) for j in range(8)})
    wanted = scan.Scanner(scan.Hasher()).run(making.at(tmp_path)).root_hash
    allow(monkeypatch, most)
    gc.collect()  # what earlier tests left open may be closed at any moment
    before = len(making.descriptors())
    assert scan.Scanner(scan.Hasher(jobs=4, slow_calls=slow_calls)).run(making.at(tmp_path)).root_hash == wanted
    assert len(making.descriptors()) == before
