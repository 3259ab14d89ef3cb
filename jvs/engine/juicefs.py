"""The engine `juicefs-clone`: the filesystem copies its metadata, the data stays where it is.

JuiceFS reports success for clones that are not complete: on SQL metadata whole directories come out empty while
files are created and removed in them, on Redis special files are dropped, and hard links become files of their own.
So each clone is proved complete (`engine.completeness`): against the rows of the snapshot before, without a look at
the source, where they vouch for it; else against the names of the source, taken before the clone. What is missing
without having been deleted means: throw the clone away and try again.
Source: jvs-engines(7), JuiceFS; juicefs(1) 1.1 to 1.4.
"""

from __future__ import annotations

import os
import stat

from jvs import clock, durable, engine, fidelity, safepath, scan, walk
from jvs.engine import Cloned, Engine, Probe, Request, juicefs_mount, mend, writers
from jvs.engine.completeness import Surveyed, Unproved, Vouched
from jvs.engine.juicefs_client import Incomplete, Running
from jvs.engine.survey import Survey
from jvs.errors import CloneIncomplete, IOFailure, JvsError, from_oserror

TRIES = 3
_CONTROL, _CLIENT = "control", "client"
_APPEAR_SECONDS = 10.0


class JuiceFSEngine(Engine):
    """Clones with `juicefs clone --preserve`, or over the mount's control file."""

    name = engine.JUICEFS
    cost = "O(entries)"
    vouch = True
    """Let the snapshot before vouch for names where it can; off: survey the source. The answer is the same."""

    def probe(self, source_dir: str, store_dir: str) -> Probe:
        """Source and store must be on one JuiceFS mount, and there must be a way to talk to it."""
        source, store = engine.nearest(source_dir), engine.nearest(store_dir)
        if not juicefs_mount.is_juicefs(source):
            return self._answer(False, "the worktree is not on JuiceFS")
        if os.stat(source).st_dev != os.stat(store).st_dev:
            return self._answer(False, "the store is not on the same JuiceFS mount as the worktree")
        if (os.path.realpath(store) + "/").startswith(os.path.realpath(source_dir).rstrip("/") + "/"):
            return self._answer(False, "the store lies inside the worktree, where JuiceFS cannot clone to")
        way, why = self._way(source)
        if not way:
            return self._answer(False, why)
        over = ", over the control file" if way == _CONTROL else ""
        return self._answer(True, "", f"metadata only{over}; the data blocks are shared")

    def _way(self, directory: str) -> tuple[str, str]:
        """Choose how to talk to the mount: by its control file, or with the client program.

        The control file comes first where clones over it were proved for that version of the mount: it saves the
        start of the client, and the client's long pauses between two looks whether it is done. Returns an empty
        way with the reason when neither works.
        """
        from jvs.engine import control

        if self.control == "auto" and not control.why_not(directory, versions=control.PROVED):
            return _CONTROL, ""
        why = self._why_no_client(directory)
        if not why:
            return _CLIENT, ""
        if self.control == "never":
            return "", why
        refused = control.why_not(directory)
        return ("", f"{why}; and the control file: {refused}") if refused else (_CONTROL, "")

    def _why_no_client(self, directory: str) -> str:
        """Return why the client program cannot be used, or nothing."""
        if self.control == "always":
            return "the settings ask for the control file instead of the client"
        if juicefs_mount.mount_root(directory) is None:
            return (
                f"'{directory}' is a bind mount of a directory inside JuiceFS, and 'juicefs clone' works only below"
                " the mount point itself"
            )
        if self.find_binary() is None:
            return "the program 'juicefs' was not found (set 'engine.juicefs.binary', or install 'jvs[juicefs]')"
        return ""

    def find_binary(self) -> str | None:
        """Return the client: the one of the settings, or on the search path, or beside this Python."""
        import shutil
        import sys

        if self.binary:
            return self.binary if os.access(self.binary, os.X_OK) else None
        beside = os.path.join(os.path.dirname(sys.executable), "juicefs")
        return shutil.which("juicefs", path=self.search_path) or (beside if os.access(beside, os.X_OK) else None)

    def clone(self, request: Request) -> Cloned:
        """Clone, prove it complete, mend what JuiceFS does not keep, and hash what changed.

        Errors: E_CLONE_INCOMPLETE after three attempts; E_NO_SPACE; E_IO; E_EXISTS.
        """
        if request.paths is not None:  # single paths are copied; the filesystem shares their blocks
            from jvs.engine import copier

            return copier.run(request, engine_name=engine.COPY, share=False)
        engine.check_source(request.source)
        engine.check_target(request.target)
        juicefs_mount.refuse_mounts(request.source)
        if request.control is not None:
            self.control = request.control
        writers.flush_open_files(request.source)
        problem: JvsError | None = None
        for kind in [*([_VouchedAttempt] if self._can_vouch(request) else []), *[_SurveyedAttempt] * TRIES]:
            attempt = kind(self, request)
            try:
                cloned = attempt.run()
                _move(attempt.temporary, request.target)
                return cloned
            except Unproved:
                self._discard(attempt.temporary)
            except Incomplete as error:
                problem = error.problem
                self._discard(attempt.temporary)
            except BaseException:
                self._discard(attempt.temporary)
                raise
        assert problem is not None
        raise _empty_attribute(request.source) or problem

    def _can_vouch(self, request: Request) -> bool:
        """Answer whether the quick proof may be tried.

        It wants the count that the control file gives, a base in which nothing had to be mended, and times of
        directories that the mount moves soon enough.
        """
        if not (self.vouch and request.hash and request.base_payload is not None and request.base_is_plain):
            return False
        from jvs.engine import control

        return self._way(request.source)[0] == _CONTROL and control.moves_directory_times(request.source)

    def _discard(self, path: str) -> None:
        if os.path.lexists(path):
            self.remove(path)

    def run_clone(self, source: str, target: str) -> Running:
        """Start cloning, with the client or over the control file. Errors: E_IO when neither works."""
        from jvs.engine import control

        way, why = self._way(source)
        if way == _CONTROL:
            return Running(control.clone_command(source, target), "juicefs control clone")
        if way == _CLIENT:
            return Running([self._binary(), "clone", "--preserve", source, target], "juicefs clone")
        raise IOFailure(f"cloning '{source}': {why}", hint="run 'jvs info' to see which engines work here")

    def _binary(self) -> str:
        found = self.find_binary()
        assert found is not None, "there is no way by the client without it"
        return found

    def remove(self, path: str) -> None:
        """Remove a tree inside the filesystem server; it goes to the trash when the volume has one. Errors: E_IO."""
        if stat.S_ISDIR(os.lstat(path).st_mode):
            try:
                running = self._run_remove(path)
                if running is not None:
                    running.wait()
            except (JvsError, Incomplete):  # immutable files, a client that does not fit: entry by entry then
                pass
        if os.path.lexists(path):
            engine.remove_plain(path)

    def _run_remove(self, path: str) -> Running | None:
        """Start the removal, or return None when there is no way to talk to the mount."""
        from jvs.engine import control

        way, _ = self._way(os.path.dirname(path))
        if way == _CONTROL:
            return Running(control.remove_command(path), "juicefs control rmr")
        return Running([self._binary(), "rmr", path], "juicefs rmr") if way == _CLIENT else None


