"""Words of other tools: each gets a hint that names commands of ours, and none is a command of ours."""

from __future__ import annotations

import re

import making
import pytest

from jvs.cli import commands, other_words

OURS = {name.split(" ")[0] for name in (*commands.COMMANDS, *commands.ALIASES)}


def named(hint: str) -> list[str]:
    """Return the commands that a hint tells to run, `jvs` left out."""
    return [words.replace('"', " ") for words in re.findall(r"jvs ((?:[a-z][a-z-]*)(?: [a-z]+)?)", hint)]


@pytest.mark.parametrize("word", other_words.COMMANDS)
def test_a_word_of_another_tool_gets_a_hint(word):
    assert word not in OURS, "it is a command now: take it off the table"
    said = making.run(word)
    assert said.exit == 2
    assert other_words.COMMANDS[word] in " ".join(said.err.split())


@pytest.mark.parametrize("hint", [*other_words.COMMANDS.values(), *other_words.OPTIONS.values()])
def test_every_command_in_a_hint_exists(hint):
    for words in named(hint):
        known = words in commands.COMMANDS or words in commands.ALIASES or words.split(" ")[0] in OURS
        assert known, words


@pytest.mark.parametrize(("command", "option"), other_words.OPTIONS)
def test_an_option_of_another_tool_gets_a_hint(command, option):
    said = making.run(command, option)
    assert said.exit == 2
    assert other_words.OPTIONS[command, option] in " ".join(said.err.split())


def test_config_show_is_config_list(tmp_path, monkeypatch):
    making.make_store(tmp_path / "repo")
    monkeypatch.chdir(tmp_path / "repo")
    assert making.run("config", "show").text == making.run("config", "list").text
