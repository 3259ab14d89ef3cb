"""Turning a directory into another in place: steps that can be repeated, and that keep whatever they displace.

Steps are journaled before the first of them: after a crash `Applier.resume` finds out what was done, and does the
rest; after an error all is rolled back.
Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import errno

from jvs import progress
from jvs.errors import stands_for
from jvs.fs import listing
from jvs.restore import finish
from jvs.restore import resume as restore_resume
from jvs.restore.delta import COPY, MAKE, MOVE
from jvs.restore.places import Places
from jvs.restore.replace import Switcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvs.fs.rooted import Below
    from jvs.restore.delta import Delta
    from jvs.restore.entries import RootedDir


class Applier:
    """Carries out one delta in a worktree, below the locks and the intent of its operation.

    `source` is a payload (COPY) or the `files` of another operation (MOVE); `keep` is the operation's own directory
    below `undo/`. `same_inodes` says that the inode numbers in the delta are those of the files, and not of files that
    these are copies of. After `run` or `resume`, `displaced_bytes` says how much was displaced.
    """

    def __init__(
        self,
        delta: Delta,
        operation_id: str,
        target: Below,
        keep: Below,
        source: Below | RootedDir | None,
        *,
        each: bool = False,
        same_inodes: bool = True,
    ) -> None:
        listing.allow_deep_trees()
        self.delta = delta
        self._operation_id = operation_id
        stands_for(operation_id, self._meaning)
        self.places = Places(operation_id, target, keep, source, each=each)
        self.work = Switcher(delta, self.places, same_inodes=same_inodes)
        self.losses = self.work.losses
        self.rolled_back = False
        self.skipped: list[bytes] = []
        self.note_skipped: Callable[[list[bytes]], None] = lambda paths: None
        self._no_way_back = False

    def _meaning(self, number: str) -> str | None:
        """Return the path of the step that a temporary name belongs to."""
        i = number.lstrip("-")
        if not (i.isdigit() and int(i) < len(self.delta.steps)):
            return None
        return self.delta.steps[int(i)].path.decode("utf-8", "backslashreplace")

    @property
    def displaced_bytes(self) -> int:
        """How much was displaced."""
        return self.work.displaced_bytes

    @property
    def kept_aside(self) -> bool:
        """Whether rolling back found something that nobody else holds; it is in the operation's directory."""
        return self.work.log.kept_aside

    def close(self) -> None:
        """Close everything."""
        stands_for(self._operation_id, None)
        self.places.close()

    def __enter__(self) -> Applier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self) -> None:
        """Carry out all steps. Durable: yes.

        Errors: OSError and E_NO_SPACE, E_IO; everything was rolled back then, unless that failed as well
        (`rolled_back` is False): then the intent is to stay.
        """
        self._carry_out(range(len(self.delta.steps)), resumed=False)

    def resume(self) -> None:
        """Do what a dead process left to do. Durable: yes. Errors: as `run`.

        What would be copied is read again first. Steps whose source was damaged since are in `skipped`, and what they
        would have displaced stays where it is.
        """
        left = [i for i in range(len(self.delta.steps)) if not restore_resume.finish_half(self.work, i)]
        with progress.step("check the snapshot"):
            rotten = {i for i in left if self.work.log.is_rotten(i)}
        self.skipped = [self.delta.steps[i].path for i in sorted(rotten)]
        if rotten:
            self.note_skipped(self.skipped)
        self._carry_out([i for i in left if i not in rotten], resumed=True)

    def _carry_out(self, left: Sequence[int], *, resumed: bool) -> None:
        try:
            if self.places.source is not None and any(self.delta.steps[i].how == COPY for i in left):
                with progress.step("hard links"):
                    self.work.groups.find(self.places.source, self.delta)
            with progress.step("make new entries"):
                self.work.make_room(left, resumed=resumed)
                if any(self.delta.steps[i].how == MAKE or self.delta.goes_first(i) for i in left):
                    self.places.sync_new()
                first = [i for i in left if self.delta.goes_first(i)]
                for i in first:
                    self._named(self.work.switch, i)
                left = [i for i in left if i not in first] if first else left
                for i in left:
                    if self.delta.steps[i].how == MAKE:
                        self._named(self.work.build, i)
                        self._named(self.work.switch, i)
                for i in left:
                    if self.delta.steps[i].how in (COPY, MOVE):
                        self._named(self.work.build, i)
                        progress.advance("restore", 1, len(self.delta.steps))
            with progress.step("durable"):
                self.places.sync_new()
            with progress.step("switch"):
                for i in left:
                    if self.delta.steps[i].how != MAKE:
                        self._named(self.work.switch, i)
            with progress.step("durable"):
                self._finish()
        except BaseException:
            # What a dead process began is carried on, never rolled back: which of the contents came later, by hand,
            # cannot be known any more.
            if not self._no_way_back and not resumed:
                try:
                    self._roll_back()
                except OSError as error:
                    if error.errno != errno.EROFS or not self.work.log.is_untouched():
                        raise
                log = self.work.log
                log.kept_aside = log.kept_aside or (not self.places.crosses and log.keeps_anything())
                self.rolled_back = True
            raise

    def _named(self, act: Callable[[int], None], i: int) -> None:
        """Do a part of a step; an error names its path, not the name that its entry has meanwhile."""
        try:
            act(i)
        except OSError as error:
            error.filename, error.filename2 = self.delta.steps[i].path, None
            raise

    def _finish(self) -> None:
        if self.work.leftovers:  # copies that crossed subvolumes must be durable before the originals go
            self.places.sync()
            self._no_way_back = True
            self.work.drop_leftovers()
        finish.apply_metadata(self.delta, self.places, self.losses, after=True)
        self.places.sync()

    def _roll_back(self) -> None:
        """Put everything back as it was: renames, and removals of what the source still holds."""
        self.places.forget()
        for i in sorted(range(len(self.delta.steps)), key=lambda i: (self.delta.goes_first(i), -i)):
            try:
                parent, name = self.places.target.parent(self.delta.steps[i].path, writable=True)
            except OSError as error:
                if listing.is_absent(error):
                    continue
                raise
            restore_resume.undo_step(self.work, i, parent, name)
        finish.apply_metadata(self.delta, self.places, self.losses, after=False)
        self.places.sync()
