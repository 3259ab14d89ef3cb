"""What the commands that look into a snapshot share: TARGET:PATH, and printing a file of any size.

Source: jvs-cat(1), jvs-ls(1), jvs-cat-file(1).
"""

from __future__ import annotations

import os

from jvs.cli import arguments, output
from jvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.cli.output import Result
    from jvs.store.store import Store
    from jvs.ui.terminal import Terminal


def target_and_path(store: Store, word: str, worktree: str | None, *, relative: bool = True) -> tuple[str, bytes]:
    """Return the snapshot and the path of TARGET:PATH; the path is empty for TARGET alone.

    With `relative` a path that begins with `./` or `../` begins in the current directory.
    Errors: E_NOT_FOUND, E_AMBIGUOUS, E_PATH_ESCAPE.
    """
    from jvs.operations import looking

    target, path = looking.split_word(store, word, worktree)
    if path is not None and relative and path.split("/", 1)[0] in (".", ".."):
        found = arguments.worktree_paths(store, worktree, [path])
        return target, found[0] if found else b""
    return target, os.fsencode(path or "")


def print_file(store: Store, word: str, worktree: str | None, *, relative: bool = True) -> Result:
    """Return the result that prints a file of a snapshot; JSON says what the tree says of it.

    Errors: E_USAGE for what is no file, E_NOT_FOUND, E_AMBIGUOUS, E_PAYLOAD_HASH_MISMATCH, E_IO.
    """
    from jvs.operations import looking
    from jvs.ui import listing_text

    target, path = target_and_path(store, word, worktree, relative=relative)
    if not path:
        raise UsageError(f"'{word}' names no path", hint="write TARGET:PATH; 'jvs ls TARGET' lists what is there")
    held = looking.find(store, target, path)

    def content(screen: Terminal) -> bytes:
        if held.is_link or screen.tty:
            return looking.cat(store, target, path)
        with looking.opened(store, target, path) as chunks:
            return output.put_bytes(chunks)

    return output.Result(listing_text.facts([(held.path, held.entry)])[0], content)
