"""Words of other tools: each gets a hint that names commands of ours, and none is a command of ours."""

from __future__ import annotations

import re

import making
import pytest

from jvs.cli import commands, other_words
from jvs.ui import fields

OURS = {name.split(" ")[0] for name in (*commands.COMMANDS, *commands.ALIASES)}


def named(hint: str) -> list[str]:
    """Return the commands that a hint tells to run, `jvs` left out."""
    return [words.replace('"', " ") for words in re.findall(r"jvs ((?:[a-z][a-z-]*)(?: [a-z]+)?)", hint)]


def said_by(*words):
    said = making.run(*words)
    assert said.exit == 2
    return " ".join(said.err.split())


@pytest.mark.parametrize("word", other_words.COMMANDS)
def test_a_word_of_another_tool_gets_a_hint(word):
    assert word not in OURS, "it is a command now: take it off the table"
    assert other_words.COMMANDS[word] in said_by(word)
    assert other_words.COMMANDS[word] in " ".join(making.run("help", word).err.split())


@pytest.mark.parametrize("words", other_words.SECOND)
def test_a_second_word_of_another_tool_gets_a_hint(words):
    assert words not in commands.COMMANDS and words not in commands.ALIASES, "take it off the table"
    assert other_words.SECOND[words] in said_by(*words.split(" "))


HINTS = [*other_words.COMMANDS.values(), *other_words.SECOND.values(), *other_words.OPTIONS.values()]


@pytest.mark.parametrize("hint", HINTS)
def test_every_command_in_a_hint_exists(hint):
    for words in named(hint):
        known = words in commands.COMMANDS or words in commands.ALIASES or words.split(" ")[0] in OURS
        assert known, words


@pytest.mark.parametrize(("command", "option"), other_words.OPTIONS)
@pytest.mark.parametrize("more", [[], ["x"]], ids=["alone", "with a word"])
def test_an_option_of_another_tool_gets_a_hint(command, option, more):
    assert other_words.OPTIONS[command, option] in said_by(command, option, *more)


def test_what_comes_after_two_dashes_is_no_option_of_another_tool():
    assert other_words.option("restore", ["--", "--hard"]) is None


TARGETS = {
    "HEAD^": "write 'HEAD~1'",
    "HEAD^^": "write 'HEAD~2'",
    "latest": "write 'LATEST'",
    "one..two": "'jvs diff FROM TO'",
    "HEAD:a": "'jvs cat TARGET:PATH'",
    "main": "'jvs history -w main'",
    "-3": "'jvs history -n 3'",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_of_another_tool_gets_a_hint(target, tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(store))
    making.run("snapshot", "first")
    said = making.run("history", target)
    assert said.exit == 5
    assert TARGETS[target] in said.err


def test_a_tag_that_looks_like_a_target_of_another_tool_is_a_tag(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(store))
    making.run("snapshot", "v1..v2", "--tag", "main")
    assert making.run("show", "main", "--format", "{note}").text == "v1..v2\n"
    assert making.run("show", "v1..v2", "--format", "{tags}").text == "main\n"
    assert "did you mean 'v1..v2'?" in making.run("show", "v1..v3").err


def test_jvs_alone_says_how_to_begin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = making.run()
    assert said.exit == 2
    assert "  jvs init " in said.text and "  jvs init NAME " in said.text
    assert len(said.text.splitlines()) < 10
    making.make_store(tmp_path / "repo")
    monkeypatch.chdir(tmp_path / "repo")
    said = making.run()
    assert said.exit == 2
    assert "Every day" in said.text


def test_only_what_is_missing_is_called_required():
    assert "required: TARGET\n" in making.run("tag").err
    assert "required: SOURCE\n" in making.run("merge").err


@pytest.mark.parametrize("page", ["history", "show"])
def test_the_help_lists_all_fields(page):
    text = " ".join(making.run("help", "-t", page).text.split())
    listed = text.partition("Fields of --format: ")[2].partition(";")[0]
    assert listed.split(", ") == list(fields.FIELDS)


def test_a_field_that_is_not_there_lists_all(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(store))
    making.run("snapshot", "first")
    for words in (["history"], ["show"]):
        said = making.run(*words, "--format", "{nam}")
        assert said.exit == 2
        assert all(field in said.err for field in fields.FIELDS)


def test_init_takes_no_repository_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said_by("init", "--repo", str(tmp_path / "x")).endswith("keeps the history of DIR in C")
    assert list(tmp_path.iterdir()) == []


def test_a_near_word_is_one_for_every_day():
    assert "did you mean 'worktree list'" in making.run("help", "worktre list").err
    assert "did you mean 'history'" in making.run("histroy").err
    assert "did you mean 'hash-tree'" in making.run("hsah-tree").err


def test_config_show_is_config_list(tmp_path, monkeypatch):
    making.make_store(tmp_path / "repo")
    monkeypatch.chdir(tmp_path / "repo")
    assert making.run("config", "show").text == making.run("config", "list").text
