"""Planning a collection: what must stay and why, what can go, and how many bytes only the latter hold.

A plan is a pure function of the repository and the policy: its id is a hash of policy, candidates and heads, so the
same repository gives the same plan, and a changed one another. Whatever cannot be read stops the planning: an
unreadable record might protect anything.
Source: jvs-gc-plan(1), jvs-mark-live(1), jvs-protocol(7), Gc.
"""

from __future__ import annotations

import hashlib
import os
import stat

from jvs import canon, clock, descriptor, durable, intent, lineage, pins, records, tree, trees, walk, worktree
from jvs.errors import IOFailure, JvsError, LineageBroken, NoSpace, NotFound, PartialSnapshot, PathEscape, from_oserror
from jvs.names import is_operation_id, is_snapshot_id
from jvs.retention import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jvs.layout import Layout
    from jvs.store import Store

PLAN_ID_DIGITS = 32
MAX_PLANS = 50
HEAD, LINEAGE, PIN, INTENT, UNDO, RETENTION = "head", "lineage", "pin", "intent", "undo", "retention"
_HEAD_FIELDS = ("head_snapshot_id", "latest_snapshot_id", "base_snapshot_id")


class Marks:
    """What a collection must keep, and why. Shape: `reasons` maps ids to (category, sentence) pairs."""

    def __init__(self) -> None:
        self.reasons: dict[str, list[tuple[str, str]]] = {}

    def add(self, snapshot_id: str | None, category: str, sentence: str) -> None:
        """Note one reason to keep a snapshot; the same sentence once."""
        if snapshot_id is not None and (category, sentence) not in self.reasons.setdefault(snapshot_id, []):
            self.reasons[snapshot_id].append((category, sentence))

    def sentences(self, snapshot_id: str) -> list[str]:
        """Return why a snapshot stays."""
        return [sentence for _, sentence in self.reasons.get(snapshot_id, [])]

    def count(self, *categories: str) -> int:
        """Return how many snapshots have a reason of one of these categories."""
        return sum(1 for found in self.reasons.values() if any(category in categories for category, _ in found))


class Plan:
    """What a collection would do.

    Shape: `found` maps every published id to its descriptor; `candidates` are sorted ids; `heads` what the worktrees
    name. Units: `estimate_bytes` in bytes; exact only when `estimate_exact`, else the most that can come free.
    """

    def __init__(self, policy: Policy, found: dict[str, dict[str, Any]], marks: Marks) -> None:
        self.policy = policy
        self.found = found
        self.marks = marks
        self.candidates: list[str] = []
        self.order: list[str] = []
        self.heads: dict[str, list[str | None]] = {}
        self.estimate_bytes = 0
        self.estimate_exact = True

    def plan_id(self, also: set[str] | frozenset[str] = frozenset()) -> str:
        """Return the id of the plan; `also` are candidates that an interrupted run has already collected."""
        content = {
            "version": 1,
            "policy": self.policy.as_json(),
            "candidates": sorted({*self.candidates, *also}),
            "heads": self.heads,
        }
        return hashlib.sha256(canon.encode(content)).hexdigest()[:PLAN_ID_DIGITS]

    def why_dropped(self, snapshot_id: str) -> str:
        """Return why a candidate can go."""
        if self.policy.is_set:
            return "no rule of the policy keeps it"
        return f"its worktree '{self.found[snapshot_id]['worktree_name']}' is gone, and no line leads through it"

    def as_json(self) -> dict[str, Any]:
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
            "protected_by_operation": self.marks.count(INTENT, UNDO),
            "deletable_bytes_estimate": self.estimate_bytes,
            "estimate_exact": self.estimate_exact,
            "snapshots": [
                {
                    "snapshot_id": i,
                    "keep": i not in gone,
                    "reasons": [self.why_dropped(i)] if i in gone else self.marks.sentences(i),
                    "worktree_name": self.found[i]["worktree_name"],
                    "created_at": self.found[i]["created_at"],
                    "note": self.found[i]["note"],
                }
                for i in self.order
            ],
        }


