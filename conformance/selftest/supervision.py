"""The supervisor sees every call, and kills, fails, signals and shortens at the call that was named."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

from lib.harness import Skip
from lib.reader import read_file
from supervisor import seccomp, supervise

_SCRIPT = """
import os, threading
fd = os.open("f", os.O_CREAT | os.O_WRONLY)
os.write(fd, b"12345678"); os.pwrite(fd, b"1", 0); os.writev(fd, [b"2"]); os.fsync(fd); os.fdatasync(fd)
os.fchmod(fd, 0o600); os.fchown(fd, os.getuid(), os.getgid()); os.ftruncate(fd, 3); os.utime(fd)
os.close(fd)
os.truncate("f", 2); os.chmod("f", 0o644); os.utime("f"); os.chown("f", os.getuid(), os.getgid())
os.link("f", "g"); os.symlink("f", "s"); os.rename("g", "h"); os.mkfifo("p"); os.mkdir("d"); os.rmdir("d")
here = os.open(".", os.O_RDONLY)
os.mkdir("e", dir_fd=here); os.rename("h", "e/h", src_dir_fd=here, dst_dir_fd=here); os.unlink("e/h", dir_fd=here)
a = os.open("f", os.O_RDONLY); b = os.open("k", os.O_CREAT | os.O_RDWR)
os.copy_file_range(a, b, 1)
t = threading.Thread(target=os.mkdir, args=("t",)); t.start(); t.join()
if os.fork() == 0:
    os.mkdir("child"); os._exit(0)
os.wait()
os.system("mkdir shell")
open("/dev/null", "w").write("not counted")
open("f").read()
"""
_SEEN = [
    *("open", "write", "pwrite64", "writev", "fsync", "fdatasync", "fchmod", "fchown", "ftruncate", "utimensat"),
    *("truncate", "chmod", "utimensat", "chown", "link", "symlink", "rename", "mknod", "mkdir", "rmdir"),
    *("mkdir", "rename", "unlink", "open", "copy_file_range", "mkdir", "mkdir", "mkdir"),
]


def _plain(name: str) -> str:
    """Return a call's name without the suffixes by which C libraries and machines differ."""
    return name.removesuffix("2").removesuffix("at")


def run_script(script: str, **options: Any) -> tuple[supervise.Outcome, str, contextlib.AbstractContextManager[str]]:
    """Run a Python script below a fresh directory."""
    holder = tempfile.TemporaryDirectory(prefix="jvs-selftest-")
    root = os.path.realpath(holder.name)
    argv = [sys.executable, "-I", "-S", "-c", script]
    return supervise.run(argv, root=root, cwd=root, timeout=20, **options), root, holder


def test_supervisor_sees_every_call() -> None:
    outcome, _, holder = run_script(_SCRIPT)
    with holder:
        assert outcome.returncode == 0, outcome.stderr.decode()
        seen = [_plain(event.name) for event in outcome.events]
        wanted = [_plain(name) for name in _SEEN]
        assert seen == wanted, f"{seen}\n{wanted}"
        assert [e.number for e in outcome.events] == list(range(1, len(_SEEN) + 1))
        assert len({e.pid for e in outcome.events}) == 4, "threads and children count"


def test_supervisor_kills_before_each_call() -> None:
    """Killed at call N, exactly the calls before N have happened; children die as well."""
    script = "import os\nfor i in range(5): os.mkdir(str(i))\nos.system('mkdir 5; mkdir 6')"
    for at in range(1, 8):
        outcome, root, holder = run_script(script, action=supervise.Action("kill", at))
        with holder:
            assert sorted(os.listdir(root)) == [str(i) for i in range(at - 1)], at
            assert outcome.returncode == -signal.SIGKILL and outcome.fired is not None
            assert outcome.fired.number == at
    outcome, root, holder = run_script(script, action=supervise.Action("kill", 8))
    with holder:
        assert outcome.fired is None and outcome.returncode == 0


