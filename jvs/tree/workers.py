"""Processes that do a share of the work of a walk: the files of a directory at a time, by its open descriptors.

The interpreter runs one thread at a time, so what is bound by calls of small files is done by several processes. They
are forked before this process has threads, know what it knew then, and get no path: what they work in comes to them
as open descriptors. The walk stays in one process and decides everything; it works along when all others are busy.
Source: jvs-engines(7), Speed; unix(7), SCM_RIGHTS; fork(2).
"""

from __future__ import annotations

import marshal
import os
from collections import deque

from jvs import errors
from jvs.tree import parallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any

    Work = Callable[[Any, list[int]], Any]
    """Does one order in another process; its descriptors are closed then. Shape: what `marshal` can write."""
    Done = Callable[[Any], None]

LEAST_ENTRIES = 2_000
"""Trees with fewer entries are done sooner than a process begins."""
LEAST_FILES = 8
"""Fewer files of a directory are done sooner than they are handed over."""
WAITING_ORDERS = 3
"""How many orders a process has at once, so that it need not wait while this one works along."""
_MOST_DESCRIPTORS = 4
_LENGTH_BYTES = 8
_READ_BYTES = 1 << 16


class Unsteady(Exception):
    """Something changes in a way that only one process that does everything can deal with."""


class Workers:
    """The processes of one walk. None are there before `begin`; then `offer` hands out orders, and `wait` ends them."""

    processes = 0
    """How many processes work, this one included; 0: one for each processor; 1: none but this. The answer is the same.
    """

    def __init__(self, work: Work, most: int) -> None:
        self._work = work
        self._most = most
        self._began = False
        self._running: list[_Worker] = []

    @property
    def are_there(self) -> bool:
        """Whether there is anybody to hand an order to."""
        return bool(self._running)

    def begin(self) -> None:
        """Fork, once; where that cannot be there are none, and this process does everything."""
        if self._began:
            return
        self._began = True
        count = self.processes or parallel.most_processes(self._most)
        if count < 2 or parallel.has_threads():
            return
        for _ in range(count - 1):
            try:
                self._running.append(_Worker(self._work, self._running))
            except OSError:  # no more processes or descriptors: those that there are do
                return

    def offer(self, order: Any, descriptors: Sequence[int], done: Done) -> bool:
        """Hand an order to somebody who has few; False when there is nobody. `done` gets the answer, some time later.

        The descriptors may be closed on return. Errors: JvsError of the work; what `done` raises; E_IO for a process
        that was killed; `Unsteady`.
        """
        if not self._running:
            return False
        self.gather()
        worker = min(self._running, key=_Worker.load)
        return worker.load() < WAITING_ORDERS and worker.give(order, descriptors, done)

    def gather(self) -> None:
        """Take the answers that have come. Errors: as `offer`."""
        for worker in self._running:
            if worker.load():
                worker.receive()

    def wait(self) -> None:
        """Take all answers. Errors: as `offer`."""
        for worker in self._running:
            while worker.load():
                worker.await_change()
                worker.receive()

    def end(self) -> None:
        """Make an end of them, also in the middle of their work, and wait until they are gone."""
        running, self._running = self._running, []
        for worker in running:
            worker.end()


