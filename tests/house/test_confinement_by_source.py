"""Confinement, held by reading the source: no system call takes a path as text, but where this table says why.

A path that is joined as text and then used leads wherever somebody has put a link by then. Below a repository, a
worktree or any other directory that was opened, everything goes by descriptor and one name, in `jvs/fs/`: a `Below` is
no path, so that `os.open` does not take it. What is left are the calls here: each module that makes one is named, with
the calls and why no record of a repository, and no swapped directory, can lead them anywhere.
Source: jvs-threats(7), A repository from somebody else.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sources

from jvs.fs.rooted import Below, Root

pytestmark = sources.group
ROOT = Path(__file__).resolve().parents[2]

_OS = frozenset(
    (
        *("access", "chdir", "chmod", "chown", "chroot", "getxattr", "lchown", "link", "listdir"),
        *("listxattr", "lstat", "makedirs", "mkdir", "mkfifo", "mknod", "open", "pathconf", "readlink"),
        *("remove", "removedirs", "removexattr", "rename", "renames", "replace", "rmdir", "scandir", "setxattr"),
        *("symlink", "truncate", "unlink", "utime", "walk", "fwalk", "posix_spawn", "posix_spawnp", "system"),
        *("popen", "startfile", "stat", "statvfs", "execl", "execle", "execlp", "execlpe", "execv", "execve", "execvp"),
        *("execvpe", "spawnl", "spawnle", "spawnv", "spawnve", "spawnvp", "spawnvpe"),
    )
)
_PATHS = frozenset(
    (
        *("exists", "lexists", "isdir", "isfile", "islink", "ismount", "getsize", "getmtime", "getatime"),
        *("realpath", "samefile"),
    )
)
_MODULES = frozenset({"shutil", "subprocess", "glob", "tempfile", "pathlib", "fileinput", "zipfile", "tarfile"})
_OTHERS = frozenset({"open", "io.open", "sqlite3.connect", "Path"})
_ROOTS = frozenset({"Root", "Root.open", "rooted.Root", "rooted.Root.open", "rooted.at", "durable.open_directory"})
_BY_DESCRIPTOR = frozenset({"dir_fd", "src_dir_fd", "dst_dir_fd"})

COMMAND_LINE = "a path that the user typed; links on the way are theirs"
PROC = "a file of /proc or /sys, whose name no repository chooses"
OWN = "a file of the user's own, below HOME or an XDG directory"
ON_PATH = "a program on PATH or of this installation"
FD_OR_PROC = "an open descriptor, or its name below /proc/self/fd"

EXCEPTIONS: dict[str, dict[str, str]] = {
    "jvs/cli/arguments.py": {"os.path.realpath": "turns paths of the command line into names below the worktree"},
    "jvs/cli/difftool.py": {
        "tempfile.mkdtemp": "a new directory of its own, which nobody else can enter",
        "os.mkdir": "in the directory that was just made",
        "rooted.Root.open": "the same directory",
        "subprocess.run": "the program that the user named",
    },
    "jvs/cli/dispatch.py": dict.fromkeys(("os.access", "os.execv", "os.path.isfile"), ON_PATH),
    "jvs/cli/manual.py": {
        **dict.fromkeys(("os.access", "os.listdir", "os.path.isfile"), ON_PATH),
        "open": "a page of the manual of this installation",
    },
    "jvs/cli/run.py": {"os.chdir": COMMAND_LINE},
    "jvs/cli/stream_files.py": dict.fromkeys(("open", "os.path.exists", "os.path.isfile", "rooted.at"), COMMAND_LINE),
    "jvs/cli/streams.py": dict.fromkeys(("open", "os.open"), "the standard streams and /dev/null"),
    "jvs/cli/suites.py": dict.fromkeys(("os.access", "os.path.isfile", "os.path.realpath"), ON_PATH),
    "jvs/compare/listing.py": dict.fromkeys(("os.path.isdir", "os.path.realpath", "rooted.at"), COMMAND_LINE),
    "jvs/engine/btrfs/engine.py": {"os.utime": FD_OR_PROC},
    "jvs/engine/juicefs/client.py": {"subprocess.Popen": "the client program, which knows nothing but paths"},
    "jvs/engine/juicefs/control.py": {
        "open": "the version of a mount, in a virtual file at its root",
        "os.open": "the control file at the root of a mount, which the mount table names",
        "os.path.lexists": "the control file, as above",
        "os.path.realpath": "refuses a clone into its own source before it is asked for",
        "os.path.isfile": "whether this very module is a file of its own, or in an archive",
        "os.stat": "the inode numbers that a clone is asked for by; what was cloned is compared and hashed after it",
        "os.lstat": "as os.stat",
    },
    "jvs/engine/juicefs/engine.py": {
        "os.access": ON_PATH,
        "shutil.which": ON_PATH,
    },
    "jvs/engine/juicefs/mount.py": dict.fromkeys(
        ("os.path.realpath", "os.stat"), "finds the root of the mount that a directory lies on, going up"
    ),
    "jvs/engine/juicefs/writers.py": {
        "os.path.realpath": "compared with the names of files that processes have open",
    },
    "jvs/fs/durable.py": dict.fromkeys(("Root.open", "os.makedirs", "os.path.exists", "os.stat"), OWN),
    "jvs/fs/metadata.py": dict.fromkeys(
        ("os.chmod", "os.chown", "os.listxattr", "os.removexattr", "os.setxattr", "os.stat", "os.utime"), FD_OR_PROC
    ),
    "jvs/fs/mounts.py": {"open": PROC, "os.path.realpath": "compared with the mount table"},
    "jvs/fs/namespace.py": {
        "os.open": "/proc, and what is to be mounted elsewhere, in a namespace that ends with its command",
        "open": "a pipe",
        "os.chdir": "where a command begins, in a namespace of its own",
        "os.statvfs": "the flags of what was mounted there just now",
        "os.makedirs": "in a filesystem in memory that was mounted there just now",
    },
    "porcelain/try.py": {"os.path.realpath": "the current directory, to find where a command begins"},
    "porcelain/enter.py": {"os.path.realpath": "the current directory, to find where a command begins"},
    "jvs/store/tries.py": dict.fromkeys(
        ("os.mkdir", "os.lstat", "os.path.isdir", "os.path.islink", "rooted.at", "tempfile.gettempdir"),
        "a directory of a try outside, where `.jvs` can hold no upper layer: one with our id, made by us, of our own",
    ),
    "jvs/operations/entering.py": {
        "os.path.isdir": "tells where a command begins",
        "os.path.isfile": "tells whether something is to be covered",
    },
    "jvs/fs/overlay.py": {
        **dict.fromkeys(("os.getxattr", "os.listxattr", "os.removexattr", "os.setxattr", "os.utime"), FD_OR_PROC),
        "os.open": "the overlay itself, in a namespace of its own",
    },
    "jvs/fs/paths.py": {
        "os.chmod": FD_OR_PROC,
        "os.path.realpath": "tells whether one directory lies in the other; nothing is opened by it",
    },
    "jvs/fs/rooted.py": {
        "Root.open": "the one place where a path that a person named becomes a root",
        "os.open": "as above",
        "os.path.realpath": "as above",
    },
    "jvs/fs/xattrs.py": dict.fromkeys(("os.getxattr", "os.listxattr"), FD_OR_PROC),
    "jvs/operations/agents.py": dict.fromkeys(("durable.open_directory", "os.path.isdir", "os.path.realpath"), OWN),
    "jvs/operations/context.py": {
        "os.path.isdir": "whether the user has hooks; what is found is opened and checked then"
    },
    "jvs/operations/configuration.py": {"rooted.Root.open": COMMAND_LINE},
    "jvs/operations/looking.py": {"rooted.at": "a copy of a payload that a program of the user is shown"},
    "jvs/restore/entries.py": {"os.listdir": FD_OR_PROC},
    "jvs/restore/planner.py": {"os.listdir": FD_OR_PROC},
    "jvs/worktrees/left_behind.py": {"os.utime": FD_OR_PROC},
    "jvs/operations/excluded_copies.py": {"os.utime": FD_OR_PROC},
    "jvs/store/anchor.py": {"durable.open_directory": OWN},
    "jvs/store/hook_permissions.py": {
        "durable.open_directory": OWN,
        "os.path.realpath": "the place of the repository, as part of a permission",
    },
    "jvs/store/hooks.py": {
        "durable.open_directory": OWN,
        "subprocess.run": "a hook: the user's own, or the descriptor of one that was hashed and allowed",
    },
    "jvs/store/init.py": {
        **dict.fromkeys(("os.path.isdir", "os.path.realpath", "rooted.at"), COMMAND_LINE),
        "Root": "of a directory that is open already",
    },
    "jvs/store/init_apart.py": dict.fromkeys(("Root.open", "os.path.isdir", "os.path.realpath"), COMMAND_LINE),
    "jvs/store/detach.py": {"rooted.at": "the control directory of the repository that was opened, to rename it"},
    "jvs/store/init_in_place.py": dict.fromkeys(("Root.open", "os.path.isdir", "os.path.realpath"), COMMAND_LINE),
    "jvs/store/attaching.py": dict.fromkeys(("os.path.realpath",), "compared with the places of other worktrees"),
    "jvs/store/finding.py": {
        "os.path.realpath": "where a pointer leads; what is there is opened and checked then, and compared with it"
    },
    "jvs/store/layout.py": {
        "Root": "of a directory that is open already",
        "Root.open": "the root of the repository, which the command line or the current directory names",
    },
    "jvs/store/locating.py": {
        "os.lstat": "looks for the repository at or above a directory; what is found is opened and checked then",
        "os.path.realpath": "as os.lstat",
    },
    "jvs/store/placement.py": {
        "Root.open": "the directory that holds a worktree elsewhere: used when that has the token of its configuration",
        "os.path.realpath": "as Root.open",
    },
    "jvs/store/pointer.py": {"Root.open": "a directory that a person named or works in, to read what it points to"},
    "jvs/store/ownership.py": {"os.path.realpath": "what the user's own settings trust; compared, never opened"},
    "jvs/store/remembered.py": {"durable.open_directory": OWN},
    "jvs/store/settings.py": dict.fromkeys(("os.path.isdir", "os.path.realpath", "os.stat", "rooted.at"), OWN),
    "jvs/store/settings_file.py": dict.fromkeys(("durable.open_directory", "os.path.realpath"), OWN),
    "jvs/store/store.py": {"os.path.realpath": "tells which worktree the current directory lies in"},
    "jvs/stream/cloning.py": {"os.path.realpath": COMMAND_LINE, "open": "the two ends of a pipe"},
    "jvs/system.py": dict.fromkeys(("open", "os.open", "os.listdir", "os.path.isdir", "os.readlink"), PROC),
    "jvs/tree/exclusion.py": {
        "os.path.realpath": "compared with the mount table",
        "os.path.isdir": "what is mounted at a point of the mount table",
    },
    "jvs/tree/index_file.py": {
        "rooted.at": "an index that a caller named as a path",
        "sqlite3.connect": "SQLite opens by path: a file that was checked, in a directory of our owner alone",
    },
    "jvs/ui/terminal.py": {
        "shutil.get_terminal_size": "takes no path",
        "shutil.which": ON_PATH,
        "subprocess.Popen": "the user's pager",
    },
    "plumbing/apply_tree.py": dict.fromkeys(("os.path.isdir", "os.path.realpath", "rooted.at"), COMMAND_LINE),
    "plumbing/chain_append.py": {"rooted.at": COMMAND_LINE},
    "plumbing/chain_check.py": {"rooted.at": COMMAND_LINE},
    "plumbing/clone_tree.py": dict.fromkeys(("os.path.lexists", "rooted.at"), COMMAND_LINE),
    "plumbing/hash_tree.py": {"rooted.at": COMMAND_LINE},
    "plumbing/probe_engine.py": dict.fromkeys(("os.path.isdir", "os.path.realpath", "rooted.at"), COMMAND_LINE),
    "plumbing/rename_ready.py": {"rooted.at": COMMAND_LINE},
    "plumbing/sync_tree.py": {"rooted.at": COMMAND_LINE},
    "jvs/operations/programs.py": {"subprocess.Popen": "the command that the user asked for"},
    "plumbing/with_lock.py": {"subprocess.run": "the command that the user asked for"},
    "porcelain/conformance_list.py": {"subprocess.run": ON_PATH},
    "porcelain/conformance_run.py": {"os.execv": ON_PATH},
    "porcelain/help.py": dict.fromkeys(("os.access", "os.execv"), ON_PATH),
    "porcelain/snapshot.py": {"open": COMMAND_LINE},
    "porcelain/torture.py": {"os.execv": ON_PATH},
}


def calls_by_text(tree: ast.Module) -> Iterator[str]:
    """Yield the name of each call that may take a path as text.

    With a `dir_fd` a call takes one name in an open directory; one whose first argument is called `fd` takes that.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            first, _, last = name.rpartition(".")
            if first == "os" and last in _OS:
                if not _is_by_descriptor(node):
                    yield name
            elif (first == "os.path" and last in _PATHS) or first in _MODULES or name in _OTHERS | _ROOTS:
                yield name


