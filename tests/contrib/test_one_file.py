"""jvs as one file: what `contrib/package` packs runs without installation, help pages included."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import making
import pytest

from jvs.engine.juicefs import control

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file without its libraries, which are found where this Python has them."""
    path = tmp_path_factory.mktemp("packed") / "jvs.pyz"
    with zipfile.ZipFile(path, "w") as file:
        for package, name in (("jvs", "jvs"), ("plumbing", "jvs/plumbing"), ("porcelain", "jvs/porcelain")):
            for module in sorted((ROOT / package).rglob("*.py")):
                file.write(module, f"{name}/{module.relative_to(ROOT / package)}")
        for page in sorted((ROOT / "man").glob("man?/*")):
            file.write(page, f"share/man/{page.relative_to(ROOT / 'man')}")
        file.writestr("__main__.py", "import sys\nfrom jvs.cli.run import main\nsys.exit(main())\n")
    return path


def run(packed: Path, *words: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", str(packed), *words]
    environment = {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_it_shows_its_pages_whether_there_is_man_or_not(packed, tmp_path):
    (tmp_path / "man").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "man").chmod(0o755)
    said = run(packed, "help", "tutorial", cwd=tmp_path, path=str(tmp_path))
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == making.run("help", "-t", "tutorial").text
    said = run(packed, "help", "restore", cwd=tmp_path, path=str(tmp_path))
    assert said.stdout.startswith("usage: jvs restore")


def test_it_works_and_leaves_nothing_next_to_itself(packed, tmp_path):
    (tmp_path / "a").write_text("1\n")
    for words in (["init"], ["snapshot", "one"]):
        said = run(packed, *words, cwd=tmp_path)
        assert said.returncode == 0, said.stderr
    assert os.listdir(packed.parent) == ["jvs.pyz"]


def test_the_helper_for_juicefs_runs_without_a_file_of_its_own(monkeypatch):
    """It is started as a process of its own, from its text when it lies in no file."""
    with_file = control._command("rmr", "/nowhere/at all")
    assert with_file[3] == control.__file__
    monkeypatch.setattr(control, "__file__", "/nowhere/jvs.pyz/jvs/engine/juicefs/control.py")
    without = control._command("rmr", "/nowhere/at all")
    assert without[3] == "-c"
    ran = [subprocess.run(argv, capture_output=True, text=True, check=False) for argv in (with_file, without)]
    assert ran[0].stderr.startswith("<FATAL>: rmr failed: ")
    assert (ran[0].returncode, ran[0].stderr) == (ran[1].returncode, ran[1].stderr)
