"""The zoo tree: one of every kind of file that a workspace can hold.

`make_zoo` builds it and says what this filesystem could not hold; `describe_tree`, `diff_trees` and `remove_tree`
come from `treefacts`. Names are bytes. Nothing here imports jvs.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
from collections.abc import Callable, Collection

from treefacts import AnyPath, Facts, describe_tree, diff_trees, opened, remove_tree

__all__ = ["Facts", "describe_tree", "diff_trees", "make_zoo", "remove_tree", "remove_zoo"]

Maker = Callable[[bytes], None]

NFC = "caf\u00e9".encode()
NFD = "cafe\u0301".encode()
ODD_NAMES = (
    *(
        b"new\nline",
        b"tab\there",
        b'quote"double',
        b"quote'single",
        b"back\\slash",
        b" lead",
        b"trail ",
        b"-rf",
        b"*?[",
    ),
    *(b"\xff\xfe\x80", b"latin-\xe9", b"\x01\x1b[31m\x7f", b"...", b"~", b"#!", b"a:b|c<d>", b"con.txt", b"$HOME`id`"),
    *("\u202eevil".encode(), "\U0001f409".encode(), "\u00c5".encode(), "\u212b".encode(), "A\u030a".encode()),
    *(b"n" * 255, "\u00e9".encode() * 127 + b"x", b"\xfe" * 255),
)
OWNED_NAMES = (
    b".READY",
    b".jvs-tmp-x",
    b".jvs-tmp-1700000000000-0a1b2c3d-1",
    b".jvs-init",
    b"audit.jsonl",
    b"format_version",
)
EARLY_NS = -12_345_678_987_654_321  # August 1969
LATE_NS = 4_102_444_800_123_456_789  # 2100
MIB = 1 << 20
DEEP_NAME = b"deep-" + b"d" * 235
DEEP_LEVELS = 18  # 18 * 241 bytes is more than PATH_MAX
FOREIGN = (1234, 2345)
NO_ID = 0xFFFFFFFF


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return a POSIX ACL as its xattr holds it; entries are (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL = acl((1, 7, NO_ID), (2, 5, 1234), (4, 5, NO_ID), (8, 4, 2345), (0x10, 5, NO_ID), (0x20, 0, NO_ID))
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # version 2, cap_net_bind_service, effective


def make_zoo(root: AnyPath, *, many: int = 60, skip: Collection[str] = ()) -> dict[str, str]:
    """Build the zoo in the directory root (made when missing); return what could not be made, and why.

    `skip` leaves parts out by name; `many` is the number of small files. Content and times are the same every time.
    """
    os.makedirs(root, exist_ok=True)
    missing: dict[str, str] = {}
    with opened(root) as base:
        for name, maker in parts(many).items():
            if name in skip:
                continue
            try:
                maker(base + b"/")
            except OSError as error:
                missing[name] = error.strerror or str(error)
        for name, wanted in times().items():
            _set_time(base + b"/" + name, wanted, missing)
    return missing


def parts(many: int) -> dict[str, Maker]:
    """Return the parts of the zoo by name; each takes the place to build at, with a slash at its end."""
    table: dict[str, Maker] = {
        "empty": _empty,
        "names": _names,
        "normal-forms": _normal_forms,
        "links": _symlinks,
        "modes": _modes,
        "hard-links": _hard_links,
        "hard-linked-symlink": lambda at: os.link(at + b"links/file", at + b"links/file-again", follow_symlinks=False),
        "holes": _holes,
        "content": _content,
        "deep": _deep,
        "nested-git": _nested_git,
        "owned-names": _owned_names,
        "many": lambda at: _many(at, many),
        "fifo": lambda at: os.mkfifo(at + b"fifo", 0o640),
        "socket": _socket,
        "char-device": lambda at: _device(at + b"char", stat.S_IFCHR, os.makedev(1, 3)),
        "block-device": lambda at: _device(at + b"block", stat.S_IFBLK, os.makedev(7, 200)),
        "xattrs": _xattrs,
        "acl": _acls,
        "capability": lambda at: _tagged(at + b"capability", b"security.capability", CAPABILITY),
        "owners": _owners,
        "times": _times,
    }
    return table


def times() -> dict[bytes, int]:
    """Return the times to give at the end, when nothing changes them again. Units: ns."""
    base = 1_600_000_000_000_000_001
    table = {b"times/early": EARLY_NS, b"times/late": LATE_NS, b"times/ns": base, b"times/link": base + 7}
    return table | {b"empty-dir": base + 11, b"times/dir": base + 13, b"times/fifo": base + 17}


def write(path: bytes, content: bytes, mode: int = 0o644) -> None:
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def _empty(at: bytes) -> None:
    os.mkdir(at + b"empty-dir")
    write(at + b"empty-file", b"")


def _names(at: bytes) -> None:
    os.mkdir(at + b"names")
    for index, name in enumerate(ODD_NAMES):
        write(at + b"names/" + name, b"%d\n" % index)
    os.mkdir(at + b"names/dir\nwith\xff")
    write(at + b"names/dir\nwith\xff/in\tside", b"deep\n")


def _normal_forms(at: bytes) -> None:
    os.mkdir(at + b"normal")
    write(at + b"normal/" + NFC, b"composed")
    write(at + b"normal/" + NFD, b"decomposed")
    if {NFC, NFD} != set(os.listdir(at + b"normal")):
        raise OSError(0, "the filesystem takes two normal forms of a name as one file")


def _symlinks(at: bytes) -> None:
    """One target is 1,000 bytes long: XFS takes 1,023."""
    os.mkdir(at + b"links")
    write(at + b"links/target", b"target\n")
    table = {
        b"file": b"target",
        b"dangling": b"no/such/file",
        b"loop-a": b"loop-b",
        b"loop-b": b"loop-a",
        b"self": b"self",
    }
    table |= {b"absolute": b"/etc/hostname", b"up": b"../../../../../../../etc", b"dir": b"..", b"here": b"."}
    table |= {b"odd": b"\xff\n \\", b"long": b"x/" * 500, b"null": b"/dev/null", b"slash": b"target/"}
    for name, target in table.items():
        os.symlink(target, at + b"links/" + name)


def _modes(at: bytes) -> None:
    os.mkdir(at + b"modes")
    for mode in (0o000, 0o111, 0o400, 0o444, 0o555, 0o600, 0o666, 0o755, 0o777, 0o1644, 0o2755, 0o4755, 0o6755):
        write(at + b"modes/f%04o" % mode, b"mode %04o\n" % mode, mode)
    for mode in (0o000, 0o111, 0o500, 0o555, 0o700, 0o1777, 0o2775, 0o7777):
        name = at + b"modes/d%04o" % mode
        os.mkdir(name)
        write(name + b"/inside", b"in %04o\n" % mode)
        os.mkdir(name + b"/below")
        write(name + b"/below/more", b"more\n")
        os.chmod(name, mode)


def _hard_links(at: bytes) -> None:
    os.makedirs(at + b"hard/one/two")
    write(at + b"hard/three", b"three names\n")
    write(at + b"hard/pair", b"pair\n", 0o600)
    for new, old in (
        (b"hard/one/three", b"hard/three"),
        (b"hard/one/two/drei", b"hard/three"),
        (b"hard/Pair", b"hard/pair"),
    ):
        os.link(at + old, at + new)


def _holes(at: bytes) -> None:
    """Data lies on boundaries of 1 MiB, which every filesystem here can keep."""
    os.mkdir(at + b"holes")
    spots = {b"start": (3,), b"middle": (0, 3), b"end": (0,), b"all": ()}
    for name, data in spots.items():
        with open(at + b"holes/" + name, "wb") as file:
            file.truncate(4 * MIB)
            for where in data:
                file.seek(where * MIB)
                file.write(name[:1] * 65536)


def _content(at: bytes) -> None:
    os.mkdir(at + b"content")
    for size in (1, 4095, 4096, 4097, 65537, 3 * MIB + 5):
        write(at + b"content/%d" % size, (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size])
    write(at + b"content/crlf", b"a\r\nb\rc\n")
    write(at + b"content/zeros", bytes(200_000))  # data that looks like a hole


def _deep(at: bytes) -> None:
    fd = os.open(at, os.O_PATH | os.O_DIRECTORY)
    try:
        for level in range(DEEP_LEVELS):
            os.mkdir(DEEP_NAME, dir_fd=fd)
            below = os.open(DEEP_NAME, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
            write(b"/proc/self/fd/%d/file" % fd, b"level %d\n" % level)
    finally:
        os.close(fd)


def _nested_git(at: bytes) -> None:
    os.makedirs(at + b"project/.git/objects/ab")
    write(at + b"project/.git/HEAD", b"ref: refs/heads/main\n")
    write(at + b"project/.git/objects/ab/cdef", b"\x78\x01object", 0o444)
    write(at + b"project/.gitignore", b"*\n")
    os.mkdir(at + b"project/sub")
    write(at + b"project/sub/.git", b"gitdir: ../.git/modules/sub\n")


def _owned_names(at: bytes) -> None:
    """Names that mean something to jvs elsewhere; here they are data."""
    for name in OWNED_NAMES:
        write(at + name, b"the user's\n")
    os.mkdir(at + b"snapshots.tmp")
    write(at + b"snapshots.tmp/1700000000000-0a1b2c3d.READY", b"{}\n")


def _many(at: bytes, many: int) -> None:
    for number in range(many):
        directory = at + b"many/%02d/" % (number % 10)
        os.makedirs(directory, exist_ok=True)
        write(directory + b"file-%04d.txt" % number, b"small file %d\n" % number * (number % 7 + 1))


def _socket(at: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(at + b"socket")


def _device(path: bytes, kind: int, number: int) -> None:
    os.mknod(path, kind | 0o620, number)
    if os.lstat(path).st_rdev != number:
        raise OSError(0, "the device number was not kept")


def _tagged(path: bytes, name: bytes, value: bytes) -> None:
    write(path, b"tagged\n", 0o755)
    os.setxattr(path, name, value)
    if os.getxattr(path, name) != value:
        raise OSError(0, "the attribute was not kept")


def _xattrs(at: bytes) -> None:
    _tagged(at + b"xattrs", b"user.text", b"value")
    os.setxattr(at + b"xattrs", b"user.binary\xff", bytes(range(256)))
    os.setxattr(at + b"xattrs", b"user.empty", b"")
    os.mkdir(at + b"xattrs-dir")
    os.setxattr(at + b"xattrs-dir", b"user.on-dir", b"v" * 1000)
    _tagged(at + b"xattrs-read-only", b"user.a", b"b")
    os.chmod(at + b"xattrs-read-only", 0o444)


def _acls(at: bytes) -> None:
    _tagged(at + b"acl", b"system.posix_acl_access", ACL)
    os.mkdir(at + b"acl-dir")
    os.setxattr(at + b"acl-dir", b"system.posix_acl_access", ACL)
    os.setxattr(at + b"acl-dir", b"system.posix_acl_default", ACL)
    write(at + b"acl-dir/inherits", b"from the default\n", 0o640)
    os.mkdir(at + b"acl-dir/below")


def _owners(at: bytes) -> None:
    if os.geteuid() != 0:
        raise OSError(0, "only root may give files away")
    os.mkdir(at + b"owners")
    write(at + b"owners/file", b"foreign\n", 0o640)
    write(at + b"owners/setuid", b"foreign\n")
    os.symlink(b"file", at + b"owners/link")
    for name in (b"owners/file", b"owners/setuid", b"owners/link", b"owners"):
        os.chown(at + name, *FOREIGN, follow_symlinks=False)
    os.chmod(at + b"owners/setuid", 0o6755)


def _times(at: bytes) -> None:
    os.mkdir(at + b"times")
    for name in (b"early", b"late", b"ns"):
        write(at + b"times/" + name, b"time\n")
    os.symlink(b"ns", at + b"times/link")
    os.mkdir(at + b"times/dir")
    os.mkfifo(at + b"times/fifo")


def _set_time(path: bytes, wanted: int, missing: dict[str, str]) -> None:
    try:
        os.utime(path, ns=(wanted, wanted), follow_symlinks=False)
        kept = os.lstat(path).st_mtime_ns
    except FileNotFoundError:  # its part could not be made, or was not wanted
        return
    except OSError as error:
        missing["time of " + os.fsdecode(os.path.basename(path))] = error.strerror or str(error)
        return
    if kept != wanted:
        missing["time of " + os.fsdecode(os.path.basename(path))] = f"{wanted} ns is kept as {kept} ns"


remove_zoo = remove_tree
