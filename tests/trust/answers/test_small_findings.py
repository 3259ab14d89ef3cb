"""Small untruths, each of a kind: a check that misses an edit, a word that means something else, a name nobody gave."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running import BIN


def edit(path: Path, **fields: object) -> None:
    """Change fields of a record as an editor would."""
    record = json.loads(path.read_text())
    path.chmod(0o600)
    path.write_text(json.dumps({**record, **fields}) + "\n")


def test_verify_all_finds_an_edited_integrity_state(two):
    edit(two.jvs_dir / "descriptors" / f"{two.ids()[0]}.json", integrity_state="unverified")
    assert two.jvs("verify", "--all").exit != 0


@pytest.mark.parametrize("command", [["verify", "--all"], ["doctor"], ["doctor", "--strict"]], ids=" ".join)
def test_a_head_that_was_moved_back_is_found(two, command):
    first = two.ids()[0]
    edit(two.jvs_dir / "worktrees" / "main" / "config.json", head_snapshot_id=first, latest_snapshot_id=first)
    assert two.jvs(*command).exit != 0


PLACES = ("", "descriptors", "snapshots", "worktrees", "worktrees/main", "intents", "audit", "undo", "undo/OP", "locks")
PLACES += ("gc", "gc/plans", "gc/pins", "gc/tombstones", "gc/trash")


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
@pytest.mark.parametrize("place", PLACES)
def test_a_foreign_entry_is_found_by_a_strict_doctor(two, place, kind):
    if place.startswith("undo/"):
        two.must("restore", "one")
        place = f"undo/{os.listdir(two.jvs_dir / 'undo')[0]}"
    directory = two.jvs_dir / place
    path = directory / "foreign"
    if kind == "file":
        path.write_text("x")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/etc")
    answer = two.jvs("doctor", "--strict")
    assert answer.exit != 0, f"healthy with '{path}'"
    assert b"foreign" in answer.out + answer.err


def test_an_edited_plan_does_not_run(two):
    plan = two.must("gc", "plan", "--keep-last", "1", "--json").json
    path = next(p for p in two.jvs_dir.rglob(f"*{plan['plan_id']}*") if p.is_file())
    edit(path, created_at="2020-01-01T00:00:00Z")
    assert two.jvs("gc", "run", "--plan-id", plan["plan_id"]).exit == 30


EMPTY = [
    *(["jvs-resolve", ""], ["jvs-cat-descriptor", ""], ["jvs-ls-tree", ""], ["jvs-diff-tree", "", "HEAD"]),
    *(
        ["jvs-verify-snapshot", ""],
        ["jvs", "show", ""],
        ["jvs", "restore", ""],
        ["jvs", "fork", ""],
        ["jvs", "verify", ""],
    ),
    *(["jvs", "diff", "", "HEAD"], ["jvs", "gc", "pin", ""], ["jvs", "undo", ""], ["jvs", "worktree", "path", ""]),
    *(["jvs-prune-snapshot", ""], ["jvs-check-worktree", ""], ["jvs", "worktree", "remove", ""]),
    *(["jvs", "worktree", "create", ""], ["jvs", "config", "get", ""], ["jvs", "gc", "run", "--plan-id", ""]),
]


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_an_empty_word_names_nothing(two, words):
    answer = two.command(*words)
    assert answer.exit in (2, 5, 10), answer.said


def test_a_worktree_renamed_to_its_own_name_does_not_wait_for_itself(two):
    two.must("fork", "--at", "HEAD", "w")
    begun = time.monotonic()
    answer = two.jvs("worktree", "rename", "w", "w", timeout=20)
    assert answer.exit in (0, 2, 7), answer.said
    assert time.monotonic() - begun < 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take rights from another user")
def test_a_permission_error_is_not_tampering(two, tmp_path):
    for directory in [two.root, *two.root.parents]:
        if str(directory) not in ("/", "/tmp"):
            directory.chmod(0o755)
    payload = two.jvs_dir / "snapshots" / two.ids()[1]
    subprocess.run(["chown", "-R", "54321", str(two.root)], check=True)
    payload.chmod(0o755)
    os.chown(payload / "a", 0, 0)
    (payload / "a").chmod(0o600)
    words = ["setpriv", "--reuid=54321", "--clear-groups", str(BIN / "jvs"), "verify", "--all"]
    if subprocess.run([*words[:3], str(BIN / "jvs"), "--version"], capture_output=True).returncode:
        pytest.skip("another user cannot run this Python")
    done = subprocess.run(words, cwd=two.main, capture_output=True, text=True)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "TAMPERED" not in done.stdout + done.stderr


def test_show_does_not_vouch_for_what_nobody_verified(two):
    payload = two.jvs_dir / "snapshots" / two.ids()[1] / "a"
    payload.chmod(0o600)
    payload.write_text("changed\n")
    shown = two.must("show", "HEAD").text
    integrity = next(line for line in shown.splitlines() if line.lower().startswith("integrity"))
    assert "when published" in integrity or "when it was published" in integrity, integrity
    two.jvs("verify", "HEAD")
    assert "verified" not in two.must("show", "HEAD").text.lower().replace("not verified", "")


def test_a_message_never_names_a_temporary_file(two):
    """Whatever refuses to be written: the sentence is about the path that the user knows."""
    wrong = []
    for path in sorted(two.jvs_dir.rglob("*")):
        if not path.is_dir() or path.is_symlink() or "snapshots/" in str(path):
            continue
        done = subprocess.run(["chattr", "+i", str(path)], capture_output=True)
        if done.returncode:
            pytest.skip(f"chattr: {done.stderr.decode()}")
        try:
            (two.main / "a").write_text(f"{path}\n")
            for words in (
                ["snapshot", "x"],
                ["fork", "HEAD", "w1"],
                ["restore", "one"],
                ["config", "set", "default_tags", "z"],
            ):
                said = two.jvs(*words).said
                if ".jvs-tmp" in said:
                    wrong.append((path.name, words, said.strip()))
        finally:
            subprocess.run(["chattr", "-i", str(path)], check=True)
    assert wrong == []


@pytest.mark.parametrize("other", [["worktree", "rename", "w", "v"], ["worktree", "remove", "w"]], ids=lambda w: w[1])
def test_a_snapshot_that_races_a_rename_or_removal_is_busy_not_damage(two, other):
    seen: set[str] = set()
    for delay in range(4):
        two.must("fork", "HEAD", "w")
        (two.root / "worktrees" / "w" / "new").write_text("x")
        with ThreadPoolExecutor(1) as pool:
            racer = pool.submit(two.jvs, "-C", "../worktrees/w", "snapshot", "--json", "r")
            time.sleep(0.05 * delay)
            two.jvs(*other)
            seen.add(racer.result().error)
        for name in ("w", "v"):
            two.jvs("worktree", "remove", "--discard", name)
    assert seen <= {"", "E_BUSY", "E_NOT_FOUND", "E_USAGE", "E_NOT_A_REPOSITORY"}, seen


def test_verify_without_an_argument_says_how_many_it_did_not_check(two):
    two.snapshot("three", a="3\n")
    assert "2" in two.must("verify").text.replace(two.ids()[-1], "").split("not checked")[0][-12:]
    assert "not checked" in two.must("verify").text


def test_tags_of_the_python_interface_are_a_list_not_letters(two):
    script = "from jvs import Repository; Repository.open('.').snapshot('x', tags='abc')"
    done = subprocess.run([sys.executable, "-c", script], cwd=two.main, capture_output=True, text=True)
    tags = json.loads((two.jvs_dir / "descriptors" / f"{two.ids()[-1]}.json").read_text())["tags"]
    assert done.returncode != 0 or tags == ["abc"], tags


def config_of(lab) -> Path:
    return lab.jvs_dir / "worktrees" / "main" / "config.json"


@pytest.mark.parametrize("words", [["restore", "one"], ["undo"], ["worktree", "rename", "w", "v"]], ids=" ".join)
def test_a_configuration_that_was_put_back_is_found(two, words):
    """The file as it was before an operation: everything in it was true once, even the event that it names."""
    two.must("fork", "--at", "HEAD", "w")
    if words[0] == "undo":
        two.must("restore", "one")
    name = "v" if words[0] == "worktree" else "main"
    before = (two.jvs_dir / "worktrees" / ("w" if name == "v" else "main") / "config.json").read_text()
    two.must(*words)
    assert two.must("verify", "--all").exit == 0
    path = two.jvs_dir / "worktrees" / name / "config.json"
    path.chmod(0o600)
    path.write_text(before.replace('"name":"w"', '"name":"v"'))
    assert two.jvs("verify", "--all").exit == 24


def test_worktrees_that_were_moved_in_every_way_agree_with_the_log(two):
    """Names come again, restores of paths move no head, and undoing anything leaves what the log says."""
    for words in (
        ["restore", "one", "--", "a"],
        ["restore", "one"],
        ["undo"],
        ["undo", "--redo"],
        ["fork", "--at", "one", "w"],
        ["worktree", "rename", "w", "v"],
        ["undo", "-w", "v"],
        ["worktree", "remove", "w"],
        ["fork", "--at", "two", "w"],
        ["worktree", "remove", "w"],
        ["undo", "-w", "w"],
        ["worktree", "create", "empty"],
        ["snapshot", "three", "-w", "empty"],
        ["gc", "plan", "--keep-last", "1"],
    ):
        two.must(*words)
        assert two.jvs("doctor", "--strict").exit == 0, words


def test_a_restore_makes_a_worktree_again_that_was_removed_by_hand(two):
    subprocess.run(["rm", "-rf", two.main], check=True)
    answer = two.jvs("status", cwd=two.root)
    assert (answer.exit, b"'jvs restore LATEST'" in answer.err) == (5, True), answer.said
    two.must("restore", "LATEST", cwd=two.root)
    assert (two.main / "a").read_text() == "2\n"
    assert two.must("status").exit == 0
    two.must("doctor", "--strict")


def test_the_state_directory_remembers_what_was_verified_and_when(two, tmp_path):
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    first, last = two.ids()
    assert two.must("show", "--json", env=state).json["last_verified"] is None
    two.must("verify", "--all", env=state)
    assert two.must("show", "--json", env=state).json["last_verified"]["error"] is None
    (two.jvs_dir / "snapshots" / last / "a").chmod(0o600)
    (two.jvs_dir / "snapshots" / last / "a").write_text("x")
    two.jvs("verify", last, env=state)
    assert two.must("show", "--json", env=state).json["last_verified"]["error"] == "E_PAYLOAD_HASH_MISMATCH"
    lines = two.must("history", "--format", "{id} {verified}", env=state).text.split("\n")
    assert lines[0] == f"{last} DAMAGED"
    assert lines[1].startswith(f"{first} 20")


def test_a_memory_that_cannot_be_used_stops_nothing(two, tmp_path):
    (tmp_path / "state").write_text("a file")
    for words in (["verify", "--all"], ["show"], ["history", "--format", "{verified}"]):
        two.must(*words, env={"XDG_STATE_HOME": str(tmp_path / "state")})
    directory = tmp_path / "other" / "jvs"
    two.must("verify", env={"XDG_STATE_HOME": str(tmp_path / "other")})
    for path in directory.iterdir():
        for data in (b"", b"[]", b"\xff", b'{"x":1}', b'{"1700000000000-00000000":{"at":7}}'):
            path.write_bytes(data)
            assert (
                two.must("show", "--json", env={"XDG_STATE_HOME": str(tmp_path / "other")}).json["last_verified"]
                is None
            )


def test_a_home_that_is_not_there_is_not_made(two, tmp_path):
    for home in (tmp_path / "nowhere", tmp_path / "no" / "where"):
        two.must("verify", "--all", env={"HOME": str(home), "XDG_STATE_HOME": "", "XDG_CONFIG_HOME": ""})
        assert not home.exists() and not home.parent.joinpath("no").exists()
    home = tmp_path / "home"
    home.mkdir()
    two.must("verify", "--all", env={"HOME": str(home), "XDG_STATE_HOME": "", "XDG_CONFIG_HOME": ""})
    assert list((home / ".local" / "state" / "jvs").iterdir()) != []


def test_a_plan_with_anything_else_in_it_does_not_run(two):
    """Whatever was changed: the id is the hash of all that the file holds."""
    plan = two.must("gc", "plan", "--keep-last", "1", "--json").json["plan_id"]
    path = two.jvs_dir / "gc" / "plans" / f"{plan}.json"
    record = json.loads(path.read_text())
    for key in record:
        for value in (None, "x", [], {}, 7):
            if record[key] == value:
                continue
            path.write_text(json.dumps({**record, key: value}) + "\n")
            assert two.jvs("gc", "run", "--plan-id", plan).exit == 30, (key, value)
        path.write_text(json.dumps({k: v for k, v in record.items() if k != key}) + "\n")
        assert two.jvs("gc", "run", "--plan-id", plan).exit == 30, key
    path.write_text(json.dumps(record) + "\n")
    two.must("gc", "run", "--plan-id", plan)


@pytest.mark.parametrize("words", [["status"], ["snapshot", "x"], ["history"], ["worktree", "path", "w"]], ids=" ".join)
def test_a_worktree_that_is_being_renamed_is_busy_not_broken(two, words):
    """Its configuration is away for a moment: whoever looks then says so, and a change waits for its end."""
    two.must("fork", "--at", "HEAD", "w")
    intent = {
        "version": 1,
        "operation_id": "1700000000000-00000000",
        "operation": "worktree_rename",
        "worktree": "w",
        "created_at": "2026-11-28T12:00:00.000000Z",
        "owner": {"pid": os.getpid(), "started": "1", "boot": "", "namespace": "", "host": "elsewhere", "locked": True},
        "audit": {
            **dict.fromkeys(("event_id", "actor"), "x"),
            "timestamp": "2026-11-28T12:00:00.000000Z",
            "operation": "worktree_rename",
            "target": None,
            "worktree": "v",
            "reason": None,
            "details": {"from": "w", "to": "v"},
        },
        "audit_seq": 1,
        "undoes": None,
        "what": "rename",
        "new_name": "v",
    }
    (two.jvs_dir / "intents" / "1700000000000-00000000.json").write_text(json.dumps(intent))
    (two.jvs_dir / "worktrees" / "w").rename(two.root / "parked")
    with (two.jvs_dir / "locks" / "worktree-w.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = two.jvs("-C", "../worktrees/w", *words, "--json", "--wait", "0.2")
    assert answer.error in ("E_BUSY", "E_NOT_FOUND"), answer.said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["restore", "LATEST"], "'sub'"),
        (["fork", "--at", "LATEST", "w"], "large"),
        (["snapshot", "x"], "other"),
        (["config", "set", "default_tags", "x"], ".json"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_error_names_the_path_that_could_not_be_written(two, words, named):
    """A write says nothing of the file it was for, and the file has another name meanwhile."""
    (two.main / "sub").mkdir()
    (two.main / "sub" / "large").write_bytes(os.urandom(200_000))
    two.must("snapshot", "three")
    shutil.rmtree(two.main / "sub")
    (two.main / "other").write_bytes(os.urandom(300_000))
    size = 600 if words[0] == "config" else 100_000  # an intent is longer
    answer = two.command("jvs", *words, situation=[f"limit FSIZE {size}"])
    assert answer.exit == 4, answer.said
    assert named in answer.said, answer.said
    assert ".tmp" not in answer.said and ".jvs-tmp" not in answer.said
