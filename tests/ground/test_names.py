"""Names that jvs gives out: what is taken, what is refused, and with which class."""

from __future__ import annotations

import os
import re
import unicodedata

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jvs import names
from jvs.errors import NameInvalid, UsageError

RULE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def shown(value: str) -> str:
    return ascii(value)[:30]


@pytest.mark.parametrize("name", hostile.GOOD_WORKTREE_NAMES)
def test_good_worktree_names_are_taken_as_they_are(name):
    assert names.check_worktree_name(name) == name


@pytest.mark.parametrize("name", hostile.BAD_WORKTREE_NAMES, ids=shown)
def test_bad_worktree_names_are_refused(name):
    with pytest.raises(NameInvalid) as caught:
        names.check_worktree_name(name)
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    caught.value.message.encode("utf-8")


@pytest.mark.parametrize("tag", hostile.GOOD_TAGS)
def test_good_tags_are_taken(tag):
    assert names.check_tag(tag) == tag


@pytest.mark.parametrize("tag", hostile.BAD_TAGS, ids=shown)
def test_bad_tags_are_refused(tag):
    with pytest.raises(NameInvalid):
        names.check_tag(tag)


@pytest.mark.parametrize("text", hostile.GOOD_SNAPSHOT_IDS)
def test_good_ids_are_taken(text):
    assert names.check_snapshot_id(text) == text


@pytest.mark.parametrize("text", [*hostile.BAD_SNAPSHOT_IDS, None, 17, b"1700000000000-0a1b2c3d"], ids=shown)
def test_whatever_is_no_id_never_becomes_part_of_a_path(text):
    with pytest.raises(NameInvalid):
        names.check_snapshot_id(text)


@pytest.mark.parametrize("note", hostile.ODD_NOTES, ids=shown)
def test_odd_notes_are_kept_as_given(note):
    assert names.check_note(note) == note


@pytest.mark.parametrize("note", hostile.BAD_NOTES, ids=shown)
def test_notes_that_cannot_be_stored_are_refused(note):
    with pytest.raises(UsageError):
        names.check_note(note)


def test_a_note_of_exactly_the_limit_is_taken():
    names.check_note("a" * names.MAX_NOTE_BYTES)
    with pytest.raises(UsageError):
        names.check_note("\u00e9" * (names.MAX_NOTE_BYTES // 2 + 1))


@given(st.text())
def test_a_name_is_taken_exactly_when_the_rule_says_so(name):
    normal = unicodedata.normalize("NFC", name)
    fits = bool(RULE.fullmatch(normal)) and normal not in (".", "..") and not normal.startswith("-")
    try:
        assert names.check_worktree_name(name) == normal
        assert fits
    except NameInvalid:
        assert not fits


def test_a_lone_surrogate_is_refused_like_any_other_letter():
    for name in ("\ud800", "a\udcff", "x" * 90 + "\udfff"):
        with pytest.raises(NameInvalid):
            names.check_worktree_name(name)


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=70))
def test_no_accepted_name_leads_out_of_a_directory(name):
    try:
        taken = names.check_worktree_name(name)
    except NameInvalid:
        return
    assert os.path.normpath(os.path.join("/base", taken)) == f"/base/{taken}"


@given(st.text(alphabet="0123456789abcdef-\u0660", min_size=20, max_size=24))
def test_an_id_is_thirteen_digits_a_dash_and_eight_hex_digits(text):
    assert names.is_snapshot_id(text) == bool(re.fullmatch(r"[0-9]{13}-[0-9a-f]{8}", text))


def test_a_note_with_nul_is_refused():
    with pytest.raises(UsageError):
        names.check_note("a\0b")


@pytest.mark.parametrize("word", names.LATEST)
def test_what_names_the_latest_snapshot_is_taken(word):
    for check in (names.check_tag, names.check_new_worktree_name):
        with pytest.raises(NameInvalid):
            check(word)
    assert names.check_worktree_name(word) == word  # one that is there can be renamed
