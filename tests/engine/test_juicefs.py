"""JuiceFS clones: what the client does not say, found out; what it does not keep, mended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import making
import pytest
from conftest import FsAt
from treefacts import describe_tree, diff_trees

from jvs import clock
from jvs.engine import base as engine
from jvs.engine.juicefs import engine as juicefs_engine
from jvs.engine.juicefs import mount as juicefs_mount
from jvs.engine.juicefs import writers
from jvs.engine.juicefs.engine import JuiceFSEngine
from jvs.engine.juicefs.survey import Survey
from jvs.errors import CloneIncomplete, IOFailure, NoSpace

pytestmark = pytest.mark.xdist_group("juicefs-sqlite")


class Place:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.worktree = root / "main"
        self.store = root / "store"
        for name in ("a", "b"):
            (self.worktree / name).mkdir(parents=True)
            for number in range(3):
                (self.worktree / name / f"file{number}").write_bytes(b"content %d" % number)
        self.store.mkdir()
        self.engine = JuiceFSEngine(making.engine_options())

    def clone(self, name: str = "one", **options) -> engine.Cloned:
        return self.engine.clone(engine.Request(making.at(self.worktree), making.at(self.store / name), **options))

    def with_client(self, tmp_path: Path, script: str) -> Place:
        """Put a client in place that does what the real one does, and then something else."""
        path = tmp_path / "juicefs"
        real = JuiceFSEngine(making.engine_options()).find_binary()
        path.write_text(f"#!/bin/sh\nset -e\nreal={real}\ncalls={tmp_path}/calls\necho $1 >> $calls\n{script}\n")
        path.chmod(0o755)
        self.engine.options = making.engine_options(binary=str(path), control="never")
        self.calls = tmp_path / "calls"
        return self

    def count(self, word: str) -> int:
        return self.calls.read_text().split().count(word)


@pytest.fixture
def place(fs_at: FsAt) -> Place:
    return Place(fs_at("juicefs-sqlite"))


LOSES_A_DIRECTORY = '"$real" "$@"; if [ "$1" = clone ]; then rm -r "$4"/b/*; fi'


def test_clone_that_lost_a_directorys_content_is_made_again(place: Place, tmp_path: Path):
    script = LOSES_A_DIRECTORY.replace("if [", 'if [ "$(grep -c clone "$calls")" -lt 3 ] && [')
    place.with_client(tmp_path, script)
    cloned = place.clone()
    assert place.count("clone") == 3
    assert cloned.degraded == []
    assert diff_trees(describe_tree(place.worktree), describe_tree(place.store / "one")) == []
    assert os.listdir(place.store) == ["one"]


@pytest.mark.parametrize("hashed", [True, False])
def test_clone_that_never_comes_out_whole_is_an_error(
    place: Place, tmp_path: Path, hashed: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(juicefs_engine, "TRIES", 3)
    place.with_client(tmp_path, LOSES_A_DIRECTORY)
    with pytest.raises(CloneIncomplete) as caught:
        place.clone(hash=hashed)
    assert caught.value.facts["missing"] == 3
    assert caught.value.hint
    assert place.count("clone") == 3
    assert os.listdir(place.store) == []


def test_what_was_deleted_meanwhile_is_not_missing(place: Place, tmp_path: Path):
    gone = place.worktree / "b" / "file1"
    script = f'if [ "$1" = clone ]; then sleep 0.3; rm {gone}; fi; "$real" "$@"'
    place.with_client(tmp_path, script)
    place.clone()
    assert place.count("clone") == 1
    assert sorted(os.listdir(place.store / "one" / "b")) == ["file0", "file2"]


@pytest.mark.parametrize("text", ["clone failed: input/output error", "clone failed: no such file or directory"])
def test_passing_failure_is_tried_again(place: Place, tmp_path: Path, text: str):
    script = (
        f'if [ "$1" = clone ] && [ "$(grep -c clone "$calls")" -lt 3 ]; then echo "<FATAL>: {text}" >&2; exit 1; fi'
    )
    place.with_client(tmp_path, script + '\n"$real" "$@"')
    place.clone()
    assert place.count("clone") == 3


def test_lasting_failure_is_reported_in_the_clients_words(place: Place, tmp_path: Path):
    line = r"2026/01/01 00:00:00.1 juicefs[1] \033[31m<FATAL>: clone failed: operation not permitted [main@main.go:31]"
    place.with_client(tmp_path, f"printf '{line}\\n' >&2; exit 1")
    with pytest.raises(IOFailure) as caught:
        place.clone()
    assert caught.value.message == "'juicefs clone' failed: clone failed: operation not permitted"
    assert place.count("clone") == 1


def test_quota_is_no_space(place: Place, tmp_path: Path):
    place.with_client(tmp_path, 'echo "<FATAL>: clone failed: disk quota exceeded" >&2; exit 1')
    with pytest.raises(NoSpace):
        place.clone()


def test_attribute_without_a_value_is_named(place: Place):
    """On SQL metadata such a file can never be cloned."""
    os.setxattr(place.worktree / "a" / "file1", "user.empty", b"")
    with pytest.raises(IOFailure) as caught:
        place.clone()
    assert caught.value.facts == {"path": "a/file1", "attribute": "user.empty"}
    assert os.listdir(place.store) == []


def test_hard_links_are_one_file_again(juicefs_dir: Path):
    place = Place(juicefs_dir)
    os.link(place.worktree / "a" / "file1", place.worktree / "b" / "again")
    os.utime(place.worktree / "b", ns=(1, 10**18))
    cloned = place.clone()
    assert cloned.degraded == []
    one, two = os.lstat(place.store / "one" / "a" / "file1"), os.lstat(place.store / "one" / "b" / "again")
    assert one.st_ino == two.st_ino
    assert os.stat(place.store / "one" / "b").st_mtime_ns == 10**18


def test_special_files_are_there(juicefs_dir: Path):
    place = Place(juicefs_dir)
    os.mkfifo(place.worktree / "a" / "fifo", 0o640)
    os.utime(place.worktree / "a", ns=(1, 10**18))
    cloned = place.clone()
    assert cloned.degraded == []
    assert diff_trees(describe_tree(place.worktree), describe_tree(place.store / "one")) == []


def test_unchanged_files_are_not_read_again(place: Place, monkeypatch: pytest.MonkeyPatch):
    import time

    from jvs.tree import batches, leaves

    monkeypatch.setattr(batches, "_hash_small", lambda fd, name: None)  # one way of reading is enough to count
    time.sleep(0.05)
    first = place.clone("one")
    rows = {path: (row, digest) for path, row, digest in first.tree.rows}
    (place.worktree / "a" / "file1").write_bytes(b"changed")
    real, read = leaves.hash_open_file, []
    monkeypatch.setattr(leaves, "hash_open_file", lambda fd, **more: read.append(fd) or real(fd, **more))
    second = place.clone("two", rows=rows, known=making.Known(first.tree.nodes))
    assert len(read) == 1
    assert second.tree.root_hash != first.tree.root_hash
    assert second.tree.payload()["files"] == 6


def test_file_held_open_by_another_process_is_committed(place: Place):
    """Without a commit the clone would hold nothing of it for a second."""
    path = place.worktree / "a" / "open"
    script = "import sys,time; f=open(sys.argv[1],'wb',0); f.write(b'x'*100000); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        writer.stdout.readline()
        place.clone()
        assert (place.store / "one" / "a" / "open").stat().st_size == 100_000
        writer.stdin.close()


def test_flush_counts_only_files_open_for_writing_below(place: Place, tmp_path: Path):
    with (
        open(place.worktree / "a" / "file0", "ab"),
        open(place.worktree / "a" / "file1", "rb"),
        open(tmp_path / "elsewhere", "wb"),
    ):
        assert writers.flush_open_files(making.at(place.worktree)) == 1


def test_bind_mount_is_explained(place: Place, tmp_path: Path):
    point = tmp_path / "bound"
    point.mkdir()
    if subprocess.run(["mount", "--bind", str(place.root), str(point)], check=False).returncode:
        pytest.skip("cannot bind-mount here")
    try:
        assert juicefs_mount.is_juicefs(making.at(point))
        answer = JuiceFSEngine(making.engine_options(control="never")).probe(
            making.at(point / "main"), making.at(point / "store")
        )
        assert not answer.works
        assert "bind mount" in answer.why
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_missing_client_is_explained(place: Place, tmp_path: Path):
    place.engine.options = making.engine_options(binary=str(tmp_path / "nowhere"), control="never")
    answer = place.engine.probe(making.at(place.worktree), making.at(place.store))
    assert not answer.works
    assert "'juicefs' was not found" in answer.why


def test_store_inside_the_worktree_is_refused(place: Place):
    answer = place.engine.probe(making.at(place.root), making.at(place.store))
    assert not answer.works
    assert "inside the worktree" in answer.why


def test_two_mounts_of_one_volume_are_not_one(two_hosts: tuple[Path, Path]):
    answer = JuiceFSEngine(making.engine_options()).probe(making.at(two_hosts[0]), making.at(two_hosts[1]))
    assert not answer.works


def test_removal_without_a_client_goes_entry_by_entry(place: Place, tmp_path: Path):
    place.clone()
    place.engine.options = making.engine_options(binary=str(tmp_path / "nowhere"), control="never")
    place.engine.remove(making.at(place.store / "one"))
    assert os.listdir(place.store) == []


def test_many_writers_never_lead_to_a_silent_hole(place: Place):
    """Files that nobody touches are in every clone, or the clone is refused."""
    script = (
        "import os,sys,itertools\n"
        "for i in itertools.count():\n"
        "    p=os.path.join(sys.argv[1], 'ab'[i % 2], 'churn%d' % (i % 7))\n"
        "    open(p+'.tmp','w').close(); os.rename(p+'.tmp', p); i % 3 or os.unlink(p)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(place.worktree)])
    try:
        done = 0
        start = clock.monotonic()
        while clock.monotonic() - start < 8:
            try:
                place.clone(f"c{done}")
            except CloneIncomplete:
                continue
            finally:
                done += 1
            for name in ("a", "b"):
                assert {"file0", "file1", "file2"} <= set(os.listdir(place.store / f"c{done - 1}" / name))
        assert done
    finally:
        writer.kill()
        writer.wait()


def test_survey_knows_names_specials_and_groups(tmp_path: Path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "one").write_bytes(b"x")
    os.link(tmp_path / "dir" / "one", tmp_path / "two")
    os.mkfifo(tmp_path / "fifo")
    found = Survey().take(making.at(tmp_path))
    assert found.names == {b"": [b"dir", b"fifo", b"two"], b"dir": [b"one"]}
    assert [path for path, _ in found.specials] == [b"fifo"]
    assert list(found.groups.values()) == [[b"dir/one", b"two"]]
    assert found.missing(b"", [b"dir", b"new", b"two"]) == [b"fifo"]
    assert found.missing(b"dir", [b"one"]) == []
