"""What is to change in a directory: steps, sorted by path, that can be journaled and repeated.

Source: jvs-protocol(7), Restore; jvs-format(5), Undo.
"""

from __future__ import annotations

from jvs import canon
from jvs.errors import PartialSnapshot
from jvs.fs import listing
from jvs.store import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    from jvs.restore.entries import Meta, Seen
    from jvs.tree.node import Entry

    class StepCounts(TypedDict):
        """How many entries are added, modified and removed."""

        added: int
        modified: int
        removed: int


COPY, MOVE, MAKE, DROP = range(4)
"""How the new entry comes: copied from a payload, moved out of `undo/`, as an empty directory, or not at all."""


class Step:
    """One entry that changes. `old_ino` is 0 when nothing was there, `source_ino` that of what MOVE moves.

    `old_seen` and `source_seen` tell the two apart by themselves, in a copy of the repository as well, where inode
    numbers are others.
    """

    __slots__ = ("how", "new", "old", "old_ino", "old_seen", "path", "source_ino", "source_seen")

    def __init__(
        self,
        path: bytes,
        how: int,
        old: Entry | None,
        new: Entry | None,
        *,
        old_ino: int = 0,
        source_ino: int = 0,
        old_seen: Seen | None = None,
        source_seen: Seen | None = None,
    ) -> None:
        self.path = path
        self.how = how
        self.old = old
        self.new = new
        self.old_ino = old_ino
        self.source_ino = source_ino
        self.old_seen = old_seen
        self.source_seen = source_seen

    def encode(self) -> list[Any]:
        """Return the step for the journal."""
        old = None if self.old is None else list(self.old)
        new = None if self.new is None else list(self.new)
        value: list[Any] = [self.path, self.how, self.old_ino, self.source_ino, old, new]
        return [*value, self.old_seen, self.source_seen] if self.source_seen is not None else value

    @classmethod
    def decode(cls, value: Any) -> Step:
        """Return a step of a journal. Errors: ValueError."""
        path, how, old_ino, source_ino, old, new = value[:6]
        old_seen, source_seen = value[6:] or (None, None)
        _check(all(seen is None or _is_seen(seen) for seen in (old_seen, source_seen)))
        _check(records.is_step_path(path) and records.one_of(COPY, MOVE, MAKE, DROP)(how))
        _check(records.is_count(old_ino) and records.is_count(source_ino))
        _check(all(entry is None or _is_entry(entry) for entry in (old, new)))
        return cls(
            path,
            how,
            None if old is None else tuple(old),
            None if new is None else tuple(new),
            old_ino=old_ino,
            source_ino=source_ino,
            old_seen=old_seen,
            source_seen=source_seen,
        )


def _check(fits: bool) -> None:
    if not fits:
        raise ValueError("a step is not valid")


def _is_entry(value: Any) -> bool:
    """Answer whether a value is an entry of a tree: name, kind, mode, size, digest, covered attributes."""
    return (
        isinstance(value, list)
        and len(value) == 6
        and isinstance(value[0], bytes)
        and b"/" not in value[0]
        and value[1] in range(len(listing.KIND_NAMES))
        and records.is_count(value[2])
        and value[2] <= 0o7777
        and records.is_count(value[3])
        and isinstance(value[4], bytes)
        and (value[5] is None or records.are_attributes(value[5]))
    )


def _is_seen(value: Any) -> bool:
    """Answer whether a value is what was seen of an entry (`entries.Seen`)."""
    return (
        isinstance(value, list)
        and len(value) == 7
        and all(isinstance(item, int) and not isinstance(item, bool) for item in value[:6])
        and isinstance(value[6], bytes)
    )


def fold(name: bytes) -> bytes:
    """Return what is the same for all names that a filesystem may take for one: other case, other composition."""
    if name.isascii():
        return name.lower()
    import unicodedata

    text = unicodedata.normalize("NFD", name.decode("utf-8", "surrogateescape")).casefold()
    return unicodedata.normalize("NFD", text).encode("utf-8", "surrogateescape")


class Delta:
    """What is to change: steps sorted by path, and directories with their metadata before and (maybe) after.

    Entries of other kinds that differ in metadata only are among the directories, and say their kind.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.dirs: list[tuple[bytes, Meta, Meta | None]] = []
        self.metadata: list[bytes] = []
        """The paths of entries that differ in metadata only; not in the journal, whose `dirs` holds it."""
        self._paths: set[bytes] | None = None
        self._twins: set[int] | None = None

    def encode(self) -> bytes:
        """Return the journal: deterministic CBOR of `[steps, directories]`."""
        return canon.cbor_encode([[step.encode() for step in self.steps], [list(item) for item in self.dirs]])

    @classmethod
    def decode(cls, data: bytes) -> Delta:
        """Return the delta of a journal. Errors: E_PARTIAL_SNAPSHOT when it is damaged."""
        made = cls()
        try:
            steps, dirs = canon.cbor_decode(data)
            made.steps = [Step.decode(step) for step in steps]
            made.dirs = [(path, before, after) for path, before, after in dirs]
            _check(all(path == b"" or records.is_step_path(path) for path, _, _ in made.dirs))
            _check(
                all(
                    records.is_metadata(before) and (after is None or records.is_metadata(after))
                    for _, before, after in made.dirs
                )
            )
        except (ValueError, TypeError) as error:
            raise PartialSnapshot(
                "the journal of an operation is damaged", hint="'jvs doctor' says which, and what can be done"
            ) from error
        return made

    def replace_steps(self, steps: list[Step]) -> None:
        """Take other steps, in any order."""
        self.steps = sorted(steps, key=lambda step: step.path)
        self._paths = self._twins = None

    @property
    def paths(self) -> set[bytes]:
        """The paths of all steps."""
        if self._paths is None:
            self._paths = {step.path for step in self.steps}
        return self._paths

    @property
    def twins(self) -> set[int]:
        """The places of steps whose names a filesystem that folds case takes for the name of another step."""
        if self._twins is None:
            groups: dict[tuple[bytes, bytes], list[int]] = {}
            for i, step in enumerate(self.steps):
                above, _, name = step.path.rpartition(b"/")
                groups.setdefault((above, fold(name)), []).append(i)
            self._twins = {i for group in groups.values() if len(group) > 1 for i in group}
        return self._twins

    def goes_first(self, i: int) -> bool:
        """Answer whether a step is to be done before all others: what it displaces has the name of what comes."""
        return i in self.twins and self.steps[i].how == DROP

    def counts(self) -> StepCounts:
        """Return how many entries are added, modified and removed."""
        found: StepCounts = {"added": 0, "modified": 0, "removed": 0}
        for step in self.steps:
            if step.new is None and step.how == DROP:
                found["removed"] += 1
            else:
                found["modified" if step.old is not None or step.old_ino else "added"] += 1
        found["modified"] += sum(path not in self.paths for path in self.metadata)
        return found
