"""Where things lie, and finding the repository from anywhere inside it."""

from __future__ import annotations

import os

import hostile
import making
import pytest

from jvs.errors import FormatUnsupported, JvsError, NameInvalid, NotARepository, PathEscape
from jvs.store import layout, locating

ID = "1700000000000-0a1b2c3d"


@pytest.fixture
def place(tmp_path):
    (tmp_path / ".jvs").mkdir()
    return layout.Layout(str(tmp_path))


def test_the_fixed_names_are_where_the_format_says(place):
    assert str(place.payload(ID)) == f"{place.root}/.jvs/snapshots/{ID}"
    assert str(place.payload_tmp(ID)) == f"{place.root}/.jvs/snapshots/{ID}.tmp"
    assert str(place.ready(ID)) == f"{place.root}/.jvs/snapshots/{ID}.READY"
    assert str(place.descriptor(ID)) == f"{place.root}/.jvs/descriptors/{ID}.json"
    assert str(place.descriptor_tmp(ID)) == f"{place.root}/.jvs/descriptors/{ID}.json.tmp"
    assert str(place.intent(ID)) == f"{place.root}/.jvs/intents/{ID}.json"
    assert str(place.audit_log) == f"{place.root}/.jvs/audit/audit.jsonl"
    assert str(place.worktree_config("main")) == f"{place.root}/.jvs/worktrees/main/config.json"
    assert str(place.worktree_dir("main")) == f"{place.root}/main"
    assert str(place.worktree_dir("f")) == f"{place.root}/worktrees/f"


@pytest.mark.parametrize("name", [*hostile.BAD_SNAPSHOT_IDS], ids=lambda name: ascii(name)[:30])
def test_nothing_but_an_id_becomes_part_of_a_path(place, name):
    for make in (place.payload, place.ready, place.descriptor, place.intent, place.undo_dir):
        with pytest.raises(NameInvalid):
            make(name)


def test_nothing_but_a_worktree_name_becomes_part_of_a_path(place):
    for name in ("../x", "", ".", "a/b"):
        with pytest.raises(NameInvalid):
            place.worktree_dir(name)
        with pytest.raises(NameInvalid):
            place.worktree_config(name)


def test_the_worktree_around_a_path_is_known(place):
    assert place.worktree_of(f"{place.root}/main") == "main"
    assert place.worktree_of(f"{place.root}/main/a/b") == "main"
    assert place.worktree_of(f"{place.root}/worktrees/f/a") == "f"
    assert place.worktree_of(f"{place.root}/worktrees") is None
    assert place.worktree_of(f"{place.root}") is None
    assert place.worktree_of(f"{place.root}/.jvs/snapshots") is None


def test_the_repository_is_found_from_deep_inside(tmp_path):
    store = making.make_store(tmp_path / "r")
    deep = tmp_path / "r/main/a/b/c"
    deep.mkdir(parents=True)
    assert locating.find_root(str(deep)) == store.root
    assert locating.find_root(store.root) == store.root
    link = tmp_path / "link"
    link.symlink_to(deep)
    assert locating.find_root(str(link)) == store.root


def test_outside_of_a_repository_there_is_none(tmp_path):
    with pytest.raises(NotARepository) as caught:
        locating.find_root(str(tmp_path))
    assert "jvs init" in caught.value.hint


def test_a_users_own_directory_called_jvs_is_not_taken_for_a_control_directory(tmp_path):
    store = making.make_store(tmp_path / "r")
    own = making.main_of(store) / "sub/.jvs/notes"
    own.mkdir(parents=True)
    assert locating.find_root(str(own.parent.parent)) == store.root


def test_a_linked_control_directory_is_refused(tmp_path):
    making.make_store(tmp_path / "r")
    other = tmp_path / "other"
    other.mkdir()
    (other / ".jvs").symlink_to(tmp_path / "r/.jvs")
    with pytest.raises(PathEscape):
        locating.find_root(str(other))


@pytest.mark.parametrize("name", ["worktrees", "snapshots", "descriptors", "intents", "audit", "gc", "undo", "locks"])
@pytest.mark.parametrize("what", ["link", "file", "missing"])
def test_a_damaged_control_plane_is_refused_with_a_class(tmp_path, name, what):
    store = making.make_store(tmp_path / "r")
    path = tmp_path / "r/.jvs" / name
    os.rename(path, tmp_path / "aside")
    if what == "link":
        path.symlink_to(tmp_path / "aside")
    elif what == "file":
        path.write_text("x")
    expected = NotARepository if what == "missing" else PathEscape
    with pytest.raises(expected) as caught:
        making.open_store(store.root)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"1\n", b"1", b"3\n", b"", b"2", b"2\n\n", b"two\n", b"\xff\n", b"2" * 1000])
def test_other_formats_are_refused(tmp_path, content):
    store = making.make_store(tmp_path / "r")
    (tmp_path / "r/.jvs/format_version").write_bytes(content)
    with pytest.raises(JvsError) as caught:
        making.open_store(store.root)
    assert caught.value.name in ("E_FORMAT_UNSUPPORTED", "E_IO")
    assert caught.value.hint
    if len(content) < 100:
        assert isinstance(caught.value, FormatUnsupported)


def test_format_one_is_named_with_the_way_on(tmp_path):
    store = making.make_store(tmp_path / "r")
    (tmp_path / "r/.jvs/format_version").write_bytes(b"1\n")
    with pytest.raises(FormatUnsupported, match="format 1") as caught:
        making.open_store(store.root)
    assert "jvs-import" in caught.value.hint


def test_a_missing_format_version_is_said(tmp_path):
    store = making.make_store(tmp_path / "r")
    (tmp_path / "r/.jvs/format_version").unlink()
    with pytest.raises(FormatUnsupported, match="missing"):
        making.open_store(store.root)


def test_a_control_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "r")
    monkeypatch.setattr(os, "geteuid", lambda: os.lstat(str(store.layout.jvs)).st_uid + 1)
    with pytest.raises(PathEscape, match="another user"):
        making.open_store(store.root)
