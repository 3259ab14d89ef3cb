"""What one program pays that takes snapshots by itself, and how large the index gets.

One process opens the repository, and takes a snapshot "if something changed" of 5,000 files after one changed, and
after none. It is compared with the flushes alone that a snapshot cannot do without. The index is that of 100,000 tiny
files in 1,000 directories, per file.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from pathlib import Path

from cases import Place
from measure import Row
from workloads import Shape

FILES = (Shape(50, 100, 20),)
MANY = (Shape(1_000, 100, 20),)
_PROGRAM = """
import json, os, sys, time
from pathlib import Path
from jvs.repository import Repository
root, runs = Path(sys.argv[1]), int(sys.argv[2])
repo = Repository.open(root)
files = sorted(path for path in root.rglob("*") if path.is_file())
figures = {"changed": [], "unchanged": [], "flushes": []}
def timed(what, act):
    began = time.perf_counter()
    act()
    figures[what].append(time.perf_counter() - began)
def flush():
    for number in range(8):
        with open(root.parent / "flushed", "w") as file:
            file.write(str(number))
            file.flush()
            os.fsync(file.fileno())
repo.snapshot("first")
for number in range(runs + 1):
    with files[number * 7 % len(files)].open("a") as file:
        file.write("more")
    os.sync()
    time.sleep(0.1)
    timed("changed", lambda: repo.snapshot(if_changed=True))
    timed("unchanged", lambda: repo.snapshot(if_changed=True))
    timed("flushes", flush)
print(json.dumps({what: took[1:] for what, took in figures.items()}))
"""


def measure(bin_dir: str, fs: str, mount: Path, runs: int) -> list[Row]:
    """Time snapshots in one process on a filesystem, and say how large its index gets."""
    place = Place(bin_dir, fs, mount, "inside", runs, FILES)
    try:
        words = [place.python, "-c", _PROGRAM, str(place.main), str(runs)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        took: dict[str, list[float]] = json.loads(said)
        rows = [_row(fs, place.tree.count, what, took) for what in ("changed", "unchanged")]
    finally:
        place.clean()
    return rows


def index_bytes(bin_dir: str, fs: str, mount: Path) -> float:
    """Return how many bytes the index takes for each of many tiny files."""
    place = Place(bin_dir, fs, mount, "index", 1, MANY)
    try:
        place.snapshot("first")
        return sum(one.stat().st_size for one in (place.main.parent / ".jvs").glob("index.sqlite*")) / place.tree.count
    finally:
        place.clean()


def _row(fs: str, files: int, what: str, took: dict[str, list[float]]) -> Row:
    mine, other = statistics.median(took[what]), statistics.median(took["flushes"])
    return Row(
        fs=fs,
        workload="--",
        what=f"in process, {what}",
        jvs_s=round(mine, 4),
        other_s=round(other, 4),
        ratio=round(mine / other, 2),
        peak_mib=0.0,
        files=files,
        changed=int(what == "changed"),
        against="eight fsyncs",
        spread=round(max(took[what]) / min(took[what]), 2),
    )
