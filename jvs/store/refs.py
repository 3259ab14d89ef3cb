"""TARGET: turn what a person writes into exactly one snapshot, or say which ones it could be.

Order: full id; `LATEST`, `LATEST~N` (or `HEAD`, `HEAD~N`); `@{AGE}`; unique prefix of an id or of its hex part; exact
tag (the newest that has it); exact note; unique prefix of a note. More than one: E_AMBIGUOUS, never a guess.
Source: jvs-resolve(1).
"""

from __future__ import annotations

from jvs import clock, units
from jvs.errors import Ambiguous, JvsError, NotFound, UsageError
from jvs.fs import listing, paths
from jvs.names import LATEST, is_snapshot_id, is_worktree_name
from jvs.store import lineage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jvs.store.descriptor import Summary
    from jvs.store.layout import Layout
    from jvs.store.store import Store

_SHORTEST_PREFIX = 4
SHORT_DIGITS = 7
_NAME_LENGTH = len("1700000000000-0a1b2c3d.json")


def resolve(store: Store, target: str, name: str | None = None, *, suggest: bool = True) -> str:
    """Return the id of the visible snapshot that a target names, seen from a worktree.

    Without `suggest` no near ones are looked for.
    Errors: E_USAGE for an empty word; E_NOT_FOUND with near ones, E_AMBIGUOUS with the candidates, E_LINEAGE_BROKEN,
    E_DESCRIPTOR_CORRUPT.
    """
    worktree_name = store.worktree_name(name)
    if not target:
        raise UsageError("an empty word names no snapshot", hint="name one: 'jvs history --all' lists them")
    if is_snapshot_id(target):
        lineage.load_visible(store, target)
        return target
    word, tilde, steps = target.partition("~")
    if word in LATEST:
        return _before_latest(store, target, steps if tilde else "0", worktree_name)
    if target.startswith("@{") and target.endswith("}"):
        return _by_age(store, target, worktree_name)
    ids = lineage.visible_ids(store.layout)
    by_prefix = [i for i in ids if has_prefix(i, target)]
    if len(by_prefix) == 1:
        lineage.load_visible(store, by_prefix[0])
        return by_prefix[0]
    return _by_words(store, target, ids, by_prefix, suggest=suggest)


def has_prefix(snapshot_id: str, target: str) -> bool:
    """Answer whether a target is the beginning of an id, or of its hex part, long enough to name it."""
    return len(target) >= _SHORTEST_PREFIX and (snapshot_id.startswith(target) or snapshot_id[14:].startswith(target))


def _before_latest(store: Store, target: str, steps: str, name: str) -> str:
    _, latest = store.head_of(name)
    if not (steps.isascii() and steps.isdigit() and len(steps) < 10):
        raise NotFound(f"'{target}' is not a snapshot", hint="write LATEST~N or HEAD~N with a whole number")
    for count, record in enumerate(lineage.line(store.layout, latest)):
        if count == int(steps):
            if record.get("collected"):
                raise NotFound(f"'{target}' was collected", hint="'jvs history' shows what is left")
            return record["snapshot_id"]
    if latest is None:
        raise no_snapshot(name)
    raise NotFound(f"the line of '{name}' does not go back to '{target}'", hint="'jvs history' shows the line")


def no_snapshot(name: str) -> NotFound:
    """Return the error that says that a worktree has nothing to look at yet."""
    return NotFound(f"worktree '{name}' has no snapshot yet", hint="take one with 'jvs snapshot'", worktree=name)


def _by_age(store: Store, target: str, name: str) -> str:
    try:
        age = units.duration_ns(target[2:-1], target)
    except UsageError as error:
        raise NotFound(f"'{target}' is not an age", hint="write @{90s}, @{30m}, @{2h}, @{1d12h} or @{1w}") from error
    limit = clock.now_ns() - age
    _, latest = store.head_of(name)
    for record in lineage.line(store.layout, latest):
        if clock.parse_rfc3339(record["created_at"]) <= limit and not record.get("collected"):
            return record["snapshot_id"]
    raise NotFound(f"no snapshot of '{name}' is that old: '{target}'", hint="'jvs history' shows their ages")


def _by_words(store: Store, target: str, ids: list[str], by_prefix: list[str], *, suggest: bool) -> str:
    """Look among tags and notes of all snapshots."""
    from jvs.store import line_times, summaries

    with summaries.Summaries(store) as known:
        found = known.of_visible(ids)
    if any(target in record["tags"] for record in found.values()):
        return tagged(found, lineage.order(found), line_times.trusted(found, clock.now_ns()))[target]
    exact = [record for record in found.values() if record["note"] == target and target]
    if len(exact) == 1:
        return exact[0]["snapshot_id"]
    candidates = exact or [found[i] for i in by_prefix if i in found]
    if not candidates and target:
        candidates = [record for record in found.values() if record["note"].startswith(target)]
        if len(candidates) == 1:
            return candidates[0]["snapshot_id"]
    if candidates:
        raise _ambiguous(target, candidates)
    raise _not_found(target, found if suggest else {}, _meant(store, target))


