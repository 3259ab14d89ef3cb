"""A restore that is completed after a crash copies nothing that is not what the snapshot was published with."""

from __future__ import annotations

import os

from crashing import dies_at
from lab import Lab


def test_a_restore_rolled_forward_does_not_copy_rotten_bytes(tmp_path):
    files = {f"f{i}": f"content {i}" for i in range(6)} | {"d/g": "deep", "n/new": "new"}
    lab = Lab(tmp_path / "r")
    lab.write(files)
    first = lab.take("first", "-t", "first")
    changed = {name: f"changed {name}".encode() for name in files if not name.startswith("n/")}
    lab.write(dict(changed))
    (lab.main / "n/new").unlink()
    (lab.main / "n").rmdir()
    lab.take("second")
    rotten = {data.swapcase().encode() for data in files.values()}
    died, number = True, 0
    while died:
        number += 5
        here = lab.copy_to(tmp_path / f"copy{number}")
        died = dies_at(number, lambda: here.say("restore", "first"))  # noqa: B023
        for path in (here.jvs_dir / "snapshots" / first).rglob("*"):
            if path.is_file():
                os.chmod(path, 0o644)
                path.write_bytes(path.read_bytes().swapcase())
        here.say("snapshot", "next")
        for path in here.main.rglob("*"):
            assert not path.is_file() or path.read_bytes() not in rotten, (number, path)
        assert not here.intents()
        there = {name for name in files if (here.main / name).exists()}
        assert there >= {name for name in files if name != "n/new"}, "what cannot be restored stays"
        if here.operations():
            here.jvs("undo")
            assert {name: here.read(name) for name in changed} == changed
