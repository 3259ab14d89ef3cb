"""The units of contrib/systemd: systemd reads them, and what they start does what they say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import making
import pytest

from jvs.store import lineage

UNITS = Path(__file__).resolve().parents[2] / "contrib" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))


def test_every_service_has_a_timer():
    timers = {path.stem for path in UNITS.glob("*.timer")}
    assert timers == {Path(name).stem for name in SERVICES} and len(timers) == 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong(tmp_path):
    for path in UNITS.iterdir():
        shutil.copy(path, tmp_path / path.name.replace("@.", "@home-me-project."))
    said = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_LOG_LEVEL": "warning"}
    units = sorted(str(path) for path in tmp_path.glob("jvs-*"))
    said = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", *units], env=said, capture_output=True, text=True
    )
    ours = [line for line in (said.stdout + said.stderr).splitlines() if "jvs-" in line]
    assert ours == [] and said.returncode == 0, said.stderr


def command_of(name: str, path: str, **variables: str) -> list[str]:
    """Return what a service starts, as systemd would: specifiers and variables filled in, without `env`."""
    (line,) = re.findall(r"^ExecStart=/usr/bin/env jvs (.*)$", (UNITS / name).read_text(), re.MULTILINE)
    found = []
    for word in shlex.split(line):
        found += variables.get(word[1:], "").split() if word.startswith("$") else [word.replace("%f", path)]
    return found


def test_the_services_take_snapshots_and_let_them_go(tmp_path):
    store = making.make_store(tmp_path / "lab")
    words = command_of("jvs-snapshot@.service", store.root)
    for number in range(3):
        making.write(making.main_of(store), {"a": f"{number}"})
        assert making.run(*words).exit == 0 and making.run(*words).exit == 0
    assert len(lineage.visible_ids(store.layout)) == 3
    assert making.run(*command_of("jvs-gc@.service", store.root)).exit == 0
    assert len(lineage.visible_ids(store.layout)) == 3  # no policy is set
    assert making.run(*command_of("jvs-gc@.service", store.root, JVS_GC="--max-bytes 1K --keep-last 2")).exit == 0
    assert len(lineage.visible_ids(store.layout)) == 2
