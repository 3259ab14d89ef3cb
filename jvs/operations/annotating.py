"""Giving a snapshot tags, another note, or facts, after it was taken.

Source: jvs-tag(1), jvs-note(1), jvs-meta(1).
"""

from __future__ import annotations

from jvs import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store


def tag(
    store: Store, target: str, tags: Iterable[str], worktree: str | None = None, *, delete: bool = False
) -> Descriptor:
    """Give a snapshot tags, or take them away; return its descriptor with the tags that count now.

    Durable: yes. Errors: E_NAME_INVALID, E_NOT_FOUND, E_AMBIGUOUS, E_BUSY, E_IO, E_NO_SPACE.
    """
    from jvs.store import annotation, refs

    listed, snapshot_id = names.check_listed(tags, "tags"), refs.resolve(store, target, worktree)
    if delete:
        return annotation.delete_tags(store, snapshot_id, listed)
    return annotation.add_tags(store, snapshot_id, listed)


def note(store: Store, target: str, text: str, worktree: str | None = None) -> Descriptor:
    """Give a snapshot another note. Durable, errors: as `tag`; E_USAGE for what is no text."""
    from jvs.store import annotation, refs

    return annotation.set_note(store, refs.resolve(store, target, worktree), text)


def meta(
    store: Store,
    target: str,
    values: Mapping[str, object],
    worktree: str | None = None,
    *,
    delete: Iterable[str] = (),
) -> Descriptor:
    """Set facts of a snapshot, and delete others, in one step. Durable, errors: as `tag`; E_USAGE for a value."""
    from jvs.store import annotation, refs

    checked, gone = names.check_meta(values), names.check_listed(delete, "delete")
    return annotation.set_meta(store, refs.resolve(store, target, worktree), checked, gone)


def shown(store: Store, target: str, worktree: str | None = None) -> Descriptor:
    """Return the descriptor of a snapshot with the tags, note and facts that count now. Errors: as `tag`."""
    from jvs.store import annotation, lineage, refs

    return annotation.shown(store.layout, lineage.load_visible(store, refs.resolve(store, target, worktree)))
