"""TARGET: what a person writes stands for exactly one snapshot, or is an error that helps."""

from __future__ import annotations

import making
import pytest

from jvs import clock
from jvs.errors import Ambiguous, NotFound, UsageError
from jvs.store import refs


@pytest.fixture
def store(tmp_path):
    return making.make_store(tmp_path / "repo")


@pytest.fixture
def ids(store):
    made = []
    for note, tags in (("first light", ["base", "good"]), ("second run", ["good"]), ("second try", [])):
        making.write(making.main_of(store), {"f": note})
        made.append(making.snapshot(store, note, tags=tags)["snapshot_id"])
    return made


@pytest.mark.parametrize(
    ("target", "index"),
    [
        ("HEAD", 2),
        ("HEAD~0", 2),
        ("HEAD~2", 0),
        ("LATEST", 2),
        ("LATEST~2", 0),
        ("base", 0),
        ("good", 1),
        ("first light", 0),
        ("first", 0),
        ("second t", 2),
        ("@{0s}", 2),
    ],
)
def test_targets(store, ids, target, index):
    assert refs.resolve(store, target) == ids[index]


def test_ids_and_their_beginnings(store, ids):
    for snapshot_id in ids:
        assert refs.resolve(store, snapshot_id) == snapshot_id
        assert refs.resolve(store, snapshot_id[14:]) == snapshot_id
        assert refs.resolve(store, refs.short_id(store.layout, snapshot_id)) == snapshot_id


def test_more_than_one_is_never_guessed(store, ids):
    with pytest.raises(Ambiguous) as caught:
        refs.resolve(store, "second")
    assert caught.value.facts["candidates"] == sorted(ids[1:], reverse=True)


def test_a_note_taken_twice_is_ambiguous(store, ids):
    making.write(making.main_of(store), {"f": "again"})
    making.snapshot(store, "first light")
    with pytest.raises(Ambiguous):
        refs.resolve(store, "first light")


@pytest.mark.parametrize("target", ["nothing", "HEAD~9", "HEAD~x", "@{3q}", "@{}", "1500000000000-deadbeef", "/"])
def test_nothing_is_not_found_with_a_hint(store, ids, target):
    with pytest.raises(NotFound) as caught:
        refs.resolve(store, target)
    assert caught.value.hint


def test_an_empty_word_is_no_target(store, ids):
    with pytest.raises(UsageError):
        refs.resolve(store, "")


def test_near_ones_are_named(store, ids):
    with pytest.raises(NotFound) as caught:
        refs.resolve(store, "bsae")
    assert "did you mean 'base'" in caught.value.hint


def test_ages_count_along_the_line(store, ids, monkeypatch):
    now = clock.now_ns()
    monkeypatch.setattr(clock, "now_ns", lambda: now + 3 * 3_600_000_000_000)
    assert refs.resolve(store, "@{2h}") == ids[2]
    with pytest.raises(NotFound):
        refs.resolve(store, "@{1d}")


def test_head_before_the_first_snapshot(store):
    with pytest.raises(NotFound, match="no snapshot yet"):
        refs.resolve(store, "HEAD")


def test_short_ids_grow_until_unique_and_clashes_stay_whole():
    a, b = "1700000000000-aaaaaaa1", "1700000000001-aaaaaaa2"
    assert refs.short_ids([a, b]) == {a: "aaaaaaa1", b: "aaaaaaa2"}
    c = "1700000000002-aaaaaaa1"
    assert refs.short_ids([a, b, c])[a] == a
    assert refs.short_ids([a]) == {a: "aaaaaaa"}


@pytest.mark.parametrize("age", ["0s", "0h0m"])
def test_an_age_is_a_duration_as_everywhere(store, ids, age):
    assert refs.resolve(store, f"@{{{age}}}") == ids[-1]


@pytest.mark.parametrize("age", ["", "h", "1", "-1h", "1.5h", "٣h", "99999999999h"])
def test_what_is_no_age_is_not_found(store, ids, age):
    with pytest.raises(NotFound, match="is not an age"):
        refs.resolve(store, f"@{{{age}}}")
