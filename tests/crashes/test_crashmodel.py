"""The model of crashes: trees of inodes, what a crash may leave of a run, and that missing syncs are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).resolve().parents[2] / "conformance"
sys.path.insert(0, str(SUITE))
crashstates = pytest.importorskip("crashmodel.crashstates")
inodes = pytest.importorskip("crashmodel.inodes")
recorder = pytest.importorskip("crashmodel.recorder")
supervise = pytest.importorskip("supervisor.supervise")
sys.path.remove(str(SUITE))

FILE, DIR = 0o100000, 0o040000
BIN = os.path.dirname(sys.executable)


def op(kind, *args, inode=None, dirs=(), path="x"):
    return inodes.Op(kind, path, inode=inode, dirs=dirs, args=args)


def make(*ops):
    """Return the record of a run on a root directory; inodes 2 and 3 are new files, 4 is a new directory."""
    before = inodes.Tree()
    before.inodes = {1: inodes.Inode(DIR, 0o755)}
    born = {n: inodes.Inode(DIR if n == 4 else FILE, 0o644) for n in (2, 3, 4)}
    return crashstates.Record(before, born, list(ops))


def disks(record, model="posix"):
    """Return what the states of a record hold: path -> content."""
    found = []
    for state in crashstates.enumerate_states(record, "test", (model,), 4):
        tree = record.tree(state.choice)
        found.append({path: tree.inodes[number].data for path, number in tree.paths().items()})
    return found


REPLACE = (
    op("link", 1, "f.tmp", 2, dirs=(1,)),
    op("data", 0, b"new!", inode=2),
    op("sync", False, inode=2),
    op("rename", 1, "f.tmp", 1, "f", 2, dirs=(1,)),
    op("sync", False, inode=1),
)


def test_a_file_that_is_synced_before_its_rename_is_never_torn():
    assert all(disk.get("f", b"new!") == b"new!" for disk in disks(make(*REPLACE)))
    assert all(disk.get("f", b"new!") == b"new!" for disk in disks(make(*REPLACE), "ordered"))


def test_without_the_sync_it_is_empty_torn_or_full_of_zeros():
    found = [disk["f"] for disk in disks(make(*REPLACE[:2], *REPLACE[3:])) if "f" in disk]
    assert {b"", b"ne", b"\0\0\0\0", b"new!"} == set(found)
    assert b"" in [disk.get("f") for disk in disks(make(*REPLACE[:2], *REPLACE[3:]), "ordered")]


def test_an_unsynced_name_is_there_or_not_also_at_the_end():
    found = disks(make(*REPLACE[:4]))
    assert {"f": b"new!"} in found and {"f.tmp": b"new!"} in found and {} in found
    assert disks(make(*REPLACE))[-1] == {"f": b"new!"}


def test_names_come_in_any_order_but_in_the_ordered_model():
    record = make(op("link", 1, "a", 2, dirs=(1,)), op("link", 1, "b", 3, dirs=(1,)))
    assert {"b": b""} in disks(record) and {"b": b""} not in disks(record, "ordered")


def test_a_later_change_of_a_name_needs_the_earlier_rename_that_it_builds_on():
    swap = op("exchange", 1, "a", 2, 4, "b", 3, dirs=(1, 4))
    record = make(
        op("link", 1, "a", 2, dirs=(1,)),
        op("data", 0, b"A", inode=2),
        op("link", 1, "d", 4, dirs=(1,)),
        op("link", 4, "b", 3, dirs=(4,)),
        op("data", 0, b"B", inode=3),
        op("sync", False),
        swap,
        op("rename", 4, "b", 1, "kept", 2, dirs=(4, 1)),
    )
    states = crashstates.enumerate_states(record, "test", ("posix",), 4)
    found = [record.tree(state.choice) for state in states if int(state.name.split(":")[1]) > 5]
    assert len(found) > 2
    for tree in found:
        assert {tree.inodes[number].data for number in tree.paths().values()} == {b"A", b"B", b""}


def test_syncs_are_taken_out_by_pattern():
    record = make(*REPLACE)
    assert len(crashstates.deafened(record, "sync x*").ops) == 3
    assert crashstates.sync_classes(record) == ["sync x"]


def test_a_recorded_run_is_what_the_disk_shows(tmp_path):
    work = tmp_path / "work"
    (work / "old").mkdir(parents=True)
    (work / "old/x").write_text("x")
    (work / "here").write_text("here")
    script = (
        "import os; os.mkdir('d'); f = open('d/f', 'w'); f.write('text'); f.flush(); os.fsync(f.fileno());"
        "os.rename('d/f', 'd/g'); os.link('d/g', 'h'); os.symlink('to', 'l'); os.unlink('here');"
        "os.truncate('h', 2); os.chmod('h', 0o600); os.utime('h', (1, 2)); os.mkfifo('p'); os.rename('old', 'd/old');"
        "os.unlink('d/old/x'); os.rmdir('d/old'); a = open('d/g', 'a'); a.write('more'); a.close();"
        "os.makedirs('d', exist_ok=True); os.path.exists('no') or os.symlink('l', 'm')"
    )
    noted = recorder.Recorder(str(work), str(work))
    action = supervise.Action("call", 1, sticky=True, callback=noted.see)
    done = supervise.run([sys.executable, "-c", script], root=str(work), cwd=str(work), action=action)
    assert done.returncode == 0, done.stderr
    assert noted.finish() == []
    assert (work / "h").read_text() == "temore"
    kinds = [each.kind for each in noted.ops]
    assert kinds.count("rename") == 2 and kinds.count("sync") == 1 and kinds.count("link") == 6
    noted.now.inodes[1].entries.pop("h")
    assert [line.split(":")[0] for line in noted.finish()] == ["d/g", "h"][-len(noted.finish()) :]


def model(*words):
    """Run the program; skips where it says that it cannot run."""
    argv = [sys.executable, str(SUITE / "crashmodel"), "--bin", BIN]
    done = subprocess.run([*argv, "--json", "--jobs", "1", *words], capture_output=True, text=True, timeout=120)
    if "cannot run here" in done.stderr:
        pytest.skip(done.stderr.strip())
    return done.returncode, json.loads(done.stdout)


def test_a_sample_of_what_a_snapshot_may_leave(tmp_path):
    code, report = model("--only", "snapshot,pin", "--sample", "4", "--dir", str(tmp_path))
    assert (code, report["broken"]) == (0, {})
    row = report["operations"]["snapshot"]
    assert row["operations"] > 50 and row["states"] > row["distinct"] > 200 and row["judged"] == 4
    assert report["totals"]["violations"] == 0
    assert os.listdir(tmp_path) == []


def test_a_missing_sync_is_found(tmp_path):
    code, report = model("--only", "pin", "--deaf", "fsync */gc/pins/*", "--dir", str(tmp_path), "--sample", "12")
    assert code == 3 and report["totals"]["violations"] > 0
    assert all(os.path.isdir(found["kept"]) for found in report["operations"]["pin"]["found"])
