"""What only Linux has is called in one module, held by reading the source.

`jvs.system` makes the system calls that Python does not offer and reads /proc; what Python itself offers on Linux alone
is for `jvs.fs`, which everything else asks. So a port to another system is a rewrite of these, and of the engines that
are a filesystem of Linux.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import sources

pytestmark = sources.group
ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "jvs/system.py"

_OF_LINUX = frozenset(
    (
        *("O_PATH", "O_NOATIME", "O_TMPFILE", "O_DIRECT", "copy_file_range", "memfd_create", "pidfd_open", "splice"),
        *("eventfd", "sched_getaffinity", "setns", "unshare", "posix_fadvise"),
        *("getxattr", "setxattr", "listxattr", "removexattr"),
    )
)
EXCEPTIONS = {
    "jvs/fs/namespace.py": {
        "ctypes": "called between fork and exec: everything has to be loaded before",
        "/proc/self/": "the maps of a user namespace, written between fork and exec",
    },
    "jvs/tree/parallel.py": {"sched_getaffinity": "how many processors there are"},
    "jvs/tree/attributes.py": {
        "O_PATH": "a handle of what must not be opened",
        "listxattr": "asks one open descriptor whether there are any",
    },
    "jvs/engine/reflink.py": {"O_TMPFILE": "a nameless file, to try an engine with; only engines of Linux do"},
}


def modules() -> list[str]:
    return sorted(
        str(p.relative_to(ROOT)) for part in ("jvs", "plumbing", "porcelain") for p in (ROOT / part).rglob("*.py")
    )


def met(path: str) -> Iterator[str]:
    """Yield what only Linux has and a module uses."""
    tree = sources.parsed(ROOT / path)
    words = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (name for name in names if name.partition(".")[0] == "ctypes")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "fcntl" and node.attr == "ioctl":
                yield "fcntl.ioctl"
            elif node.value.id == "os" and node.attr in _OF_LINUX and not path.startswith("jvs/fs/"):
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and id(node) not in words:
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if text.startswith("/proc/"):
                yield text


@pytest.mark.parametrize("path", [path for path in modules() if path != SYSTEM])
def test_only_one_module_makes_the_calls_of_linux(path):
    assert set(met(path)) == set(EXCEPTIONS.get(path, {}))


def test_the_module_has_them():
    assert {"ctypes", "fcntl.ioctl"} <= set(met(SYSTEM))
