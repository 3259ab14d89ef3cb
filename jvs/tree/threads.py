"""A few threads for work that waits, begun when there is work; where the system gives none, the caller does it.

Source: pthread_create(3), EAGAIN; jvs-engines(7), Speed.
"""

from __future__ import annotations

from concurrent.futures import Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from threading import Thread
    from typing import Any

    Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class Threads:
    """Runs functions in at most `most` threads; none is begun before there is something to do."""

    def __init__(self, most: int) -> None:
        import queue

        self.most = most
        self._jobs: SimpleQueue[Job | None] = queue.SimpleQueue()
        self._running: list[Thread] = []

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a function in a thread, or here and now when there is none to be had (a limit of processes)."""
        job: Job = (Future(), work, args)
        if len(self._running) < self.most:
            self._begin()
        if self._running:
            self._jobs.put(job)
        else:
            _do(job)
        return job[0]

    def _begin(self) -> None:
        import threading

        thread = threading.Thread(target=self._work, name="jvs-hash")
        try:
            thread.start()
        except RuntimeError:  # "can't start new thread": those that run do all, or the caller does
            self.most = len(self._running)
            return
        self._running.append(thread)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(job)

    def end(self) -> None:
        """Drop what has not begun, and wait for what has."""
        import queue

        try:
            while (job := self._jobs.get_nowait()) is not None:
                job[0].cancel()
        except queue.Empty:
            pass
        for _ in self._running:
            self._jobs.put(None)
        for thread in self._running:
            thread.join()
        self._running = []


def _do(job: Job) -> None:
    future, work, args = job
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work(*args))
    except BaseException as error:
        future.set_exception(error)
