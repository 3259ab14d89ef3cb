"""What differs: changes, renames, partial snapshots, status, folding, patches, bars."""

from __future__ import annotations

import os
import subprocess

import making
import pytest

from jvs.compare import changes as compare_changes
from jvs.compare import diff, status
from jvs.errors import NotFound
from jvs.ui import diff_text, patch, terminal
from jvs.ui.terminal import Terminal

PLAIN = Terminal(color=False, width=80, tty=False)


@pytest.fixture
def store(tmp_path):
    return making.make_store(tmp_path / "repo")


@pytest.fixture
def main(store):
    return making.main_of(store)


def shown(changes):
    return [(c.letter, c.path.decode()) for c in changes]


def test_added_removed_modified(store, main):
    making.write(main, {"keep": "k", "gone": "g1", "old": "before"})
    first = making.snapshot(store)["snapshot_id"]
    (main / "gone").unlink()
    making.write(main, {"old": "after", "dir/new": "n"})
    second = making.snapshot(store)["snapshot_id"]
    found = diff.between(store, first, second)
    assert shown(found.changes) == [("A", "dir"), ("A", "dir/new"), ("D", "gone"), ("M", "old")]
    value = found.as_json()
    assert (value["from_snapshot_id"], value["to_snapshot_id"]) == (first, second)
    assert [value[f"total_{k}"] for k in ("added", "removed", "modified", "renamed")] == [2, 1, 1, 0]
    entry = value["modified"][0]
    assert (entry["path"], entry["old_size"], entry["size"], entry["mode"]) == ("old", 6, 5, "0644")
    assert entry["changed"] == ["content"]
    assert entry["old_hash"] != entry["new_hash"]


def test_mode_kind_and_root_changes_are_seen(store, main):
    making.write(main, {"a": "x", "b": "y"})
    first = making.snapshot(store)["snapshot_id"]
    (main / "a").chmod(0o600)
    (main / "b").unlink()
    (main / "b").symlink_to("a")
    main.chmod(0o700)
    found = diff.against_files(store, first, "main")
    assert [(c.path, c.how()) for c in found.changes] == [(b".", ["mode"]), (b"a", ["mode"]), (b"b", ["kind"])]
    assert not status.look(store, "main").clean


def test_a_moved_file_is_a_rename(store, main):
    making.write(main, {"a/data.bin": "payload"})
    first = making.snapshot(store)["snapshot_id"]
    (main / "b").mkdir()
    (main / "a/data.bin").rename(main / "b/data.bin")
    found = diff.against_files(store, first, "main")
    (moved,) = found.of(compare_changes.RENAMED)
    assert (moved.old_path, moved.path) == (b"a/data.bin", b"b/data.bin")
    assert moved.as_json()["old_path"] == "a/data.bin"


def test_renames_prefer_the_same_name_and_pair_each_file_once(store, main):
    making.write(main, {"x/one": "same", "x/two": "same"})
    first = making.snapshot(store)["snapshot_id"]
    (main / "y").mkdir()
    (main / "x/one").rename(main / "y/two-other")
    (main / "x/two").rename(main / "y/two")
    making.write(main, {"y/third": "same"})
    found = diff.against_files(store, first, "main")
    pairs = {c.path: c.old_path for c in found.of(compare_changes.RENAMED)}
    assert pairs == {b"y/two": b"x/two", b"y/third": b"x/one"}
    assert (b"y/two-other", "added") in [(c.path, c.what) for c in found.changes]


def test_empty_files_and_links_are_never_renames(store, main):
    making.write(main, {"empty": ""})
    (main / "link").symlink_to("target")
    first = making.snapshot(store)["snapshot_id"]
    (main / "empty").rename(main / "void")
    (main / "link").rename(main / "chain")
    assert diff.against_files(store, first, "main").of(compare_changes.RENAMED) == []


def test_paths_limit_a_difference(store, main):
    making.write(main, {"src/a": "1", "srcs": "2", "doc/b": "3"})
    first = making.snapshot(store)["snapshot_id"]
    making.write(main, {"src/a": "x", "srcs": "x", "doc/b": "x"})
    found = diff.against_files(store, first, "main", paths=[b"src"])
    assert shown(found.changes) == [("M", "src/a")]


def test_the_two_newest_of_the_line(store, main):
    with pytest.raises(NotFound):
        diff.newest_two(store, "main")
    making.write(main, {"a": "1"})
    first = making.snapshot(store)["snapshot_id"]
    assert diff.newest_two(store, "main") == (None, first)
    assert shown(diff.between(store, None, first).changes) == [("A", "a")]
    making.write(main, {"a": "2"})
    second = making.snapshot(store)["snapshot_id"]
    assert diff.newest_two(store, "main") == (first, second)


def test_a_partial_snapshot_counts_as_its_parent_with_some_paths_replaced(store, main):
    making.write(main, {"d/a": "1", "d/b": "1", "e": "1", "gone": "1"})
    first = making.snapshot(store)["snapshot_id"]
    making.write(main, {"d/a": "2", "d/b": "2", "e": "2"})
    (main / "gone").unlink()
    part = making.snapshot(store, paths=[b"d/a", b"gone"])["snapshot_id"]
    assert shown(diff.between(store, first, part).changes) == [("M", "d/a"), ("D", "gone")]
    assert shown(status.look(store, "main").diff.changes) == [("M", "d/b"), ("M", "e")]
    whole = making.snapshot(store)["snapshot_id"]
    assert shown(diff.between(store, part, whole).changes) == [("M", "d/b"), ("M", "e")]
    patches = b"".join(patch.patch_chunks(diff.between(store, part, whole), PLAIN))
    assert b"-1\n" in patches and b"+2\n" in patches


