"""Interleaving two commands: all pairs and places are tried, nothing is wrong, and missing locks are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "conformance"
BIN = os.path.dirname(sys.executable)
sys.path.insert(0, str(SUITE))
cli = pytest.importorskip("interleave.cli")
interleaver = pytest.importorskip("interleave.interleaver")
sys.path.remove(str(SUITE))

WITHOUT_LOCKS = f"""#!{sys.executable}
import fcntl
import sys

fcntl.flock = lambda *_: None
from jvs.cli.run import main

if __name__ == "__main__":
    sys.exit(main())
"""


def run(tmp_path, *words, bin_dir=BIN):
    """Run the program on a directory of its own; skips where it says that it cannot run."""
    argv = [sys.executable, str(SUITE / "interleave"), "--bin", str(bin_dir), "--dir", str(tmp_path), "--jobs", "1"]
    done = subprocess.run([*argv, "--json", *words], capture_output=True, text=True, timeout=120)
    if "cannot run here" in done.stderr:
        pytest.skip(done.stderr.strip())
    return done.returncode, json.loads(done.stdout)


def test_all_ordered_pairs_on_one_worktree_and_on_two():
    found = list(cli.pairs(["snapshot", "fork", "gc", "verify"], ["one", "two"]))
    assert len(found) == len(set(found)) == 16 + 12
    assert interleaver.Pair("gc", "snapshot", "two") in found and interleaver.Pair("gc", "verify", "two") not in found


def test_a_row_of_writes_to_the_index_is_one_place():
    pair = interleaver.Pair("snapshot", "verify", "one")
    orders = interleaver.Orders(events=["#1 write /a", *["#2 pwrite64 /r/.jvs/index.sqlite"] * 3, "#5 fsync /a"])
    maker = interleaver.Interleaver.__new__(interleaver.Interleaver)
    maker.orders = {pair: orders}
    assert [point.at for point in maker.points(pair)] == [1, 2, 5]


def test_what_neither_order_gives_is_said():
    allowed = [("done", "done", {"undo": 1, "heads": 2}), ("done", "E_BUSY", {"undo": 1})]
    said = interleaver.apart(("done", "done", {"undo": 1, "heads": 3}), allowed)
    assert said == "heads: got 3, wanted 2 OR ('done', 'done') is not ('done', 'E_BUSY')"


@pytest.mark.parametrize(("place", "pair"), [("two", "snapshot+fork"), ("one", "snapshot+restore")])
def test_a_sample_holds(tmp_path, pair, place):
    code, report = run(tmp_path, "--pair", pair, "--place", place, "--sample", "3")
    assert code == 0, report
    (row,) = report["pairs"].values()
    assert row["points"] > 40 and row["run"] == row["both"] + row["busy"] + row["refused"] == 3
    assert place == "two" or row["busy"] > 0, "the lock of the worktree is held nearly all of the time"
    assert os.listdir(tmp_path) == []


def test_without_locks_two_snapshots_are_found_to_be_in_disorder(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "jvs").write_text(WITHOUT_LOCKS)
    (programs / "jvs").chmod(0o755)
    words = ("--pair", "snapshot+snapshot", "--place", "one", "--sample", "6")
    code, report = run(tmp_path, *words, bin_dir=programs)
    assert code == 3 and report["totals"]["violations"] > 0
    said = " ".join(
        v for found in report["pairs"]["--pair snapshot+snapshot --place one"]["found"] for v in found["violations"]
    )
    assert "neither order leads here" in said


def test_both_programs_run_from_their_directories():
    for name in ("crashmodel", "interleave"):
        done = subprocess.run([sys.executable, SUITE / name, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and f"conformance/{name}" in done.stdout
