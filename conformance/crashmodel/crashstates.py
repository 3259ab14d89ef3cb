"""What a crash may leave of a run: which of its operations are on the disk, by two models of a filesystem.

`posix`: each change that no sync has made durable is there or not, by itself; a write may also be torn, or leave
zeros. A rename is one change, and changes of one name keep their order. `ordered`: ext4 with data=ordered, whose
journal holds a prefix of the changes of names and attributes, while contents are written at any time.
"""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from crashmodel.inodes import Inode, Op, Tree

MODELS = ("posix", "ordered")
_CACHES = re.compile(r"repo/\.jvs(\.init-[^/]*)?/(locks/|index\.sqlite)")
_LEFT_OUT = ("work/repo/.jvs/locks/", "work/repo/.jvs/index.sqlite")


class Choice(NamedTuple):
    """Which operations a crash left: their numbers, and one write that it left in part (`half` or `zero`)."""

    name: str
    there: frozenset[int]
    partial: int = -1
    part: str = ""
    acknowledged: bool = False


@dataclass(frozen=True)
class State:
    """One disk to judge. `number` counts the distinct states of an operation."""

    scenario: str
    name: str
    at: int
    choice: Choice

    def __str__(self) -> str:
        return f"--only {self.scenario} --state {self.name}"


@dataclass
class Record:
    """A recorded run: the tree before, what the run did, and which sync makes what durable when."""

    before: Tree
    born: dict[int, Inode]
    ops: list[Op]
    combinations: int = 0
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_cache = [bool(_CACHES.match(op.path)) for op in self.ops]
        self.first_sync = [self._first_sync(number) for number in range(len(self.ops))]
        self.earlier: list[frozenset[int]] = []
        for number, op in enumerate(self.ops):  # a name cannot keep a later change alone
            direct = [n for n in range(number) if op.names() & self.ops[n].names()]
            self.earlier.append(frozenset(direct).union(*(self.earlier[n] for n in direct)))

    def closed(self, there: frozenset[int]) -> frozenset[int]:
        """Return a choice with all that it cannot be without."""
        return there.union(earlier for number in there for earlier in self.earlier[number])

    def without(self, there: frozenset[int], number: int) -> frozenset[int]:
        """Return a choice without one operation and what cannot be without it."""
        return frozenset(n for n in there if n != number and number not in self.earlier[n])

    def _first_sync(self, number: int) -> int:
        """Return the number of the sync that makes an operation durable; beyond the end when there is none."""
        op = self.ops[number]
        for later in range(number + 1, len(self.ops)):
            sync = self.ops[later]
            if sync.kind == "sync" and _covers(sync, op):
                return later
        return len(self.ops)

    def tree(self, choice: Choice) -> Tree:
        """Return the tree that a crash left."""
        tree = self.before.copy()
        tree.inodes.update((number, inode.copy()) for number, inode in self.born.items())
        for number in sorted(choice.there):
            tree.apply(self.ops[number], part=choice.part if number == choice.partial else "")
        return tree


def _covers(sync: Op, op: Op) -> bool:
    if sync.inode is None:
        return True
    if op.inode == sync.inode:
        return op.kind in ("data", "size") or not sync.args[0]
    return sync.inode in op.dirs


def _touches(sync: Op, op: Op) -> bool:
    return op.inode == sync.inode or sync.inode in op.dirs


def posix(record: Record, name: str, randoms: int) -> Iterator[Choice]:
    """Yield the states in which each unsynced change is there or not, independently of all others.

    Changes of locks and the index, which nothing relies on, are all there or all lost, except at the end.
    """
    end = len(record.ops)
    for at in range(end + 1):
        acknowledged = at == end
        if not acknowledged and (at == 0 or record.is_cache[at - 1]):
            continue
        changes = [n for n in range(at) if record.ops[n].kind != "sync"]
        durable = record.closed(frozenset(n for n in changes if record.first_sync[n] < at))
        pending = [n for n in changes if n not in durable and not record.is_cache[n]]
        caches = [n for n in changes if n not in durable and record.is_cache[n]]
        rng = random.Random(f"{name} {at}")
        for choice in _subsets(record, durable, pending, caches, rng, randoms):
            yield choice._replace(name=f"posix:{at}:{choice.name}", acknowledged=acknowledged)
        if acknowledged:
            for number in range(randoms):
                some = frozenset(n for n in caches if rng.random() < 0.5)
                torn = rng.choice(sorted(some)) if some else -1
                yield Choice(f"posix:{at}:index-{number}", durable | {*pending} | some, torn, "half", True)


