"""What holds for every row of the command table. A command that lacks a piece fails here, by its name."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import making
import pytest

from jvs import errors
from jvs.cli import commands

ROOT = Path(__file__).resolve().parents[2]
ALL = sorted(commands.COMMANDS)
PLUMBING = sorted(name for name, row in commands.COMMANDS.items() if row[0] == commands.PLUMBING)
ID = "1700000000000-0a1b2c3d"

ARGUMENTS: dict[str, list[str]] = {
    "restore": ["HEAD"],
    "write-stream": ["HEAD"],
    "run": ["--", "true"],
    "worktree create": ["other"],
    "worktree rename": ["other", "third"],
    "worktree remove": ["other"],
    "worktree move": ["other", "../../moved"],
    "worktree attach": ["."],
    "gc pin": ["HEAD"],
    "gc drop": ["HEAD"],
    "gc unpin": ["HEAD"],
    "gc run": ["--plan-id", "0" * 16],
    "config get": ["default_engine"],
    "config set": ["default_tags", "a"],
    "config unset": ["default_tags"],
    "resolve": ["HEAD"],
    "cat-descriptor": ["HEAD"],
    "ls-tree": ["HEAD"],
    "cat": ["HEAD:a"],
    "merge": ["HEAD"],
    "enter": ["HEAD", "--", "true"],
    "try": ["--list"],
    "merge-base": ["HEAD", "HEAD"],
    "merge-tree": ["HEAD", "HEAD", "HEAD"],
    "cat-file": ["HEAD:a"],
    "tag": ["HEAD", "name"],
    "note": ["HEAD", "text"],
    "meta": ["HEAD", "loss=0.12"],
    "diff-tree": ["HEAD", "HEAD"],
    "verify-snapshot": ["HEAD"],
    "clear-intent": [ID],
    "update-head": ["main", ID],
    "prune-snapshot": [ID],
    "with-lock": ["main", "--", "true"],
    "detach": ["--delete-history"],
    "clone": ["..", "../../cloned"],
    **{f"agent {word}": ["claude"] for word in ("install", "uninstall", "status")},
}
"""The shortest arguments that are right, for commands that need some."""

ANYWHERE = {
    *("agent install", "agent uninstall", "agent status"),
    *("init", "clone", "completion", "help", "version", "conformance run", "conformance list", "torture"),
    *("clone-tree", "hash-tree", "sync-tree", "rename-ready", "chain-append", "apply-tree", "probe-engine"),
    *("write-intent", "write-descriptor", "write-ready", "config get", "config list", "ls-tree", "diff-tree"),
}
"""Commands that work outside of a repository, or read a publish record first."""


def module_of(name: str):
    try:
        return importlib.import_module(commands.module_of(name))
    except ModuleNotFoundError as error:
        pytest.fail(f"'{name}' has no module: {error}")


def programs_of(name: str) -> list[str]:
    """Return all ways to call a command, aliases included."""
    return [commands.program_of(name), *(f"jvs {alias}" for alias, of in commands.ALIASES.items() if of == name)]


def call(name: str, *words: str, stdin: bytes = b"") -> making.Said:
    return making.run(*name.split(" "), *words, stdin=stdin)


def test_every_row_has_its_module_and_every_module_its_row():
    rows = {commands.module_of(name) for name in ALL}
    files = {
        f"jvs.{kind}.{path.stem}"
        for kind in ("plumbing", "porcelain")
        for path in (ROOT / kind).glob("*.py")
        if path.stem != "__init__"
    }
    assert sorted(rows - files) == [], "rows without a module"
    assert sorted(files - rows) == [], "modules without a row"


def test_every_plumbing_command_is_a_console_script_and_nothing_else_is():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    expected = {f"jvs-{name}": f"{commands.module_of(name)}:main" for name in PLUMBING}
    assert scripts == expected | {"jvs": "jvs.cli.run:main"}


@pytest.mark.parametrize("name", ALL)
def test_it_says_what_it_is(name):
    module = module_of(name)
    doc = module.__doc__ or ""
    assert doc.split("\n")[0] == commands.summary_of(name)
    assert doc.split("\n")[1] == ""
    assert len(doc.split("\n\n", 1)[1].strip()) > 80, "say what it reads, writes, and what is true when it returns 0"
    assert module.build_parser.__doc__
    assert module.work.__doc__
    assert module.main.__doc__


@pytest.mark.parametrize("name", ALL)
def test_it_names_its_errors_relatives_and_examples(name):
    module = module_of(name)
    assert module.RAISES
    assert all(issubclass(error, errors.JvsError) and error in errors.ALL for error in module.RAISES)
    assert len(set(module.RAISES)) == len(module.RAISES)
    assert module.SEE_ALSO
    assert all(re.fullmatch(r"[a-z0-9-]+\([1578]\)", page) for page in module.SEE_ALSO), module.SEE_ALSO
    assert any(program in command for command, _ in module.EXAMPLES for program in programs_of(name))
    for command, meaning in module.EXAMPLES:
        assert "jvs" in command
        assert meaning
        assert not meaning.endswith(".")


@pytest.mark.parametrize("name", ALL)
def test_the_pages_it_points_to_exist_or_are_commands(name):
    known = {f"{commands.program_of(n).replace(' ', '-')}(1)" for n in ALL} | {"jvs(1)"}
    known |= {f"jvs-{word}(1)" for word in commands.first_words()}
    known |= {f"{path.stem}({path.suffix[1:]})" for path in (ROOT / "man").glob("man[57]/*.[57]")}
    assert [page for page in module_of(name).SEE_ALSO if page.startswith("jvs") and page not in known] == []


@pytest.mark.parametrize("name", ALL)
def test_its_example_commands_name_only_options_that_it_has(name):
    known = set(module_of(name).build_parser()._option_string_actions)
    for command, _ in module_of(name).EXAMPLES:
        for program in programs_of(name):
            own = command.partition(program + " ")[2].split("|")[0].split(" -- ")[0]
            for word in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", own):
                assert word in known, command


@pytest.mark.parametrize("name", ALL)
def test_it_has_a_test(name):
    """In test_cmd_NAME.py of its layer, in that of its first word (`gc`), or of its group (`steps`, `checks`)."""
    stem = name.replace(" ", "_").replace("-", "_")
    files = [
        f"test_cmd_{word}.py" for word in (stem, stem.split("_")[0], name.split(" ")[0], commands.COMMANDS[name][1])
    ]
    shelf = ROOT / "tests" / commands.COMMANDS[name][0]
    found = [shelf / file for file in files if (shelf / file).exists()]
    called = re.compile(r'"' + r'",\s*"'.join(map(re.escape, name.split(" "))) + r'"|' + re.escape(f'"{name}"'))
    assert found, f"write {shelf}/{files[0]}"
    assert any(called.search(path.read_text()) or path.name == files[0] for path in found), f"{found} never call it"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_fits_eighty_columns_and_names_every_option(name, option, monkeypatch):
    module_of(name)
    monkeypatch.setenv("COLUMNS", "80")
    said = call(name, option)
    assert said.exit == 0
    assert said.err == ""
    assert commands.summary_of(name) in " ".join(said.text.split())
    assert max(len(line) for line in said.text.split("\n")) <= 80
    for word in module_of(name).build_parser()._option_string_actions:
        assert word in said.text, word


@pytest.mark.parametrize("name", ALL)
def test_every_argument_has_help(name):
    for action in module_of(name).build_parser()._actions:
        assert action.help, action.dest
        assert action.help == action.help.strip()
        assert not action.help.endswith("."), action.help


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_option_is_a_usage_error(name):
    module_of(name)
    for word in ("--no-such-option", "-%"):
        said = call(name, word)
        assert (said.exit, said.out) == (2, b""), said.err
        first, second = said.err.splitlines()[:2]
        assert first.startswith(f"{commands.program_of(name)}: E_USAGE: ")
        assert second.startswith("hint: ")


@pytest.mark.parametrize("name", ALL)
def test_options_are_never_abbreviated(name):
    module_of(name)
    assert call(name, "--jso", *ARGUMENTS.get(name, [])).exit == 2


@pytest.mark.parametrize("name", ALL)
def test_the_json_form_of_a_failure_is_one_object_on_stderr(name):
    module_of(name)
    said = call(name, "--json", "--no-such-option")
    assert (said.exit, said.out) == (2, b"")
    assert said.err.startswith("{")
    error = said.error
    assert set(error) == {"class", "exit", "message", "hint", "facts"}
    assert (error["class"], error["exit"]) == ("E_USAGE", 2)
    assert error["message"]
    assert error["hint"]
    assert not error["message"].endswith(".")


@pytest.mark.parametrize("name", [name for name in ALL if name not in ANYWHERE])
def test_outside_of_a_repository_it_says_so(name):
    module = module_of(name)
    said = call(name, "--json", *ARGUMENTS.get(name, []))
    assert said.exit == 5, said.err
    assert said.error["class"] == "E_NOT_A_REPOSITORY"
    assert "jvs init" in said.error["hint"]
    assert said.out == b""
    assert errors.NotARepository in module.RAISES


@pytest.mark.parametrize("name", ALL)
def test_whatever_opens_a_repository_may_find_none(name):
    module = module_of(name)
    source = Path(module.__file__).read_text()
    if "open_store(" in source or "record_step(" in source:
        assert errors.NotARepository in module.RAISES


@pytest.mark.parametrize("name", ALL)
def test_global_options_are_taken_before_and_after_the_word(name, tmp_path):
    module_of(name)
    words = name.split(" ")
    for line in (
        ["--json", "-C", str(tmp_path), *words, "--no-such-option"],
        [*words, "--json", "-C", str(tmp_path), "--no-such-option"],
    ):
        said = making.run(*line)
        assert said.exit == 2
        assert said.error["class"] == "E_USAGE"


@pytest.mark.parametrize("name", ALL)
def test_a_directory_that_is_not_there_is_a_usage_error(name):
    module_of(name)
    said = making.run("-C", "/no/such/dir", *name.split(" "), *ARGUMENTS.get(name, []))
    if name in ("version", "help", "completion", "init", "probe-engine") and said.exit == 0:
        pytest.fail(f"{name} ignored -C")
    assert said.exit == 2, said.err


@pytest.mark.parametrize("name", PLUMBING)
def test_a_plumbing_command_is_the_same_by_its_own_name(name, monkeypatch):
    module_of(name)
    monkeypatch.setenv("COLUMNS", "80")
    assert making.plumb(name, "--help") == call(name, "--help")


@pytest.mark.parametrize("name", ALL)
def test_building_its_parser_has_no_effect(name, monkeypatch):
    module = module_of(name)
    monkeypatch.setattr(sys, "argv", ["x", "--nonsense"])
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert module.build_parser().prog == commands.program_of(name)


@pytest.mark.parametrize("name", ALL)
def test_a_bug_is_reported_as_one(name, monkeypatch):
    module = module_of(name)

    def broken(args):
        raise RuntimeError("boom")

    monkeypatch.setattr(module, "work", broken)
    said = call(name, *ARGUMENTS.get(name, MORE_ARGUMENTS.get(name, [])))
    if name in ("version",):
        return  # answered before its module is loaded
    assert said.exit == 70
    assert "Traceback" in said.err
    assert "E_INTERNAL: RuntimeError: boom" in said.err


MORE_ARGUMENTS = {
    "init": ["x"],
    "completion": ["bash"],
    "write-intent": ["--record"],
    "write-descriptor": ["--record"],
    "write-ready": ["--record"],
    "apply-tree": ["a", "b"],
}


def test_aliases_lead_to_commands():
    assert set(commands.ALIASES.values()) <= set(ALL)
    assert not set(commands.ALIASES) & set(ALL)
    for alias in commands.ALIASES:
        said = making.run(*alias.split(" "), "--help")
        assert said.exit == 0, alias


def test_groups_are_those_of_the_table():
    assert {row[1] for row in commands.COMMANDS.values()} == set(commands.GROUPS)
    assert {row[0] for row in commands.COMMANDS.values()} == {commands.PLUMBING, commands.PORCELAIN}


def test_summaries_are_short_plain_and_all_different():
    summaries = [row[2] for row in commands.COMMANDS.values()]
    assert len(set(summaries)) == len(summaries)
    for summary in summaries:
        assert summary[0].isupper()
        assert not summary.endswith(".")
        assert len(summary) <= 72


def test_installed_scripts_run(tmp_path):
    sibling = Path(sys.executable).parent
    missing = [name for name in PLUMBING if not (sibling / f"jvs-{name}").exists()]
    assert missing == [], "install jvs again: console scripts are missing"
    done = subprocess.run([sibling / "jvs-hash-tree", tmp_path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[0-9a-f]{64}\n", done.stdout)
