"""Clone and remove over a JuiceFS mount's control file, without the client program.

Two halves. In jvs: `why_not` finds out whether the mount's version is one whose messages are known (a message in
another layout makes the mount process panic), and `clone_command` and `remove_command` say which process to start.
That process is this file, run as a script: it never forks, because any fork closes a copy of the control descriptor
and that cancels the operation half way.
Source: JuiceFS, pkg/meta/interface.go and pkg/vfs/internal.go, versions 1.3 and 1.4; jvs-engines(7), juicefs-clone.
"""

from __future__ import annotations

import os
import select
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.rooted import Below

CLONE, REMOVE = 1006, 1002
PRESERVE = 0x02
KNOWN = ((1, 3), (1, 4))
"""Versions (major, minor) of a mount whose messages have the layout below."""
PROVED = ((1, 4),)
"""Versions that the tests clone and remove with: there the control file is used before the client program."""
_PROGRESS, _DATA = 0xFE, 0xFF
_PROGRESS_BYTES = 17  # the mark, then two u64: done and total


def why_not(directory: Below, versions: tuple[tuple[int, int], ...] = KNOWN) -> str:
    """Return why the control file of a directory cannot be used, or nothing. Writes nothing."""
    from jvs.engine.juicefs import mount as juicefs_mount
    from jvs.fs import paths

    path = juicefs_mount.control_file(directory)
    if path is None or not paths.may(path, os.R_OK | os.W_OK):
        return "it cannot be opened"
    config = mount_config(directory)
    if config is None:
        return "the version of the mount is not known, because its '.config' cannot be read from here"
    version = parse_version(str(config.get("Version", "")))
    if version not in versions:
        known = " and ".join(f"{major}.{minor}" for major, minor in versions)
        return f"the mount is version '{config.get('Version', '')}', and only {known} are known"
    return ""


def moves_directory_times(directory: Below) -> bool:
    """Answer whether the mount moves the times of a directory for whatever comes or goes a moment after the last time.

    It leaves them alone within `--skip-dir-mtime` of the last move (0.1 s unless it was mounted otherwise).
    """
    from jvs.tree import racy

    meta = (mount_config(directory) or {}).get("Meta")
    skipped_ns = meta.get("SkipDirMtime") if isinstance(meta, dict) else None
    return isinstance(skipped_ns, int) and skipped_ns <= racy.COARSE_RACY_NS // 2


def parse_version(text: str) -> tuple[int, int] | None:
    """Return (major, minor) of `1.4.2+2026-01-01.abc`, or None."""
    parts = text.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])


def mount_config(directory: Below) -> dict[str, Any] | None:
    """Return what `.config` at the root of the mount says, also when we are in a bind mount of a part of it."""
    import json

    from jvs.engine.juicefs import mount as juicefs_mount
    from jvs.fs import mounts, paths

    above = juicefs_mount.mount_root(directory)
    for root in [above] if above is not None else mounts.roots_of_device(paths.lstat(directory).st_dev):
        for name in (".config", ".jfs.config"):
            try:
                with open(os.path.join(root, name), "rb") as file:
                    value = json.loads(file.read())
            except (OSError, ValueError):  # another user's mount (mode 0400), or hidden
                continue
            if isinstance(value, dict):
                return value
    return None


def _command(*words: str) -> list[str]:
    # -I and -S: nothing from the environment, and not this directory, whose `copy` is not the standard library's.
    script = [__file__] if os.path.isfile(__file__) else ["-c", _source()]
    return [sys.executable, "-I", "-S", *script, *words]


def _source() -> str:
    """Return this file when it is packed into one file with the rest of the program, as in jvs.pyz."""
    source: str = __spec__.loader.get_source(__name__)  # type: ignore[union-attr]  # zipimport has it
    return source


def clone_command(pairs: list[tuple[Below, Below]]) -> list[str]:
    """Return the process to start for clones of sources to targets, one after the other.

    Errors: ValueError for names that the mount would not check.
    """
    for _, target in pairs:
        check_name(os.fsencode(target.name))
    return _command("clone", *(str(place) for pair in pairs for place in pair))


def remove_command(path: Below) -> list[str]:
    """Return the process to start for a removal; it goes to the trash when the volume has one."""
    check_name(os.fsencode(path.name))
    return _command("rmr", str(path))