def tagged(found: Mapping[str, Summary], in_order: list[str], times: dict[str, int]) -> dict[str, str]:
    """Return the snapshot that each tag names: the newest that has it, the later one on a line, whatever clocks said.

    `in_order` are ids, children before parents; `times` those of `line_times.trusted`.
    """
    chosen: dict[str, str] = {}
    for snapshot_id in in_order:
        for tag in found[snapshot_id]["tags"] if snapshot_id in found else ():
            if tag not in chosen or times[snapshot_id] > times[chosen[tag]]:
                chosen[tag] = snapshot_id
    return chosen


def _ambiguous(target: str, candidates: list[Summary]) -> Ambiguous:
    ids = sorted((r["snapshot_id"] for r in candidates), reverse=True)
    shown = ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "")
    return Ambiguous(
        f"'{target}' could be any of {len(ids)} snapshots", hint=f"name one by its id: {shown}", candidates=ids
    )


def _meant(store: Store, target: str) -> str | None:
    """Return what to write instead of a target that is one in another tool, or something else here."""
    base, caret, _ = target.partition("^")
    if caret and not target[len(base) :].strip("^"):
        return f"write '{base or LATEST[0]}~{len(target) - len(base)}'"
    if target.upper() in LATEST:
        return f"write '{target.upper()}'"
    if ".." in target.strip("."):
        return "two snapshots are two words: 'jvs diff FROM TO'"
    if target[:1] == "-" and target[1:].isdigit():
        return f"the newest {target[1:]} are 'jvs history -n {target[1:]}'"
    if ":" in target.strip(":"):
        return "'jvs cat TARGET:PATH' prints a file of a snapshot, 'jvs ls TARGET:PATH' lists a directory"
    if is_worktree_name(target) and paths.exists(store.layout.worktree_config(target)):
        return f"'{target}' is a worktree: 'jvs history -w {target}' lists its snapshots"
    return None


def _not_found(target: str, found: Mapping[str, Summary], meant: str | None) -> JvsError:
    words: dict[str, str] = {}
    for snapshot_id, record in found.items():
        for word in (record["note"][:60], *record["tags"], snapshot_id, snapshot_id[14:]):
            if isinstance(word, str) and word:
                words[word] = snapshot_id
    near: list[str] = []
    if words:
        import difflib

        near = difflib.get_close_matches(target, words, n=3, cutoff=0.6)
    hint = "'jvs history --all' lists them"
    if meant is not None:
        hint = meant
    if near:
        hint = f"did you mean {', '.join(repr(word) for word in near)}?"
    return NotFound(f"no snapshot answers to '{target}'", hint=hint, near=near)


class ShortIds:
    """Gives the short id of a snapshot among some: its hex part, cut to 7 digits or as many as tell it from others.

    Shape: the whole id where two snapshots have the same hex part.
    """

    def __init__(self, tails: Iterable[str]) -> None:
        self._tails = sorted(tails)

    @classmethod
    def among_all(cls, layout: Layout) -> ShortIds:
        """Return what knows the ids of all that is published; one listing, no file is read."""
        names = listing.unsorted_names(layout.descriptors)
        return cls([name[14:22] for name in names if len(name) == _NAME_LENGTH and name.endswith(".json")])

    def __call__(self, snapshot_id: str) -> str:
        """Return the short id; of one that is not known yet, that which it would have."""
        import bisect

        tail = snapshot_id[14:]
        at = bisect.bisect_left(self._tails, tail)
        behind = bisect.bisect_right(self._tails, tail, at)
        if behind - at > 1:
            return snapshot_id
        length = SHORT_DIGITS
        for other in (*self._tails[max(at - 1, 0) : at], *self._tails[behind : behind + 1]):
            while length < len(tail) and other[:length] == tail[:length]:
                length += 1
        return tail[:length]


def short_ids(ids: list[str]) -> dict[str, str]:
    """Return the short id of each of some snapshots, as far as they tell each other apart."""
    short = ShortIds(i[14:] for i in ids)
    return {i: short(i) for i in ids}


def short_id(layout: Layout, snapshot_id: str) -> str:
    """Return the short id of one snapshot among all that are published."""
    return ShortIds.among_all(layout)(snapshot_id)
