"""The trees that are measured: made with content that no two files share, and changed the way an editor does."""

from __future__ import annotations

from dataclasses import dataclass
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
    """A tree on the disk. It knows its files by number: what the parent holds shows in the peak of its children."""

    root: Path
    shapes: tuple[Shape, ...]
    _serial: int = 0

    @property
    def count(self) -> int:
        """The number of files."""
        return sum(shape.directories * shape.files for shape in self.shapes)

    def changeable(self) -> int:
        """Return how many files may be changed: those of the first shape."""
        return self.shapes[0].directories * self.shapes[0].files

    def change(self, count: int, root: Path | None = None) -> None:
        """Overwrite the first bytes of some files, spread over the tree; `root` is a copy of it elsewhere."""
        self._serial += 1
        step = max(self.changeable() // count, 1)
        for i in range(min(count, self.changeable())):
            directory, number = divmod(i * step, self.shapes[0].files)
            with open((root or self.root) / _name(0, directory, number), "r+b") as file:
                file.write(b"%08d%08d" % (self._serial, i))


def _name(shape: int, directory: int, number: int) -> str:
    return f"s{shape}-d{directory:04}/f{number:04}"


def fill(root: Path, shapes: tuple[Shape, ...]) -> Workload:
    """Make the files below a directory that is there."""
    for number, shape in enumerate(shapes):
        for d in range(shape.directories):
            (root / _name(number, d, 0)).parent.mkdir(parents=True)
            for f in range(shape.files):
                _write(root / _name(number, d, f), shape.size, f"{number}-{d}-{f}")
    return Workload(root, shapes)


def _write(path: Path, size: int, seed: str) -> None:
    piece = (seed.encode() + b"\n") * 64
    block = (piece * (min(size, BIG) // len(piece) + 1))[: min(size, BIG)]
    with open(path, "wb") as file:
        left = size
        while left > 0:
            file.write(block[:left])
            left -= len(block)