def test_status_before_the_first_snapshot_and_after(store, main):
    making.write(main, {"a": "1"})
    found = status.look(store, "main")
    assert (found.head, found.clean, shown(found.diff.changes)) == (None, False, [("A", "a")])
    made = making.snapshot(store)["snapshot_id"]
    found = status.look(store, "main")
    assert (found.head, found.latest, found.clean, found.detached) == (made, made, True, False)


def test_status_writes_nothing(store, main):
    making.write(main, {"a": "1", "d/b": "2"})
    making.snapshot(store)
    making.write(main, {"d/b": "3"})

    def stamps():
        return {
            path: (st.st_mtime_ns, st.st_atime_ns, st.st_ctime_ns)
            for path in (main, main / "a", main / "d", main / "d/b")
            for st in [os.stat(path)]
        }

    before = stamps()
    status.look(making.open_store(store.root), "main")
    assert stamps() == before


def test_the_index_changes_no_answer(store, main):
    making.write(main, {"a": "1", "d/b": "2"})
    first = making.snapshot(store)["snapshot_id"]
    making.write(main, {"a": "2", "c": "3"})
    with_index = diff.against_files(making.open_store(store.root), first, "main").as_json()
    without = diff.against_files(making.open_store(store.root, use_index=False), first, "main").as_json()
    assert with_index == without


def test_unreadable_paths_leave_the_changes(store, main, monkeypatch):
    from jvs.store import worktree_scan

    making.write(main, {"a": "1", "b": "1"})
    first = making.snapshot(store)["snapshot_id"]
    (main / "a").unlink()
    (main / "b").unlink()
    real = worktree_scan.walk_now

    def partly(*args, **words):
        found = real(*args, **words)
        found.unreadable = [(b"a", "Permission denied")]
        return found

    monkeypatch.setattr(worktree_scan, "walk_now", partly)
    found = diff.against_files(store, first, "main")
    assert (shown(found.changes), found.unreadable) == ([("D", "b")], [b"a"])


def test_directories_that_came_as_a_whole_are_folded(store, main):
    making.write(main, {"old/x": "12"})
    first = making.snapshot(store)["snapshot_id"]
    making.write(main, {"new/deep/a": "123", "new/b": "4", "old/y": "5"})
    rows = compare_changes.fold(diff.against_files(store, first, "main").changes)
    assert [(r.change.path, r.files, r.bytes) for r in rows] == [(b"new", 2, 4), (b"old/y", 1, 1)]


def test_patches_apply_with_patch(store, main, tmp_path):
    making.write(main, {"a": "1\n2\n3\n", "b": "no newline", "c": "gone\n", "cr": "x\r\ny\r\n"})
    first = making.snapshot(store)["snapshot_id"]
    making.write(main, {"a": "1\n2b\n3\n4\n", "b": "now two\nno newline", "n": "new\n", "cr": "x\r\nz\r\n"})
    (main / "c").unlink()
    found = diff.against_files(store, first, "main")
    text = b"".join(patch.patch_chunks(found, PLAIN))
    work = tmp_path / "work"
    subprocess.run(["cp", "-a", str(store.layout.payload(first)), work], check=True)
    done = subprocess.run(["patch", "-p1", "--binary", "-d", work], input=text, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("a", "b", "n", "cr"):
        assert (work / name).read_bytes() == (main / name).read_bytes()
    assert not (work / "c").exists()


def test_binary_and_large_files_are_named_on_a_terminal(store, main):
    making.write(main, {"bin": b"\0\1", "big": "x\n" * 400_000})
    first = making.snapshot(store)["snapshot_id"]
    making.write(main, {"bin": b"\0\2", "big": "y\n" * 400_000})
    found = diff.against_files(store, first, "main")
    text = b"".join(patch.patch_chunks(found, terminal.Terminal(color=False, width=80, tty=True)))
    assert text.count(b"Binary or large files differ") == 2
    assert len(text) < 500
    assert b"".join(patch.patch_chunks(found, PLAIN)).count(b"literal ") == 4


def test_patches_never_follow_links_out(store, main, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("do not show\n")
    making.write(main, {"a": "1\n"})
    first = making.snapshot(store)["snapshot_id"]
    (main / "a").unlink()
    (main / "a").symlink_to(secret)
    text = b"".join(patch.patch_chunks(diff.against_files(store, first, "main"), PLAIN))
    assert b"do not show" not in text


@pytest.mark.parametrize("width", [24, 40, 60, 80, 200])
def test_bars_fit_the_screen(store, main, width):
    making.write(main, {"a" * 60: "x" * 1000, "b": "y" * 10, "d/empty": ""})
    first = making.snapshot(store)["snapshot_id"]
    making.write(main, {"a" * 60: "x" * 100, "b": "y" * 5000})
    lines = list(
        diff_text.stat_lines(diff.against_files(store, first, "main"), Terminal(color=False, width=width, tty=True))
    )
    assert len(lines) == 2
    assert max(map(len, lines)) <= width


def test_a_bar_shows_the_smallest_change():
    assert diff_text.bar({"~": 0, "+": 1, "-": 0}, 10**9, 20, PLAIN) == "+"
    assert diff_text.bar({"~": 5, "+": 5}, 10, 20, PLAIN) == "~" * 10 + "+" * 10