class _Attempt:
    """One clone under a fresh name beside the target."""

    def __init__(self, owner: JuiceFSEngine, request: Request) -> None:
        self.owner = owner
        self.request = request
        self.temporary = f"{request.target}.{clock.random_hex(8)}"
        self.losses = fidelity.Losses()

    def start(self) -> bytes:
        """Clone, and wait until the clone is seen; return what the program that did it printed."""
        printed = self.owner.run_clone(self.request.source, self.temporary).wait()
        _await(self.temporary)
        return printed

    def hash(self, worker: scan.Worker, moment: int) -> scan.Tree:
        """Walk the clone, reading what the rows do not know."""
        scanner = scan.Scanner(
            worker,
            rows=self.request.rows,
            known=self.request.known,
            with_inode=False,
            moment_ns=moment,
        )
        return scanner.run(self.temporary)

    def cloned(self, tree: scan.Tree | None, moment: int) -> Cloned:
        """Return what came of it."""
        for path, why in tree.unreadable if tree is not None else ():
            self.losses.add(path, "unreadable", why)
        return Cloned(self.owner.name, self.losses.as_json(), tree, moment, with_inode=False)


class _VouchedAttempt(_Attempt):
    """A clone that is proved by its count and by the snapshot before. Errors: Unproved, when it takes a survey."""

    def run(self) -> Cloned:
        from jvs.engine import control

        moment = clock.now_ns()
        if not control.is_whole(self.start()):
            raise Unproved
        tree = self.hash(Vouched(self.request), moment)
        tree.plain = True
        return self.cloned(tree, moment)


