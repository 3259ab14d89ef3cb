"""The payloads of snapshots that are being received: each is begun with the base by the best way that there is here.

On btrfs it is a writable snapshot of the base, elsewhere its files are shared block by block, or are other names of the
same files. Source: jvs-stream(5); jvs-engines(7).
"""

from __future__ import annotations

import contextlib
import os

from jvs.engine import base as engine
from jvs.engine import hardlinks, registry
from jvs.engine.btrfs import ioctl
from jvs.errors import IOFailure, PayloadHashMismatch
from jvs.fs import durable, listing, metadata, paths
from jvs.fs.losses import Losses
from jvs.store import leaf_lists, node_store
from jvs.stream.building import Builder
from jvs.stream.written import Base, hash_built
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.engine.options import EngineOptions
    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.stream.items import ItemReader
    from jvs.tree import scan
    from jvs.tree.leaves import Lists


LINKS = "hard-links"
"""How `copy` calls it when files got other names."""


def build(
    store: Store,
    record: Descriptor,
    base: Descriptor | None,
    place: Below | None,
    reader: ItemReader,
    losses: Losses,
) -> scan.ScanResult:
    """Make the payload of a snapshot under its temporary name from a stream; return its tree, which is the right one.

    It is built on `base`, whose files are at `place`. What came is hashed while it is written, and what is the same as
    in the base is not read again.

    Errors: E_PAYLOAD_HASH_MISMATCH for any other tree; E_PARTIAL_SNAPSHOT, E_PATH_ESCAPE; E_NO_SPACE, E_IO.
    """
    target = store.layout.payload_tmp(record["snapshot_id"])
    kept_all = _begin(store, target, place)
    with contextlib.ExitStack() as opened:
        root = paths.open_dir(target)
        opened.callback(os.close, root)
        below = -1
        if place is not None:
            below = paths.open_dir(place)
            opened.callback(os.close, below)
        metadata.drop_inherited(root)  # the last item of the tree says what it is
        builder = Builder(root, below, most_bytes=record["payload"]["bytes"], losses=losses)
        builder.build(reader)
    if ioctl.is_btrfs(target) and ioctl.is_subvolume(target):
        ioctl.set_flags(target, ioctl.RDONLY)  # what can still be written to is never published
    plain = node.is_plain(record["hash_algorithm"])
    if plain or (base is not None and (not kept_all or node.is_plain(base["hash_algorithm"]))):
        found = node_store.hash_payload(target, jobs=os.cpu_count() or 1, plain=plain)
    else:
        known = None if base is None else Base(store, base, _lists_of(store, base))
        found = hash_built(target, builder.written, known, jobs=os.cpu_count() or 1)
        _carry_lists(found, known)
    _check(record, found, losses)
    return found


def _lists_of(store: Store, base: Descriptor) -> Callable[[], Lists]:
    return lambda: leaf_lists.load(store.layout, base["snapshot_id"])


def _carry_lists(found: scan.ScanResult, base: Base | None) -> None:
    """Add the leaves of large files that are as in the base, and were not read."""
    lists = {} if base is None else {d: one for d, one in base.lists().items() if d not in found.lists}
    if lists:
        held = {entry[4] for data in found.nodes.values() for entry in node.decode_node(data)}
        found.lists.update({digest: one for digest, one in lists.items() if digest in held})


def _check(record: Descriptor, found: scan.ScanResult, losses: Losses) -> None:
    if found.root_hash == record["payload_root_hash"] and found.payload() == record["payload"]:
        return
    lost = losses.as_json()
    why = f"; '{lost[0]['path']}' could not be made as it was: {lost[0]['why']}" if lost else ""
    raise PayloadHashMismatch(
        f"what was received of snapshot '{record['snapshot_id']}' is not what was sent{why}",
        hint="use a place where all of it can be kept, or root's rights"
        if lost
        else "send it again after verifying the snapshot there and its base here: nothing was received",
        snapshot_id=record["snapshot_id"],
    )


def _begin(store: Store, target: Below, base: Below | None) -> bool:
    """Make the directory that a snapshot is built in: empty, or with all that its base holds; False if it lost some."""
    options = store.settings.engine_options()
    if base is None:
        registry.best_for(target.parent, None, options).make_worktree(target)
        return True
    chosen = registry.pick(None, base, target.parent, options)
    if chosen.name == engine.COPY:
        return not _link_all(base, target).as_json()
    request = engine.Request(base, target, frozen=True, hash=False, jobs=os.cpu_count() or 1)
    return not (chosen.fork if chosen.name == engine.BTRFS else chosen.clone)(request).degraded


def copy(base: Below, target: Below, options: EngineOptions) -> tuple[str, list[Loss]]:
    """Copy a payload on its filesystem by the best way that there is here; return which one, and what was not kept.

    Where nothing else is shared the files get other names: `LINKS`. Durable: no. Errors: E_IO, E_NO_SPACE; OSError.
    """
    chosen = registry.pick(None, base, target.parent, options)
    if chosen.name == engine.COPY:
        return LINKS, _link_all(base, target).as_json()
    made = chosen.clone(engine.Request(base, target, frozen=True, hash=False, jobs=os.cpu_count() or 1))
    return made.engine, made.degraded


def _link_all(base: Below, target: Below) -> Losses:
    """Make a tree of directories in which the files are other names of those of another tree. Errors: OSError."""
    listing.allow_deep_trees()
    durable.make_dir(target)
    source, new, losses = paths.open_dir(base), paths.open_dir(target), Losses()
    try:
        metadata.drop_inherited(new)
        _link_below(source, new, b"", losses)
    finally:
        os.close(source)
        os.close(new)
    return losses


def _link_below(source: int, new: int, path: bytes, losses: Losses) -> None:
    names, stats = listing.list_dir(source)
    for name, st in zip(names, stats, strict=True):
        here = listing.relative(path, name)
        if listing.kind_of(st.st_mode) != listing.DIR:
            error = hardlinks.link(source, name, new, name)
            if error is not None and error.errno not in hardlinks.COPY_INSTEAD:
                raise error
            if error is not None and metadata.copy_entry(source, name, new, st, here, losses) is None:
                raise IOFailure(
                    f"'{os.fsdecode(here)}' of the base cannot be made again", hint="use root's rights to receive it"
                )
            continue
        child = paths.open_dir(name, source, one_mount=True)
        try:
            made = metadata.make_dir(name, new)
            try:
                metadata.drop_inherited(made)
                _link_below(child, made, here, losses)
            finally:
                os.close(made)
        finally:
            os.close(child)
    metadata.apply_dir(new, source, os.fstat(source), path, losses)
