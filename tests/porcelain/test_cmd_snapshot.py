"""jvs snapshot: what it says, what it takes, and what it never does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hostile
import making
import pytest
import zoo

from jvs.fs import paths
from jvs.store import intent, lineage, worktree

JVS = [sys.executable, "-c", "import sys; from jvs.cli.run import main; sys.exit(main())"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "r")
    making.write(making.main_of(made), {"a": "1", "sub/b": "2"})
    monkeypatch.chdir(making.main_of(made))
    return made


def test_it_prints_the_id(store):
    said = making.run("snapshot", "note")
    assert re.fullmatch(r"Created snapshot \d{13}-[0-9a-f]{8}\n", said.text)
    assert said.err == ""


def test_json_is_the_descriptor(store):
    said = making.run("snapshot", "note", "--tag", "a", "-t", "b", "--json")
    with open(str(store.layout.descriptor(said.json["snapshot_id"])), "rb") as file:
        assert json.loads(file.read()) == said.json
    assert (said.json["note"], said.json["tags"], said.json["parent_id"]) == ("note", ["a", "b"], None)
    assert said.json["payload"] == {"files": 2, "dirs": 1, "symlinks": 0, "others": 0, "bytes": 2}


@pytest.mark.parametrize("note", hostile.ODD_NOTES, ids=lambda note: ascii(note)[:20])
def test_any_note_is_kept_as_given(store, note):
    if len(note) > 10_000:
        said = making.run("snapshot", "--json", "-F", "-", stdin=note.encode())
        note = note.rstrip("\n")
    else:
        said = making.run("snapshot", "--json", f"--message={note}")
    assert said.exit == 0, said.err
    assert said.json["note"] == note


def test_a_note_with_nul_is_refused_with_a_class(store):
    said = making.run("snapshot", "--json", "-F", "-", stdin=b"a\0b")
    assert (said.exit, said.error["class"]) == (2, "E_USAGE")
    assert os.listdir(str(store.layout.snapshots)) == []


def test_a_note_comes_from_stdin_or_a_file(store, tmp_path):
    (tmp_path / "note").write_text("from\na file\n")
    assert making.run("snapshot", "--json", "-", stdin=b"from stdin\n").json["note"] == "from stdin"
    assert making.run("snapshot", "--json", "-F", str(tmp_path / "note")).json["note"] == "from\na file"
    assert making.run("snapshot", "-F", str(tmp_path / "none")).exit == 2
    assert making.run("snapshot", "-", stdin=b"\xff").exit == 2


def test_two_notes_are_one_too_many(store):
    for words in (["a", "-m", "b"], ["a", "-F", "-"], ["-m", "a", "-F", "-"]):
        assert making.run("snapshot", *words).exit == 2
    said = making.run("snapshot", "fix", "the", "bug")
    assert said.exit == 2
    assert "quote" in said.err
    assert lineage.visible_ids(store.layout) == []


@pytest.mark.parametrize("tag", [tag for tag in hostile.BAD_TAGS if "\0" not in tag], ids=lambda tag: ascii(tag)[:20])
def test_bad_tags_are_refused_before_anything_is_written(store, tag):
    said = making.run("snapshot", f"--tag={tag}")
    assert said.exit == 10
    assert intent.list_ids(store.layout) == lineage.published_ids(store.layout) == []


def test_default_tags_are_added(store):
    said = making.run("-c", "default_tags=x,y", "snapshot", "--json", "--tag", "y", "--tag", "z")
    assert said.json["tags"] == ["y", "z", "x"]


def test_if_changed_does_nothing_when_nothing_changed(store):
    first = making.run("snapshot", "--if-changed", "--json").json["snapshot_id"]
    said = making.run("snapshot", "--if-changed")
    assert (said.exit, said.text) == (0, f"No changes since {first}\n")
    assert making.run("snapshot", "--if-changed", "--json").json == {"snapshot_id": first, "changed": False}
    making.write(making.main_of(store), {"a": "2"})
    assert making.run("snapshot", "--if-changed", "--json").json["parent_id"] == first
    making.main_of(store).joinpath("a").chmod(0o600)
    assert "Created" in making.run("snapshot", "--if-changed").text
    assert len(lineage.visible_ids(store.layout)) == 3


def test_nothing_in_the_worktree_changes_not_even_access_times(store):
    main = making.main_of(store)
    zoo.make_zoo(main / "zoo", many=5, skip=("deep",))
    for at, dirs, files in os.walk(main):
        for name in [*dirs, *files]:
            os.utime(os.path.join(at, name), ns=(10, 20), follow_symlinks=False)
    os.utime(main, ns=(10, 20))
    before = {path: os.lstat(path) for path in everything(main)}
    assert making.run("snapshot").exit == 0
    assert making.run("snapshot", "--if-changed").exit == 0
    for path, was in before.items():
        now = os.lstat(path)
        assert (now.st_atime_ns, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, now.st_nlink) == (
            was.st_atime_ns,
            was.st_mtime_ns,
            was.st_ctime_ns,
            was.st_ino,
            was.st_nlink,
        ), path


def everything(root):
    """List without touching access times: from the stat of names that find prints is enough."""
    found = subprocess.run(["find", str(root), "-print0"], capture_output=True).stdout.split(b"\0")[:-1]
    for path in found:
        if os.path.isdir(path) and not os.path.islink(path):
            os.utime(path, ns=(10, 20))
    return found


def test_paths_behind_dashes_make_a_partial_snapshot(store):
    main = making.main_of(store)
    making.write(main, {"other": "3"})
    said = making.run("snapshot", "--json", "--", "sub", "other")
    assert said.exit == 0, said.err
    assert said.json["note"] == ""
    assert sorted(said.json["partial_paths"]) == ["other", "sub"]
    assert sorted(os.listdir(str(store.layout.payload(said.json["snapshot_id"])))) == ["other", "sub"]
    said = making.run("snapshot", "--json", "the note", "--", "a")
    assert (said.json["note"], said.json["partial_paths"]) == ("the note", ["a"])
    assert making.run("snapshot", "--json", "--paths", "a").json["partial_paths"] == ["a"]


def test_partial_paths_are_relative_to_where_one_stands(store, monkeypatch):
    monkeypatch.chdir(making.main_of(store) / "sub")
    assert making.run("snapshot", "--json", "--", "b").json["partial_paths"] == ["sub/b"]
    for path in ("../../..", "/etc", "../../.jvs"):
        said = making.run("snapshot", "--", path)
        assert said.exit == 11, said.err


def test_partial_paths_that_are_not_there_are_refused(store):
    said = making.run("snapshot", "--", "none")
    assert said.exit not in (0, 1, 70), said.err
    assert lineage.visible_ids(store.layout) == []


def test_a_worktree_that_is_not_there(store):
    assert making.run("snapshot", "-w", "none").exit == 5
    assert making.run("snapshot", "-w", "../x").exit == 10


def test_a_detached_worktree_branches_or_refuses(store):
    first, second = (making.snapshot(store)["snapshot_id"] for _ in range(2))
    worktree.move_head(store.layout, "main", first, expected=second, latest=second, event_id=None)
    said = making.run("snapshot", "-c", "snapshot.when_detached=refuse")
    assert said.exit == 7
    for way in ("jvs worktree fork", "jvs restore LATEST", "when_detached=branch"):
        assert way in said.err
    made = making.run("snapshot", "--json").json
    assert made["parent_id"] == first
    config = worktree.load(store.layout, "main")
    assert config["head_snapshot_id"] == config["latest_snapshot_id"] == made["snapshot_id"]


def test_a_fifo_device_or_socket_never_makes_it_wait(store):
    os.mkfifo(making.main_of(store) / "fifo")
    done = subprocess.run([*JVS, "snapshot"], timeout=60, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_eight_at_once_all_succeed_in_one_line_of_history(store):
    running = [
        subprocess.Popen(
            [*JVS, "snapshot", "--json", f"n{i}", "--wait", "120"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for i in range(8)
    ]
    ended = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0] * 8, [err for _, err in ended]
    made = {json.loads(out)["snapshot_id"] for out, _ in ended}
    assert len(made) == 8
    line = [record["snapshot_id"] for record in lineage.line(store.layout, store.head_of("main")[0])]
    assert set(line) == made
    assert len(line) == 8
    assert making.violations(store.root) == []


@pytest.mark.parametrize("call", ["fsync", "fdatasync,syncfs", "rename", "unlink", "mkdirat,mkdir", "linkat,link"])
@pytest.mark.parametrize("nth", [1, 3])
def test_a_kill_at_any_call_is_recovered_by_the_next_command(store, call, nth):
    """The process is killed by the kernel before its n-th call of a kind."""
    if subprocess.run(["which", "strace"], capture_output=True).returncode != 0:
        pytest.skip("strace is not installed")
    acknowledged = making.snapshot(store, "first")
    making.write(making.main_of(store), {"a": "changed", "new/c": "4"})
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={nth}"]
    done = subprocess.run([*inject, *JVS, "snapshot", "killed"], capture_output=True, text=True)
    assert done.returncode in (0, -9, 137), done.stderr
    assert making.violations(store.root, recovered=False) == []
    said = making.run("snapshot", "--json", "next")
    assert said.exit == 0, said.err
    assert making.violations(store.root) == []
    visible = lineage.visible_ids(store.layout)
    assert acknowledged["snapshot_id"] in visible
    if done.returncode == 0:
        assert len(visible) == 3
    assert making.run("verify", "--all").exit == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_rolls_back_and_tells_by_its_exit_code(store, number):
    making.main_of(store).joinpath("big").write_bytes(os.urandom(1 << 20) * 64)
    process = subprocess.Popen([*JVS, "snapshot", "--engine", "copy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while process.poll() is None and not os.listdir(str(store.layout.intents)) and time.monotonic() < until:
        os.sched_yield()
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode in (0, 128 + number), err
    if process.returncode:
        assert out == b""
        assert b"interrupted" in err
    assert making.run("snapshot").exit == 0
    assert making.violations(store.root) == []


def test_a_full_disk_leaves_nothing_and_says_so(own_fs):
    root = own_fs("tmpfs")
    store = making.make_store(root / "r", "default_engine=copy")
    making.write(making.main_of(store), {"a": "1"})
    os.chdir(store.root)
    first = making.run("snapshot", "--json").json["snapshot_id"]
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    making.main_of(store).joinpath("big").write_bytes(b"x" * (free * 2 // 3))
    said = making.run("snapshot", "--engine", "copy")
    assert said.exit == 4, said.err
    assert "E_NO_SPACE" in said.err
    assert "jvs gc plan" in said.err
    assert lineage.visible_ids(store.layout) == [first]
    assert sorted(os.listdir(str(store.layout.snapshots))) == [first, first + ".READY"]
    making.main_of(store).joinpath("big").unlink()
    assert making.run("snapshot").exit == 0
    assert making.violations(store.root) == []


def test_output_that_cannot_be_written_is_exit_four_and_the_snapshot_stands(store):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*JVS, "snapshot"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 4
    assert len(lineage.visible_ids(store.layout)) == 1


def test_what_was_recovered_is_said(store):
    record = making.plumb("check-worktree", "--record").out
    making.plumb("write-intent", "--record", "--owner-pid", "4194999", stdin=record)
    said = making.run("snapshot")
    assert "rolled back the unfinished snapshot" in said.err
    assert said.out.startswith(b"Created snapshot")
    assert Path(str(store.layout.intents)).is_dir()


def bytes_below(directory):
    return sum(path.lstat().st_blocks * 512 for path in [directory, *directory.rglob("*")])


def test_fifty_looks_that_find_no_change_leave_nothing(store):
    making.write(making.main_of(store), {"a": "1", "dir/b": "2"})
    first = making.run("snapshot", "--json").json["snapshot_id"]
    making.run("snapshot", "--if-changed")
    before = bytes_below(Path(str(store.layout.jvs)))
    for _ in range(50):
        assert making.run("snapshot", "--if-changed").text == f"No changes since {first}\n"
    assert bytes_below(Path(str(store.layout.jvs))) == before


@pytest.mark.parametrize(
    "words",
    [["status"], ["snapshot", "--if-changed"], ["snapshot"], ["history", "-n", "1"], ["info"], ["diff"], ["show"]],
    ids=" ".join,
)
def test_no_daily_command_reads_more_files_in_a_longer_history(store, monkeypatch, words):
    making.write(making.main_of(store), {"a": "1"})
    counts = []
    read_file = paths.read_file
    for length in (3, 20):
        for number in range(length):
            making.write(making.main_of(store), {"a": f"{length} {number}"})
            making.snapshot(store)
        read = []

        def counting(path, limit=None, read=read):
            read.append(path)
            return read_file(path, limit)

        monkeypatch.setattr(paths, "read_file", counting)
        assert making.run(*words).exit == 0
        monkeypatch.setattr(paths, "read_file", read_file)
        counts.append(len(read))
    assert counts[0] == counts[1] > 0


def test_what_a_partial_snapshot_leaves_out_does_not_count_as_removed(store):
    first = making.run("snapshot", "--json").json
    assert first["changes"]["added"] == 3
    making.write(making.main_of(store), {"a": "2"})
    assert making.run("snapshot", "part", "--json", "--", "a").json["changes"] is None
    assert making.run("snapshot", "whole", "--json").json["changes"] is None
    assert making.run("snapshot", "again", "--json").json["changes"]["removed"] == 0
    assert "only 1 path" in making.run("history").text
    assert "-" not in making.run("history", "--format", "{removed}").text
