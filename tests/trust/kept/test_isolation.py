"""One bad thing stops one thing: what cannot be removed, moved, read or understood blocks only what needs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import own_mounts
import pytest
from crashing import dies_at
from lab import Lab, digest, everything, same
from own_mounts import command
from own_mounts import own_mounts as alone
from treefacts import remove_tree

USER = 1000


@contextlib.contextmanager
def immutable(path: Path) -> Iterator[None]:
    command("chattr", "+i", path)
    try:
        yield
    finally:
        command("chattr", "-i", path, ok=False)


def release(root: Path) -> None:
    """Let everything be removed again, wherever it was moved."""
    command("chattr", "-R", "-f", "-i", root, ok=False)


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    """A directory on ext4, where files can be immutable; nothing in it stays so."""
    made = tmp_path / "here"
    made.mkdir()
    probe = made / "probe"
    probe.touch()
    if os.geteuid() or command("chattr", "+i", probe, ok=False).returncode:
        pytest.skip("no immutable files here")
    command("chattr", "-i", probe)
    yield made
    release(made)


def works(lab: Lab, *names: str) -> None:
    """Every worktree goes on: snapshot, restore, undo; and doctor runs."""
    for name in names or ("main",):
        lab.write({"works": os.urandom(8).hex()}, name)
        taken = lab.json("snapshot", "works", "-w", name)["snapshot_id"]
        lab.write({"works": "changed"}, name)
        lab.jvs("restore", taken, "-w", name)
        lab.jvs("undo", "-w", name)
        assert (lab.worktree(name) / "works").read_text() == "changed"
    assert "E_INTERNAL" not in lab.say("doctor").err


def two(root: Path) -> Lab:
    lab = Lab(root)
    lab.write({"a": "one", "d/b": "two"})
    lab.take("first", "-t", "first")
    for name in ("x", "y"):
        lab.jvs("worktree", "fork", "first", name)
        lab.write({"prized/file": f"only in {name}"}, name)
    return lab


# What cannot be removed


@pytest.mark.parametrize("where", ["prized", "prized/file", "."])
@pytest.mark.parametrize("how", [("--discard",), ()])
def test_removing_a_worktree_with_something_immutable(ext4, where, how):
    lab = two(ext4 / "r")
    with immutable(lab.worktree("x") / where):
        before = lab.facts("x")
        said = lab.say("worktree", "remove", "x", *how)
        if where == ".":
            assert said.exit != 0
            assert same(before, lab.facts("x")) == []
        else:
            assert said.exit == 0, said.err
            assert not (lab.worktree("x")).exists()
            assert not how or "prized" in said.err, "what could not be removed is a remark"
            if how:
                assert "was not removed completely" in lab.say("doctor").text
                repaired = lab.say("doctor", "--repair", "clean_tmp")
                assert "repaired: removed 'undo/" not in repaired.text, "it is still there"
                assert "prized" in repaired.err
        works(lab, "main", "y")
        assert lab.intents() == []
        release(lab.root)


def test_removing_a_worktree_with_entries_of_somebody_else(request):
    """A directory that another user owns: only its owner, and root, may empty it."""
    if os.geteuid():
        pytest.skip("only root gives files away")
    home = Path(tempfile.mkdtemp(prefix="jvs-owned-"))
    request.addfinalizer(lambda: remove_tree(home))
    os.chown(home, USER, USER)

    def as_user() -> None:
        os.chdir(home)
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        os.environ.update({name: str(home) for name in os.environ if name == "HOME" or name.startswith("XDG_")})

    def make() -> None:
        as_user()
        two(home / "r")

    own_mounts.in_child(make)
    foreign = home / "r" / "worktrees" / "x" / "prized" / "of-root"
    foreign.mkdir()
    (foreign / "inside").write_text("by root")
    os.chmod(foreign, 0o755)

    def discard() -> None:
        as_user()
        lab = Lab(home / "r")
        said = lab.say("worktree", "remove", "x", "--discard")
        assert said.exit == 0, said.err
        assert "of-root" in said.err
        works(lab, "main", "y")
        assert lab.intents() == []

    own_mounts.in_child(discard)


@alone
@pytest.mark.parametrize("how", [("--discard",), ()])
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "file"])
def test_removing_a_worktree_with_a_mount_in_it(tmp_path, how, kind):
    lab = two(tmp_path / "r")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data").write_text("a data set")
    at = lab.worktree("x") / "prized"
    if kind == "tmpfs":
        own_mounts.mount("tmpfs", at)
        (at / "data").write_text("a data set")
    elif kind == "bind":
        own_mounts.bind(outside, at)
    else:
        own_mounts.bind(outside / "data", at / "file")
    said = lab.say("worktree", "remove", "x", *how)
    assert said.exit != 0, "it says so before it begins"
    assert "prized" in said.err
    seen = at / ("file" if kind == "file" else "data")
    assert seen.read_text() == "a data set"
    assert (outside / "data").read_text() == "a data set"
    works(lab, "main", "y")
    assert lab.intents() == []


@alone
@pytest.mark.parametrize("command_words", [("restore", "first"), ("undo",), ("restore", "first", "--discard")])
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "file"])
def test_displacing_a_directory_with_a_mount_below_it(tmp_path, command_words, kind):
    lab = two(tmp_path / "r")
    if command_words[0] == "undo":
        lab.write({"n/e": "e"})
        lab.take("second", "-t", "second")
        lab.restore("first")
        lab.restore("second")
    else:
        lab.write({"n/e": "e"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data").write_text("a data set")
    if kind == "tmpfs":
        (lab.main / "n/m").mkdir()
        own_mounts.mount("tmpfs", lab.main / "n/m")
    elif kind == "bind":
        (lab.main / "n/m").mkdir()
        own_mounts.bind(outside, lab.main / "n/m")
    else:
        own_mounts.bind(outside / "data", lab.main / "n/e")
    before = sorted(str(p) for p in lab.main.rglob("*"))
    said = lab.say(*command_words)
    assert said.exit != 0
    assert "n" in said.err
    assert sorted(str(p) for p in lab.main.rglob("*")) == before
    assert (outside / "data").read_text() == "a data set"
    assert lab.intents() == []
    works(lab, "y")


@alone
def test_pruning_never_crosses_a_mount(tmp_path):
    """Somebody mounts something below `undo/` afterwards: what it shows is not ours to delete."""
    lab = two(tmp_path / "r")
    lab.write({"n/e": "e"})
    operation = lab.restore("first")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data").write_text("a data set")
    kept = next((lab.jvs_dir / "undo" / operation).rglob("n"))
    own_mounts.bind(outside, kept)
    own_mounts.at_another_time(lambda: [works(lab) for _ in range(25)], wall_days=60, boot_days=60)
    lab.say("undo", "--forget", "--all")
    assert (outside / "data").read_text() == "a data set"
    works(lab, "main", "y")


@pytest.mark.parametrize("where", ["sub", "."])
def test_a_collection_over_an_immutable_payload_directory(ext4, where):
    lab = two(ext4 / "r")
    lab.write({"sub/c": "c"})
    second = lab.take("second")
    lab.write({"a": "third"})
    third = lab.take("third")
    lab.write({"a": "fourth"})
    lab.take("fourth")
    with immutable(lab.jvs_dir / "snapshots" / second / where):
        plan = lab.json("gc", "plan", "--keep-last", "1")["plan_id"]
        said = lab.say("gc", "run", "--plan-id", plan)
        assert "E_INTERNAL" not in said.err
        assert third not in lab.visible(), "the others go"
        works(lab, "main", "x", "y")
        assert lab.intents() == []
    release(lab.root)
    lab.collect("--keep-last", "1")
    lab.jvs("doctor", "--repair-runtime")
    lab.check()


# Names that cannot be moved


@alone
def test_a_repository_in_a_lower_layer(tmp_path):
    """As in a container whose image holds the repository: directories of the lower layer cannot be renamed."""
    (tmp_path / "lower").mkdir()
    lab = two(tmp_path / "lower" / "r")
    lab.take("second", "-t", "second")
    merged = own_mounts.mount("tmpfs", tmp_path / "t")
    seen = Lab(own_mounts.overlay(merged, tmp_path / "lower") / "r")
    seen.write({"a": "in the container"})
    works(seen, "main", "x", "y")
    seen.jvs("worktree", "remove", "x")
    seen.jvs("undo")
    assert (seen.worktree("x") / "prized/file").read_text() == "only in x"
    seen.jvs("worktree", "rename", "y", "z")
    seen.jvs("worktree", "remove", "z", "--discard")
    works(seen, "main", "x")
    seen.collect("--keep-last", "1")
    assert seen.intents() == []
    seen.check()


@alone
def test_a_directory_of_the_lower_layer_is_displaced(tmp_path):
    """EXDEV for a directory inside main: copied, made durable, then removed."""
    (tmp_path / "lower").mkdir()
    lab = two(tmp_path / "lower" / "r")
    lab.write({"extra/deep/file": "to be displaced", "link": "x"})
    own_mounts.mount("tmpfs", tmp_path / "t")
    seen = Lab(own_mounts.overlay(tmp_path / "t", tmp_path / "lower") / "r")
    operation = seen.restore("first")
    assert not (seen.main / "extra").exists()
    seen.jvs("undo", operation)
    assert seen.read("extra/deep/file") == b"to be displaced"


BOUND = ["snapshots", "undo", "gc", "descriptors", "worktrees", "intents"]


@alone
@pytest.mark.parametrize("name", BOUND)
def test_a_directory_of_the_control_plane_is_a_bind_mount(tmp_path, name):
    lab = two(tmp_path / "r")
    lab.write({"a": "second", "n/e": "e"})
    lab.take("second", "-t", "second")
    own_mounts.bind(lab.jvs_dir / name, lab.jvs_dir / name)
    before = everything(lab)
    lab.write({"n/e": "dirty"})
    said = lab.say("restore", "first")
    lab.say("worktree", "remove", "x")
    lab.say("worktree", "remove", "y", "--discard")
    plan = lab.say("gc", "plan", "--keep-last", "1", "--json")
    if plan.exit == 0:
        lab.say("gc", "run", "--plan-id", plan.json["plan_id"])
    assert digest("dirty") in everything(lab), said.err
    assert digest("only in x") in everything(lab)
    assert before
    refused = lab.say("snapshot", "works, or says before it acts that it cannot")
    assert refused.exit == 0 or f"mounted inside the repository: '{lab.jvs_dir / name}'" in refused.err, refused.err
    assert lab.intents() == []
    command("umount", lab.jvs_dir / name)
    works(lab)
    lab.check()


@alone
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_main_is_a_mount(tmp_path, kind):
    lab = Lab(tmp_path / "r")
    (tmp_path / "data").mkdir()
    if kind == "bind":
        own_mounts.bind(tmp_path / "data", lab.main)
    else:
        own_mounts.mount("tmpfs", lab.main)
    lab.write({"a": "one", "d/b": "b"})
    said = lab.say("snapshot", "first", "-t", "first")
    if said.exit:
        assert "mount" in said.err
        assert lab.intents() == []
        return
    lab.write({"a": "two", "n/deep/er": "er"})
    restored = lab.say("restore", "first")
    if restored.exit:
        assert "mount" in restored.err and "cross-device" not in restored.err, "it says so before it acts"
        assert lab.read("a") == b"two"
        assert lab.intents() == []
        return
    assert lab.read("a") == b"one"
    lab.jvs("undo")
    assert (lab.read("a"), lab.read("n/deep/er")) == (b"two", b"er")
    works(lab)


# Full disks


@alone
@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_collection_without_free_inodes(tmp_path, left):
    made = own_mounts.image(tmp_path, 32, "mkfs.ext4", "-q", "-N", "400", "-F")
    home = own_mounts.mount("ext4", tmp_path / "m", "loop", what=str(made))
    lab = Lab(home / "r")
    for number in range(4):
        lab.write({f"d/{i}": f"{number} {i}" for i in range(20)})
        lab.take(f"s{number}")
    fill_inodes(home / "fill", left)
    plan = lab.say("gc", "plan", "--keep-last", "1", "--json")
    assert plan.exit == 0, plan.err
    done = lab.say("gc", "run", "--plan-id", plan.json["plan_id"])
    assert done.exit == 0, done.err
    assert len(lab.visible()) == 1
    lab.check()


def fill_inodes(directory: Path, left: int) -> None:
    directory.mkdir()
    made = 0
    with contextlib.suppress(OSError):
        while True:
            (directory / f"{made}").touch()
            made += 1
    for number in range(left):
        (directory / f"{number}").unlink()


@alone
@pytest.mark.parametrize("parents", [False, True], ids=["plain", "parent pointers"])
def test_a_collection_on_a_full_xfs(tmp_path, parents):
    made = own_mounts.image(tmp_path, 320, "mkfs.xfs", "-q")
    if parents:
        own_mounts.give_parent_pointers(made)
    home = own_mounts.mount("xfs", tmp_path / "m", "loop", what=str(made))
    lab = Lab(home / "r")
    for number in range(5):
        lab.write({f"d{i}/file": f"{number} {i}" * 2000 for i in range(30)})
        lab.take(f"s{number}")
    fill(home / "fill")
    plan = lab.say("gc", "plan", "--keep-last", "1", "--json")
    assert plan.exit == 0, plan.err
    done = lab.say("gc", "run", "--plan-id", plan.json["plan_id"])
    assert done.exit == 0, done.err
    assert len(lab.visible()) == 1
    lab.check()


def fill(directory: Path) -> None:
    """Fill the disk to the last block, and the inodes with it."""
    directory.mkdir()
    size = 1 << 20
    with open(directory / "big", "wb", buffering=0) as file:
        while size >= 512:
            try:
                file.write(bytes(size))
                os.fsync(file.fileno())
            except OSError:
                size //= 2
    with contextlib.suppress(OSError):
        for number in range(100_000):
            (directory / f"{number:0200d}").touch()


def test_an_operation_that_cannot_be_completed_blocks_only_its_worktree(ext4):
    lab = two(ext4 / "r")
    number = 1
    while not list(lab.jvs_dir.glob("undo/*/op.json")):
        assert dies_at(number, lambda: lab.say("worktree", "remove", "x"))
        number += 1
    with immutable(lab.worktree("x")):
        works(lab, "main", "y")
        assert len(lab.intents()) == 1
        assert lab.say("snapshot", "-w", "x").exit != 0
    lab.jvs("snapshot", "recover")
    assert lab.intents() == []
    assert not lab.worktree("x").exists()


# Records


@pytest.fixture
def pending(tmp_path: Path) -> tuple[Lab, dict]:
    """A repository with worktrees main, x and y, and the intent of a removal of x that died."""
    lab = two(tmp_path / "r")
    number = 1
    while not lab.intents():
        assert dies_at(number, lambda: lab.say("worktree", "remove", "x"))
        number += 1
    return lab, json.loads((lab.jvs_dir / "intents" / lab.intents()[0]).read_text())


BREAKS = {
    "unknown kind": lambda record: json.dumps({**record, "operation": "time_travel"}).encode(),
    "newer version": lambda record: json.dumps({**record, "version": 99}).encode(),
    "without what": lambda record: json.dumps({k: v for k, v in record.items() if k != "what"}).encode(),
    "not json": lambda record: b"{" + os.urandom(20),
    "empty": lambda record: b"",
    "another's id": lambda record: json.dumps({**record, "operation_id": "1700000000000-00000000"}).encode(),
    "no owner": lambda record: json.dumps({**record, "owner": None}).encode(),
}


@pytest.mark.parametrize("name", BREAKS)
def test_an_intent_that_nobody_understands_blocks_only_its_worktree(pending, name):
    lab, record = pending
    path = lab.jvs_dir / "intents" / lab.intents()[0]
    path.write_bytes(BREAKS[name](record))
    works(lab, "main", "y")
    assert lab.say("gc", "plan").exit == 0


RECORDS = {
    "intent": "intents/*",
    "operation": "undo/*/op.json",
    "steps": "undo/*/delta.cbor",
    "pin": "gc/pins/*",
    "plan": "gc/plans/*",
    "tombstone": "gc/tombstones/*",
    "descriptor": "descriptors/*",
    "worktree": "worktrees/x/config.json",
}


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 99}', None], ids=["empty", "torn", "newer", "directory"])
@pytest.mark.parametrize("kind", RECORDS)
def test_doctor_quarantines_any_single_record(tmp_path, kind, damage):
    lab = two(tmp_path / "r")
    lab.write({"a": "second"})
    second = lab.take("second", "-t", "second")
    lab.jvs("restore", "first")
    lab.jvs("gc", "pin", "first")
    lab.write({"a": "third"})
    lab.take("third")
    lab.jvs("undo", "--list")
    lab.collect("--keep-last", "1")
    lab.write({"a": "fourth"})
    lab.take("fourth")
    lab.jvs("gc", "plan")
    if kind == "intent":
        (lab.jvs_dir / "intents" / "1700000000000-00000000.json").write_bytes(b"")
    found = sorted(lab.jvs_dir.glob(RECORDS[kind]))
    if not found and kind == "tombstone":
        pytest.skip(f"nothing was collected: {second}")
    assert found, kind
    path = found[-2] if kind == "descriptor" else found[0]  # one that is nobody's head
    path.unlink()
    if damage is None:
        path.mkdir()
        (path / "inside").write_text("x")
    else:
        path.write_bytes(damage)
    said = lab.say("doctor", "--repair-runtime")
    assert "E_INTERNAL" not in said.err
    lab.write({"works": "works"})
    lab.jvs("snapshot", "works")
    lab.write({"works": "changed"})
    lab.jvs("restore", "HEAD")
    lab.jvs("undo")
    lab.write({"works": "y"}, "y")
    lab.jvs("snapshot", "works", "-w", "y")


# Operations that failed


@alone
@pytest.mark.parametrize("words", [("restore", "first"), ("restore", "first", "--", "d"), ("undo",)])
def test_a_restore_on_a_read_only_worktree_leaves_nothing_to_be_carried_out_later(tmp_path, words):
    lab = two(tmp_path / "r")
    lab.write({"a": "second", "d/b": "second"})
    lab.take("second")
    if words[0] == "undo":
        lab.restore("first")
    own_mounts.bind(lab.main, lab.main)
    command("mount", "-o", "remount,bind,ro", lab.main)
    said = lab.say(*words)
    assert said.exit != 0
    assert lab.intents() == []
    command("umount", lab.main)
    lab.write({"a": "newer work", "d/b": "newer work"})
    lab.jvs("snapshot", "later")
    assert (lab.read("a"), lab.read("d/b")) == (b"newer work", b"newer work")


def test_a_restore_over_something_immutable_leaves_nothing_to_be_carried_out_later(ext4):
    lab = two(ext4 / "r")
    lab.write({"a": "second", "d/b": "second", "z/z": "z"})
    lab.take("second")
    for path in ("a", "d", "d/b", "z"):
        with immutable(lab.main / path):
            before = lab.facts()
            said = lab.say("restore", "first")
            assert said.exit != 0
            assert same(before, lab.facts()) == []
            assert lab.intents() == [], path
        lab.jvs("snapshot", "later")
        assert same(before, lab.facts()) == [], path


@pytest.mark.parametrize("words", [("undo",), ("undo", "--redo"), ("undo", "1700000000000-00000000"), ("undo", "zzzz")])
def test_an_undo_that_finds_nothing_leaves_no_intent(tmp_path, words):
    lab = two(tmp_path / "r")
    said = lab.say(*words)
    assert said.exit != 0
    assert lab.intents() == []


def test_an_undo_whose_files_are_gone_leaves_no_intent(tmp_path):
    lab = two(tmp_path / "r")
    lab.write({"a": "second"})
    operation = lab.restore("first")
    subprocess.run(["rm", "-rf", str(lab.jvs_dir / "undo" / operation / "files")], check=True)
    before = lab.facts()
    said = lab.say("undo", operation)
    assert lab.intents() == []
    assert said.exit == 0 or same(before, lab.facts()) == []
    works(lab)


def test_an_undo_in_a_worktree_that_is_gone_leaves_no_intent(tmp_path):
    lab = two(tmp_path / "r")
    lab.write({"a": "second"}, "x")
    lab.jvs("restore", "first", "-w", "x")
    subprocess.run(["rm", "-rf", str(lab.worktree("x"))], check=True)
    assert lab.say("undo", "-w", "x").exit != 0
    assert lab.intents() == []
    works(lab, "main", "y")
