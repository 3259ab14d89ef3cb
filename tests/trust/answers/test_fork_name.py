"""`fork [id] <name>`: one word after `fork` is the name of the new worktree, whatever snapshots are called."""

from __future__ import annotations

import pytest


def forks(lab) -> set[str]:
    return {path.name for path in (lab.root / "worktrees").iterdir()}


@pytest.mark.parametrize("command", [["fork"], ["worktree", "fork"], ["wt", "fork"]], ids=" ".join)
@pytest.mark.parametrize(
    "word",
    [
        pytest.param("experiment", id="the beginning of a note"),
        pytest.param("baseline", id="a tag"),
        pytest.param("trial", id="a note"),
        pytest.param("HASH", id="the short id"),
        pytest.param("ID", id="the id"),
        pytest.param("other", id="nothing"),
    ],
)
def test_one_word_is_the_name(lab, command, word):
    lab.must("snapshot", "experiment-1", "--tag", "baseline")
    (lab.main / "a").write_text("2\n")
    lab.must("snapshot", "trial")
    first, last = lab.ids()
    word = {"ID": first, "HASH": first.split("-")[1][:7]}.get(word, word)
    answer = lab.must(*command, word, "--json")
    assert forks(lab) == {word}
    assert answer.json["snapshot_id"] == last


@pytest.mark.parametrize("order", [["--at", "baseline", "w"], ["w", "--at", "baseline"], ["baseline", "w"]])
def test_a_snapshot_is_named_by_the_first_of_two_words_or_by_an_option(lab, order):
    lab.must("snapshot", "one", "--tag", "baseline")
    (lab.main / "a").write_text("2\n")
    lab.must("snapshot", "two")
    assert lab.must("fork", *order, "--json").json["snapshot_id"] == lab.ids()[0]
    assert forks(lab) == {"w"}


def test_a_snapshot_without_a_name_gets_one_made(lab):
    lab.must("snapshot", "one", "--tag", "baseline")
    lab.must("fork", "--at", "baseline")
    assert len(forks(lab)) == 1
    assert forks(lab).pop().startswith("fork-")


def test_the_usage_says_which_word_is_which(lab):
    usage = lab.must("fork", "--help").text
    assert "[TARGET] NAME" in " ".join(usage.split()), usage[:300]
    assert "[TARGET] [NAME]" not in usage


def test_a_name_that_cannot_be_one_is_refused_and_nothing_is_made(lab):
    lab.must("snapshot", "one")
    for word in ("HEAD~1", "@{2h}", "a/b", "..", "-x", "", ".hidden\n"):
        assert lab.jvs("fork", "--", word).exit in (2, 5, 10), word
    assert forks(lab) == set()


def test_a_word_that_only_names_a_snapshot_is_refused_with_the_way_to_say_it(lab):
    lab.must("snapshot", "one")
    answer = lab.jvs("fork", "HEAD")
    assert answer.exit in (2, 10)
    assert b"--at HEAD" in answer.err
    assert forks(lab) == set()
