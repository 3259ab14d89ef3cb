"""One walk over a tree that gives its Merkle tree, reading only what the index does not know.

The walk is the same for hashing (`tree.hasher`), for copying (`engine.copier`) and for finding out what changed; what
is done with an entry is the business of the `Visitor`. A directory whose names and stamps are those of its row is not
decoded, read or encoded again.
Source: jvs-engines(7), Speed; jvs-format(5), Tree hash and Index.
"""

from __future__ import annotations

import errno
import os

from jvs import progress
from jvs.errors import from_oserror
from jvs.fs import listing, paths
from jvs.fs.xattrs import read_covered
from jvs.tree import attributes, node, parallel, racy
from jvs.tree import rows as tree_rows
from jvs.tree.builder import Directory, ScanResult, TreeBuilder
from jvs.tree.hasher import Hasher
from jvs.tree.prune import Untouched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Set
    from typing import Any

    from jvs.fs.rooted import Below
    from jvs.tree.exclusion import Exclusion
    from jvs.tree.node import Entry
    from jvs.tree.visitor import Visitor

__all__ = ["Hasher", "ScanResult", "Scanner"]


class Scanner:
    """Walks one tree once.

    `rows` and `known` come from the index (none: everything is read). `with_inode` is off where the same file
    has other inode numbers in the clone (JuiceFS). `moment_ns` is the time before which the tree's dirty pages
    were written back: stamps that are not older are not kept. `btrfs` refuses nested subvolumes. `only` limits some
    directories to some names; `exclude` says what is left out; `one_mount` refuses mounts, `nodes=False` makes none.
    `touched` are the only directories in which anything may have changed since the rows were written (and `gone` those
    that are not there any more): those that lead to them, and all others, are taken from the rows without being listed.
    """

    def __init__(
        self,
        visitor: Visitor,
        *,
        rows: tree_rows.Rows | tree_rows.LazyRows | None = None,
        known: tree_rows.Known | None = None,
        with_inode: bool = True,
        moment_ns: int = 0,
        btrfs: bool = False,
        exclude: Exclusion | None = None,
        only: dict[bytes, set[bytes]] | None = None,
        touched: Set[bytes] | None = None,
        gone: Set[bytes] = frozenset(),
        one_mount: bool = False,
        nodes: bool = True,
    ) -> None:
        self.visitor = visitor
        self.rows: Any = {} if rows is None else rows
        self.known = known or tree_rows.Known()
        self._racy = rows.racy if isinstance(rows, tree_rows.OtherRows) else frozenset()
        self._untouched = Untouched(touched, self.rows, self.known)
        self._gone = None if touched is None else gone
        self.one_mount, self.with_inode = one_mount, with_inode
        self.moment_ns = moment_ns
        self.btrfs, self.exclude, self.only = btrfs, exclude, only
        self._builder = TreeBuilder(visitor, with_rows=bool(moment_ns), with_nodes=nodes)
        self._seen: set[bytes] = set()
        self._vanished: list[bytes] = []
        self._device, self._hidden = 0, False
        """Whether attributes change without moving the ctime, as on JuiceFS: then they are read every time."""

    def run(self, directory: Below) -> ScanResult:
        """Walk the directory. Errors: E_IO, E_CLONE_INCOMPLETE for mounts inside, and what the visitor raises."""
        try:
            fd = paths.open_dir(directory)
        except OSError as error:
            raise from_oserror(error, f"opening '{directory}'") from error
        return self.run_open(fd, str(directory))

    def run_open(self, fd: int, shown: str) -> ScanResult:
        """Walk an open directory, and close it; `shown` is what messages call it. Errors: as `run`."""
        listing.allow_deep_trees()
        try:
            return self._run(fd)
        except OSError as error:
            raise from_oserror(error, f"reading '{shown}'") from error
        finally:
            os.close(fd)
            self.visitor.close()

    def _run(self, fd: int) -> ScanResult:
        st = os.fstat(fd)
        self._device = st.st_dev
        self._hidden = not self.with_inode and attributes.are_kept(fd)
        if self._gone is None and not (self.only or self._hidden):
            self._sweep(fd)
        inside = self.visitor.enter(None, b"", b"", fd, st)
        root = self._untouched.whole(b"") or self._visit(fd, b"", inside)
        self.visitor.leave(inside, fd, st)
        self.visitor.flush()
        found = self._builder.finish(root)
        mode, xattrs = self.visitor.stored.get(b"") or (st.st_mode & 0o7777, read_covered(fd))
        found.root = (mode, xattrs, found.digest)
        found.root_hash = node.root_hash(found.root)
        found.gone = [path for path in self._paths_gone() if path not in self._seen] + list(self._racy)
        found.unreadable, found.lists = self.visitor.unreadable, self.visitor.lists
        return found

    def _paths_gone(self) -> Iterable[bytes]:
        """Return the directories that are not there any more, and others that were seen."""
        if self._gone is None:
            rows: Iterable[bytes] = self.rows
            return rows
        if not self._vanished:
            return self._gone
        below = tuple(path + b"/" for path in self._vanished)
        return {*self._gone, *self._vanished, *(path for path in self.rows if path.startswith(below))}

    def _sweep(self, fd: int) -> None:
        """Find out with all processors which directories have to be visited, where that is quicker."""
        if self.visitor.must_visit is None:
            return
        if isinstance(self.rows, tree_rows.LazyRows):
            self.rows = self.rows.all()
        sweeper = parallel.Sweeper(fd, self.rows, self.visitor.jobs, with_inode=self.with_inode, exclude=self.exclude)
        if sweeper.pays():
            found = sweeper.run()
            progress.advance("scan", found.entries)
            self._gone = found.gone
            self._untouched = Untouched(found.touched | self.visitor.must_visit, self.rows, self.known)
            self._untouched.preload()

    def _visit(self, fd: int, path: bytes, inside: Any, *, moved: bool = False, still: bool = False) -> Directory:
        passage = None if moved else self._untouched.passage(path)
        if passage is not None:
            try:
                return self._pass_through(*passage, fd, inside)
            except OSError as error:  # a directory went away since it was found touched, or cannot be opened
                if not listing.may_have_changed(error) and error.errno != errno.EACCES:
                    raise
        names, stats = listing.list_dir(fd)
        if self.exclude is not None:
            names, stats = self.exclude.rest(fd, path, names, stats)
        if self.only and (wanted := self.only.get(path)) is not None:
            names, stats = listing.some(names, stats, wanted)
        self._seen.add(path)
        here = Directory(path)
        known = self.rows.get(path)
        needed = known is not None or self.moment_ns  # else there is no row, and none is kept
        row_stamps = listing.stamps(stats, with_inode=self.with_inode) if needed else b""
        same = known is not None and known[0] == tree_rows.pack(names, row_stamps)
        proved = still and known is not None and (same or tree_rows.has_names(known[0], names, listing.STAMP.size))
        self.visitor.listed(path, names, proved=proved)
        if same and self._hidden:
            data = self.known.node(known[1])
            same = data is not None and self.visitor.are_same(fd, names, node.decode_node(data))
        here.moved = moved
        here.marked = self.visitor.visited(fd, path, names, stats, row_stamps, None if known is None else known[0])
        if same and not here.marked and self._visit_same(here, known[1], fd, path, names, stats, inside):
            return here
        here.names, here.row_stamps = names, row_stamps
        self._visit_changed(here, known, fd, names, stats, inside)
        return here

    def _visit_same(
        self,
        here: Directory,
        digest: bytes,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        inside: Any,
    ) -> bool:
        """Handle a directory whose own entries are as the row says; its subdirectories have yet to show."""
        dirs = here.count(stats)
        progress.advance("scan", len(stats))
        if not dirs:
            self.visitor.keep(inside, fd, names, stats)
            here.digest, here.changed = digest, False
            return True
        below: list[tuple[int, Directory]] = []
        for i in dirs:
            try:
                child = self._descend(fd, path, names[i], stats[i], inside, moved=here.moved, still=True)
            except OSError as error:  # it vanished since the listing, or cannot be opened: not what the row says
                if not listing.may_have_changed(error) and error.errno != errno.EACCES:
                    raise
                return self._visit_again(here, names, stats, below)
            below.append((i, child))
        same = all(not child.changed for _, child in below)
        lost = self.visitor.stored and any(listing.relative(path, names[i]) in self.visitor.stored for i in dirs)
        data = None if same or lost else self.known.node(digest)
        if lost or (data is None and not same):  # the node was lost: hash the files of this directory again
            return self._visit_again(here, names, stats, below)
        if len(dirs) < len(names):
            below_here = {names[i] for i in dirs}
            self.visitor.keep(inside, fd, *listing.some(names, stats, set(names) - below_here))
        if data is None:
            here.gather(below)
            here.digest, here.changed = digest, False
            return True
        here.entries = [list(entry) for entry in node.decode_node(data)]
        here.names, here.row_stamps = names, listing.stamps(stats, with_inode=self.with_inode)
        here.subdirs = below
        self._builder.finalize(here)
        return True

    def _visit_again(
        self,
        here: Directory,
        names: list[bytes],
        stats: list[os.stat_result],
        below: list[tuple[int, Directory]],
    ) -> bool:
        """Abandon the row, keeping the subdirectories that were walked already."""
        here.counts, here.size = [0, 0, 0, 0], 0
        here.visited = {names[i]: child for i, child in below}
        return False

    def _visit_changed(
        self,
        here: Directory,
        known: tuple[bytes, bytes] | None,
        fd: int,
        names: list[bytes],
        stats: list[os.stat_result],
        inside: Any,
    ) -> None:
        if self._builder.take_together(here, known, fd, names, stats, inside, self.moment_ns):
            return
        old_stamps, old_entries = self.known.recall(known)
        here_now = set(names)
        self._vanished += [
            listing.relative(here.path, name)
            for name, entry in old_entries.items()
            if entry[1] == listing.DIR and name not in here_now
        ]
        kept_names: list[bytes] = []
        kept_stats: list[os.stat_result] = []
        listed: list[bytes] = []
        pieces: list[bytes] = []
        width, stored, hidden = listing.STAMP.size, self.visitor.stored, self._hidden
        for i, (name, st) in enumerate(zip(names, stats, strict=True)):
            kind = listing.kind_of(st.st_mode)
            piece = here.row_stamps[i * width : (i + 1) * width]
            was = old_stamps.get(name)
            same = was is not None and (was == piece or was == racy.marked(piece))
            piece = racy.marked(piece) if piece and name in here.marked else piece
            old = old_entries.get(name)
            if (
                same
                and kind != listing.DIR
                and (old is not None and old[1] == kind)
                and (not hidden or self.visitor.is_same(fd, name, old))
            ):
                kept_names.append(name)
                kept_stats.append(st)
                here.entries.append(list(old))
                here.count_one(kind, old[3])
            else:
                moved = was is None or was[:8] != piece[:8]
                taken = self._take(here, fd, name, st, old, inside, still=same, moved=moved)
                if taken is None:
                    continue
                if taken is not st:
                    st, piece = taken, racy.NO_STAMP
            listed.append(name)
            if stored and (instead := stored.get(listing.relative(here.path, name))) is not None:
                here.entries[-1][2], here.entries[-1][5] = instead
                piece = racy.NO_STAMP
            elif self.visitor.busy and listing.relative(here.path, name) in self.visitor.busy:
                piece = racy.NO_STAMP
            if self.moment_ns:  # else no row is kept
                pieces.append(racy.lasting(piece, st, self.moment_ns, slow_directories=not self.with_inode))
        if kept_names:
            self.visitor.keep(inside, fd, kept_names, kept_stats)
        progress.advance("scan", len(listed))
        here.names, here.row_stamps = listed, b"".join(pieces)
        self._builder.finalize(here)

    def _take(
        self,
        here: Directory,
        fd: int,
        name: bytes,
        st: os.stat_result,
        old: Entry | None,
        inside: Any,
        *,
        still: bool,
        moved: bool,
    ) -> os.stat_result | None:
        """Add an entry that is new or changed; return the stat that it was taken by, or None when it is left out.

        What cannot be opened as what it was listed as is looked at again: it is gone then, or something else, which is
        taken, or it is there and cannot be opened, which is reported.
        """
        path = listing.relative(here.path, name)
        failure: OSError | None = None
        for _ in range(listing.TRIES):
            try:
                if failure is not None:
                    st, old, still, moved = listing.look_again(fd, name), None, False, True
                added = self._add(here, fd, path, name, st, old, inside, still=still, moved=moved)
                return st if added else None
            except listing.Vanished:
                return None
            except OSError as error:
                if error.errno != errno.EACCES and not listing.may_have_changed(error):
                    raise from_oserror(error, f"reading '{path.decode('utf-8', 'backslashreplace')}'") from error
                failure = error
                if error.errno == errno.EACCES:
                    break
        assert failure is not None
        self.visitor.refuse(path, failure)
        return None

    def _add(
        self,
        here: Directory,
        fd: int,
        path: bytes,
        name: bytes,
        st: os.stat_result,
        old: Entry | None,
        inside: Any,
        *,
        still: bool,
        moved: bool,
    ) -> bool:
        """Add an entry to its directory; False when the visitor leaves it out. Errors: OSError when it is not that."""
        kind = listing.kind_of(st.st_mode)
        mode = 0 if kind == listing.SYMLINK else st.st_mode & 0o7777
        if kind == listing.DIR:
            # What is below a directory that came from elsewhere has no rows, but those of what was here before.
            child = here.visited.get(name)
            child = child or self._descend(fd, here.path, name, st, inside, moved=here.moved or moved, still=still)
            xattrs = old[5] if still and old is not None and not self._hidden else attributes.read_directory(fd, name)
            here.subdirs.append((len(here.entries), child))
            here.entries.append([name, kind, mode, child.size, child.digest, xattrs])
            here.counts[1] += 1
            return True
        self._builder.tree.taken += 1
        taken = self.visitor.take(inside, fd, path, name, st, old)
        if taken is None:
            return False
        digest, size, xattrs = taken
        here.entries.append([name, kind, mode, size, digest, xattrs])
        here.count_one(kind, size)
        return True

    def _descend(
        self,
        fd: int,
        path: bytes,
        name: bytes,
        st: os.stat_result,
        inside: Any,
        *,
        moved: bool = False,
        still: bool = False,
    ) -> Directory:
        """Visit a subdirectory.

        `moved` says that another directory (inode) stood under this name before; `still` that its stamp is the old one.
        """
        below = listing.relative(path, name)
        moved = moved or self._untouched.is_elsewhere(below, st.st_ino)
        known = None if moved else self._untouched.whole(below)
        if known is not None:
            return known
        listing.check_same_device(st, self._device, below, btrfs=self.btrfs)
        child_fd = paths.open_dir(name, fd, one_mount=self.one_mount)
        try:
            deeper = self.visitor.enter(inside, name, below, child_fd, st)
            try:
                child = self._visit(child_fd, below, deeper, moved=moved, still=still)
            except OSError:
                self.visitor.abandon(deeper)
                raise
            self.visitor.leave(deeper, child_fd, st)
            return child
        finally:
            os.close(child_fd)

    def _pass_through(self, here: Directory, onward: list[tuple[int, bytes]], fd: int, inside: Any) -> Directory:
        """Visit only the subdirectories of an unchanged directory that lead to touched ones."""
        for place, name in onward:
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
            here.subdirs.append((place, self._descend(fd, here.path, name, st, inside)))
        self._builder.finalize(here)
        return here
