"""The contract between the scanner and those who hash or copy: what is called, in which order, with what."""

from __future__ import annotations

import os
import shutil
import stat
import threading

import making
import pytest
import zoo

from jvs import clock
from jvs.engine import base as engine
from jvs.engine import copier, copy_tree
from jvs.tree import scan, visitor

FUTURE_NS = 10**12  # stamps are then old enough to be kept


class Stop(Exception):
    """What a visitor raises in the middle of a walk."""


class Inside:
    """A directory as the visitor knows it."""

    def __init__(self, above, path, names):
        self.above, self.path, self.names = above, path, names
        self.listed, self.keeps, self.seen, self.over = False, 0, [], False


class Strict(visitor.Visitor):
    """Checks that it is called as the contract says, and hands everything on to a hasher."""

    def __init__(self, must_visit=frozenset()):
        super().__init__()
        self.must_visit = must_visit
        self.hasher = scan.Hasher()
        self.thread = threading.get_ident()
        self.calls = []
        self.open = []
        self.refused = []
        self.on_take = lambda path: None

    def note(self, call):
        assert threading.get_ident() == self.thread
        assert not self.calls or self.calls[-1] != "close", "nothing comes after close"
        self.calls.append(call)

    def check_directory(self, inside, fd):
        assert inside is self.open[-1] and not inside.over
        assert stat.S_ISDIR(os.fstat(fd).st_mode)

    def enter(self, above, name, path, fd, st):
        self.note("enter")
        assert above is (self.open[-1] if self.open else None)
        assert path == (name if above is None or not above.path else above.path + b"/" + name)
        assert os.fstat(fd).st_ino == st.st_ino
        self.open.append(Inside(above, path, None))
        return self.open[-1]

    def listed(self, path, names, *, proved):
        self.note("listed")
        inside = self.open[-1]
        assert path == inside.path and not inside.listed
        inside.listed, inside.names = True, list(names)

    def visited(self, fd, path, names, stats, stamps, row):
        self.note("visited")
        assert self.open[-1].listed and path == self.open[-1].path and names == self.open[-1].names
        assert len(names) == len(stats)
        return frozenset()

    def keep(self, inside, fd, names, stats):
        self.note("keep")
        self.check_directory(inside, fd)
        inside.keeps += 1
        assert inside.listed and inside.keeps == 1 and set(names) <= set(inside.names)
        assert len(names) == len(stats) and not any(stat.S_ISDIR(st.st_mode) for st in stats)
        inside.seen += names

    def take(self, inside, fd, path, name, st, old):
        self.note("take")
        self.check_directory(inside, fd)
        assert inside.listed and name in inside.names and not stat.S_ISDIR(st.st_mode)
        assert path == (inside.path + b"/" + name if inside.path else name)
        assert old is None or old[0] == name
        inside.seen.append(name)
        self.on_take(path)
        return self.hasher.take(None, fd, path, name, st, old)

    def leave(self, inside, fd, st):
        self.note("leave")
        self.check_directory(inside, fd)
        assert len(inside.seen) == len(set(inside.seen)), "every entry once"
        inside.over = True
        self.open.pop()

    def abandon(self, inside):
        self.note("abandon")
        assert inside is self.open.pop() and not inside.over
        inside.over = True

    def refuse(self, path, error):
        self.note("refuse")
        self.refused.append(path)

    def flush(self):
        self.note("flush")
        assert not self.open, "the root was left"
        self.hasher.flush()

    def close(self):
        self.note("close")
        self.hasher.close()


class Line:
    """One walk after another, each with the rows of the one before."""

    def __init__(self, root):
        self.root, self.rows, self.known = root, {}, making.Known({}, {})

    def walk(self, reported):
        found = scan.Scanner(reported, rows=self.rows, known=self.known, moment_ns=clock.now_ns() + FUTURE_NS).run(
            making.at(self.root)
        )
        assert reported.calls[-2:] == ["flush", "close"] and not reported.open
        self.rows = {path: row for path, row in self.rows.items() if path not in found.gone}
        self.rows.update({path: (row, node) for path, row, node in found.rows})
        self.known.nodes.update(found.nodes)
        self.known.totals.update(found.totals)
        return reported


