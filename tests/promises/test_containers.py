"""A first session without privileges: in a user namespace, also where no further namespace may be made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]
NO_MORE = "echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_mnt_namespaces"
SESSION = """
set -e
cd "$1"; echo 1 > a; mkdir d; echo 2 > d/b; ln d/b d/c
jvs init; jvs snapshot one; rm -r d; echo 3 > a
jvs restore LATEST; [ "$(cat a d/c)" = "1
2" ]; jvs undo; [ "$(cat a)" = 3 ]
"""


def can_unshare() -> bool:
    program = shutil.which("unshare")
    return program is not None and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="no user namespace can be made here")


def in_namespace(script: str, where: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(where / "home")}
    (where / "home").mkdir()
    (where / "project").mkdir()
    return subprocess.run(
        [*UNSHARE, "bash", "-c", SESSION + script, "bash", str(where / "project")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_session_in_a_user_namespace(tmp_path):
    done = in_namespace("jvs try --apply -- sh -c 'rm a'; [ ! -e a ]; jvs verify --all", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 snapshots OK" in done.stdout


def test_where_no_further_namespace_may_be_made_try_says_so_and_the_rest_works(tmp_path):
    said = 'jvs try --discard -- rm a && exit 9; [ $? = 125 ]; [ "$(cat a)" = 3 ]; jvs doctor'
    done = in_namespace(f"{NO_MORE}\n{said}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the system lets no program see another directory at the same path" in done.stderr
    assert "hint: allow mounting here" in done.stderr
