"""Runs tasks in worker processes, which are forks and so share what the parent has prepared."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

_work: Callable[[Any], Any] | None = None  # in a worker process: what it does with each task


def _adopt(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work


def _do(task: Any) -> Any:
    assert _work is not None
    return _work(task)


def _pool(work: Callable[[Any], Any], jobs: int) -> concurrent.futures.ProcessPoolExecutor:
    # The arguments of a fork's initializer are inherited, not pickled: `work` may be a method of anything.
    context = multiprocessing.get_context("fork")
    return concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context, initializer=_adopt, initargs=(work,))


def in_order(work: Callable[[Task], Answer], tasks: Iterable[Task], jobs: int) -> Iterator[Answer]:
    """Yield what came of each task, in the order of the tasks."""
    with _pool(work, jobs) as pool:
        yield from pool.map(_do, tasks)


def as_done(
    work: Callable[[Task], Answer], tasks: Iterable[Task], jobs: int, deadline: float | None = None
) -> Iterator[Answer]:
    """Yield what came of the tasks as they end; none is started after the deadline."""
    with _pool(work, jobs) as pool:
        queue = iter(tasks)
        running: set[concurrent.futures.Future[Answer]] = set()
        while True:
            while len(running) < 2 * jobs and (deadline is None or time.monotonic() < deadline):
                try:
                    running.add(pool.submit(_do, next(queue)))
                except StopIteration:
                    break
            if not running:
                return
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                yield future.result()


def spread(tasks: Sequence[Task], most: int | None) -> list[Task]:
    """Return tasks in an order that covers all of them evenly from the start, always the same; at most `most`."""
    order = sorted(range(len(tasks)), key=lambda i: (i * 0.6180339887498949) % 1.0)
    return [tasks[i] for i in order][: most or None]
