"""Files that a payload has already, whatever their stamps say, and files of several names: all processes link them."""

from __future__ import annotations

import os
import random
import shutil

import copying
import pytest
from copying import Line, old_files

from jvs.engine import copier, elsewhere, equal_files
from jvs.tree import racy, rows, workers


@pytest.fixture(autouse=True)
def forced(monkeypatch):
    """Let even small trees be shared by three processes, also next to the threads of the test runner."""
    copying.share_everything(monkeypatch)
    return monkeypatch


@pytest.fixture
def given(forced):
    """Note the kinds of the orders that were handed over, and the walks that had to be done again by one process."""
    found: list[int | str] = []
    offer, keep_groups, redo = workers.Workers.offer, copier.Copier._keep_groups, workers.Unsteady.__init__

    def count(self, order, descriptors, done):
        given = offer(self, order, descriptors, done)
        if given:
            found.append(order[0])
        return given

    def note(self, *words):
        found.append("here")
        keep_groups(self, *words)

    def unsteady(self, *words):
        found.append("again")
        redo(self, *words)

    forced.setattr(workers.Workers, "offer", count)
    forced.setattr(copier.Copier, "_keep_groups", note)
    forced.setattr(workers.Unsteady, "__init__", unsteady)
    return found


@pytest.fixture
def line(tmp_path):
    made = Line(tmp_path)
    old_files(made.main)
    return made


def forget_stamps(line):
    """Leave rows as they are where no stamp lasts."""
    for path, (row, digest) in line.rows.items():
        names, stamps = rows.split(row, racy.listing.STAMP.size)
        line.rows[path] = rows.pack(names, bytes(len(stamps))), digest


def inodes(line, name):
    return {path: line.root.joinpath(name, path).lstat().st_ino for path in all_files(line)}


def all_files(line):
    return sorted(str(path.relative_to(line.main)) for path in line.main.rglob("*") if not path.is_dir())


def linked(line, first="one", second="two"):
    """Return which files of a copy are those of the one before."""
    one, two = line.root / first, inodes(line, second)
    return {path for path in two if (one / path).exists() and (one / path).lstat().st_ino == two[path]}


def move_ctimes(line):
    """Do what making and removing a backup by links does to all stamps."""
    with_names_elsewhere(line)
    shutil.rmtree(line.root / "backup")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("forget", [forget_stamps, move_ctimes])
@pytest.mark.parametrize("shares", [True, False])
def test_files_without_stamps_are_compared_and_linked(line, given, forced, shares, forget, whole):
    if not whole:  # no directory is taken at once
        forced.setattr(copier.Copier, "take_all", lambda *_: None)
    forced.setattr(equal_files.EqualFiles, "shares", shares)
    os.setxattr(line.main / "a/f01", "user.kept", b"x")
    line.copy("one")
    forget(line)
    given.clear()
    (line.main / "a/f03").write_text("changed")
    (line.main / "a/b/f04").write_text("a/b 5")  # as long as it was
    os.utime(line.main / "c/f05", ns=(1, 1))
    (line.main / "c/f06").chmod(0o600)
    os.setxattr(line.main / "c/f07", "user.new", b"y")
    (line.main / "c/new").write_text("new")
    made = line.copy("two")
    line.check("two", made)
    changed = {"a/f03", "a/b/f04", "c/f05", "c/f06", "c/f07", "c/new"}
    assert linked(line) == set(all_files(line)) - changed
    orders = [order for order in given if isinstance(order, int)]
    assert len(orders) > 2 if shares else orders == [elsewhere._COPY]  # what is new is shared all the same
    assert "again" not in given


def test_what_changed_in_the_base_is_copied_and_not_linked(line, given):
    line.copy("one")
    forget_stamps(line)
    (line.root / "one/c/f05").write_text("damaged")
    (line.root / "one/c/f06").chmod(0o600)
    (line.root / "one/c/f07").unlink()
    line.check("two", line.copy("two"))
    assert (line.root / "two/c/f05").read_text() == "c 5"
    assert linked(line) == set(all_files(line)) - {"c/f05", "c/f06", "c/f07"}


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("directories", [("a", "a"), ("a", "c")])
def test_two_files_that_were_one_do_not_become_one_again(line, given, forced, directories, knows):
    """Names that were links and are copies now, with the same times: each process knows of its own links only."""
    here, claim = os.getpid(), equal_files.EqualFiles.claim
    if not knows:
        forced.setattr(equal_files.EqualFiles, "claim", lambda *words: os.getpid() != here or claim(*words))
    first, second = line.main / directories[0] / "one", line.main / directories[1] / "other"
    first.write_text("both")
    os.link(first, second)
    line.copy("one")
    shutil.copy2(second, line.main / "apart")
    os.replace(line.main / "apart", second)
    forget_stamps(line)
    given.clear()
    line.check("two", line.copy("two"))
    made = inodes(line, "two")
    one, other = f"{directories[0]}/one", f"{directories[1]}/other"
    assert made[one] != made[other]
    assert len({one, other} & linked(line)) == 1
    assert knows or "again" in given


