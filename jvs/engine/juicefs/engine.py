"""The engine `juicefs-clone`: the filesystem copies its metadata, the data stays where it is.

JuiceFS reports success for clones that are not complete: on SQL metadata whole directories come out empty while
files are created and removed in them, on Redis special files are dropped, and hard links become files of their own.
So each clone is proved complete (`engine.completeness`): against the rows of the snapshot before, without a look at
the source, where they prove it; else against the names of the source, taken before the clone. What is missing
without having been deleted means: throw the clone away and try again.
Source: jvs-engines(7), juicefs-clone; juicefs(1) 1.1 to 1.4.
"""

from __future__ import annotations

import os
import stat

from jvs.engine import base as engine
from jvs.engine.base import Cloned, Engine, Probe, Request
from jvs.engine.juicefs import mount as juicefs_mount
from jvs.engine.juicefs import writers
from jvs.engine.juicefs.attempt import ProvedAttempt, SurveyedAttempt
from jvs.engine.juicefs.client import Incomplete, Running
from jvs.engine.juicefs.completeness import Unproved
from jvs.errors import IOFailure, JvsError, from_oserror
from jvs.fs import durable, listing, metadata, paths
from jvs.tree.exclusion import RESERVED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.fs.rooted import Below
    from jvs.tree.exclusion import Exclusion

TRIES = 10
_CONTROL, _CLIENT = "control", "client"
_PAIRS = 200
"""Of a source and a target, for one process: two such lists of the longest paths fit into a command line."""


