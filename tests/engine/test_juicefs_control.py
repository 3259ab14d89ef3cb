"""The control file of JuiceFS: messages byte for byte, answers in pieces, and real clones without the client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import making
import pytest
from conftest import FsAt
from treefacts import describe_tree, diff_trees

from jvs.engine import base as engine
from jvs.engine import registry
from jvs.engine.juicefs import control
from jvs.engine.juicefs.engine import JuiceFSEngine

pytestmark = pytest.mark.xdist_group("juicefs-sqlite")


@pytest.fixture
def place(juicefs_dir: Path) -> Path:
    (juicefs_dir / "main" / "dir").mkdir(parents=True)
    for number in range(20):
        (juicefs_dir / "main" / "dir" / f"file{number}").write_bytes(b"content %d" % number)
    os.mkfifo(juicefs_dir / "main" / "fifo")
    (juicefs_dir / "store").mkdir()
    return juicefs_dir


def test_clone_message_byte_for_byte():
    message = control.clone_message(0x1122, 3, 4, b"name")
    body = bytes.fromhex("0000000000001122 0000000000000003 0000000000000004 04") + b"name" + bytes.fromhex("0000 02")
    assert message == bytes.fromhex("000003ee") + len(body).to_bytes(4, "big") + body


def test_remove_message_byte_for_byte():
    message = control.remove_message(7, b"x")
    assert message == bytes.fromhex("000003ea 0000000c 0000000000000007 01 78 00 04")


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"n" * 256])
def test_name_that_would_break_the_directory_is_never_sent(name: bytes):
    for message in (lambda: control.clone_message(5, 3, 4, name), lambda: control.remove_message(3, name)):
        with pytest.raises(ValueError):
            message()


def test_root_of_a_mount_is_never_sent_as_source():
    with pytest.raises(ValueError):
        control.clone_message(1, 1, 4, b"name")


@pytest.mark.parametrize("step", [1, 2, 5, 17, 100])
def test_reply_in_pieces(step: int):
    progress = bytes.fromhex("fe 00000000000003e9 00000000000003ea")
    data = bytes.fromhex("ff 00000003") + b"abc"
    whole = progress + data + progress + b"\x05"
    reply = control.Reply()
    for start in range(0, len(whole), step):
        assert reply.errno is None
        reply.feed(whole[start : start + step])
    assert (reply.errno, reply.done, reply.total) == (5, 1001, 1002)


@pytest.mark.parametrize(
    ("text", "version"), [("1.4.2+2026-01-01.abc", (1, 4)), ("1.3.0-beta1", (1, 3)), ("unknown", None), ("", None)]
)
def test_version(text: str, version: tuple[int, int] | None):
    assert control.parse_version(text) == version


@pytest.mark.parametrize("version", ["1.2.3", "1.5.0", "2.0.0", "odd", ""])
def test_unknown_version_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(control, "mount_config", lambda _: {"Version": version})
    assert "version" in control.why_not(making.at(place))
    answer = JuiceFSEngine(making.engine_options(control="always")).probe(
        making.at(place / "main"), making.at(place / "store")
    )
    assert not answer.works
    assert "version" in answer.why


def test_config_that_may_not_be_read_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control, "mount_config", lambda _: None)
    assert "not known" in control.why_not(making.at(place))


def test_clone_and_removal_without_the_client(place: Path):
    way = JuiceFSEngine(making.engine_options(control="always"))
    assert way.probe(making.at(place / "main"), making.at(place / "store")).works
    request = engine.Request(making.at(place / "main"), making.at(place / "store" / "one"))
    cloned = way.clone(request)
    assert cloned.degraded == []
    assert diff_trees(describe_tree(place / "main"), describe_tree(place / "store" / "one")) == []
    way.remove(making.at(place / "store" / "one"))
    assert os.listdir(place / "store") == []


def test_missing_client_means_the_control_file(place: Path, tmp_path: Path):
    way = JuiceFSEngine(making.engine_options(binary=str(tmp_path / "nowhere")))
    answer = way.probe(making.at(place / "main"), making.at(place / "store"))
    assert answer.works
    assert "control file" in answer.note
    way.clone(engine.Request(making.at(place / "main"), making.at(place / "store" / "one")))
    assert diff_trees(describe_tree(place / "main"), describe_tree(place / "store" / "one")) == []


def test_bind_mount_is_cloned_over_the_control_file(fs_at: FsAt, tmp_path: Path):
    root = fs_at("juicefs-sqlite")
    (root / "main").mkdir()
    (root / "store").mkdir()
    (root / "main" / "file").write_bytes(b"content")
    point = tmp_path / "bound"
    point.mkdir()
    if subprocess.run(["mount", "--bind", str(root), str(point)], check=False).returncode:
        pytest.skip("cannot bind-mount here")
    try:
        picked = registry.pick(None, making.at(point / "main"), making.at(point / "store"), making.engine_options())
        assert picked.name == "juicefs-clone"
        picked.clone(engine.Request(making.at(point / "main"), making.at(point / "store" / "one")))
        assert (root / "store" / "one" / "file").read_bytes() == b"content"
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_helper_says_what_is_wrong_like_the_client(place: Path):
    (place / "store" / "one").mkdir()
    command = control.clone_command([(making.at(place / "main"), making.at(place / "store" / "one"))])
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "<FATAL>: clone failed: file exists\n")
    inside = control.clone_command([(making.at(place), making.at(place / "store" / "two"))])
    assert "inside the source" in subprocess.run(inside, capture_output=True, text=True).stderr


def test_helper_needs_nothing_but_the_standard_library():
    code = f"import sys; sys.argv=['x']; exec(open({control.__file__!r}).read().split('if __name__')[0]); "
    code += "print([name for name in sys.modules if name.startswith('jvs')])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
