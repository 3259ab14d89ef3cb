"""Choosing what goes so that all snapshots together take no more than a number of bytes.

Source: jvs-gc-auto(1).
"""

from __future__ import annotations

from jvs.gc import plan as gc_plan
from jvs.gc import reach
from jvs.gc.retention import DROP_TAGGED, ONLY, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store


def within(store: Store, policy: Policy, max_bytes: int) -> Policy:
    """Return the policy that lets go what `policy` allows, oldest first, until the rest takes `max_bytes` at most.

    Heads, pins, tags and what the rules of `policy` keep stay, also when that is more. Space is measured as a removal
    frees it (`reach.measure`): what two snapshots share goes with the last of them, so that every prefix of the
    candidates is measured as a whole, a logarithm of them in number. Errors: as for `plan.make`.
    """
    rules: dict[str, object] = {**policy.rules, DROP_TAGGED: policy.drops_tagged}
    everything = sorted(gc_plan.published(store.layout))
    made = gc_plan.make(store, Policy({**rules, ONLY: everything}), estimate=False)
    oldest_first = [i for i in reversed(made.order) if i in made.candidates]
    used = _bytes(store, made.found, everything)
    most, least = len(oldest_first), 0
    while least < most:  # the smallest number of them that is enough
        middle = (least + most) // 2
        if used - _bytes(store, made.found, oldest_first[:middle]) <= max_bytes:
            most = middle
        else:
            least = middle + 1
    return Policy({**rules, ONLY: oldest_first[:least]})


def used_bytes(store: Store) -> int:
    """Return what all snapshots together take."""
    found = gc_plan.published(store.layout)
    return _bytes(store, found, list(found))


def _bytes(store: Store, found: dict[str, Descriptor], ids: list[str]) -> int:
    return reach.measure(store, found, ids, store.layout.payload).bytes if ids else 0
