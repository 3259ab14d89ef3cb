"""Planning a collection: what must stay and why, what can go, and how much space only the latter take.

A plan is a pure function of the repository and the policy: its id is a hash of policy, candidates and heads, so the
same repository gives the same plan, and a changed one another. Whatever cannot be read stops the planning: an
unreadable record might protect anything.
Source: jvs-gc-plan(1), jvs-mark-live(1), jvs-protocol(7), Collection.
"""

from __future__ import annotations

import contextlib
import hashlib
import stat

from jvs import canon, clock
from jvs.errors import IOFailure, JvsError, LineageBroken, NoSpace, NotFound, PathEscape, from_oserror
from jvs.fs import durable, listing, paths
from jvs.gc import reach, tombstone
from jvs.gc.retention import DROP_TAGGED, ONLY, Policy
from jvs.gc.roots import (
    HEAD,
    HEAD_FIELDS,
    INTENT,
    LINEAGE,
    PIN,
    RETENTION,
    TAG,
    Marks,
    mark_always,
    mark_bases,
    mark_lines,
    mark_tagged,
    texts_in,
)
from jvs.names import is_snapshot_id
from jvs.store import annotation, boundary, descriptor, held, intent, line_times, lineage, records, reserve, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypedDict

    from jvs.fs.rooted import Below
    from jvs.gc.retention import Rules
    from jvs.store.descriptor import Descriptor
    from jvs.store.layout import Layout
    from jvs.store.store import Store
    from jvs.store.worktree import WorktreeConfig

    class StoredPlan(TypedDict):
        """A plan as its file holds it, which is what its id is made of; `heads` gives head, latest and base."""

        plan_id: str
        retention_policy: Rules
        candidates: list[str]
        heads: dict[str, list[str | None]]

    class PlannedSnapshot(TypedDict):
        """What a plan says of one snapshot."""

        snapshot_id: str
        keep: bool
        reasons: list[str]
        worktree_name: str
        created_at: str
        note: str

    class PlanDocument(TypedDict):
        """A plan as `--json` prints it."""

        plan_id: str
        created_at: str
        retention_policy: Rules
        candidate_count: int
        candidates: list[str]
        protected_set: list[str]
        protected_by_pin: int
        protected_by_lineage: int
        protected_by_retention: int
        protected_by_tag: int
        protected_by_operation: int
        deletable_bytes_estimate: int
        estimate_exact: bool
        exact: bool
        snapshots: list[PlannedSnapshot]


PLAN_ID_DIGITS = 32
MAX_PLANS = 50


class Plan:
    """What a collection would do.

    Shape: `found` maps every published id to its descriptor; `candidates` are sorted ids; `heads` what the worktrees
    name. Units: `estimate_bytes` in bytes of disk space; a guess unless `estimate_exact`.
    """

    def __init__(self, policy: Policy, found: dict[str, Descriptor], marks: Marks) -> None:
        self.policy = policy
        self.found = found
        self.marks = marks
        self.annotated = found
        """The same with the tags and notes that count today."""
        self.candidates: list[str] = []
        self.order: list[str] = []
        self.heads: dict[str, list[str | None]] = {}
        self.estimate_bytes = 0
        self.estimate_exact = True

    def plan_id(self, also: set[str] | frozenset[str] = frozenset()) -> str:
        """Return the id of the plan; `also` are candidates that an interrupted run has already collected."""
        return _id_of(self.policy.as_json(), sorted({*self.candidates, *also}), self.heads)

    def why_dropped(self, snapshot_id: str) -> str:
        """Return why a candidate can go."""
        if self.policy.only is not None:
            return "it was chosen, and nothing protects it"
        if self.policy.is_set:
            return "no rule of the policy keeps it"
        return f"its worktree '{self.found[snapshot_id]['worktree_name']}' was deleted, and no line leads through it"

    def as_json(self) -> PlanDocument:
        """Return the plan as `jvs gc plan --json` prints it, and as its file holds it."""
        gone = set(self.candidates)
        return {
            "plan_id": self.plan_id(),
            "created_at": clock.rfc3339(),
            "retention_policy": self.policy.as_json(),
            "candidate_count": len(self.candidates),
            "candidates": self.candidates,
            "protected_set": sorted(self.marks.reasons),
            "protected_by_pin": self.marks.count(PIN),
            "protected_by_lineage": self.marks.count(HEAD, LINEAGE),
            "protected_by_retention": self.marks.count(RETENTION),
            "protected_by_tag": self.marks.count(TAG),
            "protected_by_operation": self.marks.count(INTENT),
            "deletable_bytes_estimate": self.estimate_bytes,
            "estimate_exact": self.estimate_exact,
            "exact": self.estimate_exact,
            "snapshots": [
                {
                    "snapshot_id": i,
                    "keep": i not in gone,
                    "reasons": [self.why_dropped(i)] if i in gone else self.marks.sentences(i),
                    "worktree_name": self.found[i]["worktree_name"],
                    "created_at": self.found[i]["created_at"],
                    "note": self.annotated[i]["note"],
                }
                for i in self.order
            ],
        }


