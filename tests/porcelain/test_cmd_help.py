"""`jvs help`: the overview, second words, extensions, the manual."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import making
import pytest

from jvs.cli import commands, manual
from jvs.ui import manual_page


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_the_overview_lists_all_porcelain_in_groups(store):
    text = making.run("help").text
    for name, row in commands.COMMANDS.items():
        assert (f"  {name} " in text) == (row[0] == commands.PORCELAIN)
    assert "Every day" in text
    assert max(map(len, text.splitlines())) <= 80


def test_all_adds_plumbing_and_extensions(store, tmp_path, monkeypatch):
    program = tmp_path / "jvs-frobnicate"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "jvs-not-executable").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    text = making.run("help", "-a").text
    assert "  jvs-hash-tree " in text and "frobnicate" in text and "not-executable" not in text
    rows = making.run("help", "-a", "--json").json
    assert {"command": "frobnicate", "program": "jvs-frobnicate"}.items() <= rows[-1].items()
    assert len(rows) == len(commands.COMMANDS) + 1


def test_a_first_word_lists_its_second_words(store):
    text = making.run("help", "gc").text
    assert "gc plan" in text and "gc unpin" in text
    assert "pin add" in making.run("help", "pin").text


def test_without_man_the_options_are_printed(store, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert making.run("help", "status").text.startswith("usage: jvs status")
    assert making.run("help", "hash-tree").text.startswith("usage: jvs-hash-tree")
    assert making.run("help", "jvs-hash-tree").text.startswith("usage: jvs-hash-tree")
    assert making.run("help", "fork").text.startswith("usage: jvs worktree fork")
    assert max(map(len, making.run("help", "status").text.splitlines())) <= 80


def test_the_man_page_is_opened(store, monkeypatch, tmp_path):
    program = tmp_path / "man"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    opened = []
    monkeypatch.setattr(os, "execv", lambda path, words: opened.append(words))
    making.run("help", "gc", "plan")
    making.run("help", "format")
    assert [words[3:] for words in opened] == [["1", "jvs-gc-plan"], ["5", "jvs-format"]]


def test_an_unknown_command_has_a_nearest(store):
    said = making.run("help", "stauts")
    assert said.exit == 5 and "did you mean 'status'?" in said.err


TOPICS = sorted(
    path.name.replace(".", "(") + ")"
    for section in (5, 7)
    for path in (Path(__file__).parent.parent.parent / "man" / f"man{section}").iterdir()
)


@pytest.mark.parametrize("topic", TOPICS)
def test_without_man_a_topic_is_printed_as_text(store, monkeypatch, tmp_path, topic):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = making.run("help", topic)
    assert said.exit == 0, said.err
    lines = said.text.splitlines()
    assert lines[0] == "NAME"
    assert lines[1].strip().startswith(f"{topic[:-3]} - ")
    assert len(lines) > 30
    name = topic[4:-3]
    assert making.run("help", topic, "--json").json["topic"] == name
    assert making.run("help", topic[-2], name).text == said.text
    if name not in commands.first_words():
        assert making.run("help", name).text == said.text


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent.parent / "man").glob("man?/*")), ids=lambda p: p.name
)
def test_every_page_can_be_text(path):
    """No macro and no escape of roff is left, and no word of the page is lost."""
    source = path.read_text()
    text = manual_page.render(source, 80)
    assert re.findall(r"^\.[A-Z]|\\f[BIR]|\\\(|(?<![\w`'])(?:Sy|Xr|Ns|Dq|Pq|Fl|Pa) ", text, re.M) == []
    said = set(re.findall(r"[A-Za-z]{5,}", text))
    source = re.sub(r"^\.(\\\"|TH|Dd|Dt|Os|Bl|Bd).*$", "", source, flags=re.M)
    assert set(re.findall(r"[A-Za-z]{5,}", re.sub(r"\\(f.|\(..|.)", " ", source))) - said == set()


def test_a_compressed_page_is_read(store, monkeypatch, tmp_path):
    source = (Path(__file__).parent.parent.parent / "man" / "man7" / "jvs-tutorial.7").read_bytes()
    (tmp_path / "man7").mkdir()
    (tmp_path / "man7" / "jvs-tutorial.7.gz").write_bytes(gzip.compress(source))
    assert manual.source_of(str(tmp_path / "man7" / "jvs-tutorial.7.gz")) == source.decode()
