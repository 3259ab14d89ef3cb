"""Every control file damaged in every way: doctor, verify and the next commands must agree about it.

The rule (invariant 8): when doctor says healthy, the next commands work and verify finds nothing; and what may be
tampering is seen by verify and doctor alike. A row is a file and a way to damage it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from making import main_of, make_store, run, snapshot, write

from jvs.gc import pins, retention
from jvs.gc import plan as gc_plan
from jvs.gc import run as gc
from jvs.restore import run as restore
from jvs.store import changing, layout

FILES = {
    "format_version": ".jvs/format_version",
    "repo_id": ".jvs/repo_id",
    "config.toml": ".jvs/config.toml",
    "worktree config": ".jvs/worktrees/main/config.json",
    "head descriptor": ".jvs/descriptors/{head}.json",
    "old descriptor": ".jvs/descriptors/{old}.json",
    "READY": ".jvs/snapshots/{head}.READY",
    "payload": ".jvs/snapshots/{old}",
    "payload file": ".jvs/snapshots/{old}/a",
    "audit log": ".jvs/audit/audit.jsonl",
    "tombstone": ".jvs/gc/tombstones/{gone}.json",
    "pin": ".jvs/gc/pins/{old}.json",
    "undo journal": ".jvs/undo/{undo}/op.json",
    "undo steps": ".jvs/undo/{undo}/delta.cbor",
    "index": ".jvs/index.sqlite",
    "repo lock": ".jvs/locks/repo.lock",
    "gate lock": ".jvs/locks/gate.lock",
    "audit lock": ".jvs/locks/audit.lock",
    "worktree lock": ".jvs/locks/worktree-main.lock",
    "plan": ".jvs/gc/plans/{plan}.json",
    "main": "main",
    "worktrees": "worktrees",
    **{f"directory {name}": f".jvs/{name}" for name in layout.DIRECTORIES},
    "intent": ".jvs/intents/1700000000000-0a1b2c3d.json",
}
SEEN_BY_VERIFY = {
    "repo_id",
    "worktree config",
    "head descriptor",
    "old descriptor",
    "READY",
    "payload",
    "payload file",
    "audit log",
    "tombstone",
}
"""Where damage may be tampering: verify must see it too, not only doctor."""


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def missing(path: Path) -> None:
    remove(path)


def empty(path: Path) -> None:
    remove(path)
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    data = path.read_bytes() if path.is_file() else b'{"version":1,"operation"'
    remove(path)
    path.write_bytes(data[: len(data) * 2 // 3])


def garbage(path: Path) -> None:
    remove(path)
    path.write_bytes(b"\x00\xff{garbage]\n" * 20)


def other_json(path: Path) -> None:
    remove(path)
    path.write_bytes(b'{"a":[1,2,{"b":null}]}\n')


def directory(path: Path) -> None:
    remove(path)
    path.mkdir()


def symlink(path: Path) -> None:
    kept = path.with_name(path.name + ".kept")
    if path.exists():
        kept = path.parent.parent / "kept-elsewhere" if path.parent.name != ".jvs" else path.parent.parent / "kept"
        shutil.move(path, kept)
    path.symlink_to(kept)


def dangling(path: Path) -> None:
    remove(path)
    path.symlink_to("/nonexistent/nowhere")


def fifo(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


DAMAGES: list[Callable[[Path], None]] = [
    missing,
    empty,
    truncated,
    garbage,
    other_json,
    directory,
    symlink,
    dangling,
    fifo,
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a repository that has one of everything, and the ids in it."""
    root = tmp_path_factory.mktemp("template") / "repo"
    os.environ.setdefault("HOME", "/nonexistent")
    store = make_store(root)
    ids = []
    for number in range(4):
        write(main_of(store), {"a": f"content {number}\n", "d/b": "same\n"})
        ids.append(snapshot(store, f"note {number}")["snapshot_id"])
    pins.add(store, ids[1], reason="kept")
    plan = gc_plan.save(store, gc_plan.make(store, retention.Policy({"keep_last": 2})))
    gc.run(store, plan["plan_id"])
    with changing.worktree(store, "main"):
        for snapshot_id in (ids[2], ids[3]):
            restore.restore(store, "main", snapshot_id)
    assert run("-C", str(root), "config", "set", "default_tags", "damage").exit == 0
    undo = sorted(os.listdir(str(store.layout.undo)))
    known = {"head": ids[3], "old": ids[1], "gone": ids[0], "plan": plan["plan_id"], "undo": undo[0]}
    store.close()
    return root, known


