"""A clone that the snapshot before vouches for: as good a proof as a survey, and never better than it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import making
import pytest
from conftest import FsAt
from treefacts import describe_tree, diff_trees

from jvs import clock
from jvs.engine import base as engine
from jvs.engine.juicefs import control
from jvs.engine.juicefs import engine as juicefs
from jvs.engine.juicefs.completeness import Proved
from jvs.engine.juicefs.survey import Survey
from jvs.errors import CloneIncomplete
from jvs.tree import racy, scan

pytestmark = pytest.mark.xdist_group("juicefs-sqlite")
RACY_NS = 300_000_000


class Line:
    """A worktree with one snapshot after the other, as the index remembers them."""

    def __init__(self, root: Path) -> None:
        self.worktree, self.store = root / "main", root / "store"
        making.write(self.worktree, {f"{d}/file{i}": f"{d}{i}" for d in ("a", "b", "c/d") for i in range(3)})
        self.store.mkdir()
        self.engine = juicefs.JuiceFSEngine(making.engine_options())
        self.known = making.Known({}, {})
        self.rows: dict = {}
        self.base: str | None = None
        self.plain = False
        self.surveys = 0
        self.looks: list[bytes] = []

    def clone(self, name: str) -> engine.Cloned:
        """Clone, hold the result against the worktree, and remember what came of it."""
        target = str(self.store / name)
        request = engine.Request(
            making.at(self.worktree),
            making.at(target),
            rows=self.rows,
            known=self.known,
            base_payload=making.at(self.base),
        )
        request.base_is_plain = self.plain
        self.surveys, self.looks = 0, []
        cloned = self.engine.clone(request)
        assert cloned.tree is not None
        for path in cloned.tree.gone:
            del self.rows[path]
        self.rows.update({path: (row, node) for path, row, node in cloned.tree.rows})
        self.known.nodes.update(cloned.tree.nodes)
        self.known.totals.update(cloned.tree.totals)
        self.base, self.plain = target, cloned.tree.plain
        return cloned

    def check(self, name: str, cloned: engine.Cloned) -> None:
        """The clone is the worktree, and its hash is that of a walk without any help."""
        assert cloned.degraded == []
        assert diff_trees(describe_tree(self.worktree), describe_tree(self.store / name)) == []
        assert cloned.tree.root_hash == scan.Scanner(scan.Hasher()).run(making.at(target(self, name))).root_hash


def target(line: Line, name: str) -> str:
    return str(line.store / name)


def let_stamps_age() -> None:
    """Wait until the stamp of no directory is young any more."""
    time.sleep(RACY_NS / 1e9 + 0.15)


@pytest.fixture
def line(fs_at: FsAt, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A line with a first snapshot, whose directories have rows that vouch for them."""
    monkeypatch.setattr(racy, "COARSE_RACY_NS", RACY_NS)
    made = Line(fs_at("juicefs-sqlite"))
    watch(made, monkeypatch)
    let_stamps_age()
    made.clone("base")
    assert made.surveys == 1
    assert made.plain
    return made


