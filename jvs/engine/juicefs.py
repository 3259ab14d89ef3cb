"""The engine `juicefs-clone`: the filesystem copies its metadata, the data stays where it is.

The client reports success for clones that are not complete: on SQL metadata whole directories come out empty while
files are created and removed in them, on Redis special files are dropped, and hard links become files of their own.
So the names of the source are taken while the clone runs and compared with the clone; what is missing without
having been deleted means: throw the clone away and try again.
Source: jvs-engines(7), JuiceFS; juicefs(1) 1.1 to 1.4.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs import clock, durable, engine, fidelity, safepath, scan, walk
from jvs.engine import Cloned, Engine, Probe, Request
from jvs.engine.survey import Survey
from jvs.errors import CloneIncomplete, IOFailure, JvsError, NoSpace, from_oserror

CONTROL_INODE = 0x7FFFFFFF00000002
"""The inode of the control file; the same in every directory of every version since 1.0."""
CONTROL_NAMES = (".control", ".jfs.control")
TRIES = 3
_ROOT_INODE = 1
_APPEAR_SECONDS = 10.0


class JuiceFSEngine(Engine):
    """Clones with `juicefs clone --preserve`, or over the mount's control file."""

    name = engine.JUICEFS
    cost = "O(entries)"

    def probe(self, source_dir: str, store_dir: str) -> Probe:
        """Source and store must be on one JuiceFS mount, and there must be a way to talk to it."""
        source, store = engine.nearest(source_dir), engine.nearest(store_dir)
        if not is_juicefs(source):
            return self._answer(False, "the worktree is not on JuiceFS")
        if os.stat(source).st_dev != os.stat(store).st_dev:
            return self._answer(False, "the store is not on the same JuiceFS mount as the worktree")
        if (os.path.realpath(store) + "/").startswith(os.path.realpath(source_dir).rstrip("/") + "/"):
            return self._answer(False, "the store lies inside the worktree, where JuiceFS cannot clone to")
        why = self._why_no_client(source)
        if not why:
            return self._answer(True, "", "metadata only; the data blocks are shared")
        if self.control != "never":
            from jvs.engine import control

            refused = control.why_not(source)
            if not refused:
                return self._answer(True, "", "metadata only, over the control file; the data blocks are shared")
            why = f"{why}; and the control file: {refused}"
        return self._answer(False, why)

    def _why_no_client(self, directory: str) -> str:
        """Return why the client program cannot be used, or nothing."""
        if self.control == "always":
            return "the settings ask for the control file instead of the client"
        if mount_root(directory) is None:
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
        _refuse_mounts(request.source)
        if request.control is not None:
            self.control = request.control
        flush_open_files(request.source)
        problem: JvsError | None = None
        for _ in range(TRIES):
            attempt = _Attempt(self, request)
            try:
                cloned = attempt.run()
                _move(attempt.temporary, request.target)
                return cloned
            except _Incomplete as error:
                problem = error.problem
                self._discard(attempt.temporary)
            except BaseException:
                self._discard(attempt.temporary)
                raise
        assert problem is not None
        raise _empty_attribute(request.source) or problem

    def _discard(self, path: str) -> None:
        if os.path.lexists(path):
            self.remove(path)

    def run_clone(self, source: str, target: str) -> _Running:
        """Start cloning; the caller does something useful meanwhile."""
        why = self._why_no_client(source)
        if not why:
            binary = self.find_binary()
            assert binary is not None
            return _Running([binary, "clone", "--preserve", source, target], "juicefs clone")
        if self.control != "never":
            from jvs.engine import control

            refused = control.why_not(source)
            if not refused:
                return _Running(control.clone_command(source, target), "juicefs control clone")
            why = f"{why}; and the control file: {refused}"
        raise IOFailure(f"cloning '{source}': {why}", hint="run 'jvs info' to see which engines work here")

    def remove(self, path: str) -> None:
        """Remove a tree inside the filesystem server; it goes to the trash when the volume has one. Errors: E_IO."""
        if stat.S_ISDIR(os.lstat(path).st_mode):
            try:
                running = self._run_remove(path)
                if running is not None:
                    running.wait()
            except (JvsError, _Incomplete):  # immutable files, a client that does not fit: entry by entry then
                pass
        if os.path.lexists(path):
            engine.remove_plain(path)

    def _run_remove(self, path: str) -> _Running | None:
        """Start the removal, or return None when there is no way to talk to the mount."""
        if not self._why_no_client(path):
            binary = self.find_binary()
            assert binary is not None
            return _Running([binary, "rmr", path], "juicefs rmr")
        if self.control == "never":
            return None
        from jvs.engine import control

        return None if control.why_not(path) else _Running(control.remove_command(path), "juicefs control rmr")