@pytest.fixture
def line(tmp_path):
    closed = set() if os.geteuid() == 0 else {"modes"}  # files that nobody but root may read
    zoo.make_zoo(tmp_path / "zoo", many=30, skip={"deep", *closed})
    return Line(tmp_path / "zoo")


def test_a_first_walk_takes_everything(line):
    first = line.walk(Strict())
    assert first.calls.count("enter") == first.calls.count("leave") == first.calls.count("listed")
    assert "keep" not in first.calls


def test_an_unchanged_tree_is_kept(tmp_path):
    making.write(tmp_path / "t", {f"d{i}/f{j}": f"{i}{j}" for i in range(3) for j in range(3)})
    line = Line(tmp_path / "t")
    line.walk(Strict())
    again = line.walk(Strict(must_visit=None))
    assert again.calls.count("listed") == 4 and again.calls.count("keep") == 3
    assert "take" not in again.calls


@pytest.mark.parametrize("how", ["write", "remove", "new directory", "swap directories", "file for directory"])
def test_a_changed_tree_is_visited_by_the_contract_too(line, how):
    making.write(line.root, {f"side/{i}/f{j}": f"{i}{j}" for i in range(3) for j in range(3)})
    line.walk(Strict())
    side = line.root / "side"
    if how == "write":
        making.write(side, {"1/f1": "changed"})
    elif how == "remove":
        (side / "1/f1").unlink()
        shutil.rmtree(side / "2")
    elif how == "new directory":
        making.write(side, {"3/deep/f": "new"})
    elif how == "swap directories":
        (side / "0").rename(side / "x")
        (side / "1").rename(side / "0")
        (side / "x").rename(side / "1")
    else:
        shutil.rmtree(side / "1")
        (side / "1").write_text("a file")
    reported = line.walk(Strict())
    assert {"enter", "leave"} <= set(reported.calls)
    bare = scan.Scanner(scan.Hasher()).run(making.at(line.root)).root_hash
    assert scan.Scanner(Strict(), rows=line.rows, known=line.known).run(making.at(line.root)).root_hash == bare


def test_what_vanishes_while_it_is_taken_leaves_no_call_open(line):
    making.write(line.root, {"aa/first": "1", "aa/second/x": "2"})
    reported = Strict()
    reported.on_take = lambda path: shutil.rmtree(line.root / "aa", ignore_errors=True) if path == b"aa/first" else None
    line.walk(reported)
    assert reported.refused == []


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_an_error_of_the_visitor_ends_the_walk_and_close_is_the_last_call(line, error):
    reported = Strict()
    count = [0]

    def stop(path):
        count[0] += 1
        if count[0] == 5:
            raise error

    reported.on_take = stop
    with pytest.raises(error):
        line.walk(reported)
    assert reported.calls[-1] == "close" and reported.calls.count("close") == 1 and "flush" not in reported.calls


@pytest.mark.parametrize("visits", [scan.Hasher, copier.Copier])
def test_those_who_hash_and_copy_implement_the_contract(visits):
    assert issubclass(visits, visitor.Visitor)
    public = {name for name in vars(visitor.Visitor) if not name.startswith("_")}
    reported = {
        "enter",
        "listed",
        "visited",
        "keep",
        "take",
        "take_all",
        "leave",
        "abandon",
        "refuse",
        "flush",
        "close",
    }
    asked = {"is_same", "are_same"}
    assert reported | asked | {"must_visit", "jobs"} == public
    assert visits.take is not visitor.Visitor.take


def test_a_copy_follows_the_contract_of_what_it_is_reported(line, tmp_path):
    """The scanner calls the copier as it calls anybody else: what it makes is the tree that was walked."""
    request = engine.Request(making.at(line.root), making.at(tmp_path / "copy"))
    request.hash = True
    made = copy_tree.run(request, engine_name=engine.COPY, share=False)
    assert made.tree is not None
    fresh = scan.Scanner(Strict()).run(making.at(tmp_path / "copy"))
    assert fresh.root_hash == made.tree.root_hash