def make(store: Store, policy: Policy, *, estimate: bool = True) -> Plan:
    """Plan a collection. Writes nothing; the caller holds the repository lock, shared or alone.

    Errors: E_DESCRIPTOR_CORRUPT, E_LINEAGE_BROKEN, E_PARTIAL_SNAPSHOT, E_IO: for whatever cannot be read.
    """
    layout = store.layout
    check_places(layout)
    found = published(layout)
    stones = tombstones(layout)
    plan = Plan(policy, found, Marks())
    configs = _configs(store)
    for name, config in configs.items():
        plan.heads[name] = [config[field] for field in _HEAD_FIELDS]
    known = {**{i: s["descriptor"] for i, s in stones.items()}, **found}
    _mark_always(store, plan, configs)
    in_order = [i for i in lineage.order(known) if i in found]
    if policy.is_set:
        for snapshot_id, rules in policy.kept([found[i] for i in in_order]).items():
            for rule in rules:
                plan.marks.add(snapshot_id, RETENTION, rule)
    else:
        _mark_lines(plan, configs, known)
    visible = set(lineage.visible_ids(layout))
    plan.order = in_order
    plan.candidates = sorted(i for i in visible if i not in plan.marks.reasons)
    for snapshot_id in found.keys() - visible:
        plan.marks.add(snapshot_id, INTENT, "not whole, or still being made: 'jvs doctor' says more")
    plan.marks.reasons = {i: r for i, r in plan.marks.reasons.items() if i in found}
    if estimate and plan.candidates:
        plan.estimate_bytes, plan.estimate_exact = _estimate(store, plan)
    return plan


def check_places(layout: Layout) -> None:
    """Refuse links in place of the directories of collections. Errors: E_PATH_ESCAPE; E_IO when one is missing."""
    for path in (layout.plans, layout.pins, layout.tombstones, layout.trash):
        try:
            mode = os.lstat(path).st_mode
        except OSError as error:
            raise from_oserror(error, f"looking at '{path}'") from error
        if not stat.S_ISDIR(mode):
            hint = "put the directory back; jvs follows no links in '.jvs'"
            raise PathEscape(f"'{path}' is not a directory", hint=hint, path=path)


def published(layout: Layout) -> dict[str, dict[str, Any]]:
    """Read every descriptor under its final name, by id. Errors: E_DESCRIPTOR_CORRUPT, E_IO: nothing is left out."""
    try:
        listing = sorted(os.listdir(layout.descriptors))
    except OSError as error:
        raise from_oserror(error, "listing the descriptors") from error
    found = {}
    for name in listing:
        if name.endswith(".json") and is_snapshot_id(name[:-5]):
            try:
                found[name[:-5]] = descriptor.load(layout, name[:-5])
            except NotFound:  # collected since we listed: only a plan without the lock sees that
                continue
    return found


def tombstones(layout: Layout) -> dict[str, dict[str, Any]]:
    """Read every tombstone, by id.

    Shape: `version`, `snapshot_id`, `descriptor`, `gc_state`, `plan_id`, `reason`, `marked_at`.
    Errors: E_LINEAGE_BROKEN when one is damaged: lines lead through them; E_IO.
    """
    try:
        listing = sorted(os.listdir(layout.tombstones))
    except OSError as error:
        raise from_oserror(error, "listing the tombstones") from error
    found = {}
    for name in listing:
        if name.endswith(".json") and is_snapshot_id(name[:-5]):
            try:
                found[name[:-5]] = load_tombstone(layout, name[:-5])
            except FileNotFoundError:
                continue
    return found


STONE_FIELDS = {
    "snapshot_id": records.is_id,
    "descriptor": records.is_object,
    "gc_state": lambda value: value in ("marked", "committed", "failed"),
    "plan_id": records.is_text,
    "reason": records.is_text,
    "marked_at": records.is_time,
}