class _Incomplete(Exception):
    """A clone that is worth another attempt; `problem` is what to say when there is none left."""

    def __init__(self, problem: JvsError) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Running:
    """A client that was started. It is shielded from the terminal's signals: a killed clone leaks what it built."""

    def __init__(self, command: list[str], label: str) -> None:
        import subprocess

        self.label = label
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise from_oserror(error, f"starting '{command[0]}'") from error

    def wait(self) -> None:
        """Wait for the end, also when we are interrupted meanwhile. Errors: E_NO_SPACE, E_IO; _Incomplete."""
        try:
            _, text = self._process.communicate()
        except BaseException:
            self._process.communicate()
            raise
        if self._process.returncode != 0:
            raise _explain(self.label, self._process.returncode, text)


_RETRY = (
    "input/output error",  # Redis: a file that changes all the time starves the transaction
    "no such file or directory",  # SQL: something directly below the source vanished
    "interrupted system call",
    "client was restarted",
)


def _explain(label: str, status: int, output: bytes) -> Exception:
    """Turn what the client says when it fails into an error; its exit status is 1 for everything."""
    text = _last_line(output) or f"exit status {status}"
    lower = text.lower()
    doing = f"'{label}' failed: {text}"
    if "quota exceeded" in lower or "no space left" in lower:
        return NoSpace(
            doing, hint="free some space or raise the quota ('jvs gc plan' shows what can go), then run it again"
        )
    problem = IOFailure(
        doing, hint="check the JuiceFS mount and its log ('juicefs status', juicefs.log), then run the command again"
    )
    if any(part in lower for part in _RETRY):
        return _Incomplete(problem)
    return problem


def _last_line(output: bytes) -> str:
    """Return the last line without colours, time stamp, and the place in the client's source."""
    import re

    text = re.sub(r"\x1b\[[0-9;]*m", "", output.decode("utf-8", "backslashreplace")).strip()
    line = text.splitlines()[-1] if text else ""
    line = re.sub(r"^.*?<(?:FATAL|ERROR|WARNING)>:\s*", "", line)
    return re.sub(r"\s*\[[^\[\]]*@[^\[\]]*:\d+\]$", "", line)