class JuiceFSEngine(Engine):
    """Clones with `juicefs clone --preserve`, or over the mount's control file."""

    name = engine.JUICEFS
    cost = "O(entries)"
    vouch = True
    """Let the snapshot before prove names where it can; off: survey the source. The answer is the same."""

    def probe(self, source_dir: Below, store_dir: Below) -> Probe:
        """Source and store must be on one JuiceFS mount, and there must be a way to talk to it."""
        source, store = engine.nearest(source_dir), engine.nearest(store_dir)
        if not juicefs_mount.is_juicefs(source):
            return self._answer(False, "the worktree is not on JuiceFS")
        if paths.lstat(source).st_dev != paths.lstat(store).st_dev:
            return self._answer(False, "the store is not on the same JuiceFS mount as the worktree")
        if paths.is_inside(store, source_dir) and not paths.is_inside(store, source_dir / RESERVED):
            return self._answer(False, "the store lies inside the worktree, where JuiceFS cannot clone to")
        way, why = self._way(source)
        if not way:
            return self._answer(False, why)
        over = ", over the control file" if way == _CONTROL else ""
        return self._answer(True, "", f"metadata only{over}; the data blocks are shared")

    def _way(self, directory: Below) -> tuple[str, str]:
        """Choose how to talk to the mount: by its control file, or with the client program.

        The control file comes first where clones over it were proved for that version of the mount: it saves the
        start of the client, and the client's long pauses between two looks whether it is done. Returns an empty
        way with the reason when neither works.
        """
        from jvs.engine.juicefs import control

        if self.options.control == "auto" and not control.why_not(directory, versions=control.PROVED):
            return _CONTROL, ""
        why = self._why_no_client(directory)
        if not why:
            return _CLIENT, ""
        if self.options.control == "never":
            return "", why
        refused = control.why_not(directory)
        return ("", f"{why}; and the control file: {refused}") if refused else (_CONTROL, "")

    def _why_no_client(self, directory: Below) -> str:
        """Return why the client program cannot be used, or nothing."""
        if self.options.control == "always":
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
        """Return the client: the one of the settings, or on the search path, or next to this Python."""
        import shutil
        import sys

        binary = self.options.binary
        if binary:
            return binary if os.access(binary, os.X_OK) else None
        own = os.path.join(os.path.dirname(sys.executable), "juicefs")
        path = self.options.search_path
        found = shutil.which("juicefs", path=os.defpath if path is None else path)  # None would be the environment's
        return found or (own if os.access(own, os.X_OK) else None)

    def clone(self, request: Request) -> Cloned:
        """Clone, prove it complete, repair what JuiceFS does not keep, and hash what changed.

        Errors: E_CLONE_INCOMPLETE after ten attempts; E_NO_SPACE; E_IO; E_EXISTS.
        """
        if request.paths is not None:  # single paths are copied; the filesystem shares their blocks
            from jvs.engine import copy_tree

            return copy_tree.run(request, engine_name=engine.COPY, share=False)
        engine.check_source(request.source)
        engine.check_target(request.target)
        juicefs_mount.refuse_mounts(request.source, request.exclude)
        writers.flush_open_files(request.source)
        problem: JvsError | None = None
        kinds: list[type[ProvedAttempt | SurveyedAttempt]] = [SurveyedAttempt] * TRIES
        if self._can_vouch(request):
            kinds.insert(0, ProvedAttempt)
        for kind in kinds:
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
        raise _empty_attribute(request.source, request.exclude) or problem

    def _can_vouch(self, request: Request) -> bool:
        """Answer whether the quick proof may be tried.

        It wants the count that the control file gives, a base in which nothing had to be repaired, and times of
        directories that the mount moves soon enough.
        """
        if not (self.vouch and request.hash and request.base_payload is not None and request.base_is_plain):
            return False
        from jvs.engine.juicefs import control

        return self._way(request.source)[0] == _CONTROL and control.moves_directory_times(request.source)

    def _discard(self, path: Below) -> None:
        if paths.exists(path):
            self.remove(path)

    def run_clone(self, pairs: list[tuple[Below, Below]]) -> Iterator[Running]:
        """Start cloning sources to targets, with the client or over the control file, one process after the other.

        Errors: E_IO when neither works.
        """
        from jvs.engine.juicefs import control

        if not pairs:
            return
        source = pairs[0][0]
        way, why = self._way(source if paths.is_dir(source) else source.parent)
        if way == _CONTROL:
            for start in range(0, len(pairs), _PAIRS):
                yield Running(control.clone_command(pairs[start : start + _PAIRS]), "juicefs control clone")
        elif way == _CLIENT:
            for source, target in pairs:
                yield Running([self._binary(), "clone", "--preserve", str(source), str(target)], "juicefs clone")
        else:
            raise IOFailure(f"cloning '{source}': {why}", hint="run 'jvs info' to see which engines work here")

    def _binary(self) -> str:
        found = self.find_binary()
        assert found is not None, "there is no way by the client without it"
        return found

    def remove(self, path: Below) -> None:
        """Remove a tree inside the filesystem server; it goes to the trash when the volume has one. Errors: E_IO."""
        if paths.is_dir(path):
            try:
                running = self._run_remove(path)
                if running is not None:
                    running.wait()
            except (JvsError, Incomplete):  # immutable files, a client that does not fit: entry by entry then
                pass
        if paths.exists(path):
            engine.remove_plain(path)

    def _run_remove(self, path: Below) -> Running | None:
        """Start the removal, or return None when there is no way to talk to the mount."""
        from jvs.engine.juicefs import control

        way, _ = self._way(path.parent)
        if way == _CONTROL:
            return Running(control.remove_command(path), "juicefs control rmr")
        return Running([self._binary(), "rmr", str(path)], "juicefs rmr") if way == _CLIENT else None


def _empty_attribute(source: Below, exclude: Exclusion | None) -> JvsError | None:
    """Look for what makes a clone on SQL metadata fail with EIO for good: an extended attribute without a value."""
    stack = [(paths.open_dir(source), b"")]
    try:
        while stack:
            fd, path = stack.pop()
            try:
                names, stats = listing.list_dir(fd)
                if exclude is not None:
                    names, stats = exclude.rest(fd, path, names, stats)
                for name, st in zip(names, stats, strict=True):
                    here = listing.relative(path, name)
                    empty = [label for label, value in metadata.entry_xattrs(name, fd).items() if not value]
                    if empty:
                        return _cannot_clone_empty(here, empty[0])
                    if stat.S_ISDIR(st.st_mode):
                        stack.append((paths.open_dir(name, fd), here))
            except OSError:  # deleted meanwhile, or not ours to read
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


def _move(source: Below, target: Below) -> None:
    """Give the finished clone its name. Durable: yes, the metadata engine commits each rename."""
    try:
        durable.rename(source, target)
    except OSError as error:
        raise from_oserror(error, f"naming the clone '{target}'") from error