class _Worker:
    """One process, and the orders that it has."""

    def __init__(self, work: Work, others: list[_Worker]) -> None:
        import select
        import socket

        self._waiting: deque[Done] = deque()
        self._buffer = bytearray()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._pid = os.fork()
        except OSError:
            self._channel.close()
            theirs.close()
            raise
        if self._pid == 0:
            _serve_and_exit(theirs, [self, *others], work)
        theirs.close()
        self._channel.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._channel, select.POLLIN)

    def load(self) -> int:
        """Return how many orders it has."""
        return len(self._waiting)

    def give(self, order: Any, descriptors: Sequence[int], done: Done) -> bool:
        """Send an order; False when its descriptors cannot be sent: too many are under way (unix(7), ETOOMANYREFS)."""
        import select
        import socket

        data = marshal.dumps(order)
        view = memoryview(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
        first = True
        while view:
            try:
                count = socket.send_fds(self._channel, [view], descriptors) if first else self._channel.send(view)
            except BlockingIOError:  # it waits for its answers to be taken
                self._poll.modify(self._channel, select.POLLIN | select.POLLOUT)
                self.await_change()
                self._poll.modify(self._channel, select.POLLIN)
                self.receive()
                continue
            except OSError as error:
                if first and not isinstance(error, BrokenPipeError):
                    return False
                raise _died() from error
            first, view = False, view[count:]
        self._waiting.append(done)
        return True

    def await_change(self) -> None:
        """Wait until it answered, or takes more."""
        self._poll.poll()

    def receive(self) -> None:
        """Take what it has answered. Errors: as `Workers.offer`."""
        while True:
            try:
                data = self._channel.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                raise _died() from error
            if not data:
                raise _died()
            self._buffer += data
            while (answer := self._next_answer()) is not None:
                self._hand_over(answer)

    def _next_answer(self) -> Any:
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES], "little")
        if len(self._buffer) < end:
            return None
        answer = marshal.loads(memoryview(self._buffer)[_LENGTH_BYTES:end])
        del self._buffer[:end]
        return answer

    def _hand_over(self, answer: Any) -> None:
        done = self._waiting.popleft()
        kind, value = answer
        if kind == _ANSWER:
            done(value)
        elif kind == _FAILED:
            name, message, hint, facts = value
            raise getattr(errors, name)(message, hint=hint, **facts)
        elif kind == _UNSTEADY:
            raise Unsteady
        else:
            raise RuntimeError(f"in a process that works along: {value}")

    def end(self) -> None:
        """Make an end of it: it has nothing that would have to be put in order."""
        self._channel.close()
        try:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
        except (ProcessLookupError, ChildProcessError):  # a program around us reaps its children by itself
            pass

    def forget(self) -> None:
        """Close our end of its channel, in another process: or it would not notice that ours has gone."""
        self._channel.close()


_ANSWER, _FAILED, _UNSTEADY, _FAULT = range(4)


def _died() -> errors.IOFailure:
    return errors.IOFailure(
        "a process that worked along was killed",
        hint="run the command again; if it happens again, see in the system log whether memory is short",
    )


def _serve_and_exit(channel: socket.socket, workers: list[_Worker], work: Work) -> None:
    """Do orders until nobody gives any more. It ends without running anything of ours: no lock or file is its own."""
    status = 1
    try:
        for worker in workers:
            worker.forget()
        while (received := _receive(channel)) is not None:
            answer = marshal.dumps(_do(work, *received))
            channel.sendall(len(answer).to_bytes(_LENGTH_BYTES, "little") + answer)
        status = 0
    finally:
        os._exit(status)


def _receive(channel: socket.socket) -> tuple[Any, list[int]] | None:
    """Return an order and its descriptors; None when there are no more."""
    import socket

    head, descriptors, _, _ = socket.recv_fds(channel, _LENGTH_BYTES, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    data = bytearray(head)
    while len(data) < _LENGTH_BYTES or len(data) < _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little"):
        wanted = _LENGTH_BYTES if len(data) < _LENGTH_BYTES else int.from_bytes(data[:_LENGTH_BYTES], "little")
        more = channel.recv(min(wanted + _LENGTH_BYTES - len(data), 1 << 20))
        if not more:
            return None
        data += more
    return marshal.loads(memoryview(data)[_LENGTH_BYTES:]), descriptors


def _do(work: Work, order: Any, descriptors: list[int]) -> tuple[int, Any]:
    try:
        return _ANSWER, work(order, descriptors)
    except errors.JvsError as error:
        return _FAILED, (type(error).__name__, error.message, error.hint, error.facts)
    except Unsteady:
        return _UNSTEADY, None
    except Exception:
        import traceback

        return _FAULT, traceback.format_exc()
    finally:
        for fd in descriptors:
            os.close(fd)