class _Attempt:
    """One clone under a fresh name beside the target, checked and mended."""

    def __init__(self, owner: JuiceFSEngine, request: Request) -> None:
        self.owner = owner
        self.request = request
        self.temporary = f"{request.target}.{clock.random_hex(8)}"
        self.losses = fidelity.Losses()
        self.before = Survey()
        self.absent: set[bytes] = set()

    def run(self) -> Cloned:
        moment = clock.now_ns()
        running = self.owner.run_clone(self.request.source, self.temporary)
        try:
            self.before.take(self.request.source)
        except OSError as error:
            raise from_oserror(error, f"reading '{self.request.source}'") from error
        finally:
            running.wait()
        _await(self.temporary)
        try:
            self._mend_specials()
            tree = self._look(moment)
            self._check()
            self._mend_links()
        except OSError as error:
            raise from_oserror(error, f"completing the clone of '{self.request.source}'") from error
        for path, why in tree.unreadable if tree is not None else ():
            self.losses.add(path, "unreadable", why)
        return Cloned(self.owner.name, self.losses.as_json(), tree, moment, with_inode=False)

    def _mend_specials(self) -> None:
        """Make the fifos, sockets and devices that Redis metadata drops."""
        if not self.before.specials:
            return
        source, target = safepath.open_dir(self.request.source), safepath.open_dir(self.temporary)
        try:
            for path, st in self.before.specials:
                self._mend_special(source, target, path, st)
        finally:
            os.close(source)
            os.close(target)

    def _mend_special(self, source: int, target: int, path: bytes, st: os.stat_result) -> None:
        parts = safepath.split_relative(path)
        if safepath.lstat_below(target, parts) is not None or safepath.lstat_below(source, parts) is None:
            return
        above = _open_or_none(target, parts)
        beside = _open_or_none(source, parts)
        try:
            if above is None or beside is None:  # the directory itself is missing, which the check will see
                return
            with _Times(above):
                if fidelity.copy_special(beside, parts[-1], above, st, path, self.losses) is None:
                    self.absent.add(path)
        finally:
            for fd in (above, beside):
                if fd is not None:
                    os.close(fd)

    def _look(self, moment: int) -> scan.Tree | None:
        """Walk the clone: for its hash, or for its names only."""
        self.missing: list[bytes] = []
        if not self.request.hash:
            after = Survey().take(self.temporary)
            for path in self.before.names:
                if path in after.names:
                    self.missing.extend(self.before.missing(path, after.names[path]))
            return None
        worker = _NameChecker(self.before, self.missing, self.request)
        scanner = scan.Scanner(
            worker,
            rows=self.request.rows,
            load_node=self.request.load_node,
            with_inode=False,
            moment_ns=moment,
        )
        return scanner.run(self.temporary)

    def _check(self) -> None:
        """Errors: _Incomplete when something is missing that is still there in the source."""
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
            raise _Incomplete(
                CloneIncomplete(
                    f"the clone lacks '{shown}' and {len(lost) - 1} more names that the worktree has",
                    hint="something writes to the worktree all the time: let it pause, then run the command again",
                    missing=len(lost),
                    path=shown,
                )
            )

    def _mend_links(self) -> None:
        """Make the names of each hard-link group one file again."""
        if not self.before.groups:
            return
        target = safepath.open_dir(self.temporary)
        try:
            for paths in self.before.groups.values():
                first = safepath.lstat_below(target, paths[0].split(b"/"))
                if first is not None:  # else it was deleted meanwhile, or the check would have said
                    for path in paths[1:]:
                        self._mend_link(target, paths[0].split(b"/"), first, path)
        finally:
            os.close(target)

    def _mend_link(self, target: int, first: list[bytes], wanted: os.stat_result, path: bytes) -> None:
        """Replace a name by a link to the first one. Both were hashed already, and are equal when the stats are."""
        parts = path.split(b"/")
        other = safepath.lstat_below(target, parts)
        if other is None:
            return
        if wanted.st_mode != other.st_mode or not fidelity.unchanged(wanted, other):
            self.losses.add(path, "hardlink", "its names were cloned at different moments")
            return
        source_fd, above = safepath.open_parent(target, first), safepath.open_parent(target, parts)
        try:
            with _Times(above):
                durable.unlink(parts[-1], dir_fd=above)  # the clone is ours alone until it gets its name
                os.link(first[-1], parts[-1], src_dir_fd=source_fd, dst_dir_fd=above, follow_symlinks=False)
        finally:
            os.close(source_fd)
            os.close(above)


