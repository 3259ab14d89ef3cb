"""Without /proc nothing is left out in silence."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import own_mounts
import pytest
from lab import Lab
from own_mounts import command
from own_mounts import own_mounts as alone


def jvs_process(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "import sys; from jvs.cli import run; sys.exit(run.main(sys.argv[1:]))"]
    return subprocess.run([*program, *words], cwd=lab.root, capture_output=True, text=True, check=False)


@alone
@pytest.mark.parametrize("engine", ["copy", "auto"])
@pytest.mark.parametrize("kind", ["tmp", "ext4", "xfs"])
def test_without_proc_nothing_is_left_out_in_silence(tmp_path, engine, kind):
    home = tmp_path
    if kind != "tmp":
        size = 320 if kind == "xfs" else 64
        made = own_mounts.image(tmp_path, size, f"mkfs.{kind}", "-q")
        home = own_mounts.mount(kind, tmp_path / "m", "loop", what=str(made))
    lab = Lab(home / "r")
    lab.write({"a": "one"})
    os.symlink("a", lab.main / "symlink")
    os.mkfifo(lab.main / "fifo")
    os.mknod(lab.main / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(lab.main)
        sock.bind("socket")
        os.chdir("/")
    os.setxattr(lab.main / "fifo", "trusted.x", b"1")
    command("umount", "-l", "/proc")
    words = [] if engine == "auto" else ["--engine", engine]
    said = jvs_process(lab, "snapshot", "n", "--json", *words)
    if said.returncode:
        assert "proc" in said.stderr
        return
    record = json.loads(said.stdout)
    missing = {loss["path"] for loss in record["degraded"]}
    payload = next(path for path in (lab.jvs_dir / "snapshots").iterdir() if path.is_dir())
    there = set(os.listdir(payload))
    assert {"a", "symlink", "fifo", "device", "socket"} <= there | missing
    (lab.main / "symlink").unlink()
    (lab.main / "fifo").unlink()
    restored = jvs_process(lab, "restore", "HEAD")
    assert restored.returncode == 0, restored.stderr
    assert set(os.listdir(lab.main)) >= {"symlink", "fifo"} - missing


@alone
def test_files_and_directories_need_no_proc(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "r")
    lab.write({"a": "one", "d/b": "two"})
    command("umount", "-l", "/proc")
    assert jvs_process(lab, "snapshot", "n").returncode == 0
    lab.write({"a": "changed"})
    (lab.main / "d/b").chmod(0o600)
    os.utime(lab.main / "d/b", ns=(5, 5))
    said = jvs_process(lab, "status", "--json")
    assert {entry["path"] for entry in json.loads(said.stdout)["modified"]} == {"a", "d/b"}, said.stderr
    assert jvs_process(lab, "restore", "HEAD").returncode == 0
    assert lab.read("a") == b"one"
