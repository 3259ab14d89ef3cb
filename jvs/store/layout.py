"""Every path below `.jvs/` in one place, and finding the repository root from anywhere inside it.

Source: jvs-format(5).
"""

from __future__ import annotations

import os
import stat

from jvs.errors import FormatUnsupported, JvsError, LineageBroken, NotARepository, PathEscape, from_oserror
from jvs.fs import listing, paths, rooted
from jvs.fs.rooted import Root
from jvs.names import check_snapshot_id, check_worktree_name, is_worktree_name
from jvs.store import placement
from jvs.store.locating import CONTROL as CONTROL
from jvs.store.locating import FORKS as FORKS
from jvs.store.locating import is_control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvs.fs.rooted import Below
    from jvs.store.placement import Placed

MAIN = "main"
IN_PLACE = "."
"""The `path` of a main worktree whose files are next to `.jvs`; null is the classic place, `main`."""
FORMAT_VERSION = 2
DIRECTORIES = (
    "worktrees",
    "snapshots",
    "descriptors",
    "intents",
    "audit",
    "gc",
    "gc/plans",
    "gc/pins",
    "gc/tombstones",
    "gc/trash",
    "undo",
    "locks",
)
PORTABLE = (
    "format_version",
    "repo_id",
    "config.toml",
    "worktrees",
    "snapshots",
    "descriptors",
    "audit",
    "gc",
    "undo",
    "annotations",
    "boundaries",
)
LATER_DIRECTORIES = ("annotations", "boundaries", "tries")
"""Those that are made when something is first put into them; a repository may do without."""


