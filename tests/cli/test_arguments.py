"""Command lines: options and arguments in any order, and what stands behind `--`."""

from __future__ import annotations

import importlib

import making
import pytest

from jvs.cli import arguments, commands, policy
from jvs.errors import UsageError
from jvs.gc import retention

TAKES_PATHS = ("snapshot", "restore", "diff")


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "r")
    making.write(making.main_of(made), {"a": "1", "b": "2", "--json": "3", "-x": "4"})
    making.snapshot(made, "first", tags=["t"])
    monkeypatch.chdir(making.main_of(made))
    return made


@pytest.mark.parametrize(
    "words", [["a", "--json", "--", "b"], ["--json", "--", "a", "b"], ["a", "b", "--json"], ["--", "a", "b"]]
)
def test_options_and_dashes_stand_anywhere(store, words):
    making.write(making.main_of(store), {"a": "x", "b": "x", "c": "x"})
    said = making.run("status", *words)
    assert said.exit == 0, said.err
    if "--json" in words:
        assert [item["path"] for item in said.json["modified"]] == ["a", "b"]
        assert said.json["added"] == []


def test_what_stands_behind_dashes_is_no_option(store):
    making.write(making.main_of(store), {"--json": "x", "-x": "x"})
    said = making.run("status", "-s", "--", "--json", "-x")
    assert said.text == "M --json\nM -x\n"
    assert making.run("diff", "HEAD", "--name-only", "--", "--json").text == "--json\n"
    assert [item["path"] for item in making.run("restore", "HEAD", "--json", "--", "-x").json["changes"]] == ["-x"]
    assert making.run("snapshot", "note", "--json", "--", "--json").json["partial_paths"] == ["--json"]


def test_dashes_may_be_a_path_themselves(store):
    making.write(making.main_of(store), {"--": "x"})
    assert making.run("status", "-s", "--", "--").text == "A --\n"


def test_one_word_of_several_may_stand_behind(store):
    found = making.plumb("diff-tree", "--json", "HEAD", "--", "HEAD")
    assert (found.exit, found.json) == (0, [])
    assert making.run("show", "--json", "--", "t").json["tags"] == ["t"]
    assert making.run("config", "set", "--json", "default_tags", "--", "one", "two").json["value"] == ["one", "two"]
    assert making.run("completion", "--", "bash").exit == 0


def test_too_many_words_behind_dashes_are_named_as_they_were_written(store):
    said = making.run("info", "--", "--odd")
    assert said.exit == 2
    assert "--odd" in said.err and "\0" not in said.err
    assert "'fosh'" in making.run("completion", "--", "fosh").err


@pytest.mark.parametrize("words", [["with-lock", "main"], ["run"]])
def test_a_command_to_run_begins_behind_the_dashes(store, words):
    assert making.run(*words, "--wait", "5", "--", "true", "--json").exit == (2 if words[1:] else 0)
    assert making.run(words[0], "--wait", "5", *words[1:], "--", "sh", "-c", "exit 9", "--", "x").exit == 9
    said = making.run(*words, "--no-such-option", "--", "true")
    assert (said.exit, "E_USAGE" in said.err, "hint: " in said.err) == (2, True, True)


def test_an_option_where_a_command_begins_is_refused_and_not_run(store):
    said = making.plumb("with-lock", "main", "--json", "--", "true")
    assert said.exit == 2
    assert "'--json' comes before the command to run" in said.err


def test_a_failure_is_json_only_when_the_command_line_asks_for_it(store):
    assert making.run("status", "--", "--json").exit == 0
    said = making.run("status", "--no-such-option", "--", "--json")
    assert said.err.startswith("jvs status: E_USAGE: ")
    assert arguments.asks_for_json(["--json", "--", "a"])
    assert not arguments.asks_for_json(["--", "--json"])


@pytest.mark.parametrize("name", sorted(commands.COMMANDS))
def test_dashes_at_the_end_change_nothing(name):
    parser = importlib.import_module(commands.module_of(name)).build_parser()
    required = ["x"] * sum(
        1
        for action in parser._actions
        if not action.option_strings and action.nargs in (None, "+") and not action.choices
    )
    options = [
        word for action in parser._actions if action.required and action.option_strings for word in values(action)
    ]
    choices = [action.choices[0] for action in parser._actions if action.choices and not action.option_strings]
    words = [*options, *required, *map(str, choices)]
    assert vars(parser.parse_args([*words, "--"])) == vars(parser.parse_args(words))


def values(action):
    return [action.option_strings[-1]] + ([] if action.nargs == 0 else ["x"])


@pytest.mark.parametrize("option", commands.COMMON_OPTIONS, ids=lambda option: option.name)
def test_every_common_option_may_stand_before_the_word(store, option):
    command = {"jsonl": "history", "cbor": "ls-tree HEAD", "zero": "status"}.get(option.form, "status").split()
    value = {"DIR": store.root, "KEY=VALUE": "progress_enabled=false", "SECONDS": "5", None: None}[option.metavar]
    ways = [[option.name]] if value is None else [[option.name, value]]
    if value is not None:
        ways.append([f"{option.name}={value}"] if option.name.startswith("--") else [f"{option.name}{value}"])
    for words in ways:
        first = making.run(*words, *command)
        assert first.exit == 0, first.err
        assert (first.out, first.exit) == (making.run(*command[:1], *words, *command[1:]).out, 0)


def test_the_options_of_a_policy_are_its_rules():
    parser = arguments.make_parser("gc plan", "x")
    policy.add_options(parser)
    assert set(policy.given(parser.parse_args([]))) == {*retention.RULES, retention.DROP_TAGGED}
    for rule in retention.COUNTS:
        with pytest.raises(UsageError):
            parser.parse_args([f"--{rule.replace('_', '-')}", "-1"])