def watch(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    take, look = Survey.take, Proved._list_source

    def counted(self: Survey, directory: str) -> Survey:
        line.surveys += str(directory) == str(line.worktree)
        return take(self, directory)

    def noted(self: Proved, path: bytes) -> object:
        line.looks.append(path)
        return look(self, path)

    monkeypatch.setattr(Survey, "take", counted)
    monkeypatch.setattr(Proved, "_list_source", noted)


def loses(line: Line, monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    """Let the next clone come out without some files, and say nothing."""
    real, left = line.engine.run_clone, [paths]

    class Losing:
        def __init__(self, running: object, clone: Path) -> None:
            self.running, self.clone = running, clone

        def wait(self) -> bytes:
            printed = self.running.wait()
            for path in left.pop() if left else ():
                making.remove(self.clone / path)
            return printed

    def run_clone(pairs: list) -> object:
        for running in real(pairs):
            yield Losing(running, Path(str(pairs[0][1])))

    monkeypatch.setattr(line.engine, "run_clone", run_clone, raising=True)


def test_only_the_root_and_what_changed_is_looked_at(line: Line):
    (line.worktree / "b" / "file1").write_bytes(b"changed")
    (line.worktree / "c" / "d" / "new").write_bytes(b"new")
    cloned = line.clone("two")
    line.check("two", cloned)
    assert line.surveys == 0
    assert sorted(line.looks) == [b"", b"c/d"]
    assert line.plain


def test_content_alone_moves_no_directory(line: Line):
    (line.worktree / "b" / "file1").write_bytes(b"changed")
    line.check("two", line.clone("two"))
    assert line.looks == [b""]


@pytest.mark.parametrize(
    "lost", [["a/file1"], ["c/d/file0", "c/d/file1", "c/d/file2"], ["c"], ["b/new"], ["new"], ["more/one"], ["more"]]
)
def test_what_a_clone_lost_is_found(line: Line, monkeypatch: pytest.MonkeyPatch, lost: list[str]):
    making.write(line.worktree, {"b/new": "new", "new": "new", "more/one": "1", "more/two": "2"})
    loses(line, monkeypatch, *lost)
    cloned = line.clone("two")
    line.check("two", cloned)
    assert line.surveys == 1
    assert sorted(os.listdir(line.store)) == ["base", "two"]


def test_a_replaced_file_that_is_absent_is_found(line: Line, monkeypatch: pytest.MonkeyPatch):
    (line.worktree / "a" / "tmp").write_bytes(b"replaced")
    os.rename(line.worktree / "a" / "tmp", line.worktree / "a" / "file1")
    loses(line, monkeypatch, "a/file1")
    line.check("two", line.clone("two"))
    assert line.surveys == 1


def test_a_name_that_came_within_the_time_that_juicefs_skips_is_not_proved(line: Line, monkeypatch: pytest.MonkeyPatch):
    """The second file moves no time stamp of its directory, so nothing but a look can tell that it was there."""
    (line.worktree / "a" / "one").write_bytes(b"1")
    line.clone("two")
    (line.worktree / "a" / "two").write_bytes(b"2")
    loses(line, monkeypatch, "a/two")
    line.check("three", line.clone("three"))


def test_a_count_that_is_short_takes_a_survey(line: Line, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control, "is_whole", lambda printed: False)
    line.check("two", line.clone("two"))
    assert line.surveys == 1


def test_a_hard_link_made_since_is_one_file_again(line: Line):
    os.link(line.worktree / "a" / "file1", line.worktree / "b" / "again")
    line.check("two", line.clone("two"))
    one, two = (os.lstat(line.store / "two" / path) for path in ("a/file1", "b/again"))
    assert one.st_ino == two.st_ino
    assert not line.plain
    line.check("three", line.clone("three"))
    assert line.surveys == 1
    one, two = (os.lstat(line.store / "three" / path) for path in ("a/file1", "b/again"))
    assert one.st_ino == two.st_ino
    os.unlink(line.worktree / "b" / "again")
    line.check("four", line.clone("four"))
    assert line.plain


def test_a_special_file_made_since_is_there(line: Line):
    os.mkfifo(line.worktree / "a" / "fifo")
    line.check("two", line.clone("two"))
    assert line.surveys == 1
    assert not line.plain


def test_a_mount_that_moves_times_late_takes_a_survey(line: Line, monkeypatch: pytest.MonkeyPatch):
    real = control.mount_config(making.at(line.worktree))
    for meta in ({**real["Meta"], "SkipDirMtime": 10**10}, {}, None):
        monkeypatch.setattr(control, "mount_config", lambda _, meta=meta: {**real, "Meta": meta})
        line.check(f"two{meta}"[:5], line.clone(f"two{meta}"[:5]))
        assert line.surveys == 1
        making.remove(line.store / f"two{meta}"[:5])


def test_without_it_the_answer_is_the_same(line: Line, monkeypatch: pytest.MonkeyPatch):
    making.write(line.worktree, {"b/new": "new", "more/one": "1"})
    os.unlink(line.worktree / "a" / "file0")
    before = dict(line.rows), line.base, line.plain
    quick = line.clone("two")
    assert line.surveys == 0
    line.rows, line.base, line.plain = before
    monkeypatch.setattr(juicefs.JuiceFSEngine, "vouch", False)
    slow = line.clone("three")
    assert line.surveys == 1
    assert (quick.tree.root_hash, quick.tree.payload()) == (slow.tree.root_hash, slow.tree.payload())
    assert diff_trees(describe_tree(line.store / "two"), describe_tree(line.store / "three")) == []


def test_many_writers_never_lead_to_a_silent_hole(line: Line):
    """Files that nobody touches are in every clone, or the clone is refused."""
    script = (
        "import os,sys,itertools\n"
        "for i in itertools.count():\n"
        "    p=os.path.join(sys.argv[1], 'ab'[i % 2], 'churn%d' % (i % 7))\n"
        "    open(p+'.tmp','w').close(); os.rename(p+'.tmp', p); i % 3 or os.unlink(p)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(line.worktree)])
    try:
        number, start = 0, clock.monotonic()
        while number < 3 or clock.monotonic() - start < 2:
            number += 1
            try:
                line.clone(f"c{number}")
            except CloneIncomplete:
                continue
            for name in ("a", "b", "c/d"):
                assert {"file0", "file1", "file2"} <= set(os.listdir(line.store / f"c{number}" / name))
    finally:
        writer.kill()
        writer.wait()
