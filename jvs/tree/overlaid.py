"""The tree that an upper layer makes of a lower one: only the directories that the upper one holds are made anew.

Source: jvs-try(1); Documentation/filesystems/overlayfs.rst of the kernel.
"""

from __future__ import annotations

from jvs.fs import listing
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.tree.node import Entry


class Composer:
    """Lays one tree over another. `load` gives the entries of both.

    `whole` are directories of the upper tree under which nothing of the lower one shows, `removed` paths of the lower
    one that are gone. After `run` the nodes that were made are in `nodes`.
    """

    def __init__(self, load: Callable[[bytes], list[Entry]], whole: set[bytes], removed: set[bytes]) -> None:
        self.load = load
        self.whole = whole
        self.removed = removed
        self.nodes: dict[bytes, bytes] = {}

    def run(self, lower: node.Root, upper: node.Root) -> node.Root:
        """Return the root of what both make together; mode and attributes are those of the upper one."""
        return upper[0], upper[1], self._directory(b"", lower[2], upper[2])[0]

    def _directory(self, path: bytes, lower: bytes, upper: bytes) -> tuple[bytes, int]:
        """Return digest and size of a directory that both have."""
        below = {entry[0]: entry for entry in self.load(lower)}
        found = {name: entry for name, entry in below.items() if listing.relative(path, name) not in self.removed}
        for entry in self.load(upper):
            here, old = listing.relative(path, entry[0]), below.get(entry[0])
            if old is not None and entry[1] == old[1] == listing.DIR and here not in self.whole:
                digest, size = self._directory(here, old[4], entry[4])
                entry = (entry[0], entry[1], entry[2], size, digest, entry[5])
            found[entry[0]] = entry
        data = node.encode_node([found[name] for name in sorted(found)])
        digest = node.node_digest(data)
        self.nodes[digest] = data
        return digest, sum(entry[3] for entry in found.values())