def _is_by_descriptor(call: ast.Call) -> bool:
    if any(keyword.arg in _BY_DESCRIPTOR for keyword in call.keywords):
        return True
    target = call.args[0] if call.args else None
    name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
    return name.lstrip("_") == "fd" or name.endswith("_fd")


def modules() -> dict[str, Path]:
    """Return every module of the product."""
    paths = [path for top in ("jvs", "plumbing", "porcelain") for path in sorted((ROOT / top).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path for path in paths}


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_system_call_takes_a_path_as_text(name):
    found = set(calls_by_text(sources.parsed(modules()[name])))
    assert found - EXCEPTIONS.get(name, {}).keys() == set(), "go by descriptor, in jvs/fs/, or say why not in the table"


def test_every_exception_is_one():
    """A row that nothing needs any more would let the next call pass."""
    assert EXCEPTIONS.keys() <= modules().keys()
    for name, rows in EXCEPTIONS.items():
        found = set(calls_by_text(sources.parsed(modules()[name])))
        assert rows.keys() - found == set(), f"{name} makes these calls no more"


def test_no_module_hides_what_it_calls():
    """`from os import unlink`, `import os as x` and getattr would go past this test."""
    for name, path in modules().items():
        for node in ast.walk(sources.parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module not in {"os", "os.path", "posix", "subprocess", "shutil"}, name
            if isinstance(node, ast.Import):
                assert all(
                    alias.asname is None or alias.name not in {"os", "shutil", "subprocess"} for alias in node.names
                ), name
                assert all(alias.name != "posix" for alias in node.names), name
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
                assert ast.unparse(node.args[0]) not in {"os", "os.path", "shutil", "subprocess"}, name


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("os.unlink(str(place))", {"os.unlink"}),
        ("os.rename(a, b)", {"os.rename"}),
        ("os.path.exists(f'{root}/x')", {"os.path.exists"}),
        ("open(path)", {"open"}),
        ("shutil.rmtree(path)", {"shutil.rmtree"}),
        ("os.unlink(name, dir_fd=fd)", set()),
        ("os.listdir(fd)", set()),
        ("os.fstat(fd)", set()),
    ],
)
def test_the_reader_sees_what_it_should(source, found):
    assert set(calls_by_text(ast.parse(source))) == found


def test_a_place_is_no_path():
    """So that a call that is given one fails, whoever wrote it."""
    place = Below(Root.open("/"), (b"etc",))
    for call in (os.open, os.stat, os.listdir, os.unlink, os.path.join):
        with pytest.raises(TypeError):
            call(place, os.O_RDONLY) if call is os.open else call(place)