def _id_of(policy: Rules, candidates: list[str], heads: object) -> str:
    content = {"version": 1, "policy": policy, "candidates": candidates, "heads": heads}
    return hashlib.sha256(canon.encode(content)).hexdigest()[:PLAN_ID_DIGITS]


def make(store: Store, policy: Policy, *, estimate: bool = True) -> Plan:
    """Plan a collection. Writes nothing; the caller holds the repository lock, shared or alone.

    Errors: E_DESCRIPTOR_CORRUPT, E_LINEAGE_BROKEN, E_PARTIAL_SNAPSHOT, E_IO: for whatever cannot be read.
    """
    layout = store.layout
    check_places(layout)
    found = published(layout)
    tombstones = tombstone.load_all(layout)
    plan = Plan(policy, found, Marks())
    configs = _configs(store)
    for name, config in configs.items():
        plan.heads[name] = [config[field] for field in HEAD_FIELDS]
    ends = {i: end for i in boundary.ids(layout) if (end := boundary.end_of(layout, i)) is not None}
    known = {**ends, **{i: s["descriptor"] for i, s in tombstones.items()}, **found}
    mark_always(store, plan.marks, configs)
    needed = held.needed(layout)  # what an undo needs of a candidate is moved to `undo/`: it has to be known
    in_order = [i for i in lineage.order(known) if i in found]
    times = line_times.trusted(known, clock.now_ns())
    visible = set(lineage.visible_ids(layout))
    overlay = annotation.Overlay(layout, strict=True)
    plan.annotated = {i: overlay.over(record) for i, record in found.items()}
    if not policy.drops_tagged:
        mark_tagged(plan.marks, {i: r for i, r in plan.annotated.items() if i in visible}, in_order, times)
    if policy.is_set:
        for snapshot_id, rules in policy.kept([plan.annotated[i] for i in in_order], times).items():
            for rule in rules:
                plan.marks.add(snapshot_id, RETENTION, rule)
    else:
        mark_lines(plan.marks, found, configs, known)
    mark_bases(plan.marks, found)
    plan.order = in_order
    plan.candidates = sorted(i for i in visible if i not in plan.marks.reasons)
    for snapshot_id in found.keys() - visible:
        plan.marks.add(snapshot_id, INTENT, "incomplete, or still being made: 'jvs doctor' says more")
    plan.marks.reasons = {i: r for i, r in plan.marks.reasons.items() if i in found}
    if estimate and plan.candidates:
        freed = reach.measure(store, found, plan.candidates, layout.payload, without=needed)
        plan.estimate_bytes, plan.estimate_exact = freed.bytes, freed.exact
    return plan


def check_places(layout: Layout) -> None:
    """Refuse links in place of the directories of collections. Errors: E_PATH_ESCAPE; E_IO when one is missing."""
    for path in (layout.plans, layout.pins, layout.tombstones, layout.trash):
        try:
            mode = paths.lstat(path).st_mode
        except OSError as error:
            raise from_oserror(error, f"looking at '{path}'") from error
        if not stat.S_ISDIR(mode):
            hint = "put the directory back; jvs follows no links in '.jvs'"
            raise PathEscape(f"'{path}' is not a directory", hint=hint, path=str(path))


def published(layout: Layout) -> dict[str, Descriptor]:
    """Read every descriptor under its final name, by id. Errors: E_DESCRIPTOR_CORRUPT, E_IO: nothing is left out."""
    try:
        names = listing.names(layout.descriptors)
    except OSError as error:
        raise from_oserror(error, "listing the descriptors") from error
    found = {}
    for name in names:
        if name.endswith(".json") and is_snapshot_id(name[:-5]):
            try:
                found[name[:-5]] = descriptor.load(layout, name[:-5])
            except NotFound:  # collected since we listed: only a plan without the lock sees that
                continue
    return found


def _configs(store: Store) -> dict[str, WorktreeConfig]:
    """Read every worktree's configuration; one that is just being made, and says so in an intent, may be missing."""
    try:
        names = listing.names(store.layout.worktrees)
    except OSError as error:
        raise from_oserror(error, "listing the worktrees") from error
    in_flight = {text for record in intent.load_all(store.layout) for text in texts_in(record)}
    found = {}
    for name in worktree.names(store.layout):
        try:
            found[name] = worktree.load(store.layout, name)
        except JvsError as error:
            path = store.layout.worktree_config(name)
            if name in in_flight and not paths.exists(path):
                continue
            if isinstance(error, NotFound):
                raise LineageBroken(
                    f"worktree '{name}' has no configuration",
                    hint="'jvs doctor' says what can be repaired",
                    path=str(path),
                ) from error
            raise
    odd = sorted(set(names) - set(found) - in_flight)
    if odd:
        raise LineageBroken(
            f"'worktrees/{odd[0]}' is not a worktree's configuration",
            hint=f"move '{store.layout.worktrees / odd[0]}' out of the repository if nothing needs it",
        )
    return found


