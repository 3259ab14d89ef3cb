"""Nothing is lost, whatever happens: random histories with an adversary, who has one more weapon in each run.

Every content that was in a worktree before a command is, after it, in a worktree, in a visible snapshot, or in
`undo/`; what is mounted stays as it is; a restored worktree is what it was when the snapshot was taken; no command
ends with E_INTERNAL; and nothing but a crash leaves an intent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_mounts
import pytest
from crashing import dies_at
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from lab import Lab, everything, same
from own_mounts import command
from treefacts import remove_tree

PATHS = ["a", "b", "d/a", "d/b", "d/e/c", "x/y/z"]
EDITS = ["write", "write", "remove", "swap", "chmod", "add", "move", "symlink"]
METADATA = ("uid", "gid", "mtime_ns", "xattrs", "links")
DAYS = [-400, -1, 1, 15, 400]
ERRORS = [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EXDEV, errno.EROFS]
CHANGES = frozenset(
    f"os.{name}"
    for name in ("rename", "remove", "rmdir", "mkdir", "link", "symlink", "chmod", "chown", "utime", "truncate")
) | {"os.setxattr", "os.mknod", "ctypes.dlopen"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def fails_at(number: int, code: int, work: Callable[[], object]) -> None:
    """Run a function in a child in which the n-th change of the filesystem fails with an errno."""

    def inside() -> None:
        count = 0

        def hook(event: str, args: tuple) -> None:
            nonlocal count
            writes = event == "open" and isinstance(args[2], int) and args[2] & _WRITES
            if writes or event in CHANGES:
                count += 1
                if count == number:
                    raise OSError(code, os.strerror(code), str(args[0]) if args else None)

        sys.addaudithook(hook)
        work()

    own_mounts.in_child(inside)


def mount_points() -> set[str]:
    with open("/proc/self/mountinfo") as lines:
        return {line.split(" ")[4] for line in lines}


def armed(weapon: str) -> Callable:
    """Let a rule run only where the adversary has that weapon."""
    return precondition(lambda self: weapon in self.weapons)


class Adversary(RuleBasedStateMachine):
    """Its subclasses say in `weapons` what it may do besides working."""

    weapons: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="jvs-adversary-"))
        self.outside = self.home / "outside"
        self.outside.mkdir()
        (self.outside / "data").write_text("a data set")
        self.lab = Lab(self.home / "repo")
        self.count, self.days = 0, 0
        self.taken: dict[str, dict[bytes, Any]] = {}
        self.mounted: list[Path] = []
        self.known: set[str] = set()
        self.forgiven = False

    def teardown(self) -> None:
        for at in self.mounted:
            command("umount", "-l", at, ok=False)
        command("chattr", "-R", "-f", "-i", self.home, ok=False)
        remove_tree(self.home)

    # What is true

    def names(self) -> list[str]:
        there = self.lab.root / "worktrees"
        return [
            "main",
            *sorted(path.name for path in there.iterdir() if (self.lab.jvs_dir / "worktrees" / path.name).is_dir()),
        ]

    def look(self) -> None:
        """Remember what the worktrees hold; what their owner overwrote or removed is theirs to lose."""
        now = everything(self.lab)
        self.known = self.known & now | {d for d in now if d in self.in_worktrees()}

    def in_worktrees(self) -> set[str]:
        from lab import below, digest

        found = set()
        for name in self.names():
            for path in below(self.lab.worktree(name)):
                if path.is_file() and not path.is_symlink():
                    found.add(digest(path.read_bytes()))
        return found

    def say(self, *words: str) -> Any:
        """Run a command; whatever it answers, nothing is lost."""
        self.look()
        with self.clock():
            said = (
                self.lab.say(*words[:2], "--wait", "1", *words[2:])
                if "--" in words
                else self.lab.say(*words, "--wait", "1")
            )
        self.nothing_is_lost(words, said.err)
        return said

    def nothing_is_lost(self, words: object = (), err: str = "") -> None:
        assert "E_INTERNAL" not in err, (words, err)
        assert "Traceback" not in err, (words, err)
        lost = self.known - everything(self.lab)
        assert not lost, (words, err, len(lost))
        assert (self.outside / "data").read_text() == "a data set", words
        assert self.lab.intents() == [] or self.forgiven, (words, err)
        moved = [str(at) for at in self.mounted if str(at) not in mount_points()]
        assert not moved, (words, "a mount was moved, with the directory that it is in", moved)

    @contextlib.contextmanager
    def clock(self):
        real = time.time_ns
        time.time_ns = lambda: real() + self.days * own_mounts.DAY_NS
        try:
            yield
        finally:
            time.time_ns = real

    def some(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.names()))

    def target(self, data: st.DataObject) -> str | None:
        ids = sorted(self.lab.visible())
        return data.draw(st.sampled_from(ids)) if ids else None

    # Working

    @rule(data=st.data(), path=st.sampled_from(PATHS), kind=st.sampled_from(EDITS))
    def edit(self, data, path, kind):
        top = self.lab.worktree(self.some(data))
        at = top / path
        self.count += 1
        with contextlib.suppress(OSError):  # the adversary is in the way
            if kind == "write":
                at.parent.mkdir(parents=True, exist_ok=True)
                at.write_text(f"content {self.count}")
            elif kind == "swap" and at.is_file():
                at.unlink()
                at.mkdir()
                (at / "inner").write_text(f"inner {self.count}")
            elif kind == "remove":
                at.unlink()
            elif kind == "chmod":
                at.chmod(0o700 if at.is_dir() else 0o640)
            elif kind == "add":
                (at.parent / f"more{self.count}").write_text(f"more {self.count}")
            elif kind == "move":
                at.rename(top / f"moved{self.count}")
            elif kind == "symlink":
                os.symlink(f"target{self.count}", at.parent / f"link{self.count}")
        self.look()

    @rule(data=st.data(), part=st.sampled_from([None, None, "d"]))
    def snapshot(self, data, part):
        name = self.some(data)
        before = self.lab.facts(name)
        words = ["snapshot", f"note {self.count}", "-w", name, "--json"]
        said = self.say(*words, *(["--", part] if part else []))
        if said.exit == 0 and part is None:
            self.taken[said.json["snapshot_id"]] = before

    @rule(data=st.data(), part=st.sampled_from([None, None, ["d"], ["a", "x/y"]]))
    def restore(self, data, part):
        name, target = self.some(data), self.target(data)
        if target is None:
            return
        said = self.say("restore", target, "-w", name, *(["--", *part] if part else []))
        if said.exit == 0 and part is None and target in self.taken:
            ignored = ["data", *(() if "metadata" in self.weapons else METADATA)]
            from treefacts import diff_trees

            assert diff_trees(self.taken[target], self.lab.facts(name), ignored) == []

    @rule(data=st.data(), words=st.sampled_from([["undo"], ["undo"], ["undo", "--redo"]]))
    def undo(self, data, words):
        self.say(*words, "-w", self.some(data))

    @rule(data=st.data())
    def undo_any(self, data):
        name = self.some(data)
        listed = self.say("undo", "--list", "--json", "-w", name)
        found = [record["operation_id"] for record in listed.json] if listed.exit == 0 else []
        if found:
            self.say("undo", data.draw(st.sampled_from(found)), "-w", name)

    @rule(data=st.data())
    def fork(self, data):
        target = self.target(data)
        if target and len(self.names()) < 4:
            self.count += 1
            self.say("worktree", "fork", target, f"w{self.count % 3}")

    @rule(data=st.data())
    def rename(self, data):
        self.count += 1
        self.say("worktree", "rename", self.some(data), f"w{self.count % 3}")

    @rule(data=st.data())
    def remove(self, data):
        self.say("worktree", "remove", self.some(data))

    @armed("copies")
    @rule(number=st.integers(8, 60), content=st.sampled_from(["x", "y"]))
    def a_killed_undo_in_a_copy(self, number, content):
        """Its worktree is as before the undo or as after it, and no mixture."""
        self.count += 1
        with contextlib.suppress(OSError):
            self.lab.write({f"k/{i}": f"{content} {self.count} {i}" for i in range(4)})
        taken = self.say("snapshot", "before", "-w", "main", "--json")
        if taken.exit:
            return
        with contextlib.suppress(OSError):
            self.lab.write({f"k/{i}": f"changed {self.count} {i}" for i in range(4)})
        changed = self.lab.facts()
        if self.say("restore", taken.json["snapshot_id"]).exit:
            return
        restored = self.lab.facts()
        self.look()
        dies_at(number, lambda: self.lab.say("undo"))
        self.move_to_a_copy()
        self.lab.say("snapshot", "recover")
        self.nothing_is_lost("a killed undo")
        now = self.lab.facts()
        assert same(changed, now) == [] or same(restored, now) == [], "a mixture"

    @rule(data=st.data(), number=st.integers(1, 70), what=st.sampled_from(["restore", "undo", "remove"]))
    def crash(self, data, number, what):
        name, target = self.some(data), self.target(data)
        if target is None:
            return
        words = {"restore": ["restore", target, "-w", name], "undo": ["undo", "-w", name]}
        chosen = words.get(what, ["worktree", "remove", name])
        self.look()
        dies_at(number, lambda: self.lab.say(*chosen))
        self.forgiven = True
        self.nothing_is_lost(chosen)
        if "copies" in self.weapons:
            self.move_to_a_copy()
        self.say("snapshot", "recover")
        self.forgiven = bool("mounts" in self.weapons or "immutable" in self.weapons)

    def move_to_a_copy(self) -> None:
        self.count += 1
        there = self.home / f"copy{self.count}"
        subprocess.run(["cp", "-a", str(self.lab.root), str(there)], check=True)
        command("chattr", "-R", "-f", "-i", self.lab.root, ok=False)
        remove_tree(self.lab.root)
        self.lab = Lab(there)

    # Weapons, often

    @armed("mounts")
    @rule(data=st.data(), path=st.sampled_from(["d", "d/e", "x", "a"]))
    def mount(self, data, path):
        at = self.lab.worktree(self.some(data)) / path
        if at.exists() and len(self.mounted) < 2:
            self.look()
            own_mounts.bind(self.outside if at.is_dir() else self.outside / "data", at)
            self.mounted.append(at)
            self.known &= everything(self.lab)

    @armed("mounts")
    @rule()
    def unmount(self):
        while self.mounted:
            command("umount", self.mounted.pop(), ok=False)

    @armed("immutable")
    @rule(data=st.data(), path=st.sampled_from([*PATHS, "d", "x"]), sign=st.sampled_from("+-"))
    def make_immutable(self, data, path, sign):
        if sign == "-":
            command("chattr", "-R", "-f", "-i", self.lab.root, ok=False)
        else:
            command("chattr", "+i", self.lab.worktree(self.some(data)) / path, ok=False)

    @armed("metadata")
    @rule(data=st.data(), path=st.sampled_from(PATHS), what=st.sampled_from(["own", "touch", "attribute"]))
    def change_metadata(self, data, path, what):
        at = self.lab.worktree(self.some(data)) / path
        self.count += 1
        with contextlib.suppress(OSError):
            if what == "own":
                os.chown(at, 1000 + self.count % 3, 1000)
            elif what == "touch":
                os.utime(at, ns=(10**18 + self.count, 10**18 + self.count))
            else:
                os.setxattr(at, "user.count", b"%d" % self.count)

    @armed("metadata")
    @rule(path=st.sampled_from(PATHS), data=st.data(), what=st.sampled_from(["own", "touch", "attribute"]))
    def change_metadata_and_come_back(self, path, data, what):
        self.lab.write({"a": f"content {self.count}"}) if not (self.lab.main / "a").is_dir() else None
        taken = self.say("snapshot", "before", "-w", "main", "--json")
        if taken.exit == 0:
            before = self.lab.facts()
            at = self.lab.main / (path if (self.lab.main / path).exists() else "a")
            with contextlib.suppress(OSError):
                if what == "own":
                    os.chown(at, 2000, 2000)
                elif what == "touch":
                    os.utime(at, ns=(10**17, 10**17))
                else:
                    os.setxattr(at, "user.other", b"1")
            if self.say("restore", taken.json["snapshot_id"]).exit == 0:
                assert same(before, self.lab.facts()) == []

    @armed("links")
    @rule(one=st.sampled_from(["a", "d/a"]))
    def one_name_is_rewritten_and_the_other_comes_back(self, one):
        for name in ("h/one", "h/two"):
            with contextlib.suppress(OSError):
                (self.lab.main / name).unlink()
        with contextlib.suppress(OSError):
            self.lab.write({"h/one": f"content {self.count:05}"})
            os.link(self.lab.main / "h/one", self.lab.main / "h/two")
        taken = self.say("snapshot", "before", "-w", "main", "--json")
        if taken.exit == 0:
            wanted = self.lab.read("h/one")
            (self.lab.main / "h/one").unlink()
            (self.lab.main / "h/two").unlink()
            self.lab.write({"h/two": f"CONTENT {self.count:05}"})
            if self.say("restore", taken.json["snapshot_id"], "--", "h/one").exit == 0:
                assert self.lab.read("h/one") == wanted

    @armed("links")
    @rule(data=st.data(), one=st.sampled_from(PATHS), other=st.sampled_from(PATHS))
    def link(self, data, one, other):
        top = self.lab.worktree(self.some(data))
        with contextlib.suppress(OSError):
            os.link(top / one, top / other)

    @armed("links")
    @rule(data=st.data(), path=st.sampled_from(PATHS))
    def rewrite_in_the_same_size(self, data, path):
        at = self.lab.worktree(self.some(data)) / path
        self.count += 1
        with contextlib.suppress(OSError):
            size = at.stat().st_size
            at.unlink()
            at.write_text(f"{self.count:0{size}d}")
        self.look()

    @armed("clock")
    @rule(days=st.sampled_from(DAYS))
    def jump(self, days):
        self.days = days

    @armed("pruning")
    @rule(data=st.data(), count=st.integers(0, 2))
    def prune(self, data, count):
        target = self.target(data)
        if target is not None:
            self.say("restore", target, "-c", f"undo.max_operations={count}", "-w", self.some(data))

    @armed("collections")
    @rule(keep=st.sampled_from(["--keep-last=1", "--keep-within=1h", None]))
    def collect(self, keep):
        self.collect_now(keep)

    def collect_now(self, keep: str | None) -> None:
        only_here = self.in_snapshots_only()
        plan = self.say("gc", "plan", "--json", *([keep] if keep else []))
        if plan.exit == 0:
            self.known -= only_here  # what only a snapshot holds is what a collection may take
            self.say_of_collection(plan.json["plan_id"], only_here)

    def say_of_collection(self, plan_id: str, only_here: set[str]) -> None:
        before = self.known - only_here
        self.lab.say("gc", "run", "--plan-id", plan_id)
        self.known = before
        self.nothing_is_lost(("gc", "run"))

    def in_snapshots_only(self) -> set[str]:
        from lab import below, digest

        kept = {digest(p.read_bytes()) for p in below(self.lab.jvs_dir / "undo") if p.is_file() and not p.is_symlink()}
        return everything(self.lab) - kept - self.in_worktrees() - self.needed_by_undo()

    def needed_by_undo(self) -> set[str]:
        """Return the contents that operations name in snapshots, because they do not keep them themselves."""
        from lab import below, digest

        from jvs.store import held
        from jvs.store.layout import Layout

        found = set()
        layout = Layout(str(self.lab.root))
        for operation in (self.lab.jvs_dir / "undo").iterdir():
            record = held.load(layout, operation.name) if (operation / "held.cbor").exists() else None
            for entry in record.entries if record is not None else ():
                at = Path(
                    os.fsdecode(os.path.join(bytes(self.lab.jvs_dir / "snapshots" / entry.snapshot_id), entry.path))
                )
                files = below(at) if at.is_dir() and not at.is_symlink() else [at]
                found |= {digest(p.read_bytes()) for p in files if p.is_file() and not p.is_symlink()}
        return found

    @rule(data=st.data(), keep=st.sampled_from([None, None, "--keep-last=1"]), copy=st.booleans())
    def restore_and_undo(self, data, keep, copy):
        """Undoing gives back exactly what was there, metadata and links as well, whatever was collected meanwhile."""
        name, target = self.some(data), self.target(data)
        if target is None:
            return
        before = self.lab.facts(name)
        done = self.say("restore", target, "-w", name, "--json")
        if done.exit or done.json["operation_id"] is None:
            return
        if keep is not None and "collections" in self.weapons:
            self.collect_now(keep)
        if copy and "copies" in self.weapons:
            self.move_to_a_copy()
        undone = self.say("undo", done.json["operation_id"], "-w", name)
        assert undone.exit == 0 or {"mounts", "immutable"} & self.weapons, undone.err
        if undone.exit == 0:
            assert same(before, self.lab.facts(name)) == []

    @armed("errors")
    @rule(data=st.data(), number=st.integers(1, 70), code=st.sampled_from(ERRORS), what=st.sampled_from("rusw"))
    def fail(self, data, number, code, what):
        name, target = self.some(data), self.target(data)
        if target is None:
            return
        words = {
            "r": ["restore", target, "-w", name],
            "u": ["undo", "-w", name],
            "s": ["snapshot", "n", "-w", name],
            "w": ["worktree", "remove", name],
        }[what]
        self.look()
        fails_at(number, code, lambda: self.lab.say(*words))
        self.forgiven = True
        self.nothing_is_lost(words)
        self.say("snapshot", "recover")
        self.forgiven = False


for often in ("mount", "jump", "prune", "fail", "make_immutable"):
    for again in range(2):
        setattr(Adversary, f"{often}_{again}", getattr(Adversary, often))

WEAPONS = ["none", "metadata", "links", "mounts", "immutable", "clock", "copies", "pruning", "collections", "errors"]
EXAMPLES = int(os.environ.get("JVS_TEST_EXAMPLES", "1"))
STEPS = int(os.environ.get("JVS_TEST_STEPS", "30"))
"""A short history of each kind; JVS_TEST_EXAMPLES=50 JVS_TEST_STEPS=60 JVS_TEST_SEED=1 makes long and other ones."""


def fight(*weapons: str) -> None:
    machine = type("Machine", (Adversary,), {"weapons": frozenset(weapons)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.generate],  # the history that failed is printed; making it shorter takes minutes
            report_multiple_bugs=False,
            derandomize="JVS_TEST_SEED" not in os.environ,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@own_mounts.own_mounts
@pytest.mark.parametrize("weapon", WEAPONS)
def test_nothing_is_lost(weapon):
    fight(weapon)


@own_mounts.own_mounts
def test_nothing_is_lost_to_an_adversary_with_all_weapons():
    fight(*WEAPONS)
