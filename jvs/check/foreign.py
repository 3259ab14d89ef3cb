"""What does not belong into `.jvs`: entries that no operation makes, in any of its directories.

Nothing reads them and nothing removes them; but somebody put them there, perhaps into the wrong place, and a copy of
the repository carries them along. Temporary names of ours are debris, which is reported elsewhere.
Source: jvs-format(5), Names on disk.
"""

from __future__ import annotations

import os
import re

from jvs.check.findings import WARNING, Finding
from jvs.check.structure import kind_of
from jvs.errors import PartialSnapshot, readable
from jvs.fs import listing, paths
from jvs.store import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.store import Store

FILE, DIRECTORY, ANY = "file", "directory", ""
_ID, _PLAN, _NAME = r"\d{13}-[0-9a-f]{8}", "[0-9a-f]{32}", r"[A-Za-z0-9._-]{1,64}"
KNOWN: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        (r"(format_version|repo_id|config\.toml|synced\.json)(\.tmp)?", FILE),
        # What cannot be an index is dropped, whatever it is.
        (r"index\.sqlite(\.[0-9a-f]{16})?(-journal|-wal|-shm)?", ANY),
        ("|".join(("hooks", *layout.DIRECTORIES, *layout.LATER_DIRECTORIES)), ANY),  # checked as such
        (r"\.gitignore", FILE),
    ),
    "descriptors": ((_ID + r"\.json(\.tmp)?", FILE),),
    "snapshots": ((_ID + r"(\.tmp)?", DIRECTORY), (_ID + r"\.(READY|leaves)", FILE)),
    "audit": ((r"audit(-\d{13})?\.jsonl", FILE), (r"torn-\d+-[0-9a-f]+\.bin", ANY)),
    "gc": (("plans|pins|tombstones|trash|reserve", ANY),),
    "gc/reserve": (("[0-9]", FILE),),
    "gc/plans": ((_PLAN + r"\.json(\.tmp)?", ANY),),  # what is no file is debris
    "gc/pins": ((_ID + r"\.json(\.tmp)?", FILE),),
    "gc/tombstones": ((_ID + r"\.json(\.tmp)?", FILE),),
    "annotations": ((_ID + r"\.json(\.tmp)?", FILE),),
    "tries": ((_ID, DIRECTORY),),
    "boundaries": ((_ID + r"\.json(\.tmp)?", FILE),),
    "undo": ((_ID + "|held", DIRECTORY),),
    "undo/held": ((_ID + r"(\.tmp)?", ANY),),
    "locks": (
        (
            r"(repo|gate|audit|index|config|intents|gc|pins|tries|annotations|receive|(worktree|head)-"
            + _NAME
            + r")\.lock",
            ANY,
        ),
    ),
}
"""Directory -> which names it holds, and of which kind. `worktrees`, `intents` and `gc/trash` are checked elsewhere."""
IN_WORKTREE = ((r"config\.json(\.tmp)?", FILE),)
IN_OPERATION = (
    (r"(op\.json|delta\.cbor|held\.cbor)(\.tmp)?", ANY),  # what is no file is damage
    (r"files(\.\d+)?|config|worktree|moving-.+", DIRECTORY),
)
IN_TRY = ((r"(try\.json|delta\.cbor)(\.tmp)?", ANY), ("files|work|excluded", DIRECTORY))
_OF_THE_SYSTEM = re.compile(r"\.nfs[0-9a-f]+|\.fuse_hidden[0-9a-f]+|\.snapshot|lost\+found")
"""What filesystems put into directories by themselves."""


def find_foreign(store: Store) -> list[Finding]:
    """Report entries in `.jvs` that jvs does not make."""
    here, found = store.layout, []
    for directory, known in KNOWN.items():
        forks = ((layout.FORKS, DIRECTORY),) if not directory and here.in_place else ()
        found += _find_in(here, directory, (*known, *forks))
    for directory, known in (("worktrees", IN_WORKTREE), ("undo", IN_OPERATION), ("tries", IN_TRY)):
        place = paths.below(here.jvs, directory.encode())
        for name in listing.names(place) if kind_of(place) == DIRECTORY else ():
            if name != "held" and kind_of(here.jvs / directory / name) == DIRECTORY:
                found += _find_in(here, f"{directory}/{name}", known)
    return found


def _find_in(here: layout.Layout, directory: str, known: tuple[tuple[str, str], ...]) -> list[Finding]:
    place = paths.below(here.jvs, os.fsencode(directory)) if directory else here.jvs
    if kind_of(place) != DIRECTORY:
        return []  # reported as missing, or as what it is
    found = []
    for name in listing.names(place):
        kind = kind_of(place / name)
        if _is_known(name, kind, known):
            continue
        shown = readable(f"{directory}/{name}".lstrip("/"))
        error = PartialSnapshot(
            f"'.jvs/{shown}' ({kind or 'gone by now'}) is nothing that jvs makes",
            hint=f"move it out of the repository: '{place / name}'",
        )
        if kind:
            found.append(Finding(error, severity=WARNING, path=place / name))
    return found


def _is_known(name: str, kind: str, known: tuple[tuple[str, str], ...]) -> bool:
    if _OF_THE_SYSTEM.fullmatch(name):
        return True
    return any(re.fullmatch(pattern, name) and wanted in (ANY, kind) for pattern, wanted in known)
