"""Choosing an engine: by name, the best that works between two places, or the one that fits what is there.

Which one was used is never a secret: an engine that was asked for and does not work here is an error, not another
engine.
Source: jvs-engines(7).
"""

from __future__ import annotations

from jvs.engine.base import Engine, Probe, nearest, remove_plain
from jvs.engine.btrfs.ioctl import is_btrfs
from jvs.engine.options import BTRFS, COPY, JUICEFS, NAMES, REFLINK, EngineOptions
from jvs.errors import IOFailure, UsageError
from jvs.fs import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below


def get(name: str, options: EngineOptions) -> Engine:
    """Return an engine by its name. Errors: E_USAGE."""
    if name == JUICEFS:
        from jvs.engine.juicefs.engine import JuiceFSEngine

        return JuiceFSEngine(options)
    if name == BTRFS:
        from jvs.engine.btrfs.engine import BtrfsEngine

        return BtrfsEngine(options)
    if name == REFLINK:
        from jvs.engine.reflink import ReflinkEngine

        return ReflinkEngine(options)
    if name == COPY:
        from jvs.engine.copy import CopyEngine

        return CopyEngine(options)
    raise UsageError(f"there is no engine '{name}'", hint=f"choose one of: {', '.join(NAMES)}")


def probe_all(source_dir: Below, store_dir: Below, options: EngineOptions) -> list[Probe]:
    """Ask all engines, in order of preference."""
    return [get(name, options).probe(source_dir, store_dir) for name in NAMES]


def pick(requested: str | None, source_dir: Below, store_dir: Below, options: EngineOptions) -> Engine:
    """Return the best engine that works, or the one that was asked for.

    Errors: E_USAGE for an unknown name; E_IO when the one that was asked for does not work here.
    """
    from jvs.engine.juicefs import mount as juicefs_mount

    names = NAMES if requested in (None, "", "auto") else (requested,)
    reason = ""
    for name in names:
        assert name is not None
        if name == JUICEFS and len(names) > 1 and not juicefs_mount.is_juicefs(nearest(source_dir)):
            continue
        if name == BTRFS and len(names) > 1 and not is_btrfs(nearest(source_dir)):
            continue
        engine = get(name, options)
        answer = engine.probe(source_dir, store_dir)
        if answer.works:
            return engine
        reason = answer.why
    raise IOFailure(
        f"the engine '{names[0]}' does not work here: {reason}",
        hint="run 'jvs info' to see which engines do, or leave the choice to jvs ('jvs config unset default_engine')",
        engine=names[0],
        reason=reason,
    )


def pick_for_fork(requested: str | None, source_dir: Below, parent: Below, options: EngineOptions) -> Engine:
    """Return the engine that makes a worktree below `parent` out of a directory; errors as for `pick`.

    A directory that is not a subvolume cannot be snapshotted by btrfs, even where that engine was asked for: its
    files are shared block by block, and the worktree that comes of it is a subvolume.
    """
    if requested == BTRFS and is_btrfs(parent) and not get(BTRFS, options).probe(source_dir, parent).works:
        requested = REFLINK
    return pick(requested, source_dir, parent, options)


def best_for(parent: Below, requested: str | None, options: EngineOptions) -> Engine:
    """Return the engine that makes empty worktrees below a directory: subvolumes where that is btrfs.

    Errors: E_USAGE for an unknown name.
    """
    if requested not in (None, "", "auto"):
        get(str(requested), options)
    return get(BTRFS if is_btrfs(parent) else COPY, options)


def remove_any(path: Below, options: EngineOptions) -> None:
    """Remove a payload, a worktree, or anything else that jvs displaced, in the fastest way that fits what it is.

    Nothing there is success. Errors: E_IO.
    """
    from jvs.engine.juicefs import mount as juicefs_mount

    if not paths.exists(path):
        return
    if paths.is_dir(path):
        if juicefs_mount.is_juicefs(path):
            name = JUICEFS
        else:
            name = BTRFS if is_btrfs(path) else COPY
        get(name, options).remove(path)
    else:
        remove_plain(path)
