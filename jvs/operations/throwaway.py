"""A throwaway copy of a snapshot, shown at a worktree's own path: an overlay, or a clone where that is refused.

What a command leaves in it becomes a plain tree in the directory of its try.
Source: jvs-try(1).
"""

from __future__ import annotations

import os

from jvs import progress
from jvs.fs import durable, namespace, overlay, paths, removal
from jvs.operations import entering
from jvs.operations.excluded_copies import ExcludedCopies
from jvs.store import tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.losses import Losses
    from jvs.fs.namespace import Mount
    from jvs.fs.rooted import Below
    from jvs.store.store import Store
    from jvs.store.tries import Try


class ThrowawayCopy:
    """What a command works on in place of a worktree: an overlay over a snapshot, or a clone of it."""

    def __init__(self, store: Store, record: Try) -> None:
        self.store = store
        self.record = record
        self.home = store.layout.try_dir(record["operation_id"])
        self.files = self.home / tries.FILES
        self.payload = str(store.layout.payload(record["snapshot_id"]))
        self.place = str(store.layout.worktree_dir(record["worktree"]))
        self.mounts: list[Mount] = []
        self.upper = self.work = self.files
        self._elsewhere = False
        self._excluded: ExcludedCopies | None = None

    def prepare(self) -> None:
        """Find out what the system allows, and make it. Errors: E_IO where it allows nothing; OSError."""
        if os.geteuid() == 0 or not self._has_groups():
            for place in (self.home, None):
                if self._overlay(place):
                    return
        refused = namespace.refusal()
        if refused is not None:
            raise namespace.refused(refused)
        self._clone()

    def _has_groups(self) -> bool:
        """Answer whether the snapshot may have files with several names, at once where the index knows."""
        index = self.store.index()
        base = index.bound_base(self.store.tree_key(self.record["worktree"]))
        if base is not None and base[0] == self.record["snapshot_id"]:
            return not base[3]
        fd = paths.open_dir(self.store.layout.payload(self.record["snapshot_id"]))
        try:
            return bool(overlay.link_groups(fd))
        finally:
            os.close(fd)

    def _overlay(self, home: Below | None) -> bool:
        """Make an overlay whose upper layer is in a directory (None: a temporary one); False where that is refused."""
        if home is None:
            home = tries.make_elsewhere(self.record["operation_id"])
        upper, work = home / tries.FILES, home / tries.WORK
        for place in (upper, work):
            durable.make_dir(place)
        lower = self.store.layout.payload(self.record["snapshot_id"])
        excluded = ExcludedCopies(self.store, self.record["worktree"], home, lower)
        others = excluded.prepare(upper)
        overlay.make_like(upper, self.store.layout.payload(self.record["snapshot_id"]))
        layers = namespace.Layers(
            [self.payload], self.place, namespace.overlay_options(), upper=str(upper), work=str(work)
        )
        mounts: list[Mount] = [*entering.covers(self.store.layout, self.place), layers, *others]
        if namespace.refusal(mounts) is not None:
            excluded.remove(None)
            for place in (upper, work):
                removal.remove_tree(place)
            return False
        self._excluded = excluded
        self.upper, self.work, self.mounts = upper, work, mounts
        self._elsewhere = home != self.home
        return True

    def _clone(self) -> None:
        """Clone the snapshot, which works everywhere, and costs what a fork costs."""
        from jvs.engine import base as engine
        from jvs.engine import registry

        self.record["kind"] = "clone"
        source, options = self.store.layout.payload(self.record["snapshot_id"]), self.store.settings.engine_options()
        maker = registry.pick_for_fork(self.store.settings.get("default_engine"), source, self.home, options)
        maker.fork(engine.Request(source, self.files, jobs=self.store.settings.jobs(), hash=False, frozen=True))
        if self.store.exclusion(self.record["worktree"]).has_rules:
            from jvs.worktrees import left_behind

            left_behind.bring(self.store, self.record["worktree"], self.files)
        tries.save(self.store.layout, self.record)
        self.mounts = entering.shown(self.store.layout, str(self.files), self.place, writable=True)

    def collect(self) -> None:
        """Make a plain tree of what the command left, in the directory of the try. Errors: OSError, E_IO."""
        if self._excluded is not None:
            for name in self._excluded.remove(self.upper):
                shown = name.decode("utf-8", "backslashreplace")
                progress.remark(f"'{shown}' is excluded: what changed in it is not kept")
        self._leave_out(self.upper if self.mounts and self.record["kind"] == tries.OVERLAY else self.files)
        if self.record["kind"] == tries.CLONE:
            return
        lower = self.store.layout.payload(self.record["snapshot_id"])
        found = overlay.read(self.upper)
        # A file of the payload has other names in other snapshots; where none are in this one, those that the command
        # made are in the upper layer with it, and nothing else has to be looked at.
        groups = self._link_groups() if (found.linked or found.redirected) and self._has_groups() else []
        losses = overlay.make_plain(self.upper, lower, found)
        overlay.join_groups(self.upper, lower, groups)
        removal.remove_tree(self.work)
        self._tell(losses)
        if self._elsewhere:
            self._bring_home()
        tries.write_delta(self.store.layout, self.record, found.whole, found.removed)

    def _link_groups(self) -> list[list[bytes]]:
        """Return the groups of names of one file that the command left, as the overlay shows them."""
        return overlay.decode_groups(namespace.inside(self.mounts, lambda: overlay.encode_groups(self.place)))

    def _leave_out(self, place: Below) -> None:
        """Remove what is excluded: it is in no snapshot, and is not applied."""
        from jvs.engine import left_out

        gone: list[bytes] = []

        def remove(above: int, path: bytes) -> None:
            gone.append(path)
            removal.remove_tree(path.rpartition(b"/")[2], dir_fd=above)

        left_out.remove(place, self.store.exclusion(self.record["worktree"]), remove)
        if gone and self.record["kind"] != tries.CLONE:  # a clone has a copy of all that is excluded
            shown = ", ".join(f"'{path.decode('utf-8', 'backslashreplace')}'" for path in gone[:5])
            more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
            progress.remark(f"what CMD wrote to excluded paths is not kept: {shown}{more}")

    def _tell(self, losses: Losses) -> None:
        for loss in losses.as_json()[:5]:
            progress.remark(f"'{loss['path']}': {loss['what']} could not be kept: {loss['why']}")

    def _bring_home(self) -> None:
        """Copy what a command left in a temporary directory into the directory of the try."""
        from jvs.engine import base as engine
        from jvs.engine import registry

        options = self.store.settings.engine_options()
        maker = registry.pick_for_fork(None, self.upper, self.home, options)
        maker.fork(engine.Request(self.upper, self.files, jobs=self.store.settings.jobs(), hash=False))
        tries.remove_elsewhere(self.store, self.record["operation_id"])
