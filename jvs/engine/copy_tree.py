"""A copy of a whole tree, from the stamps before it to what came of it: what the engines `copy` and `reflink-copy` do.

Source: jvs-engines(7); jvs-protocol(7), Publish, steps 3 and 4.
"""

from __future__ import annotations

from jvs import clock
from jvs.engine import base as engine
from jvs.engine import traits
from jvs.engine.base import Cloned, Request
from jvs.engine.copier import Copier
from jvs.tree import path_filter, racy, scan, workers


def run(request: Request, *, engine_name: str, share: bool) -> Cloned:
    """Copy a tree. Errors: E_EXISTS, E_IO, E_NO_SPACE, E_CLONE_INCOMPLETE for mounts inside."""
    engine.check_source(request.source)
    engine.check_target(request.target)
    with_inode, btrfs = traits.scan_flags(request.source)
    moment = clock.now_ns()
    traits.commit_writes(request.source)
    lasting = racy.writeback(request.source, moment, juicefs=not with_inode) if request.hash else moment
    stamps_hold = lasting != racy.NEVER_NS
    copier = Copier(request, share=share, stamps_hold=stamps_hold)

    def walk() -> scan.ScanResult:
        scanner = scan.Scanner(
            copier,
            rows=request.rows if request.hash else None,
            known=request.known,
            with_inode=with_inode,
            moment_ns=lasting if request.hash else 0,
            nodes=request.hash,
            btrfs=btrfs,
            one_mount=request.as_worktree,
            exclude=request.exclude,
            only=path_filter.chosen_names(request.paths) if request.paths is not None else None,
        )
        return scanner.run(request.source)

    found: scan.ScanResult | None
    try:
        found = walk()
    except workers.Unsteady:  # one process alone can deal with what becomes something else while it is copied
        engine.remove_plain(request.target)
        copier = Copier(request, share=share, stamps_hold=stamps_hold)
        copier.workers.processes = 1
        found = walk()
    for path, why in found.unreadable:
        copier.losses.add(path, "unreadable", why)
    found.source_stamps = True
    found.plain = not copier.odd
    if request.paths is not None:
        found.rows, found.gone = [], []
    if copier.stale or not request.hash:
        found = None
    return Cloned(engine_name, copier.losses.as_json(), found, moment, with_inode=with_inode)