class Layout:
    """The names of one repository on disk, each a place below a directory that was opened once.

    Shape: `root` is the path of the repository, for messages; `top` its directory, `control` that of `.jvs`. Where the
    control directory is kept apart from the workspace (`apart`), all three are that directory.
    Errors: E_NOT_A_REPOSITORY, E_PATH_ESCAPE for a `.jvs` that is no directory; E_IO.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.top, self.control, self.apart = _open_roots(root)
        self.jvs = self.control.here
        self.format_version = self.jvs / "format_version"
        self.repo_id = self.jvs / "repo_id"
        self.config = self.jvs / "config.toml"
        self.worktrees = self.jvs / "worktrees"
        self.snapshots = self.jvs / "snapshots"
        self.descriptors = self.jvs / "descriptors"
        self.intents = self.jvs / "intents"
        self.audit = self.jvs / "audit"
        self.audit_log = self.audit / "audit.jsonl"
        self.gc = self.jvs / "gc"
        self.plans = self.gc / "plans"
        self.pins = self.gc / "pins"
        self.tombstones = self.gc / "tombstones"
        self.trash = self.gc / "trash"
        self.reserve = self.gc / "reserve"
        self.undo = self.jvs / "undo"
        self.locks = self.jvs / "locks"
        self.annotations = self.jvs / "annotations"
        self.tries = self.jvs / "tries"
        self.boundaries = self.jvs / "boundaries"
        self.hooks = self.jvs / "hooks"
        self.control.one_mount = True
        self._in_place: bool | None = None
        self._index: Below | None = None
        for place in self.directories():
            self.control.keep_open(place)

    def directories(self) -> list[Below]:
        """Return the directories that every control directory has."""
        return [paths.below(self.jvs, name.encode()) for name in DIRECTORIES]

    @property
    def in_place(self) -> bool:
        """Whether forks are in the control directory, and main is the directory that holds it, or any, when `apart`.

        Else main is the directory `main` next to `.jvs`.
        """
        if self._in_place is None:
            self._in_place = self.apart or _is_in_place(self)
            self.forks.root.keep_open(self.forks)
        return self._in_place

    @property
    def forks(self) -> Below:
        """Where worktrees other than main are."""
        return self.jvs / FORKS if self.in_place else self.top / "worktrees"

    @property
    def index(self) -> Below:
        """Where the index of this mount is."""
        if self._index is None:
            from jvs.store import index_place

            self._index = index_place.choose(self.jvs)
        return self._index

    def payload(self, snapshot_id: str) -> Below:
        """Return where the files of a published snapshot are."""
        return self.snapshots / check_snapshot_id(snapshot_id)

    def payload_tmp(self, snapshot_id: str) -> Below:
        """Return where the files of a snapshot are while it is being made."""
        return self.payload(snapshot_id).plus(".tmp")

    def ready(self, snapshot_id: str) -> Below:
        """Return the READY marker, next to the payload."""
        return self.payload(snapshot_id).plus(".READY")

    def leaves(self, snapshot_id: str) -> Below:
        """Return the leaves of a snapshot's large files, next to the payload; a snapshot without any has none."""
        return self.payload(snapshot_id).plus(".leaves")

    def descriptor(self, snapshot_id: str) -> Below:
        """Return the descriptor under its final name."""
        return self.descriptors / (check_snapshot_id(snapshot_id) + ".json")

    def descriptor_tmp(self, snapshot_id: str) -> Below:
        """Return the descriptor while it is being made."""
        return self.descriptor(snapshot_id).plus(".tmp")

    def intent(self, operation_id: str) -> Below:
        """Return the intent of an operation."""
        return self.intents / (check_snapshot_id(operation_id) + ".json")

    def undo_dir(self, operation_id: str) -> Below:
        """Return where an operation keeps what it displaced."""
        return self.undo / check_snapshot_id(operation_id)

    def try_dir(self, try_id: str) -> Below:
        """Return where a try keeps its record and its files."""
        return self.tries / check_snapshot_id(try_id)

    def held(self, snapshot_id: str) -> Below:
        """Return where that lies what an undo needs of a snapshot that was collected."""
        return self.undo / "held" / check_snapshot_id(snapshot_id)

    def pin(self, snapshot_id: str) -> Below:
        """Return the pin of a snapshot."""
        return self.pins / (check_snapshot_id(snapshot_id) + ".json")

    def tombstone(self, snapshot_id: str) -> Below:
        """Return what a collected snapshot leaves."""
        return self.tombstones / (check_snapshot_id(snapshot_id) + ".json")

    def annotation(self, snapshot_id: str) -> Below:
        """Return what was said of a snapshot after it was taken."""
        return self.annotations / (check_snapshot_id(snapshot_id) + ".json")

    def boundary(self, snapshot_id: str) -> Below:
        """Return what is known of a parent that was not received."""
        return self.boundaries / (check_snapshot_id(snapshot_id) + ".json")

    def worktree_config(self, name: str) -> Below:
        """Return the configuration file of a worktree."""
        return self.worktrees / check_worktree_name(name) / "config.json"

    def worktree_dir(self, name: str) -> Below:
        """Return where the user's files of a worktree are, or belong.

        Errors: E_PATH_ESCAPE for a worktree elsewhere in whose place there is something else.
        """
        placed = self.placed(name)
        if placed is None:
            return self.usual_dir(name)
        if placed.state == placement.STRANGE:
            hint = f"put it back, or bind what is there: jvs --repo '{self.root}' worktree attach '{placed.directory}'"
            raise placement.strange(name, placed.directory, hint)
        return placed.directory

    def place_of(self, name: str) -> Below:
        """Return where a worktree is, or belongs, whatever is there."""
        placed = self.placed(name)
        return self.usual_dir(name) if placed is None else placed.directory

    def is_strange(self, name: str) -> bool:
        """Answer whether there is something else in the place of a worktree."""
        placed = self.placed(name)
        return placed is not None and placed.state == placement.STRANGE

    def usual_dir(self, name: str) -> Below:
        """Return where a worktree is that has no place of its own."""
        name = check_worktree_name(name)
        if name != MAIN:
            return self.forks / name
        if self.apart:
            raise LineageBroken(
                f"the configuration of worktree '{MAIN}' does not say where its files are",
                hint=f"use jvs --repo '{self.root}' worktree attach DIRECTORY {MAIN}",
            )
        return self.top.here if self.in_place else self.top / MAIN

    def placed(self, name: str) -> Placed | None:
        """Return where a worktree outside of the repository is, and what is there; None for all others."""
        return self.placed_as(check_worktree_name(name), self._config(name))

    def placed_as(self, name: str, config: Mapping[str, object]) -> Placed | None:
        """Return the same of a worktree with a configuration that is not registered."""
        if name == MAIN and not self.apart and self.in_place:
            return None
        if not placement.is_elsewhere(config):
            was = config.get("was")
            if isinstance(was, dict) and placement.is_elsewhere(was) and not paths.exists(self.usual_dir(name)):
                return placement.find(self.root, self.control, was)
            return None
        found = placement.find(self.root, self.control, config)
        if found.state != placement.BOUND and placement.was_usual(config) and paths.exists(self.usual_dir(name)):
            return None
        return found

    def has_reserved(self, name: str) -> bool:
        """Answer whether the entry `.jvs` at the root of a worktree is one of ours."""
        return self._config(name).get("path") is not None

    def _config(self, name: str) -> Mapping[str, object]:
        """Return the configuration of a worktree as it was written; an empty one when it cannot be read."""
        from jvs import canon

        try:
            value: Mapping[str, object] = canon.decode_object(paths.read_file(self.worktree_config(name), 1 << 20))
            return value
        except (OSError, canon.BadJSON):
            return {}

    def lock(self, name: str) -> Below:
        """Return a lock file: `repo`, `gate`, `audit`, `index`, `worktree-NAME`, `head-NAME`."""
        return self.locks / (name + ".lock")

    def worktree_of(self, path: str) -> str | None:
        """Return the worktree that a path lies in, or None for a path elsewhere in the repository."""
        parts = os.path.relpath(path, self.root).split(os.sep)
        if parts[0] == os.pardir:
            return self._elsewhere_of(path)
        if self.apart:
            return parts[1] if parts[0] == FORKS and len(parts) > 1 else None
        if self.in_place:
            if parts[0] != CONTROL:
                return MAIN
            parts = parts[1:]
        elif parts[0] == MAIN:
            return MAIN
        if len(parts) > 1 and parts[0] == (FORKS if self.in_place else "worktrees"):
            return parts[1]
        return None

    def _elsewhere_of(self, path: str) -> str | None:
        for name in listing.names(self.worktrees):
            config = self._config(name) if is_worktree_name(name) else {}
            if placement.is_elsewhere(config):
                place = str(placement.at(self.root, str(config["path"])))
                if path == place or path.startswith(place + os.sep):
                    return name
        return None


