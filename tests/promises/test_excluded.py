"""What is excluded is neither captured nor touched; what is captured is exact. Random rules, trees and restores."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import crashing
import making
import pytest
import zoo
from conftest import on

from jvs.tree.exclusion import Exclusion

SEEDS = range(int(os.environ.get("JVS_TEST_SEEDS", "2")))
STEPS = 7
NAMES = ("a", "b", "c", "build", "cache", "x.log", "y.tmp", "keep.log", "é", "new\nline")
RULES = (
    *("*.log", "*.tmp", "build/", "/cache", "cache/", "a/b", "!keep.log", "a/**", "**/c", "/b/", "b/*", "!b/a"),
    *("new*", "[xy].*", "é", "!*/", "?", "a/**/build/"),
)
PLACES = ("ext4", "xfs", "btrfs", "btrfs-subvolume", "tmpfs", "juicefs-sqlite", "juicefs-redis")


class Workspace:
    """A repository in place (or, on btrfs, also one whose main is a subvolume), and what is known of its files."""

    def __init__(self, directory: Path, *, classic: bool) -> None:
        self.root = directory / "w"
        if classic:
            assert making.run("init", str(self.root)).exit == 0
            self.main = self.root / "main"
        else:
            self.root.mkdir()
            assert making.run("init", "--here", str(self.root)).exit == 0
            self.main = self.root
        self.snapshots: dict[str, tuple[dict, Exclusion]] = {}
        self.written = 0

    def rules(self) -> Exclusion:
        path = self.main / ".jvsignore"
        return Exclusion(path.read_text().split("\n")[:-1] if path.exists() else [])

    def walk(self, exclude: Exclusion | None = None, root: Path | None = None) -> dict[bytes, tuple]:
        """Return content, inode and mtime of each file, and the directories; without what is excluded."""
        found: dict[bytes, tuple] = {}

        def visit(at: bytes, path: bytes) -> None:
            for name in sorted(os.listdir(at)):
                here, full = path + b"/" + name if path else name, os.path.join(at, name)
                is_dir = os.path.isdir(full)
                if here == b".jvs" or (exclude is not None and exclude.drops(here, is_dir=is_dir)):
                    continue
                st = os.lstat(full)
                found[here] = (None if is_dir else Path(os.fsdecode(full)).read_bytes(), st.st_ino, st.st_mtime_ns)
                if is_dir:
                    visit(full, here)

        visit(os.fsencode(root or self.main), b"")
        return found

    def excluded(self) -> dict[bytes, tuple]:
        """Return all that is excluded now, with what it holds; directories keep their inode, their times may move."""
        kept = self.walk(self.rules())
        return {p: f if f[0] is not None else f[:2] for p, f in self.walk().items() if p not in kept}

    def run(self, *words: str, may_refuse: bool = False) -> making.Said:
        said = making.run("-C", str(self.main), *words)
        assert said.exit == 0 or (may_refuse and "E_EXISTS" in said.err), (words, said.err)
        return said

    # What happens to it

    def change(self, chance: random.Random) -> None:
        for _ in range(6):
            path = Path(*(chance.choice(NAMES) for _ in range(chance.randint(1, 3))))
            full = self.main / path
            if any((self.main / parent).is_file() for parent in path.parents):
                continue
            if full.is_dir() and chance.random() < 0.3:
                shutil.rmtree(full)
            elif not full.is_dir():
                full.parent.mkdir(parents=True, exist_ok=True)
                self.written += 1
                full.write_text(f"{self.written}")

    def ignore(self, chance: random.Random) -> None:
        rules = chance.sample(RULES, chance.randint(0, 4))
        (self.main / ".jvsignore").write_text("".join(rule + "\n" for rule in rules))

    def snapshot(self) -> None:
        before = self.walk()
        made = self.run("snapshot", "--json").json
        assert self.walk() == before
        payload = self.root / ".jvs/snapshots" / made["snapshot_id"]
        held = {path: facts[0] for path, facts in self.walk(root=payload).items()}
        assert held == {path: facts[0] for path, facts in self.walk(self.rules()).items()}
        self.snapshots[made["snapshot_id"]] = (held, self.rules())
        assert self.run("snapshot", "--json", "--if-changed").json["changed"] is False
        assert self.run("status", "--json").json["clean"]

    def restore(self, chance: random.Random) -> None:
        target = chance.choice(list(self.snapshots))
        held, then = self.snapshots[target]
        now, before, excluded = self.rules(), self.walk(), self.excluded()
        said = self.run("restore", target, may_refuse=True)
        after = self.walk()
        assert {p: after.get(p) if f[0] is not None else after.get(p, ())[:2] for p, f in excluded.items()} == excluded
        if said.exit:
            assert after == before
            return
        both = [path for path in {*held, *after} if not _is_left(path, held, after, (now, then))]
        assert {p: after[p][0] for p in both if p in after} == {p: held[p] for p in both if p in held}
        if said.exit == 0 and "Undo" not in said.text and before != after:
            self.undo(before)

    def undo(self, before: dict) -> None:
        now = self.rules()
        changed = self.main / ".jvsignore"
        if before.get(b".jvsignore", (b"",))[0] != (changed.read_bytes() if changed.exists() else b""):
            return  # the restore changed the rules: what undo leaves alone is another question
        excluded = self.excluded()
        self.run("undo", may_refuse=True)
        after = self.walk()
        assert {p: after.get(p) if f[0] is not None else after.get(p, ())[:2] for p, f in excluded.items()} == excluded
        kept = self.walk(now)
        assert {p: f[0] for p, f in kept.items()} == {
            p: f[0] for p, f in before.items() if not now.drops_any(p, is_dir=f[0] is None)
        }


def _is_left(path: bytes, held: dict, after: dict, rules: tuple[Exclusion, ...]) -> bool:
    """Answer whether a path may differ after a restore: it is excluded, or leads to or replaces what is."""
    kinds = [facts is None for facts in (held[path],)] if path in held else []
    kinds += [after[path][0] is None] if path in after else []
    if any(rule.drops_any(path, is_dir=is_dir) for rule in rules for is_dir in kinds):
        return True
    below = [p for p in after if p.startswith(path + b"/")]
    return path not in held and any(rule.drops_any(p, is_dir=after[p][0] is None) for rule in rules for p in below)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("place", on(*PLACES))
def test_what_is_excluded_never_changes_and_what_is_captured_is_exact(place: str, seed: int, fs_at):
    chance = random.Random(f"{place} {seed}")
    here = Workspace(fs_at(place.removesuffix("-subvolume")), classic=place.endswith("-subvolume"))
    here.change(chance)
    here.snapshot()
    for _ in range(STEPS):
        chance.choice((here.ignore, here.change, lambda _: here.snapshot(), here.restore))(chance)
        here.change(chance)
        if chance.random() < 0.5:
            here.restore(chance)
    here.snapshot()
    here.run("verify", "--all")
    here.run("doctor", "--strict")
    assert making.violations(here.root) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_rules_are_those_of_git(tmp_path: Path, seed: int):
    if shutil.which("git") is None:
        pytest.skip("there is no git here")
    chance = random.Random(seed)
    for number in range(4):
        root = tmp_path / str(number)
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        rules = chance.sample(RULES, 5)
        (root / ".gitignore").write_text("".join(rule + "\n" for rule in rules))
        entries = []
        for _ in range(40):
            path = Path(*(chance.choice(NAMES) for _ in range(chance.randint(1, 4))))
            if any((root / parent).is_file() for parent in path.parents) or (root / path).exists():
                continue
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
            entries += [path, *path.parents]
        names = {os.fsencode(path) for path in entries} - {b"."}
        asked = subprocess.run(
            ["git", "-C", str(root), "check-ignore", "-z", "--stdin", "--no-index"],
            input=b"".join(name + b"\0" for name in names),
            capture_output=True,
        )
        mine = {n for n in names if Exclusion(rules).drops_any(n, is_dir=os.path.isdir(os.fsencode(root) + b"/" + n))}
        assert mine == set(asked.stdout.split(b"\0")) - {b""}, rules


# Single promises


def project(root: Path, files: dict[str, str], rules: str) -> Path:
    making.write(root, {**files, ".jvsignore": rules})
    assert making.run("init", "--here", str(root)).exit == 0
    return root


def run(root: Path, *words: str) -> making.Said:
    said = making.run("-C", str(root), *words)
    assert said.exit == 0, said.err
    return said


def test_the_descriptor_and_status_say_what_is_excluded(tmp_path: Path):
    root = project(
        tmp_path / "p", {"a": "1", "node_modules/x": "2", "d/x.log": "3"}, "# mine\nnode_modules/\n\n*.log\n"
    )
    made = run(root, "snapshot", "--json").json
    rules = ["node_modules/", "*.log"]
    assert made["excluded"] == {"rules": rules, "caches": False, "top": [{"path": "node_modules"}], "entries": 1}
    assert made["payload"]["files"] == 2
    assert "Excluded: node_modules (2 rules)" in run(root, "status").text
    assert run(root, "info", "--json").json["excluded"]["rules"] == rules


def test_rules_that_changed_count_as_a_change_and_delete_nothing(tmp_path: Path):
    root = project(tmp_path / "p", {"a": "1", "data/x": "2"}, "*.log\n")
    first = run(root, "snapshot", "--json").json["snapshot_id"]
    run(root, "config", "set", "exclude", "data/")
    status = run(root, "status", "--json").json
    assert (status["clean"], status["rules_changed"], status["removed"]) == (False, True, [])
    assert status["not_captured"] == [{"path": "data"}, {"path": "data/x"}]
    second = run(root, "snapshot", "--json", "--if-changed").json["snapshot_id"]
    assert second != first
    assert run(root, "diff", "--json", first, second).json["removed"] == []
    assert (root / "data/x").read_text() == "2"
    run(root, "restore", first)
    (root / "data/x").write_text("mine")
    run(root, "restore", first)
    assert (root / "data/x").read_text() == "mine"
    run(root, "restore", first, "--", "data/x")
    assert (root / "data/x").read_text() == "2"
    run(root, "undo")
    assert (root / "data/x").read_text() == "mine"


def test_a_directory_with_the_tag_of_a_cache_is_excluded_when_asked(tmp_path: Path):
    tag = "Signature: 8a477f597d28d172789f06886806bc55\n"
    root = project(tmp_path / "p", {"a": "1", "c/CACHEDIR.TAG": tag, "c/x": "2", "d/CACHEDIR.TAG": "no"}, "")
    assert run(root, "snapshot", "--json").json["payload"]["files"] == 5
    run(root, "config", "set", "exclude_caches", "true")
    assert run(root, "snapshot", "--json").json["payload"]["files"] == 3
    run(root, "restore", "HEAD~1")
    (root / "c/x").write_text("mine")
    run(root, "restore", "LATEST")
    assert (root / "c/x").read_text() == "mine"


def test_a_removed_worktree_keeps_what_is_excluded(tmp_path: Path):
    root = project(tmp_path / "p", {"a": "1"}, "*.log\n")
    run(root, "snapshot", "first")
    run(root, "fork", "side")
    making.write(root / ".jvs/forks/side", {"x.log": "mine"})
    run(root, "worktree", "remove", "side")
    run(root, "undo")
    assert (root / ".jvs/forks/side/x.log").read_text() == "mine"


def test_what_is_protected_stays_as_it_is(tmp_path: Path):
    root = project(tmp_path / "p", {"a": "1", ".git/refs": "1"}, "")
    run(root, "snapshot", "first")
    making.write(root, {"a": "2", ".git/refs": "2"})
    run(root, "config", "set", "restore.protect", ".git")
    run(root, "restore", "first")
    assert [(root / name).read_text() for name in ("a", ".git/refs")] == ["1", "2"]


@pytest.mark.parametrize("make", ["directory", "link", "fifo", "bytes"])
def test_rules_that_cannot_be_read_stop_a_snapshot(tmp_path: Path, make: str):
    root = project(tmp_path / "p", {"a": "1"}, "")
    path = root / ".jvsignore"
    path.unlink()
    match make:
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to("a")
        case "fifo":
            os.mkfifo(path)
        case "bytes":
            path.write_bytes(b"\xff\n")
    said = making.run("-C", str(root), "snapshot")
    assert (said.exit, "E_USAGE" in said.err) == (2, True), said.err


def test_an_excluded_mount_is_left_out_and_left_alone(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    root = project(tmp_path / "p", {"a": "1", "mnt/below": "2"}, "/mnt\n")
    program = (
        "mount -t tmpfs none mnt && echo 3 > mnt/in && jvs snapshot first && echo 2 > a && jvs restore first"
        " && cat a mnt/in && ls .jvs/snapshots/*/"
    )
    path = f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", program],
        cwd=root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("13\na\n"), done.stdout
    said = making.run("-C", str(root), "-c", "exclude=", "status")
    assert said.exit == 0


def test_a_snapshot_goes_by_the_rules_that_a_completed_restore_brings(tmp_path):
    """The next command completes a restore that died, and that takes '.jvsignore' away; its snapshot holds all."""
    making.run("init", str(tmp_path / "base"))
    main = tmp_path / "base" / "main"
    making.write(main, {"a": "one"})
    first = making.run("-C", str(main), "snapshot", "one", "--json").json["snapshot_id"]
    making.write(main, {"a": "two", ".jvsignore": "*.log\n", "run.log": "excluded until then"})
    assert making.run("-C", str(main), "snapshot", "two").exit == 0
    number, completed = 1, 0
    while True:
        copy = tmp_path / str(number)
        shutil.copytree(tmp_path / "base", copy, symlinks=True)
        here = str(copy / "main")
        if not crashing.dies_at(number, lambda: making.run("-C", here, "restore", first)):  # noqa: B023
            break
        made = making.run("-C", here, "snapshot", "next", "--json")
        assert made.exit == 0, made.err
        completed += not (copy / "main" / ".jvsignore").exists()
        found = making.run("-C", here, "status", "--json").json
        assert (found["clean"], found["rules_changed"]) == (True, False), number
        number += 2
    assert completed > 3


def test_a_fork_of_the_files_as_they_are_may_bring_along_what_is_excluded(fs_dir: Path, monkeypatch):
    root = fs_dir / "project"
    making.write(
        root, {"a": "1", "src/b": "2", "src/deep/x.log": "l", ".venv/bin/python": "#!", ".jvsignore": ".venv/\n"}
    )
    making.write(root, {".jvsignore": ".venv/\n*.log\n/link\n"})
    os.link(root / ".venv/bin/python", root / ".venv/bin/python3")
    os.symlink("nowhere", root / "link")
    os.chmod(root / ".venv/bin/python", 0o755)
    for path in (root / "src/deep", root / ".venv/bin", root):
        os.utime(path, (1, 1))
    monkeypatch.chdir(root)
    assert making.run("init", "--here").exit == 0
    assert making.run("fork", "x", "--with-excluded").exit == 2
    said = making.run("fork", "--now", "--with-excluded", "twin", "--json")
    assert said.exit == 0, said.err
    twin = Path(said.json["path"])
    before, after = zoo.describe_tree(os.fsencode(root)), zoo.describe_tree(os.fsencode(twin))
    before = {name: fact for name, fact in before.items() if name and not name.startswith(b".jvs/") and name != b".jvs"}
    after = {name: fact for name, fact in after.items() if name}
    assert zoo.diff_trees(before, after, ignore=("data",)) == []
    assert os.stat(twin / ".venv/bin/python").st_ino == os.stat(twin / ".venv/bin/python3").st_ino
    (twin / ".venv/bin/python").write_text("of the fork")
    assert (root / ".venv/bin/python").read_text() == "#!"
    assert making.run("-C", str(twin), "status", "--json").json["clean"]
    assert making.run("fork", "--now", "bare").exit == 0 and not (twin.parent / "bare/.venv").exists()