class _SurveyedAttempt(_Attempt):
    """A clone that is compared with a survey of the source, and mended."""

    def __init__(self, owner: JuiceFSEngine, request: Request) -> None:
        super().__init__(owner, request)
        self.before = Survey()
        self.absent: set[bytes] = set()

    def run(self) -> Cloned:
        moment = clock.now_ns()
        try:
            self.before.take(self.request.source)
        except OSError as error:
            raise from_oserror(error, f"reading '{self.request.source}'") from error
        printed = self.start()
        try:
            self.absent = mend.specials(self.request.source, self.temporary, self.before, self.losses)
            tree = None
            if not self._count_is_proof(printed):
                tree = self._look(moment)
                self._check()
            mend.links(self.temporary, self.before, self.losses)
        except OSError as error:
            raise from_oserror(error, f"completing the clone of '{self.request.source}'") from error
        return self.cloned(tree, moment)

    def _count_is_proof(self, printed: bytes) -> bool:
        """Answer whether nothing can be missing: all was cloned that there is in a source to which nothing writes."""
        from jvs.engine import control

        return self.request.frozen and not self.request.hash and control.is_whole(printed)

    def _look(self, moment: int) -> scan.Tree | None:
        """Walk the clone: for its hash, or for its names only."""
        if self.request.hash:
            worker = Surveyed(self.before, self.request)
            tree = self.hash(worker, moment)
            tree.plain = self.before.is_plain
            self.missing = worker.missing
            return tree
        after = Survey().take(self.temporary)
        self.missing = self.before.missing_in(after)
        return None

    def _check(self) -> None:
        """Errors: Incomplete when something is missing that is still there in the source."""
        lost = [path for path in self.missing if path not in self.absent]
        if not lost:
            return
        source = safepath.open_dir(self.request.source)
        try:
            lost = [path for path in lost if safepath.lstat_below(source, path.split(b"/")) is not None]
        finally:
            os.close(source)
        if lost:
            shown = lost[0].decode("utf-8", "backslashreplace")
            raise Incomplete(
                CloneIncomplete(
                    f"the clone lacks '{shown}' and {len(lost) - 1} more names that the worktree has",
                    hint="something writes to the worktree all the time: let it pause, then run the command again",
                    missing=len(lost),
                    path=shown,
                )
            )


def _empty_attribute(source: str) -> JvsError | None:
    """Look for what makes a clone on SQL metadata fail with EIO for good: an extended attribute without a value."""
    stack = [(safepath.open_dir(source), b"")]
    try:
        while stack:
            fd, path = stack.pop()
            try:
                names, stats = walk.list_dir(fd)
                for name, st in zip(names, stats, strict=True):
                    here = walk.relative(path, name)
                    empty = [label for label, value in fidelity.entry_xattrs(name, fd).items() if not value]
                    if empty:
                        return _cannot_clone_empty(here, empty[0])
                    if stat.S_ISDIR(st.st_mode):
                        stack.append((safepath.open_dir(name, fd), here))
            except OSError:  # gone meanwhile, or not ours to read
                pass
            finally:
                os.close(fd)
        return None
    finally:
        for fd, _ in stack:
            os.close(fd)


def _cannot_clone_empty(path: bytes, label: str) -> JvsError:
    shown = path.decode("utf-8", "backslashreplace")
    return IOFailure(
        f"JuiceFS cannot clone '{shown}': its extended attribute '{label}' has no value",
        hint=f"remove the attribute ('setfattr -x {label} FILE') or choose the engine 'copy' for this snapshot",
        path=shown,
        attribute=label,
    )


def _await(path: str) -> None:
    """Wait until the kernel shows a clone; it may remember for a few seconds that the name was not there.

    Only with the mount option `--negative-entry-cache`; listing the directory above makes it look again.
    """
    waited = 0.0
    while not os.path.isdir(path):
        if waited > _APPEAR_SECONDS:
            raise Incomplete(
                IOFailure(
                    f"the clone '{path}' did not appear",
                    hint="check the JuiceFS mount and its log, then run the command again",
                )
            )
        os.listdir(os.path.dirname(path))
        if waited:
            clock.sleep(0.1)
        waited += 0.1


def _move(source: str, target: str) -> None:
    """Give the finished clone its name. Durable: yes, the metadata engine commits each rename."""
    try:
        durable.rename(source, target)
    except OSError as error:
        raise from_oserror(error, f"naming the clone '{target}'") from error
