"""The trees that are measured: made with content that no two files share, and changed the way an editor does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """Units: `size` is bytes of each file."""

    directories: int
    files: int
    size: int


SHAPES = {
    "W1": (Shape(100, 100, 4096),),
    "W2": (Shape(1000, 100, 1024),),
    "W3": (Shape(1, 4, 512 << 20),),
    "W4": (Shape(100, 100, 4096), Shape(1, 4, 512 << 20)),
}
BIG = 1 << 20


@dataclass
class Workload:
    """A tree on the disk: `small` and `all` are its files, those below 1 MiB and every one."""

    root: Path
    all: list[Path] = field(default_factory=list)
    small: list[Path] = field(default_factory=list)
    _serial: int = 0

    def change(self, count: int, root: Path | None = None) -> None:
        """Overwrite the first bytes of some files, spread over the tree; `root` is a copy of it elsewhere."""
        self._serial += 1
        files = self.small or self.all
        step = max(len(files) // count, 1)
        for i, path in enumerate(files[::step][:count]):
            place = path if root is None else root / path.relative_to(self.root)
            with open(place, "r+b") as file:
                file.write(b"%08d%08d" % (self._serial, i))


def fill(root: Path, shapes: tuple[Shape, ...]) -> Workload:
    """Make the files below a directory that is there."""
    made = Workload(root)
    for number, shape in enumerate(shapes):
        for d in range(shape.directories):
            directory = root / f"s{number}-d{d:04}"
            directory.mkdir(parents=True)
            for f in range(shape.files):
                path = directory / f"f{f:04}"
                _write(path, shape.size, f"{number}-{d}-{f}")
                made.all.append(path)
                if shape.size < BIG:
                    made.small.append(path)
    return made


def _write(path: Path, size: int, seed: str) -> None:
    piece = (seed.encode() + b"\n") * 64
    block = (piece * (min(size, BIG) // len(piece) + 1))[: min(size, BIG)]
    with open(path, "wb") as file:
        left = size
        while left > 0:
            file.write(block[:left])
            left -= len(block)
