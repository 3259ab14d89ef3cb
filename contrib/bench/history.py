"""The first page of a long history, its snapshots of a tag or note, and which of them changed one file.

Taking 10,000 snapshots would take most of an hour. For the first page their payload is one and the same small directory
for all, so the descriptors and markers are written as jvs-format(5) says, each the child of the one before. For the
history of a file 1,000 snapshots are taken, by one program.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from cases import Place
from measure import Row, Took, compare, run
from workloads import Shape

SNAPSHOTS = 10_000
STEPS = 1_000
_TAKE_STEPS = """
import sys
from pathlib import Path
from jvs.repository import Repository
repo = Repository.open(sys.argv[1])
files = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.is_file())
for number in range(int(sys.argv[2])):
    files[number * 7 % len(files)].write_text(str(number))
    repo.snapshot(f"step {number}")
print(files[0].relative_to(sys.argv[1]))
"""


def measure(bin_dir: str, directory: Path, runs: int) -> list[Row]:
    """Time parts of a history of 10,000 snapshots, and that of one file in 1,000."""
    return _of_many(bin_dir, directory, runs) + _of_a_file(bin_dir, directory, runs)


def _of_a_file(bin_dir: str, directory: Path, runs: int) -> list[Row]:
    place = Place(bin_dir, "any", directory, "steps", runs, (Shape(10, 10, 100),))
    try:
        words = [place.python, "-c", _TAKE_STEPS, str(place.main), str(STEPS)]
        path = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

        def changed() -> Took:
            return run([place.jvs, "history", "--", path], place.main)

        what = f"history of {STEPS:,}, one file"
        facts = {"fs": "any", "workload": "--", "files": place.tree.count, "changed": 1, "against": "python3 -c pass"}
        python = [place.python, "-c", "pass"]
        return [compare(changed, lambda: run(python), 2 * runs, what=what, **facts)]  # type: ignore[arg-type]
    finally:
        place.clean()


_PARTS = {
    "first page": ("history", "-n", "20"),
    "by tag": ("history", "--tag", "none"),
    "by note": ("history", "--grep", "step .*999"),
    "all by note": ("history", "--all", "--grep", "step .*999"),
    "by tag, no index": ("--no-index", "history", "--tag", "none"),
    "a target by its note": ("show", "step 5000"),
}


def _of_many(bin_dir: str, directory: Path, runs: int) -> list[Row]:
    place = Place(bin_dir, "any", directory, "history", runs, (Shape(1, 1, 10),))
    try:
        place.snapshot("base")
        _lengthen(place.main.parent, SNAPSHOTS)

        facts = {"fs": "any", "workload": "--", "files": 1, "changed": 0, "against": "python3 -c pass"}
        python = [place.python, "-c", "pass"]

        def part(name: str, *words: str) -> Row:
            def took() -> Took:
                return run([place.jvs, *words], place.main)

            what = f"history of {SNAPSHOTS:,}, {name}"
            return compare(took, lambda: run(python), 2 * runs, what=what, **facts)  # type: ignore[arg-type]

        return [part(name, *words) for name, words in _PARTS.items()]
    finally:
        place.clean()


def _lengthen(root: Path, count: int) -> None:
    """Publish copies of the one snapshot, and move head and latest to the last of them."""
    control = root / ".jvs"
    (first,) = (control / "descriptors").glob("*.json")
    record = json.loads(first.read_text())
    parent, began_ms = record["snapshot_id"], int(record["snapshot_id"][:13])
    for number in range(1, count):
        snapshot_id = f"{began_ms + number}-{number:08x}"
        record |= {"snapshot_id": snapshot_id, "parent_id": parent, "note": f"step {number}"}
        plain = {key: value for key, value in record.items() if key not in ("descriptor_checksum", "integrity_state")}
        record["descriptor_checksum"] = hashlib.sha256(_canonical(plain)).hexdigest()
        keys = ("snapshot_id", "created_at", "engine", "descriptor_checksum", "payload_root_hash")
        (control / "descriptors" / f"{snapshot_id}.json").write_bytes(_canonical(record) + b"\n")
        (control / "snapshots" / f"{snapshot_id}.READY").write_bytes(_canonical({key: record[key] for key in keys}))
        shutil.copytree(control / "snapshots" / first.stem, control / "snapshots" / snapshot_id)
        parent = snapshot_id
    config = control / "worktrees" / "main" / "config.json"
    value = json.loads(config.read_text()) | {"head_snapshot_id": parent, "latest_snapshot_id": parent}
    config.write_bytes(_canonical(value) + b"\n")


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