def copy_of(template: tuple[Path, dict[str, str]], tmp_path: Path, what: str) -> tuple[Path, Path]:
    root, known = template
    copy = tmp_path / "repo"
    shutil.copytree(root, copy, symlinks=True)
    return copy, copy / FILES[what].format(**known)


NEXT = (
    ("history",),
    ("status",),
    ("diff",),
    ("gc", "plan"),
    ("gc", "plan", "--keep-last", "1"),
    ("gc", "pins"),
    ("snapshot", "--if-changed"),
    ("snapshot", "after the damage"),
    ("restore", "HEAD~1"),
    ("undo",),
)


def next_failures(root: Path) -> list[str]:
    """Run the next commands and return those that fail."""
    failed = []
    for words in NEXT:
        said = run("-C", str(root / "main") if (root / "main").is_dir() else str(root), *words, "--wait", "2")
        if said.exit:
            failed.append(f"{' '.join(words)}: {said.exit} {said.err}")
        assert said.exit != 70, said.err
    return failed


def test_undamaged_repository_is_healthy_and_works(template, tmp_path):
    root, _ = copy_of(template, tmp_path, "main")
    said = run("-C", str(root), "doctor", "--strict")
    assert (said.exit, said.text) == (0, "Repository is healthy.\n"), said
    assert run("-C", str(root), "verify", "--all").exit == 0
    assert next_failures(root) == []
    assert run("-C", str(root), "doctor", "--strict").exit == 0


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("what", FILES)
def test_doctor_is_never_healthy_when_the_next_command_fails(template, tmp_path, what, damage):
    root, path = copy_of(template, tmp_path, what)
    damage(path)
    doctor = run("-C", str(root), "doctor", "--json", "--wait", "2")
    strict = run("-C", str(root), "doctor", "--strict", "--wait", "2")
    verify = run("-C", str(root), "verify", "--all", "--wait", "2")
    assert 70 not in (doctor.exit, strict.exit, verify.exit), (doctor.err, strict.err, verify.err)
    failed = next_failures(root)
    if doctor.exit == 0:
        assert failed == [], "doctor said healthy"
        assert json.loads(doctor.out)["healthy"] is True
    if strict.exit == 0:
        assert verify.exit == 0, verify
    if what in SEEN_BY_VERIFY and damage is not symlink:
        assert verify.exit != 0, verify
        assert strict.exit != 0, strict


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("what", FILES)
def test_repairing_at_runtime_never_makes_it_worse_and_ends(template, tmp_path, what, damage):
    root, path = copy_of(template, tmp_path, what)
    damage(path)
    first = run("-C", str(root), "doctor", "--repair-runtime", "--wait", "2")
    second = run("-C", str(root), "doctor", "--repair-runtime", "--json", "--wait", "2")
    assert 70 not in (first.exit, second.exit), (first.err, second.err)
    assert second.exit == first.exit
    if second.out:
        assert second.json["repaired"] == []
    if second.exit == 0:
        assert next_failures(root) == []


STOPPED_BY_MODES = """
import sys
sys.path.insert(0, %(tests)r)
from making import run
import json
root = sys.argv[1]
def code(*words):
    said = run("-C", root, *words, "--wait", "2")
    return said.exit, said.err
doctor = code("doctor", *%(how)r)
verify = code("verify", "--all")
failed = [words for words in %(next)r if code(*words)[0]]
print(json.dumps({"doctor": doctor, "verify": verify, "failed": failed}))
"""


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="needs setpriv(1), to give rights up")
@pytest.mark.parametrize("closed", ["all", "writing"])
@pytest.mark.parametrize("what", [name for name in FILES if name not in ("intent", "payload file")])
def test_doctor_agrees_with_the_next_command_about_permissions(template, tmp_path, what, closed):
    root, path = copy_of(template, tmp_path, what)
    os.chmod(path, 0o000 if closed == "all" else 0o555 if path.is_dir() else 0o444)
    how = ["--strict"] if what == "payload" else []  # its mode is part of what was hashed
    script = STOPPED_BY_MODES % {"tests": str(Path(__file__).resolve().parents[1]), "next": NEXT, "how": how}
    rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*rights, sys.executable, "-c", script, str(root)], capture_output=True, text=True, timeout=60, check=False
    )
    os.chmod(path, 0o700)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert 70 not in (answer["doctor"][0], answer["verify"][0]), answer
    if answer["doctor"][0] == 0:
        assert answer["failed"] == [], answer
        assert answer["verify"][0] == 0, answer