def with_names_elsewhere(line):
    """Give all files a second name outside, as a backup by links or a package store has."""
    shutil.copytree(line.main, line.root / "backup", copy_function=os.link)


def test_files_with_names_elsewhere_are_linked_by_all(line, given):
    with_names_elsewhere(line)
    line.copy("one")
    given.clear()
    (line.main / "a/f03").write_text("changed")
    line.check("two", line.copy("two"))
    assert elsewhere._LINK in given and not {"again", "here"} & set(given)
    assert linked(line) == set(all_files(line)) - {"a/f03"}


@pytest.mark.parametrize("there", [True, False])
def test_files_with_names_elsewhere_are_copied_by_all_and_once(line, given, forced, there):
    with_names_elsewhere(line)
    if not there:  # each order is refused, and done by the process that walks
        forced.setattr(workers.Workers, "offer", lambda *_: False)
    line.check("one", line.copy("one"))
    assert "again" not in given


def test_groups_stay_groups(line, given):
    for i in range(6):
        os.link(line.main / f"a/f{i:02}", line.main / f"c/same{i}")
        os.link(line.main / f"a/f{i:02}", line.main / f"a/same{i}")
    line.copy("one")
    given.clear()
    line.check("two", line.copy("two"))
    assert elsewhere._LINK in given and "again" not in given
    assert linked(line) == set(all_files(line))


@pytest.mark.parametrize("place", ["c/same", "a/same"])
def test_a_group_that_the_base_lost_is_a_group_again(line, given, place):
    """As after a copy that ran out of names: what the base has as two files must not become two names of nothing."""
    os.link(line.main / "a/f03", line.main / place)
    line.copy("one")
    kept = line.root / "one" / place
    shutil.copy2(kept, line.root / "apart")
    os.replace(line.root / "apart", kept)
    given.clear()
    line.check("two", line.copy("two"))
    made = inodes(line, "two")
    assert made["a/f03"] == made[place] and "again" in given


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("lost", [b"a", b"c"])
def test_a_group_of_which_one_directory_is_not_known(line, given, forced, lost, waits):
    """One name is linked from the base, maybe by another process, and the other one copied, or the other way round."""
    offer = workers.Workers.offer
    if waits:  # the answer about the one name comes when the other is handed over
        forced.setattr(workers.Workers, "offer", lambda self, *words: self.wait() or offer(self, *words))
    os.link(line.main / "a/f03", line.main / "c/same")
    line.copy("one")
    del line.rows[lost]
    line.check("two", line.copy("two"))
    made = inodes(line, "two")
    assert made["a/f03"] == made["c/same"]


@pytest.mark.parametrize("gone", ["a/f03", "c/same"])
def test_a_group_of_which_one_name_cannot_be_linked(line, given, gone):
    os.link(line.main / "a/f03", line.main / "c/same")
    line.copy("one")
    (line.root / "one" / gone).unlink()
    line.check("two", line.copy("two"))
    made = inodes(line, "two")
    assert made["a/f03"] == made["c/same"]


def do_something(line, chance, number):
    """Do one thing to a random file, or to what is known of a random directory."""
    files = [line.main / path for path in all_files(line)]
    path, other = chance.choice(files), chance.choice(files)
    act = chance.randrange(9)
    if act == 0:
        path.write_text(f"changed {number}")
    elif act == 1:
        path.chmod(chance.choice((0o600, 0o644)))
    elif act == 2:
        os.utime(path, ns=(1, number))
    elif act == 3:  # a name becomes a file of its own that looks like the one that it was
        shutil.copy2(path, line.main / "apart")
        os.replace(line.main / "apart", path)
    elif act == 4 and not os.path.samefile(path, other):
        path.unlink()
        os.link(other, path)
    elif act == 5:
        os.link(path, line.root / f"elsewhere{number}")
    elif act == 6:
        os.link(path, path.with_name(f"name{number}"))
    elif act == 7:
        line.rows.pop(chance.choice(list(line.rows)), None)
    else:
        place = chance.choice(list(line.rows))
        row, digest = line.rows[place]
        names, stamps = rows.split(row, racy.listing.STAMP.size)
        line.rows[place] = rows.pack(names, bytes(len(stamps))), digest


@pytest.mark.parametrize("seed", range(16))
def test_random_trees_are_copied_as_they_are(line, given, forced, seed):
    """With their hard links, whoever meets them first, and whatever is not known of them."""
    chance = random.Random(seed)
    offer = workers.Workers.offer
    forced.setattr(
        workers.Workers, "offer", lambda self, *words: (chance.random() < 0.3 and self.wait()) or offer(self, *words)
    )
    line.check("0", line.copy("0"))
    for number in range(1, 7):
        for step in range(chance.randrange(8)):
            do_something(line, chance, 10 * number + step)
        name = str(number)
        line.check(name, line.copy(name))