def load_tombstone(layout: Layout, snapshot_id: str) -> dict[str, Any]:
    """Read one tombstone. Errors: FileNotFoundError; E_LINEAGE_BROKEN when damaged; E_IO."""
    path = os.path.join(layout.tombstones, snapshot_id + ".json")
    stone = records.load(path, STONE_FIELDS, LineageBroken)
    shaped = all(
        key in stone["descriptor"] and fits(stone["descriptor"][key]) for key, fits in descriptor.FIELDS.items()
    )
    try:
        if stone["snapshot_id"] != snapshot_id or not shaped:
            raise LineageBroken("it is that of another snapshot", hint="")
        descriptor.check(stone["descriptor"], snapshot_id)
    except JvsError as error:
        raise LineageBroken(
            f"tombstone '{snapshot_id}' is damaged: {error.message}",
            hint=f"restore '{path}' from a copy of the repository: the line leads through it",
            path=path,
        ) from error
    return stone


def _configs(store: Store) -> dict[str, dict[str, Any]]:
    """Read every worktree's configuration; one that is just being made, and says so in an intent, may be missing."""
    try:
        listing = os.listdir(store.layout.worktrees)
    except OSError as error:
        raise from_oserror(error, "listing the worktrees") from error
    in_flight = {text for record in intent.load_all(store.layout) for text in texts_in(record)}
    found = {}
    for name in worktree.names(store.layout):
        try:
            found[name] = worktree.load(store.layout, name)
        except JvsError as error:
            path = store.layout.worktree_config(name)
            if name in in_flight and not os.path.lexists(path):
                continue
            if isinstance(error, NotFound):
                raise LineageBroken(
                    f"worktree '{name}' has no configuration",
                    hint="'jvs doctor' says what can be repaired",
                    path=path,
                ) from error
            raise
    odd = sorted(set(listing) - set(found) - in_flight)
    if odd:
        raise LineageBroken(
            f"'worktrees/{odd[0]}' is not a worktree's configuration",
            hint=f"move '{os.path.join(store.layout.worktrees, odd[0])}' out of the repository if nothing needs it",
        )
    return found


def _mark_always(store: Store, plan: Plan, configs: dict[str, dict[str, Any]]) -> None:
    """Mark what no policy thins: heads, latests, bases, pins, and what operations or `undo/` name."""
    for name, config in configs.items():
        for field in _HEAD_FIELDS:
            plan.marks.add(config[field], HEAD, f"{field.split('_')[0]} of '{name}'")
    now = clock.now_ns()
    for pin in pins.list_all(store.layout):
        if not pins.has_expired(pin, now):
            until = f" until {pin['expires_at']}" if pin["expires_at"] else ""
            reason = f": {pin['reason']}" if pin["reason"] else ""
            plan.marks.add(pin["snapshot_id"], PIN, f"pinned{until}{reason}")
    for record in intent.load_all(store.layout):
        if record["operation"] != "gc_run":  # it names what is to go
            for snapshot_id in _ids_in(record):
                plan.marks.add(snapshot_id, INTENT, f"operation {record['operation_id']} needs it")
    for operation_id, snapshot_id in undo_references(store.layout):
        plan.marks.add(snapshot_id, UNDO, f"'jvs undo' of operation {operation_id} needs it")


def _ids_in(value: Any) -> Iterator[str]:
    """Yield every snapshot id anywhere in a JSON value."""
    return (text for text in texts_in(value) if is_snapshot_id(text))


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text anywhere in a JSON value, keys included."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack.extend([*item.keys(), *item.values()])
        elif isinstance(item, list):
            stack.extend(item)