def _subsets(
    record: Record, durable: frozenset[int], pending: list[int], caches: list[int], rng: random.Random, randoms: int
) -> Iterator[Choice]:
    every = durable.union(pending)
    yield Choice("all", every.union(caches))
    yield Choice("none", durable)
    for index, number in enumerate(pending):
        yield Choice(f"one-{number}", record.closed(durable | {number}))
        yield Choice(f"but-{number}", record.without(every.union(caches), number))
        yield Choice(f"first-{number}", durable.union(pending[:index]))
        yield Choice(f"last-{number}", record.closed(durable.union(pending[index:])))
        if record.ops[number].kind == "data":
            yield Choice(f"half-{number}", every.union(caches), number, "half")
            yield Choice(f"zero-{number}", every.union(caches), number, "zero")
    for number in range(randoms if len(pending) > 1 else 0):
        some = durable.union(n for n in [*pending, *caches] if rng.random() < 0.5)
        yield Choice(f"random-{number}", record.closed(some))


def ordered(record: Record, _name: str, _randoms: int) -> Iterator[Choice]:
    """Yield the states of a journal that orders names and attributes, and writes contents at any time."""
    end = len(record.ops)
    for at in range(end + 1):
        for there in range(_journalled(record, at), at + 1) if at == end else [at]:
            if not there or (there < end and record.is_cache[there - 1]):
                continue
            changes = [n for n in range(there) if record.ops[n].kind != "sync"]
            loose = [n for n in changes if record.ops[n].kind == "data" and record.first_sync[n] >= at]
            files = sorted({record.ops[n].inode or 0 for n in loose if not record.is_cache[n]})
            every = frozenset(changes)
            choices = [Choice("all", every), Choice("none", every.difference(loose))]
            choices += [
                Choice(f"file-{file}", every.difference(n for n in loose if record.ops[n].inode == file))
                for file in files
            ]
            for choice in choices:
                yield choice._replace(name=f"ordered:{there}:{choice.name}", acknowledged=at == end)


def _journalled(record: Record, at: int) -> int:
    """Return how many operations the journal holds for certain: a sync of an inode writes all up to its last change."""
    sure = 0
    for later in range(at):
        sync = record.ops[later]
        if sync.kind == "sync":
            touched = [n for n in range(later) if sync.inode is None or _touches(sync, record.ops[n])]
            sure = max(sure, touched[-1] + 1 if touched else 0)
    return sure


def enumerate_states(
    record: Record, scenario: str, models: tuple[str, ...], randoms: int, known: set[tuple[str, bool]] | None = None
) -> list[State]:
    """Return the distinct states that crashes may leave, without those that are `known`, and count all choices."""
    known = set() if known is None else known
    seen: set[Choice] = set()
    states: list[State] = []
    for model in models:
        for choice in {"posix": posix, "ordered": ordered}[model](record, scenario, randoms):
            record.combinations += 1
            plain = choice._replace(name="")
            if plain in seen:
                continue
            seen.add(plain)
            index = choice.name.rpartition(":")[2].startswith("index-")
            left_out = _LEFT_OUT[:1] if index else _LEFT_OUT
            key = (record.tree(choice).digest(left_out), choice.acknowledged)
            if key not in known:
                known.add(key)
                states.append(State(scenario, choice.name, len(states) + 1, choice))
    return states


def deafened(record: Record, pattern: str) -> Record:
    """Return a record in which syncs that match a pattern were never made: a proof must then find something."""
    ops = [op for op in record.ops if not (op.kind == "sync" and fnmatch.fnmatchcase(str(op), pattern))]
    return Record(record.before, record.born, ops)


def sync_classes(record: Record) -> list[str]:
    """Return a pattern for each kind of sync of a run: the call and the path, with `*` for ids."""
    shapes = [re.sub(r"\d{13}-[0-9a-f]{8}|init-[0-9a-f]+", "*", str(op)) for op in record.ops if op.kind == "sync"]
    return list(dict.fromkeys(shape.replace("[", "?") for shape in shapes))