class _NameChecker(scan.Worker):
    """Hashes the clone and compares its names with those of the source on the way."""

    def __init__(self, before: Survey, missing: list[bytes], request: Request) -> None:
        super().__init__(jobs=request.jobs, allow_unreadable=request.allow_unreadable, slow_calls=True)
        self._before = before
        self._missing = missing

    def listed(self, path: bytes, names: list[bytes]) -> None:
        """Note what the source had in this directory and the clone has not."""
        self._missing.extend(self._before.missing(path, names))


class _Times:
    """Keeps the times of an open directory over a change to its entries."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> None:
        self.st = os.fstat(self.fd)

    def __exit__(self, *_: object) -> None:
        os.utime(self.fd, ns=(self.st.st_atime_ns, self.st.st_mtime_ns))


def _open_or_none(root: int, parts: list[bytes]) -> int | None:
    try:
        return safepath.open_parent(root, parts)
    except OSError:
        return None


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


def _refuse_mounts(source: str) -> None:
    """Errors: E_CLONE_INCOMPLETE when something is mounted inside: the clone would hold what lies below it."""
    below = walk.mount_points_below(source)
    if below:
        raise CloneIncomplete(
            f"'{below[0]}' is a mount point, which a snapshot of the worktree cannot hold",
            hint="unmount it and try again",
            path=below[0],
        )


def _await(path: str) -> None:
    """Wait until the kernel shows a clone; it may remember for a few seconds that the name was not there.

    Only with the mount option `--negative-entry-cache`; listing the directory above makes it look again.
    """
    waited = 0.0
    while not os.path.isdir(path):
        if waited > _APPEAR_SECONDS:
            raise _Incomplete(
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


def is_juicefs(directory: str) -> bool:
    """Answer whether a directory lies on JuiceFS: its control file can be looked up in every directory there."""
    return control_file(directory) is not None


def control_file(directory: str) -> str | None:
    """Return the path of the control file as seen from a directory, or None when it is not on JuiceFS."""
    for name in CONTROL_NAMES:
        path = os.path.join(directory, name)
        try:
            if os.lstat(path).st_ino == CONTROL_INODE:
                return path
        except OSError:
            continue
    return None


def mount_root(directory: str) -> str | None:
    """Return the mount point that a directory is below; None for a bind mount of a part of a volume."""
    path = os.path.realpath(directory)
    device = os.stat(path).st_dev
    while True:
        if os.stat(path).st_ino == _ROOT_INODE:
            return path
        above = os.path.dirname(path)
        if above == path or os.stat(above).st_dev != device:
            return None
        path = above


def flush_open_files(source: str) -> int:
    """Commit what processes have written to files of a tree that they still hold open; return how many files.

    A clone takes what the metadata engine knows, and a client tells it of writes only at close or fsync, or after a
    second. Any process may fsync for another one on the same mount, through a descriptor that can write. Files of
    processes that we may not look into, and files that we may not write, are left as they are.
    """
    prefix = os.path.realpath(source).rstrip("/") + "/"
    found: set[str] = set()
    for process in _numbers("/proc"):
        directory = f"/proc/{process}/fd"
        for number in _numbers(directory):
            try:
                path = os.readlink(f"{directory}/{number}")
            except OSError:  # closed meanwhile
                continue
            if path.startswith(prefix) and path not in found and _is_writable(process, number):
                found.add(path)
    flushed = 0
    for path in sorted(found):
        try:
            durable.commit_file(path)
            flushed += 1
        except OSError as error:
            if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
                raise from_oserror(error, f"committing '{path}'") from error
    return flushed


def _numbers(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.isdigit()]
    except OSError:  # another user's process, or one that ended
        return []


def _is_writable(process: str, number: str) -> bool:
    """Answer whether a descriptor was opened for writing. Source: proc(5), fdinfo, `flags` in octal."""
    try:
        with open(f"/proc/{process}/fdinfo/{number}", "rb") as lines:
            for line in lines:
                if line.startswith(b"flags:"):
                    return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    except (OSError, ValueError):
        pass
    return False