def undo_references(layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield (operation, snapshot) for every snapshot that a kept operation names.

    Errors: E_PARTIAL_SNAPSHOT for a record that is damaged. An operation without a record cannot be undone.
    """
    try:
        listing = sorted(os.listdir(layout.undo))
    except OSError as error:
        raise from_oserror(error, "listing the operations that can be undone") from error
    for operation_id in listing:
        if not is_operation_id(operation_id):
            continue
        directory = os.path.join(layout.undo, operation_id)
        for path in (os.path.join(directory, "op.json"), os.path.join(directory, "config.json")):
            try:
                record = records.load(path, {}, PartialSnapshot)
            except (FileNotFoundError, NotADirectoryError):
                continue
            for snapshot_id in _ids_in(record):
                yield operation_id, snapshot_id


def _mark_lines(plan: Plan, configs: dict[str, dict[str, Any]], known: dict[str, dict[str, Any]]) -> None:
    """Mark what keeps lines whole where no policy says otherwise.

    Ancestors of what the worktrees name, and all leaves of worktrees that exist with their ancestors.
    """
    walked: set[str] = set()
    for name, config in configs.items():
        for field in _HEAD_FIELDS:
            _mark_ancestors(plan, known, config[field], f"on the line of '{name}'", walked)
    for leaf in lineage.leaves(plan.found):
        name = plan.found[leaf]["worktree_name"]
        if name in configs:
            if leaf not in plan.marks.reasons:
                plan.marks.add(leaf, LINEAGE, f"tip of a line of '{name}'")
            _mark_ancestors(plan, known, leaf, f"on a line of '{name}'", walked)


def _mark_ancestors(
    plan: Plan, known: dict[str, dict[str, Any]], start: str | None, sentence: str, walked: set[str]
) -> None:
    """Walk from a snapshot to the first one, or to what was walked before.

    Errors: E_LINEAGE_BROKEN for a missing parent or a cycle.
    """
    here, seen = start, set()
    while here is not None and here not in walked:
        record = known.get(here)
        if record is None or here in seen:
            problem = "is missing" if record is None else "leads back to itself"
            raise LineageBroken(
                f"snapshot '{here}' on the line of '{start}' {problem}",
                hint="nothing is collected while a line is broken: 'jvs doctor' says what is damaged",
                snapshot_id=here,
            )
        seen.add(here)
        here = record["parent_id"]
        if here is not None:
            plan.marks.add(here, LINEAGE, sentence)
    walked |= seen


class _Reach:
    """The nodes and file contents that trees hold; a tree that the index does not know makes it incomplete."""

    def __init__(self, store: Store) -> None:
        self._trees = trees.Trees(store)
        self.nodes: set[bytes] = set()
        self.files: dict[bytes, int] = {}
        self.unknown: list[dict[str, Any]] = []

    def take(self, record: dict[str, Any]) -> None:
        """Add the tree of a snapshot, each node once."""
        root = self._trees.root(record, rebuild=False)
        if root is None:
            self.unknown.append(record)
            return
        self.nodes.add(bytes.fromhex(record["payload_root_hash"]))
        stack = [root[2]]
        while stack:
            digest = stack.pop()
            if digest in self.nodes:
                continue
            data = self._trees.data(digest)
            if data is None:
                self.unknown.append(record)
                return
            self.nodes.add(digest)
            for entry in tree.decode_node(data):
                if entry[1] == walk.DIR:
                    stack.append(entry[4])
                elif entry[1] == walk.FILE:
                    self.files[entry[4]] = entry[3]


def _estimate(store: Store, plan: Plan) -> tuple[int, bool]:
    """Return the bytes of file contents that only candidates hold, and whether all trees were known.

    A candidate whose tree the index does not know counts whole; what an unknown snapshot that stays shares with the
    candidates cannot be taken off. So an inexact number is the most that can come free, never less.
    """
    gone = set(plan.candidates)
    kept, going = _Reach(store), _Reach(store)
    for snapshot_id in plan.order:
        (going if snapshot_id in gone else kept).take(plan.found[snapshot_id])
    total = sum(size for digest, size in going.files.items() if digest not in kept.files)
    for record in going.unknown:
        size = record["payload"].get("bytes")
        total += size if records.is_count(size) else 0
    return total, not kept.unknown and not going.unknown


def live_nodes(store: Store, found: dict[str, dict[str, Any]]) -> set[bytes] | None:
    """Return the index nodes that the snapshots and the worktrees' rows need; None when some are not known."""
    reach = _Reach(store)
    for record in found.values():
        reach.take(record)
    for name in worktree.names(store.layout):
        reach.nodes.update(node for _, node in store.index().rows(name).values())
    return None if reach.unknown else reach.nodes


def is_plan_id(text: str) -> bool:
    """Answer whether text is a plan id; nothing else may become part of a path."""
    return len(text) == PLAN_ID_DIGITS and set(text) <= set("0123456789abcdef")


def path_of(layout: Layout, plan_id: str) -> str:
    """Return the file of a plan. Errors: E_NOT_FOUND for what is no plan id."""
    if not is_plan_id(plan_id):
        raise NotFound(f"there is no plan '{plan_id[:80]}'", hint="'jvs gc plan' makes one and prints its id")
    return os.path.join(layout.plans, plan_id + ".json")


def save(store: Store, plan: Plan) -> dict[str, Any]:
    """Write the plan's file and return what it holds.

    Durable: no; a plan that is lost is made again. On a full disk room is made by dropping the index, which is
    rebuilt. Errors: E_IO, E_NO_SPACE.
    """
    value = plan.as_json()
    path = path_of(store.layout, value["plan_id"])
    _forget_old(store.layout, os.path.basename(path))
    data = (
        canon.encode({key: value[key] for key in ("plan_id", "created_at", "retention_policy", "candidates")}) + b"\n"
    )
    try:
        durable.replace_file(path, data, sync=False)
    except OSError as error:
        refused = from_oserror(error, "writing the plan")
        if not isinstance(refused, NoSpace) or not make_room(store):
            raise refused from error
        durable.replace_file(path, data, sync=False)
    return value


def _forget_old(layout: Layout, new: str) -> None:
    """Keep the number of plans small; any of them can be made again."""
    try:
        others = [name for name in os.listdir(layout.plans) if name != new]
    except OSError as error:
        raise from_oserror(error, "listing the plans") from error
    if len(others) < MAX_PLANS:
        return
    others.sort(key=lambda name: os.lstat(os.path.join(layout.plans, name)).st_mtime_ns)
    for name in others[: len(others) - MAX_PLANS + 1]:
        if is_plan_id(name.removesuffix(".tmp").removesuffix(".json")):
            durable.unlink(os.path.join(layout.plans, name), missing_ok=True)


def make_room(store: Store) -> bool:
    """Free the index on a full disk, so that a few small records can be written; False when there is none."""
    store.close()
    try:
        size = os.lstat(store.layout.index).st_size
    except OSError:
        return False
    if size == 0:
        return False
    durable.truncate(store.layout.index, 0)  # frees the blocks even while others have it open; empty means rebuild
    return True


def load_policy(store: Store, plan_id: str) -> Policy | None:
    """Return the policy of a stored plan; None when there is no such file. Errors: E_IO, E_GC_PLAN_MISMATCH."""
    from jvs.errors import GcPlanMismatch

    path = path_of(store.layout, plan_id)
    fields = {"plan_id": records.is_text, "retention_policy": records.is_object, "candidates": records.is_list}
    try:
        value = records.load(path, fields, GcPlanMismatch)
        return Policy(_checked_rules(value["retention_policy"]))
    except FileNotFoundError:
        return None
    except (IOFailure, GcPlanMismatch):
        raise
    except (JvsError, TypeError, ValueError) as error:
        raise GcPlanMismatch(f"plan '{plan_id}' is damaged", hint="make a new one with 'jvs gc plan'") from error


def _checked_rules(rules: dict[str, Any]) -> dict[str, Any]:
    from jvs.settings import check_value

    return {key: check_value(f"retention.{key}", value, "plan") for key, value in rules.items()}
