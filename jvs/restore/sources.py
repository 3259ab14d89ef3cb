"""Where a merge copies from: one payload, or several of which each holds some paths, with some names changed.

Source: jvs-protocol(7), Merge.
"""

from __future__ import annotations

from jvs import canon
from jvs.restore.entries import RootedDir
from jvs.store import tries
from jvs.tree import path_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from jvs.fs.rooted import Below
    from jvs.restore.journal import LayerJSON
    from jvs.store.layout import Layout


class LayeredDir(RootedDir):
    """Looks like one directory: the first layer that holds a path is where it is; `renamed` maps paths to theirs."""

    def __init__(self, layers: list[tuple[Below, list[bytes] | None]], renamed: dict[bytes, bytes]) -> None:
        super().__init__(layers[0][0])
        self._own = layers[0][1]
        self._others = [(RootedDir(place), own) for place, own in layers[1:]]
        self._renamed = renamed
        self.layered = len(layers) > 1

    @classmethod
    def of(cls, layout: Layout, layers: list[LayerJSON], renamed: dict[bytes, bytes]) -> LayeredDir:
        """Return the payloads of some snapshots as one directory. Errors: OSError."""
        places = [
            (
                tries.files(layout, layer["try_id"]) if "try_id" in layer else layout.payload(layer["snapshot_id"]),
                None if layer["paths"] is None else [canon.path_from_json(path) for path in layer["paths"]],
            )
            for layer in layers
        ]
        return cls(places, renamed)

    def path_of(self, path: bytes) -> bytes:
        """Return where in theirs an entry is that comes under a path."""
        return self._renamed.get(path, path)

    def _layer_of(self, path: bytes) -> RootedDir | None:
        """Return the layer that holds a path; None is this one."""
        for place, own in [(None, self._own), *self._others]:
            if own is None or any(path_filter.covers(want, path) for want in own):
                return place
        return self._others[-1][0] if self._others else None

    def parent(self, path: bytes, *, make: bool = False, writable: bool = False) -> tuple[int, bytes]:
        """Return the open directory that holds a path in its layer, and its name there. Errors: OSError."""
        path = self.path_of(path)
        layer = self._layer_of(path)
        return super().parent(path) if layer is None else layer.parent(path)

    def lstat(self, path: bytes) -> os.stat_result | None:
        """Return the stat of a path in its layer, or None."""
        path = self.path_of(path)
        layer = self._layer_of(path)
        return super().lstat(path) if layer is None else layer.lstat(path)

    def forget(self) -> None:
        """Close the directories that were kept open."""
        super().forget()
        for layer, _ in self._others:
            layer.forget()

    def close(self) -> None:
        """Close everything."""
        super().close()
        for layer, _ in self._others:
            layer.close()
