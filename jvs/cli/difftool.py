"""Handing two states to a program that compares directories.

A snapshot is shown read-only in a mount namespace of the program's own; where the system refuses that, it gets a copy.
The files now are the worktree itself.
Source: jvs-diff(1), --tool.
"""

from __future__ import annotations

import contextlib
import os

from jvs.errors import IOFailure, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.operations.looking import Shown
    from jvs.store.store import Store


def run(store: Store, command: str, before: str | None, after: str | None, worktree: str | None) -> int:
    """Run a program with two directories behind its own words; return its exit status.

    Errors: E_USAGE, E_NOT_FOUND for the program too; E_IO, E_NO_SPACE for a copy.
    """
    import shlex

    from jvs.operations import looking

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--tool '{command}': {error}", hint="close the quotes") from error
    if not words:
        raise UsageError("--tool names no program", hint="--tool meld, --tool 'diff -r'")
    with store.reading(), _directory(store) as place:
        return _run(store, words, looking.sides(store, before, after, worktree), place)


@contextlib.contextmanager
def _directory(store: Store) -> Iterator[str]:
    """Give a new directory that goes at the end, with the copies in it."""
    import tempfile

    from jvs.operations import looking

    place = tempfile.mkdtemp(prefix="jvs-diff-")
    try:
        yield place
    finally:
        looking.remove_copy(store, place)


def _run(store: Store, words: list[str], sides: tuple[Shown, Shown], place: str) -> int:
    import subprocess

    from jvs.fs import namespace, rooted
    from jvs.operations import looking

    own, opened = namespace.works(), rooted.Root.open(place)  # the place is ours alone: nobody can swap what is in it
    binds: list[namespace.Mount] = []
    for letter, side in zip("ab", sides, strict=True):
        name = f"{letter}-{side.label}"
        target = os.path.join(place, name)
        if side.is_live:
            words = [*words, side.directory]
            continue
        words = [*words, target]
        if side.payload is not None and not own:
            looking.copy_payload(store, side.payload, opened, name)
            continue
        os.mkdir(target)
        if side.directory:
            binds.append(namespace.Bind(side.directory, target))
    enter = namespace.prepare(binds) if own and binds else None
    try:
        code = subprocess.run(words, check=False, preexec_fn=enter).returncode
    except OSError as error:
        raise NotFound(f"'{words[0]}' cannot be run: {error.strerror}", hint="check its name and PATH") from error
    except subprocess.SubprocessError as error:
        raise IOFailure("a snapshot could not be shown in a namespace", hint="'jvs show' prints where it is") from error
    return 128 - code if code < 0 else code