def _is_in_place(layout: Layout) -> bool:
    """Read where main is; a configuration that cannot be read says nothing, and the directory of the forks does."""
    from jvs import canon

    try:
        value = canon.decode_object(paths.read_file(layout.worktrees / MAIN / "config.json", 1 << 20))
        return value.get("path") == IN_PLACE or placement.leads_to_itself(layout.root, value)
    except (OSError, canon.BadJSON):
        return paths.is_dir(layout.jvs / FORKS)


def _open_roots(root: str) -> tuple[Root, Root, bool]:
    """Open the directory of a repository and its `.jvs`, which is no link; say whether it is that directory itself."""
    try:
        top = Root.open(root)
    except OSError as error:
        raise from_oserror(error, f"opening '{root}'") from error
    control = top / CONTROL
    if not paths.exists(control) and is_control(top.fd):
        return top, Root(root, os.dup(top.fd)), True
    try:
        return top, Root(str(control), rooted.open_at(control, os.O_RDONLY | os.O_DIRECTORY)), False
    except OSError as error:
        _check_directory(control)
        if isinstance(error, PermissionError) and paths.lstat(control).st_uid != os.geteuid():
            raise PathEscape(
                f"'{control}' belongs to another user (uid {paths.lstat(control).st_uid}), who closed it to others",
                hint="work as that user, or copy the files into a repository of your own",
            ) from error
        raise from_oserror(error, f"opening '{control}'") from error


def check_control(layout: Layout) -> None:
    """Refuse a control plane of another form, or with links in place of directories.

    Errors: E_PATH_ESCAPE for a link or a file where a directory belongs; E_FORMAT_UNSUPPORTED for another format
    version; E_NOT_A_REPOSITORY for a missing directory.
    """
    check_format(layout)
    check_directories(layout)
    for place in layout.directories():
        if place.parent == layout.jvs:
            _check_directory(place)


def check_directories(layout: Layout) -> None:
    """Refuse links and files in place of directories of the repository; what is missing is reported by its use.

    Errors: E_PATH_ESCAPE; E_IO.
    """
    main = () if layout.in_place else (layout.top / MAIN,)
    later = [layout.jvs / name for name in LATER_DIRECTORIES]
    for place in (*main, layout.forks, *layout.directories(), *later):
        if paths.mode_of(place):
            _check_directory(place)


def _check_directory(place: Below) -> None:
    try:
        mode = paths.lstat(place).st_mode
    except FileNotFoundError as error:
        raise NotARepository(
            f"'{place}' is missing",
            hint="'jvs doctor' says what is damaged; '--repair-runtime' makes directories again",
        ) from error
    except OSError as error:
        raise from_oserror(error, f"looking at '{place}'") from error
    if not stat.S_ISDIR(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a directory"
        raise PathEscape(f"'{place}' is {kind}", hint="put the directory back; jvs follows no links there")


def other_format(layout: Layout) -> FormatUnsupported | None:
    """Return what is to be said of a repository that another version made; None when it is ours, or says no number."""
    try:
        check_format(layout)
    except FormatUnsupported as error:
        return error if "format_version" in error.facts else None
    except JvsError:
        return None
    return None


def check_format(layout: Layout) -> None:
    """Raise E_FORMAT_UNSUPPORTED unless the repository says that it has format 2."""
    try:
        data = paths.read_file(layout.format_version, limit=64)
    except FileNotFoundError as error:
        raise FormatUnsupported(
            f"'{layout.format_version}' is missing",
            hint="write '2' into it if this is a jvs repository made by this version",
        ) from error
    except OSError as error:
        raise from_oserror(error, f"reading '{layout.format_version}'") from error
    if data.strip() == b"1":
        raise FormatUnsupported(
            "the repository has format 1, made by the Go implementation of jvs",
            hint="take it over, with its history, into a new one: 'jvs-import SOURCE TARGET'",
            format_version=1,
        )
    if data != b"%d\n" % FORMAT_VERSION:
        shown = data[:20].decode("utf-8", "backslashreplace").strip()
        number = {"format_version": int(shown)} if shown.isascii() and shown.isdecimal() else {}
        raise FormatUnsupported(
            f"the repository has format '{shown}', this version reads and writes format {FORMAT_VERSION}",
            hint="use the version of jvs that made it, or a newer one",
            **number,
        )