def test_supervisor_injects_errors() -> None:
    """Once and from then on; a full disk refuses what takes space and lets removals through."""
    script = """
import os
for i in range(4):
    try:
        os.mkdir(str(i)); os.rmdir(str(i)); print("ok", end=" ")
    except OSError as error:
        print(error.errno, end=" ")
"""
    for number, sticky, wanted in (
        (errno.EIO, False, "ok 5 ok ok"),
        (errno.EROFS, True, "ok 30 30 30"),
        (errno.ENOSPC, True, "ok 28 28 28"),
    ):
        outcome, _, holder = run_script(script, action=supervise.Action("errno", 3, number, sticky=sticky))
        with holder:
            assert outcome.stdout.decode().split() == wanted.split(), outcome.stdout
    outcome, _, holder = run_script(script, action=supervise.Action("errno", 2, errno.ENOSPC))
    with holder:
        assert outcome.hits == 0 and outcome.stdout.decode().split() == ["ok"] * 4, "rmdir needs no space"


def test_supervisor_sends_signals() -> None:
    script = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
for i in range(4): os.mkdir(str(i))
print(len(os.listdir(".")))
"""
    outcome, _, holder = run_script(script, action=supervise.Action("signal", 2, signal.SIGTERM))
    with holder:
        assert outcome.stdout.split() == [b"handled", b"4"], outcome.stdout
        assert len(outcome.events) == 4, "a signal restarts no call"
    outcome, _, holder = run_script(script, action=supervise.Action("signal", 2, signal.SIGINT))
    with holder:
        assert outcome.returncode in (-signal.SIGINT, 130), outcome.returncode


def test_supervisor_shortens_writes() -> None:
    script = (
        'import os\nfd = os.open("f", os.O_CREAT | os.O_WRONLY)\nprint(os.write(fd, b"12345678"), os.write(fd, b"9"))'
    )
    outcome, root, holder = run_script(script, action=supervise.Action("short", 2))
    with holder:
        assert outcome.stdout.split() == [b"4", b"1"], outcome.stdout
        assert read_file(f"{root}/f") == b"12349"


def test_supervisor_calls_back_while_the_call_waits() -> None:
    listing: list[list[str]] = []
    holder = tempfile.TemporaryDirectory()
    with holder as root:
        action = supervise.Action("call", 2, callback=lambda _event: listing.append(os.listdir(root)))
        argv = ["sh", "-c", "mkdir a; mkdir b"]
        assert supervise.run(argv, root=root, cwd=root, action=action).returncode == 0
        assert listing == [["a"]] and sorted(os.listdir(root)) == ["a", "b"]


def test_supervisor_ends_hanging_runs() -> None:
    with tempfile.TemporaryDirectory() as root:
        outcome = supervise.run(["sh", "-c", "mkdir a; sleep 60"], root=root, cwd=root, timeout=0.5)
        assert outcome.timed_out and outcome.seconds < 5


def test_supervisor_agrees_with_strace() -> None:
    """Where strace is there, both count the same calls of a shell script."""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    script = "echo a > f; mv f g; cp g h; rm g; mkdir d; ln -s x d/l; rm -r d; touch t"
    with tempfile.TemporaryDirectory() as root:
        watched = supervise.run(["sh", "-c", script], root=root, cwd=root)
    calls = ",".join(name for name, row in seccomp.CALLS.items() if row[0] < 430 and name not in ("ioctl", "write"))
    with tempfile.TemporaryDirectory() as root:
        argv = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", "signal=none", "sh", "-c", script]
        done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if "(" in line and "/dev/" not in line]
    lines = [line for line in lines if "open" not in line or "O_WRONLY" in line or "O_RDWR" in line]
    seen = [event.name for event in watched.events if event.name not in ("write", "ioctl")]
    assert len(seen) == len(lines), f"{seen}\n" + "\n".join(lines)
