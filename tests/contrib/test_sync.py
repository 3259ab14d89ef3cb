"""`contrib/jvs-sync`: a copy that arrives whole and says so, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import making
import pytest

from jvs import clock
from jvs.fs import locks
from jvs.gc import plan as gc_plan
from jvs.gc import retention
from jvs.gc import run as gc
from jvs.store import intent
from jvs.store.store import Store

SYNC = Path(__file__).resolve().parents[2] / "contrib" / "jvs-sync"
RUNTIME = ("locks", "intents", "gc/trash")

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = making.make_store(tmp_path / "source")
    for number in range(3):
        making.write(making.main_of(store), {"same": "s" * 500, "changing": str(number), "dir/own": f"{number}" * 9})
        making.snapshot(store, f"note {number}")
    os.mkdir(making.main_of(store) / "empty")
    os.symlink("same", making.main_of(store) / "link")
    making.write(making.main_of(store), {"only here": "not in any snapshot"})
    return store


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def sync(*words: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run jvs-sync with the program that is tested first on PATH, behind `path`."""
    first = [str(path)] if path is not None else []
    search = ":".join([*first, os.path.dirname(sys.executable), os.environ["PATH"]])
    argv = [sys.executable, str(SYNC), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": search})


def entries(root: str | Path) -> dict[str, str]:
    """Return what lies below a directory: the content of files, the target of links."""
    found = {}
    for here, directories, names in os.walk(root):
        for name in [*directories, *names]:
            path = Path(here, name)
            shown = os.readlink(path) if path.is_symlink() else path.read_bytes().hex() if path.is_file() else "/"
            found[os.path.relpath(path, root)] = shown
    return found


def portable(root: str | Path) -> dict[str, str]:
    """Return all of a repository but what belongs to one machine."""
    runtime = (*(f".jvs/{name}/" for name in RUNTIME), ".jvs/index.sqlite", ".jvs/synced.json", ".jvs/gc/reserve")
    return {name: value for name, value in entries(root).items() if not name.startswith(runtime)}


def test_the_copy_holds_all_that_is_portable_and_is_verified(store, target):
    done = sync(store.root, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(", verified\n")
    assert portable(target) == portable(store.root)
    assert making.violations(target) == []
    assert making.run("-C", str(target), "doctor", "--strict").exit == 0
    seen = [json.loads(making.run("-C", str(root), "history", "--json").out) for root in (store.root, target)]
    assert seen[0] == seen[1] != []
    assert making.run("-C", str(target), "snapshot", "work goes on in the copy").exit == 0


def test_what_belongs_to_one_machine_stays_behind(store, target):
    left = Path(str(store.layout.trash), "1700000000000-0a1b2c3d")
    making.write(left, {"trash": "t"})
    for half in (
        str(store.layout.payload_tmp("1700000000001-0a1b2c3d")),
        str(store.layout.descriptor_tmp("1700000000001-0a1b2c3d")),
        os.path.join(str(store.layout.pins), "1700000000001-0a1b2c3d.json.tmp"),
    ):
        Path(half).write_text("half made")
    shutil.rmtree(left)
    assert sync(store.root, target).returncode == 1  # doctor calls these leftovers
    for half in entries(str(store.layout.jvs)):
        if half.endswith(".tmp"):
            os.unlink(os.path.join(str(store.layout.jvs), half))
    assert sync("--no-verify", store.root, target).returncode == 0
    control = entries(target / ".jvs")
    assert [name for name in control if name.startswith((*(f"{part}/" for part in RUNTIME), "index"))] == []
    assert set(RUNTIME) <= set(control)
    assert os.path.getsize(str(store.layout.index)) > 0
    assert os.listdir(str(store.layout.locks)) != []


def test_hard_links_between_snapshots_stay_so(store, target):
    shared = [name for name in os.listdir(str(store.layout.snapshots)) if not name.endswith(".READY")]
    assert sync(store.root, target).returncode == 0
    for root in (str(store.layout.snapshots), str(target / ".jvs/snapshots")):
        inodes = {os.stat(os.path.join(root, name, "same")).st_ino for name in shared}
        if root == str(store.layout.snapshots):
            expected = len(inodes)
    assert len(inodes) == expected


def test_copying_again_brings_the_copy_up_to_date(store, target):
    assert sync(store.root, target).returncode == 0
    plan = gc_plan.make(store, retention.Policy({"keep_last": 1}))
    assert gc.run(store, gc_plan.save(store, plan)["plan_id"])["collected_count"] == 2
    os.unlink(making.main_of(store) / "only here")
    making.write(making.main_of(store), {"changing": "again", "later": "l"})
    making.snapshot(store, "newer")
    assert making.run("-C", store.root, "worktree", "fork", "side").exit == 0
    done = sync(store.root, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert portable(target) == portable(store.root)
    assert len(os.listdir(target / ".jvs/descriptors")) == 2
    assert making.violations(target) == []


def test_a_file_that_changes_within_a_second_is_copied_again(store, target):
    path = making.main_of(store) / "changing"
    os.utime(path, ns=(0, 10**18 + 1))
    assert sync(store.root, target).returncode == 0
    size = path.stat().st_size
    path.write_bytes(b"z" * size)
    os.utime(path, ns=(0, 10**18 + 2))
    assert sync(store.root, target).returncode == 0
    assert (target / "main/changing").read_bytes() == b"z" * size


def test_a_place_that_holds_something_else_is_refused_and_left_alone(store, tmp_path, target):
    making.write(target, {"mine": "m"})
    other = making.make_store(tmp_path / "other")
    for place in (target, Path(other.root)):
        before = entries(place)
        done = sync(store.root, place)
        assert done.returncode == 1
        assert "holds something else" in done.stderr
        assert entries(place) == before


@pytest.mark.parametrize("inside", ["source/main/copy", "source", "."])
def test_places_inside_each_other_are_refused(store, tmp_path, inside):
    before = entries(store.root)
    done = sync(store.root, tmp_path / inside)
    assert done.returncode == 1
    assert "inside each other" in done.stderr
    assert {k: v for k, v in entries(store.root).items() if ".jvs/" not in k} == {
        k: v for k, v in before.items() if ".jvs/" not in k
    }


def test_a_source_that_is_no_repository_is_refused(store, tmp_path, target):
    for place in (tmp_path, tmp_path / "absent", making.main_of(store)):
        done = sync(place, target)
        assert done.returncode == 1
        assert "not the root of a repository" in done.stderr
    assert not target.exists()
    assert sync(store.root).returncode == 2


def test_an_operation_that_died_has_to_be_recovered_first(store, target):
    policy = retention.Policy({"keep_last": 1})
    making.begun(store, gc_plan.make(store, policy), "0" * 32)
    done = sync(store.root, target)
    assert done.returncode == 1
    assert "doctor --repair-runtime" in done.stderr
    assert not target.exists()
    assert making.run("-C", store.root, "doctor", "--repair-runtime").exit == 0
    assert sync(store.root, target).returncode == 0
    assert intent.list_ids(store.layout) == []


def test_a_damaged_source_is_refused(store, target):
    descriptor = str(store.layout.descriptor(os.listdir(str(store.layout.descriptors))[0][:-5]))
    Path(descriptor).write_bytes(b"{")
    done = sync(store.root, target)
    assert done.returncode == 1
    assert "not healthy" in done.stderr
    assert not target.exists()


def test_a_source_in_which_somebody_is_at_work_is_refused(store, target):
    with locks.acquire_repository(store.layout.locks, exclusive=False, wait=0, command="test"):
        began = clock.monotonic()
        done = sync("--wait", "0.5", store.root, target)
        assert clock.monotonic() - began >= 0.5
    assert done.returncode == 1
    assert "somebody is at work" in done.stderr
    assert not target.exists()
    assert sync("--wait", "0", store.root, target).returncode == 0


def fake_rsync(directory: Path, script: str) -> Path:
    """Make a directory whose `rsync` runs the real one as $REAL."""
    directory.mkdir()
    program = directory / "rsync"
    program.write_text(f"#!/bin/sh\nREAL={shutil.which('rsync')}\n{script}\n")
    program.chmod(0o755)
    return directory


def test_nobody_changes_the_source_while_it_is_copied(store, tmp_path, target):
    tried = tmp_path / "tried"
    jvs = os.path.join(os.path.dirname(sys.executable), "jvs")
    script = f'{jvs} -C {store.root} snapshot --wait 0 during >/dev/null 2>&1; echo $? >> {tried}\nexec $REAL "$@"'
    assert sync(store.root, target, path=fake_rsync(tmp_path / "bin", script)).returncode == 0
    assert set(tried.read_text().split()) == {"6"}


def test_a_copy_that_did_not_arrive_whole_is_not_called_verified(store, tmp_path, target):
    script = f'$REAL "$@" && for f in {target}/.jvs/snapshots/*/changing; do [ -e "$f" ] && echo x > "$f"; done; exit 0'
    done = sync(store.root, target, path=fake_rsync(tmp_path / "bin", script))
    assert done.returncode == 1
    assert "the copy is not what the source is" in done.stderr
    assert "E_PAYLOAD_HASH_MISMATCH" in done.stderr
    assert sync(store.root, target).returncode == 0


def test_a_copy_that_is_interrupted_lacks_snapshots_and_has_no_broken_ones(store, tmp_path, target):
    calls = tmp_path / "calls"
    script = f'echo >> {calls}\n[ $(wc -l < {calls}) -gt $LIMIT ] && exit 23\nexec $REAL "$@"'
    for limit in range(1, 20):
        calls.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(tmp_path / "bin", ignore_errors=True)
        done = sync(store.root, target, path=fake_rsync(tmp_path / "bin", f"LIMIT={limit}\n{script}"))
        if done.returncode == 0:
            break
        assert "rsync exit 23" in done.stderr
        published = os.listdir(target / ".jvs/descriptors")
        assert all((target / ".jvs/snapshots" / name[:-5]).is_dir() for name in published)
        assert all((target / ".jvs/snapshots" / (name[:-5] + ".READY")).is_file() for name in published)
    assert limit > len(("snapshots", "descriptors"))
    assert portable(target) == portable(store.root)


def ids(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / ".jvs/descriptors").glob("*.json"))


def test_a_stream_brings_what_is_lacking_and_leaves_the_rest(tmp_path: Path, target: Path):
    source = tmp_path / "in place"
    source.mkdir()
    here = ("-C", str(source))
    assert making.run("init", "--here", str(source)).exit == 0
    for number in range(2):
        making.write(source, {"same": "s" * 500, "changing": str(number)})
        assert making.run(*here, "snapshot", f"note {number}", "--tag", f"t{number}").exit == 0
    side = making.run(*here, "fork", "side", "--json").json["path"]
    done = sync("--with", "stream", source, target)
    assert done.returncode == 0, done.stderr
    assert ids(target) == ids(source)
    assert making.run("-C", str(target), "restore", "t0").exit == 0
    assert (target / "main/changing").read_text() == "0"
    (target / "main/mine").write_text("at the target")
    making.write(Path(side), {"more": "m"})
    assert making.run("-C", side, "snapshot", "on another line").exit == 0
    assert sync("--with", "stream", "--no-verify", source, target).returncode == 0
    assert ids(target) == ids(source)
    assert (target / "main/mine").read_text() == "at the target"
    assert making.violations(target) == []


def test_a_stream_that_breaks_or_has_no_room_copies_nothing(store, tmp_path: Path, target: Path):
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "df").write_text("#!/bin/sh\necho h; echo /dev/x 1 1 1 1% /\n")
    (bin_dir / "df").chmod(0o755)
    assert "not enough space" in sync("--with", "stream", store.root, target, path=bin_dir).stderr
    assert not target.exists()
    payload = Path(store.root, ".jvs/snapshots", ids(Path(store.root))[-1], "changing")
    payload.chmod(0o600)
    payload.write_text("damaged")
    done = sync("--with", "stream", store.root, target)
    assert done.returncode == 1 and "nothing was copied" in done.stderr
    assert ids(target) == []