def check_name(name: bytes) -> None:
    """Refuse what is no name of one entry: the mount takes `a/b` and `..`, and the directory is unreadable then."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name or len(name) > 255:
        raise ValueError(f"not a name: {name!r}")


def clone_message(source: int, source_parent: int, target_parent: int, name: bytes) -> bytes:
    """Return the message for a clone that preserves everything.

    Shape: big-endian; u32 command, u32 length of the rest; u64 source, its parent, the target's parent; u8 length
    and the name; u16 umask; u8 mode bits. Errors: ValueError; the inode 1 is another directory than it
    seems to on a mount of a subdirectory, so it is no source.
    """
    check_name(name)
    if source <= 1:
        raise ValueError("the root of a mount cannot be cloned")
    body = struct.pack(">QQQB", source, source_parent, target_parent, len(name)) + name
    body += struct.pack(">HB", 0, PRESERVE)
    return struct.pack(">II", CLONE, len(body)) + body


def remove_message(parent: int, name: bytes) -> bytes:
    """Return the message for a removal through the trash. Shape: u64 parent, u8 length, name, u8 flags, u8 threads."""
    check_name(name)
    body = struct.pack(">QB", parent, len(name)) + name + struct.pack(">BB", 0, 4)
    return struct.pack(">II", REMOVE, len(body)) + body


class Reply:
    """Takes the bytes of an answer apart, however they arrive. Shape: progress and data records, then one errno."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = self.total = 0
        self.errno: int | None = None

    def feed(self, data: bytes) -> None:
        """Take over some bytes."""
        self._rest += data
        while self._rest and self.errno is None:
            mark = self._rest[0]
            if mark == _PROGRESS:
                if len(self._rest) < _PROGRESS_BYTES:
                    return
                self.done, self.total = struct.unpack(">QQ", self._rest[1:_PROGRESS_BYTES])
                self._rest = self._rest[_PROGRESS_BYTES:]
            elif mark == _DATA:
                if len(self._rest) < 5 or len(self._rest) < 5 + int.from_bytes(self._rest[1:5], "big"):
                    return
                self._rest = self._rest[5 + int.from_bytes(self._rest[1:5], "big") :]
            else:
                self.errno = mark


def talk(control: str, message: bytes) -> Reply:
    """Send one message and wait for its end. The process must not fork meanwhile. Errors: OSError."""
    fd = os.open(control, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.write(fd, message) != len(message):
            raise OSError(5, "the control file took only a part of the message")
        reply = Reply()
        pause = 0.005
        while reply.errno is None:
            data = os.read(fd, 1 << 16)
            reply.feed(data)
            if not data:  # nothing yet
                select.select([], [], [], pause)
                pause = min(pause * 1.5, 0.02)
        return reply
    finally:
        os.close(fd)


def find_control(directory: str) -> str:
    """Return the control file as seen from a directory."""
    for name in (".control", ".jfs.control"):
        path = os.path.join(directory, name)
        if os.path.lexists(path):
            return path
    raise FileNotFoundError(2, "no control file: not inside JuiceFS", directory)


def run(words: list[str]) -> Reply:
    """Do what the command line of the helper says; the counts are those of all clones. Errors: OSError, ValueError."""
    if words[0] != "clone":
        return _run_one(words[0], "", words[1])
    whole = Reply()
    for i in range(1, len(words), 2):
        reply = _run_one("clone", words[i], words[i + 1])
        whole.done += reply.done
        whole.total += reply.total
    return whole


def _run_one(what: str, source: str, target: str) -> Reply:
    target = os.path.abspath(target)
    parent, name = os.path.dirname(target), os.fsencode(os.path.basename(target))
    if what == "clone":
        source = os.path.abspath(source)
        if (os.path.realpath(parent) + "/").startswith(os.path.realpath(source) + "/"):
            raise ValueError("the target lies inside the source")
        source_stat, above = os.lstat(source), os.stat(parent)
        if source_stat.st_dev != above.st_dev:
            raise OSError(18, "not on one mount")
        message = clone_message(source_stat.st_ino, os.stat(os.path.dirname(source)).st_ino, above.st_ino, name)
    else:
        message = remove_message(os.stat(parent).st_ino, name)
    reply = talk(find_control(parent), message)
    if reply.errno:
        raise OSError(reply.errno, os.strerror(reply.errno))
    return reply


def is_whole(printed: bytes) -> bool:
    """Answer whether the helper counted as many entries cloned as the mount had announced.

    Shape: `done total`, a line for each process. One that lost entries has fewer. The announcement counts what is in
    the metadata engine's own statistics, so that a tree which is being written may show a difference and still be
    complete.
    """
    counts = [line.split() for line in printed.splitlines()]
    return bool(counts) and all(len(words) == 2 and words[0] == words[1] and int(words[0]) > 0 for words in counts)


def main(words: list[str]) -> int:
    """Be the helper; failures are reported in the words of the client, so that one reader understands both."""
    try:
        reply = run(words)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    except ValueError as error:
        reason = str(error)
    else:
        os.write(1, b"%d %d\n" % (reply.done, reply.total))
        return 0
    os.write(2, f"<FATAL>: {words[0]} failed: {reason}\n".encode("utf-8", "backslashreplace"))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
