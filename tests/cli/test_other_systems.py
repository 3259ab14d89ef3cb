"""Systems and Pythons that are not here: what jvs says where it cannot work, and what newer Pythons would do."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jvs.cli import arguments
from jvs.tree import parallel

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
ELSEWHERE = """
import importlib, os, sys
sys.platform = {platform!r}
for name in ("O_NOATIME", "O_PATH", "getxattr", "setxattr", "listxattr", "removexattr", "copy_file_range", "sendfile"):
    if hasattr(os, name):
        delattr(os, name)
statuses = []
for program, place in {programs!r}:
    module, _, name = place.partition(":")
    for words in {words!r}:
        sys.argv = [program, *words]
        try:
            statuses.append(getattr(importlib.import_module(module), name)())
        except SystemExit as leaving:
            statuses.append(leaving.code or 0)
print(statuses)
print([name for name in sys.modules if name.startswith(("jvs.fs", "jvs.store", "jvs.engine"))])
"""


def elsewhere(
    platform: str, programs: list[tuple[str, str]], words: list[list[str]], cwd: Path
) -> tuple[list, list, str]:
    code = ELSEWHERE.format(platform=platform, programs=programs, words=words)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    statuses, loaded = done.stdout.strip().split("\n")[-2:]
    return eval(statuses), eval(loaded), done.stderr


@pytest.mark.parametrize("platform", ["darwin", "freebsd14", "cygwin", "win32"])
def test_every_command_says_where_it_works(tmp_path, platform):
    """One sentence and a status, before anything is imported that the system has not."""
    lines = [["status"], ["snapshot", "x"], ["init", "lab"], ["nothing"], ["help"], ["run", "--", "true"], []]
    statuses, loaded, said = elsewhere(platform, [("jvs", SCRIPTS["jvs"])], lines, tmp_path)
    assert statuses == [4] * len(lines)
    assert loaded == []
    assert said.count(f"E_IO: jvs works on Linux, and this is '{platform}'") == len(lines)
    assert "Traceback" not in said and "E_INTERNAL" not in said


def test_every_program_says_where_it_works(tmp_path):
    programs = [
        (program, place) for program, place in SCRIPTS.items() if place.startswith(("jvs.plumbing", "jvs.porcelain"))
    ]
    assert len(programs) > 20
    statuses, loaded, said = elsewhere("darwin", programs, [["x", "y"]], tmp_path)
    assert set(statuses) <= {2, 4}, list(zip(programs, statuses, strict=True))
    assert 4 in statuses
    assert loaded == []
    assert "Traceback" not in said and "E_INTERNAL" not in said


def test_the_python_interface_says_where_it_works(tmp_path):
    code = "import sys; sys.platform = 'darwin'\nfrom jvs import errors\ntry:\n    from jvs import Repository\n"
    code += "except errors.IOFailure as error:\n    print(error.message)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "jvs works on Linux, and this is 'darwin'\n", done.stderr


def test_the_version_is_said_anywhere(tmp_path):
    statuses, _, said = elsewhere("darwin", [("jvs", SCRIPTS["jvs"])], [["--version"]], tmp_path)
    assert (statuses, said) == ([0], "")


def test_help_does_without_the_colours_of_newer_pythons(monkeypatch):
    """Python 3.14 asks for a theme for each formatter, and imports dataclasses to find one."""

    def set_color(self, color, **more):
        raise AssertionError("the theme of argparse was asked for")

    def get_formatter(self):
        formatter = self.formatter_class(prog=self.prog)
        formatter._set_color(True)
        assert f"{formatter._theme.usage}{formatter._theme.reset}{formatter._decolor('x')}" == "x"
        return formatter

    monkeypatch.setattr(argparse.HelpFormatter, "_set_color", set_color, raising=False)
    monkeypatch.setattr(argparse.ArgumentParser, "_get_formatter", get_formatter)
    assert "usage: jvs status" in arguments.make_parser("status", "Look\n\nAt it.").format_help()


def test_no_process_is_forked_next_to_threads_of_any_kind(monkeypatch):
    """Python warns of a fork when the system counts more than one thread, whoever made it."""
    tasks = os.listdir("/proc/self/task")
    assert parallel.has_threads() == (len(tasks) > 1)
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: ["1", "2"] if path == "/proc/self/task" else real(path))
    assert parallel.has_threads()
    monkeypatch.setattr(os, "listdir", lambda path: ["1"] if path == "/proc/self/task" else real(path))
    assert not parallel.has_threads()


OTHER_PYTHONS = [path for path in os.environ.get("JVS_TEST_PYTHONS", "").split(":") if path]
"""Interpreters that have what jvs depends on, to be tried as well."""


@pytest.mark.parametrize("python", [sys.executable, *OTHER_PYTHONS])
def test_a_session_on_another_python_warns_of_nothing(tmp_path, python):
    """The whole way, with warnings as errors, and with as few modules as here."""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}
    shutil.copytree(
        ROOT / "jvs", tmp_path / "jvs", ignore=shutil.ignore_patterns("__pycache__", "plumbing", "porcelain")
    )
    for package in ("plumbing", "porcelain"):
        shutil.copytree(ROOT / package, tmp_path / "jvs" / package, ignore=shutil.ignore_patterns("__pycache__"))
    program = "import sys; from jvs.cli.run import main; sys.argv[0] = 'jvs'; sys.exit(main())"
    for words in (["init", "lab"], ["-C", "lab", "snapshot", "x"], ["-C", "lab", "status"]):
        done = subprocess.run(
            [python, "-P", "-c", program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
