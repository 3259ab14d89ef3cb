"""What is measured: each step of jvs against the raw primitive of the filesystem, or the tool people would use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import peers
from measure import Row, Took, compare, run
from workloads import SHAPES, Shape, fill

CHANGED_FILES = 10
NO_SEARCH = ("setpriv", "--bounding-set", "-sys_admin")
"""As everybody but root: btrfs does not tell what changed."""
REST_SECONDS = 3.0
"""JuiceFS deletes in the background: what is timed next would pay for it."""


class Place:
    """A repository with a workload on one filesystem, and the commands that are timed there."""

    def __init__(
        self, bin_dir: str, fs: str, mount: Path, workload: str, runs: int, shapes: tuple[Shape, ...] | None = None
    ) -> None:
        self.fs, self.workload, self.runs = fs, workload, runs
        self.base = mount / f"bench-{workload}"
        self.jvs = os.path.join(bin_dir, "jvs")
        self.python = os.path.join(bin_dir, "python3")
        sibling = os.path.join(bin_dir, "juicefs")
        self.juicefs = sibling if os.path.exists(sibling) else shutil.which("juicefs") or "juicefs"
        self.rows: list[Row] = []
        self.serial = 0
        self.drop(self.base)
        self.base.mkdir()
        run([self.jvs, "init", str(self.base / "repo")])
        self.main = self.base / "repo" / "main"
        self.tree = fill(self.main, shapes or SHAPES[workload])
        self._git: list[str] = []
        self._twin: Path | None = None
        os.sync()
        time.sleep(0.1)

    def pair(self, what: str, mine: object, theirs: object, against: str, *, changed: int = 0, runs: int = 0) -> None:
        """Time two callables in turn and keep the row."""
        facts = {"fs": self.fs, "workload": self.workload, "what": what, "against": against}
        files = self.tree.count
        self.rows.append(
            compare(mine, theirs, runs or self.runs, files=files, changed=changed, **facts)  # type: ignore[arg-type]
        )

    def snapshot(self, *words: str) -> Took:
        return run([self.jvs, "snapshot", "--no-progress", *words], self.main)

    # The other side

    def twin(self) -> Path:
        """Return a copy of the tree. `cp -al` works on it: linking the worktree would move every ctime there."""
        if self._twin is None:
            self._twin = self.base / "twin"
            subprocess.run(["cp", "-a", str(self.main), str(self._twin)], check=True)
        return self._twin

    def primitive(self) -> str:
        """Return what the filesystem itself has for a copy of a tree."""
        if self.fs.startswith("juicefs"):
            return "juicefs clone"
        return {"btrfs": "btrfs subvolume snapshot", "xfs": "cp -a --reflink", "tmpfs": "cp -a"}.get(self.fs, "cp -al")

    def whole_copy(self) -> str:
        """Return what makes a copy of a tree that shares no inode with it: what a first snapshot and a fork are."""
        return "cp -a" if self.fs == "ext4" else self.primitive()

    def raw(self, *, whole: bool = False) -> Took:
        """Make one such copy, timed, and remove it. What `cp` makes is synced, as a snapshot is."""
        self.serial += 1
        target = str(self.base / f"raw-{self.serial}")
        words = {
            "juicefs clone": [self.juicefs, "clone", "-p", str(self.main), target],
            "btrfs subvolume snapshot": ["btrfs", "subvolume", "snapshot", "-r", str(self.main), target],
            "cp -a --reflink": self._synced("-a", "--reflink=always", str(self.main), target),
            "cp -a": self._synced("-a", "--reflink=never", str(self.main), target),
        }.get(self.whole_copy() if whole else self.primitive()) or self._synced("-al", str(self.twin()), target)
        took = run(words)
        self.drop(Path(target))
        return took

    def _synced(self, *words: str) -> list[str]:
        return ["sh", "-c", 'cp "$@" && for last; do :; done && sync -f "$last"', "sh", *words]

    def sha256sum(self) -> Took:
        """Hash every file with the tool of the system, on all cores."""
        big = self.workload in ("W3", "W4")
        command = f"find . -type f -print0 | xargs -0 -P {os.cpu_count()} -n {1 if big else 500} sha256sum"
        return run(["sh", "-c", command], self.main)

    def git(self, *words: str) -> Took:
        """Run git on a copy of the tree, with an index that knows every file well."""
        if not self._git:
            copy = self.base / "git"
            subprocess.run(["cp", "-a", str(self.main), str(copy)], check=True)
            self._git = ["git", "-C", str(copy), "-c", "user.name=b", "-c", "user.email=b@b", "-c", "gc.auto=0"]
            for setup in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
                subprocess.run([*self._git, *setup], check=True)
            time.sleep(1.1)
            subprocess.run([*self._git, "status"], check=True, capture_output=True)
        return run([*self._git, *words])

    # The steps

    def first(self) -> None:
        """Against the clone; W3, where reading is all there is, against hashing."""

        def mine() -> Took:
            took = self.snapshot("first")
            self._forget()
            return took

        if self.workload == "W3":
            self.pair("first snapshot", mine, self.sha256sum, "sha256sum, all cores")
        else:
            theirs = lambda: self.raw(whole=True)
            self.pair("first snapshot", mine, theirs, self.whole_copy(), runs=min(self.runs, 3))
        self.snapshot("base")

    def _forget(self) -> None:
        """Make the next snapshot a first one again: no head, no index."""
        control = self.main.parent / ".jvs"
        for index in control.glob("index.sqlite*"):
            index.unlink()
        config = control / "worktrees" / "main" / "config.json"
        value = json.loads(config.read_text())
        for key in ("head_snapshot_id", "latest_snapshot_id"):
            value[key] = None
        config.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n")

    def second(self, changed: int = CHANGED_FILES) -> None:
        """After some files were overwritten."""

        def mine() -> Took:
            self.tree.change(changed)
            return self.snapshot("second")

        def without_search() -> Took:
            self.tree.change(changed)
            return run([*NO_SEARCH, self.jvs, "snapshot", "--no-progress", "second"], self.main)

        def with_status() -> Took:
            return self.raw()[0] + self.git("status", "--short")[0], 0

        changed = min(changed, self.tree.changeable())
        if self.workload == "W3":
            self.pair("second snapshot", mine, self.sha256sum, "sha256sum, all cores", changed=changed)
        elif self.fs == "btrfs":
            self.git("status")
            against = "btrfs subvolume snapshot + git status"
            self.pair("second snapshot", mine, with_status, against, changed=changed)
            self.pair("second snapshot, no search", without_search, with_status, against, changed=changed)
        else:
            self.raw()
            self.pair("second snapshot", mine, self.raw, self.primitive(), changed=changed)

    def looks(self) -> None:
        """Finding out that nothing changed."""
        self.git("status")
        self.snapshot("at rest")
        time.sleep(0.1)

        def status() -> Took:
            return self.git("status", "--short")

        self.pair("snapshot --if-changed", lambda: self.snapshot("--if-changed"), status, "git status")
        self.pair("status", lambda: run([self.jvs, "status"], self.main), status, "git status")

    def looks_without_search(self) -> None:
        """The same with and without asking btrfs, at rest and after changes; a restore takes them back."""

        def timed(*words: str, before: tuple[str, ...] = (), changed: int = 0) -> Callable[[], Took]:
            def act() -> Took:
                if changed:
                    self.tree.change(changed)
                return run([*before, self.jvs, *words], self.main)

            return act

        for words, changed in (("status", 0), ("snapshot --if-changed", 0), ("status", 10), ("restore HEAD", 10)):
            what = f"{words}, {self.tree.count:,} files, {changed} changed"
            mine = timed(*words.split(), changed=changed)
            theirs = timed(*words.split(), before=NO_SEARCH, changed=changed)
            self.pair(what, mine, theirs, "without the search", changed=changed)

    def restore(self) -> None:
        """Taking changes back."""
        self.git("status")

        def mine() -> Took:
            self.tree.change(CHANGED_FILES)
            return run([self.jvs, "restore", "HEAD", "--no-progress"], self.main)

        def theirs() -> Took:
            self.tree.change(CHANGED_FILES, self.base / "git")
            return self.git("status", "--short")[0] + self.git("checkout", "-q", "--", ".")[0], 0

        against = "git status + git checkout"
        self.pair(f"restore {CHANGED_FILES} changed files", mine, theirs, against, changed=CHANGED_FILES)

    def verify(self) -> None:
        """Reading everything."""
        verify = [self.jvs, "verify", "--no-progress"]
        self.pair("verify", lambda: run(verify, self.main), self.sha256sum, "sha256sum, all cores")

    def inside(self) -> None:
        """Overwriting 1 MiB in the middle of the largest file, against hashing everything."""
        largest = max((path for path in self.main.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)

        def mine() -> Took:
            with largest.open("r+b") as file:
                file.seek(largest.stat().st_size // 2)
                file.write(os.urandom(1 << 20))
            return self.snapshot("inside")

        self.pair("second snapshot, 1 MiB changed", mine, self.sha256sum, "sha256sum, all cores", changed=1)

    def verify_all(self) -> None:
        """Reading everything that all snapshots hold, each stored byte once."""
        verify = [self.jvs, "verify", "--all", "--no-progress"]
        self.pair("verify --all", lambda: run(verify, self.main), self.sha256sum, "sha256sum, all cores", runs=1)

    def fork(self) -> None:
        """A second worktree; on btrfs against the bare snapshot."""

        def mine() -> Took:
            self.serial += 1
            return run([self.jvs, "worktree", "fork", f"f{self.serial}", "--no-progress"], self.main)

        def theirs() -> Took:
            start = run([self.python, "-c", "pass"]) if self.fs == "btrfs" else (0.0, 0.0)
            return self.raw(whole=True)[0] + start[0], 0

        against = self.whole_copy() + (" + Python start" if self.fs == "btrfs" else "")
        self.pair("fork", mine, theirs, against, runs=min(self.runs, 3))

    def relatives(self) -> None:
        """The first snapshot of a fork, and the first after a restore: what they hold is there, as for a second one."""
        resolve = [f"{self.jvs}-resolve", "HEAD"]
        target = subprocess.run(resolve, cwd=self.main, check=True, capture_output=True, text=True).stdout.strip()

        def second() -> Took:
            self.tree.change(CHANGED_FILES)
            return self.snapshot("second")

        def in_a_fork() -> Took:
            self.serial += 1
            name = f"f{self.serial}"
            run([self.jvs, "worktree", "fork", name, "--no-progress"], self.main)
            tree = self.main.parent / "worktrees" / name
            self.tree.change(CHANGED_FILES, tree)
            took = run([self.jvs, "snapshot", "--no-progress", "first"], tree)
            run([self.jvs, "worktree", "remove", name, "--discard"], self.main)
            return took

        def after_a_restore() -> Took:
            second()
            run([self.jvs, "restore", target, "--no-progress"], self.main)
            return self.snapshot("restored")

        runs = min(self.runs, 3)
        self.pair("first snapshot of a fork", in_a_fork, second, "second snapshot", changed=CHANGED_FILES, runs=runs)
        self.pair("first after a restore", after_a_restore, second, "second snapshot", changed=CHANGED_FILES, runs=runs)

    def peer(self, name: str) -> None:
        """Another tool that keeps a second state."""
        tool = peers.Peer(name, self.base, self.main)

        def mine() -> Took:
            self.tree.change(CHANGED_FILES)
            return self.snapshot("second")

        def theirs() -> Took:
            self.tree.change(CHANGED_FILES, tool.tree)
            return tool.second()

        words = {"git": "git add + git commit", "rsync": "rsync -a --link-dest"}.get(name, f"{name}, second backup")
        self.pair("second snapshot", mine, theirs, words, changed=CHANGED_FILES, runs=min(self.runs, 3))
        for path in (tool.tree, tool.store):
            self.drop(path)

    # Cleaning up

    def drop(self, path: Path) -> None:
        """Remove a tree in the way that the filesystem is quick at."""
        if self.fs == "btrfs":
            delete = ["btrfs", "subvolume", "delete", str(path)]
            if subprocess.run(delete, check=False, capture_output=True).returncode == 0:
                return
        if self.fs.startswith("juicefs") and path.exists():
            subprocess.run([self.juicefs, "rmr", str(path)], check=False, capture_output=True)
            time.sleep(REST_SECONDS)
        shutil.rmtree(path, ignore_errors=True)

    def subvolumes(self) -> list[Path]:
        """Return the subvolumes of the filesystem, those inside of others first; none where there are none."""
        if self.fs != "btrfs":
            return []
        words = ["btrfs", "subvolume", "list", "-o", str(self.base.parent)]
        listing = subprocess.run(words, check=False, capture_output=True, text=True)
        return [self.base.parent / row.split(" path ", 1)[1] for row in reversed(listing.stdout.splitlines())]

    def clean(self) -> None:
        """Remove everything that was made here."""
        for path in self.subvolumes():
            self.drop(path)
        self.drop(self.base)


def steps(place: Place, wanted_peers: list[str], also: Callable[[Place], None] | None = None) -> list[Row]:
    """Measure all steps that a workload is meant for, and for W3 one more."""
    try:
        place.first()
        place.second()
        if place.workload != "W3":
            place.looks()
            place.restore()
        else:
            place.inside()
        place.verify()
        if also is not None and place.workload == "W3":
            also(place)
        place.verify_all()
        place.fork()
        if place.workload != "W3" and place.fs in ("ext4", "xfs"):
            place.relatives()
        for name in peers.installed(wanted_peers):
            place.peer(name)
    finally:
        place.clean()
    return place.rows


def curves(bin_dir: str, fs: str, mount: Path, runs: int) -> list[Row]:
    """Measure second snapshots of trees of several sizes, and after several numbers of changed files."""
    rows: list[Row] = []
    for directories in (10, 30, 100, 300, 1000):
        place = Place(bin_dir, fs, mount, "by-files", runs, (Shape(directories, 100, 1024),))
        try:
            place.snapshot("base")
            place.second()
            if directories == 100:
                for changed in (1, 100, 1000, 10_000):
                    place.second(changed)
            rows += place.rows
        finally:
            place.clean()
    return rows


def looks_by_files(bin_dir: str, fs: str, mount: Path, runs: int) -> list[Row]:
    """Measure looks at trees of several sizes, that ask the filesystem and that walk."""
    rows: list[Row] = []
    for directories in (100, 1000, 10_000):
        place = Place(bin_dir, fs, mount, "by-files", runs, (Shape(directories, 100, 64),))
        try:
            for note in ("base", "at rest"):
                place.snapshot(note)
                time.sleep(0.1)
            place.looks_without_search()
            rows += place.rows
        finally:
            place.clean()
    return rows


def start(bin_dir: str, directory: Path, runs: int) -> list[Row]:
    """Measure what does not depend on the filesystem: how long commands take to start, and a small tree."""
    python = [os.path.join(bin_dir, "python3"), "-c", "pass"]
    rows: list[Row] = []
    facts = {"fs": "any", "workload": "--", "files": 0, "changed": 0, "against": "python3 -c pass"}
    for name, words in (("jvs --version", ["jvs", "--version"]), ("jvs-hash-tree --help", ["jvs-hash-tree", "--help"])):
        command = [os.path.join(bin_dir, words[0]), *words[1:]]
        rows.append(
            compare(lambda c=command: run(c), lambda: run(python), 4 * runs, what=name, **facts)  # type: ignore[arg-type,misc]
        )
    place = Place(bin_dir, "any", directory, "small", runs, (Shape(2, 5, 1000),))
    try:
        place.snapshot("base")

        def mine() -> Took:
            place.tree.change(2)
            return place.snapshot("second")

        facts |= {"files": 10, "changed": 2}
        rows.append(
            compare(mine, lambda: run(python), 2 * runs, what="snapshot of 10 files", **facts)  # type: ignore[arg-type]
        )
    finally:
        place.clean()
    return rows
