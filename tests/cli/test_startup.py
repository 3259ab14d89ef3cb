"""What each kind of start imports, told by module lists and not by the clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jvs.cli import commands

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    *(
        "argparse",
        "json",
        "re",
        "dataclasses",
        "typing",
        "subprocess",
        "sqlite3",
        "_sqlite3",
        "cbor2",
        "tomllib",
        "tomli_w",
        "tqdm",
    ),
    *("hashlib", "ctypes", "threading", "concurrent.futures", "importlib.metadata", "pathlib", "tempfile", "shutil"),
    *("logging", "inspect", "decimal", "datetime", "unicodedata", "difflib", "textwrap", "locale", "gettext", "socket"),
}
PROGRAM = """
import sys
before = set(sys.modules)
sys.argv = [{program!r}, *{words!r}]
from {module} import main
code = main({words!r})
sys.stdout.flush()
print("\\n".join(sorted(set(sys.modules) - before)), file=sys.stderr)
sys.exit(code)
"""


def started(words: list[str], module: str = "jvs.cli.run", **more) -> tuple[subprocess.CompletedProcess, set[str]]:
    """Run a command in a fresh Python and return what it imported beyond what the interpreter had.

    The checkout comes first on the path and no site-packages hooks run, as an editable install's finder imports much.
    """
    code = PROGRAM.format(program="jvs", words=words, module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **more)
    return done, set(done.stderr.split("\n"))


def loaded_at_start() -> set[str]:
    """Return what this installation's Python has loaded before any of our code runs."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; print('\\n'.join(sys.modules))"], capture_output=True, text=True
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def heavy():
    """Return the modules to be avoided that an editable install has not loaded by itself."""
    return HEAVY - loaded_at_start()


def test_importing_the_package_imports_nothing():
    code = "import sys; a = set(sys.modules); import jvs; print(sorted(set(sys.modules) - a))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert set(eval(done.stdout)) <= {"jvs", "__future__"}


@pytest.mark.parametrize("words", [["--version"], ["version"]])
def test_the_version_costs_only_the_skin(words, heavy):
    done, modules = started(words)
    assert done.returncode == 0
    assert done.stdout.startswith("jvs ")
    assert modules & heavy == set()
    assert {name for name in modules if name.startswith("jvs")} <= {
        "jvs",
        "jvs.cli",
        "jvs.cli.run",
        "jvs.cli.arguments",
        "jvs.cli.output",
        "jvs.cli.streams",
        "jvs.errors",
        "jvs.progress",
    }


@pytest.mark.parametrize("name", sorted(n for n, row in commands.COMMANDS.items() if row[0] == commands.PLUMBING))
def test_a_plumbing_command_imports_only_the_parser_until_it_works(name):
    allowed = {
        "jvs",
        "jvs.cli",
        "jvs.cli.run",
        "jvs.cli.arguments",
        "jvs.cli.output",
        "jvs.cli.streams",
        "jvs.progress",
        "jvs.errors",
        "jvs.cli.commands",
        "jvs.plumbing",
    }
    allowed.add(commands.module_of(name))
    done, modules = started(["--help"], commands.module_of(name))
    assert done.returncode == 0, done.stderr
    if name in ("mark-live", "prune-snapshot"):
        allowed |= {"jvs.gc", "jvs.cli.policy"}  # where the options of a policy are defined
    ours = {module for module in modules if module.startswith("jvs")}
    assert ours <= allowed
    assert not modules & (
        {"sqlite3", "_sqlite3", "cbor2", "tomllib", "tqdm", "subprocess", "dataclasses"} - loaded_at_start()
    )


@pytest.mark.parametrize("name", sorted(n for n, row in commands.COMMANDS.items() if row[0] == commands.PORCELAIN))
def test_help_of_a_porcelain_command_loads_no_repository_code(name):
    done, modules = started([*name.split(" "), "--help"])
    assert done.returncode == 0, done.stderr
    assert not modules & {
        "jvs.store.store",
        "jvs.publish.run",
        "jvs.publish.steps",
        "jvs.engine.base",
        "jvs.tree.index",
        "jvs.tree.scan",
        "jvs.restore.run",
        "jvs.gc.run",
    }
    assert not modules & ({"sqlite3", "_sqlite3", "cbor2", "tqdm"} - loaded_at_start())


def test_dispatch_imports_one_command_only():
    _, modules = started(["hash-tree", "--help"])
    found = {module for module in modules if module.startswith(("jvs.plumbing.", "jvs.porcelain."))}
    assert found == {"jvs.plumbing.hash_tree"}


def test_an_unknown_word_loads_no_command(heavy):
    done, modules = started(["snpashot"])
    assert done.returncode == 2
    assert "did you mean 'snapshot'" in done.stderr
    assert not [module for module in modules if module.startswith(("jvs.plumbing.", "jvs.porcelain."))]


def test_a_snapshot_draws_no_bar_and_starts_no_process_unless_it_must(tmp_path):
    started(["init", "r"], cwd=tmp_path)
    (tmp_path / "r/main/a").write_text("x")
    done, modules = started(["snapshot", "--engine", "copy", "note"], cwd=tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert not modules & ({"tqdm", "difflib", "tomli_w", "logging", "unittest", "subprocess"} - loaded_at_start())
    assert "jvs.restore.run" not in modules
    assert "jvs.store.recovery" not in modules


def test_reading_commands_do_not_load_what_publishes_or_restores(tmp_path):
    started(["init", "r"], cwd=tmp_path)
    started(["snapshot"], cwd=tmp_path / "r")
    for words in (["resolve", "HEAD"], ["cat-descriptor", "HEAD"], ["history"]):
        done, modules = started(words, cwd=tmp_path / "r")
        assert done.returncode == 0, done.stderr
        assert not modules & {
            "jvs.restore.run",
            "jvs.gc.run",
            "jvs.worktrees.fork",
            "jvs.store.init",
            "jvs.check.doctor",
        }, words