def is_plan_id(text: str) -> bool:
    """Answer whether text is a plan id; nothing else may become part of a path."""
    return len(text) == PLAN_ID_DIGITS and set(text) <= set("0123456789abcdef")


def path_of(layout: Layout, plan_id: str) -> Below:
    """Return the file of a plan. Errors: E_NOT_FOUND for what is no plan id."""
    if not is_plan_id(plan_id):
        raise NotFound(f"there is no plan '{plan_id[:80]}'", hint="'jvs gc plan' makes one and prints its id")
    return layout.plans / f"{plan_id}.json"


def save(store: Store, plan: Plan) -> PlanDocument:
    """Write the plan's file and return what it holds.

    Durable: no; a plan that is lost is made again. On a full disk space is made by dropping the index, which is
    rebuilt. Errors: E_IO, E_NO_SPACE.
    """
    value = plan.as_json()
    path = path_of(store.layout, value["plan_id"])
    _forget_old(store.layout, path.name)
    kept: StoredPlan = {
        "plan_id": value["plan_id"],
        "retention_policy": value["retention_policy"],
        "candidates": value["candidates"],
        "heads": plan.heads,
    }
    data = canon.encode(kept) + b"\n"
    with_room(store, lambda: durable.replace_file(path, data, sync=False), "writing the plan")
    return value


def with_room(store: Store, write: Callable[[], None], doing: str) -> None:
    """Do a small write; when the disk is full, free the index and try once more. Errors: E_NO_SPACE, E_IO."""
    for last in (False, True):
        try:
            write()
            return
        except OSError as error:
            refused = from_oserror(error, doing)
            if last or not isinstance(refused, NoSpace) or not make_room(store):
                raise refused from error


def _forget_old(layout: Layout, new: str) -> None:
    """Keep the number of plans small; any of them can be made again."""
    try:
        others = [name for name in listing.names(layout.plans) if name != new]
    except OSError as error:
        raise from_oserror(error, "listing the plans") from error
    if len(others) < MAX_PLANS:
        return
    others.sort(key=lambda name: paths.lstat(layout.plans / name).st_mtime_ns)
    for name in others[: len(others) - MAX_PLANS + 1]:
        if is_plan_id(name.removesuffix(".tmp").removesuffix(".json")):
            durable.unlink(layout.plans / name, missing_ok=True)


def make_room(store: Store) -> bool:
    """Free the reserve and the index on a full disk, so that a few records can be written; False when there are none.

    The index goes for good only where inodes are short, or where it cannot be cut: it is rebuilt.
    """
    store.close()
    freed = reserve.release(store.layout)
    with contextlib.suppress(OSError):
        if paths.lstat(store.layout.index).st_size == 0:
            return freed
        try:
            durable.truncate(store.layout.index, 0)  # frees the blocks even while others have it open
        except OSError:  # btrfs may need a block to free one; removing a name is never refused for that
            durable.unlink(store.layout.index, missing_ok=True)
        freed = True
    return freed


class Stored:
    """A plan as its file holds it."""

    def __init__(self, policy: Policy, candidates: list[str]) -> None:
        self.policy = policy
        self.candidates = candidates


_STORED: records.Fields = {
    "plan_id": records.is_text,
    "retention_policy": records.is_object,
    "candidates": records.are_ids,
    "heads": records.is_object,
}


def load(store: Store, plan_id: str) -> Stored | None:
    """Return a stored plan; None when there is no such file. Errors: E_IO, E_GC_PLAN_MISMATCH when it was changed.

    The id is a hash of all that the file holds: one that holds anything else is not the plan that was made.
    """
    from jvs.errors import GcPlanMismatch

    path = path_of(store.layout, plan_id)
    try:
        value: StoredPlan = records.load(path, _STORED, GcPlanMismatch)
        policy = Policy(_checked_rules(value["retention_policy"]))
        whole = value.keys() == _STORED.keys() and value["plan_id"] == plan_id
        if not whole or plan_id != _id_of(value["retention_policy"], value["candidates"], value["heads"]):
            raise GcPlanMismatch(
                f"plan '{plan_id}' was changed after it was made", hint="make a new one with 'jvs gc plan'"
            )
        return Stored(policy, value["candidates"])
    except FileNotFoundError:
        return None
    except (IOFailure, GcPlanMismatch):
        raise
    except (JvsError, TypeError, ValueError) as error:
        raise GcPlanMismatch(f"plan '{plan_id}' is damaged", hint="make a new one with 'jvs gc plan'") from error


def _checked_rules(rules: Rules) -> Mapping[str, object]:
    from jvs.store.settings import check_value

    checked: dict[str, object] = {}
    for key, value in rules.items():
        if key == ONLY:
            if not records.are_ids(value):
                raise ValueError(key)
            checked[key] = value
        else:
            checked[key] = bool(value) if key == DROP_TAGGED else check_value(f"retention.{key}", value, "plan")
    return checked
