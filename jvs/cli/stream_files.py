"""Where streams of snapshots come from and go to: standard streams, or files that the user names.

Source: jvs-send(1), jvs-receive(1).
"""

from __future__ import annotations

import contextlib
import os

from jvs import progress, system
from jvs.cli import streams
from jvs.errors import IOFailure, UsageError, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import BinaryIO

    from jvs.operations.travelling import Received, Sent
    from jvs.store.store import Store


PIPE_BYTES = 1 << 20
"""As many as an unprivileged process may have: both ends go to sleep less often."""


def send(store: Store, args: argparse.Namespace, targets: list[str]) -> Sent:
    """Write a stream to where the command line says. Errors: those of `operations.travelling.send`."""
    from jvs.operations import travelling

    have = [] if args.have is None else travelling.read_have(_read(args.have))
    options = {"since": args.since, "have": have, "only": args.only, "worktree": args.worktree}
    if args.output is None:
        if args.json:
            raise UsageError("stdout is for the stream", hint="name a file for it: -o FILE")
        if streams.are_screens()[1]:
            raise UsageError("a stream is not for a screen", hint="pipe it into 'jvs receive', or name a file: -o FILE")
        system.widen_pipe(1, PIPE_BYTES)
        with _reported_truly():
            sent = travelling.send(store, targets, streams.Stdout(), **options)
            streams.flush()
        return sent
    try:
        with _made(args.output) as file:
            sent = travelling.send(store, targets, file, **options)
    except OSError as error:
        raise from_oserror(error, f"writing the stream to '{args.output}'") from error
    progress.effect({"operation": "send", "target": args.output})
    return sent


@contextlib.contextmanager
def _reported_truly() -> Iterator[None]:
    """Say of a stream that stdout did not take that it is not complete; a reader that went away knows that."""
    try:
        yield
    except streams.OutputLost as error:
        if isinstance(error.reason, BrokenPipeError):
            raise
        streams.abandon(1)
        raise IOFailure(
            f"the stream could not be written: {error.reason.strerror or error.reason}",
            hint="what arrived of it is not complete: check where stdout goes, or name a file with -o",
        ) from error


@contextlib.contextmanager
def _made(name: str) -> Iterator[BinaryIO]:
    """Give a file to write, which gets its name when it is complete and durable; a device or pipe is written to."""
    if os.path.exists(name) and not os.path.isfile(name):
        with open(name, "wb") as there:
            yield there
        return
    from jvs.fs import durable, rooted

    place = rooted.at(name)
    part = place.plus(".part")
    try:
        with os.fdopen(rooted.open_at(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), "wb") as file:
            yield file
        durable.fsync_file(part)
        durable.rename(part, place)
        durable.fsync_dir(place.parent)
    finally:
        durable.unlink(part, missing_ok=True)


def receive(store: Store, name: str | None) -> Received:
    """Receive a stream from a file, or from stdin. Errors: those of `operations.travelling.receive`."""
    from jvs.operations import travelling

    with _opened(name) as file:
        return travelling.receive(store, file)


@contextlib.contextmanager
def _opened(name: str | None) -> Iterator[BinaryIO]:
    if name in (None, "-"):
        if streams.are_screens()[0]:
            raise UsageError("a stream does not come from a keyboard", hint="name a file, or pipe 'jvs send' into this")
        system.widen_pipe(0, PIPE_BYTES)
        yield streams.stdin()
        return
    try:
        file = open(str(name), "rb")  # noqa: SIM115
    except OSError as error:
        raise from_oserror(error, f"opening '{name}'") from error
    with file:
        yield file


def _read(name: str) -> bytes:
    with _opened(name) as file:
        try:
            return file.read()
        except OSError as error:
            raise from_oserror(error, f"reading '{name}'") from error
