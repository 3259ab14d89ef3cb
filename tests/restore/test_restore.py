"""Restore: the delta in place, what it leaves alone, what it keeps, and what it refuses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import making
import pytest
from making import main_of, make_store, open_store, plumb, run, snapshot, violations, write
from zoo import describe_tree, diff_trees, make_zoo

from jvs import clock, errors
from jvs.fs import durable, metadata, removal
from jvs.restore import entries, journal, pruning, replace
from jvs.restore import run as restore
from jvs.store import changing
from jvs.store.store import Store
from jvs.worktrees import undo


def go(store: Store, target: str, name: str = "main", **more) -> restore.Done:
    with changing.worktree(store, name):
        return restore.restore(store, name, target, **more)


def kept_contents(store: Store) -> set[bytes]:
    found = set()
    for where, _, files in os.walk(str(store.layout.undo)):
        found |= {Path(where, file).read_bytes() for file in files if "/files" in where}
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "repo")


@pytest.fixture
def pair(store: Store) -> tuple[Store, str, str]:
    """A repository with two snapshots that differ in every way a delta can."""
    main = main_of(store)
    write(main, {"same": "same", "changed": "one", "gone": "gone", "dir/deep/x": "x", "dir/y": "y", "swap/in": "a"})
    os.symlink("changed", main / "link")
    first = snapshot(store, "first")["snapshot_id"]
    write(main, {"changed": "two!", "added": "added", "dir/deep/x": "X2", "fresh/a/b": "b"})
    (main / "gone").unlink()
    for name in ("swap/in", "link"):
        (main / name).unlink()
    (main / "swap").rmdir()
    write(main, {"swap": "now a file", "link/is": "now a directory"})
    second = snapshot(store, "second")["snapshot_id"]
    return store, first, second


def test_restores_every_kind_of_change_exactly(pair):
    store, first, second = pair
    go(store, first)
    assert diff_trees(describe_tree(str(store.layout.payload(first))), describe_tree(main_of(store)), ["links"]) == []
    go(store, second)
    assert diff_trees(describe_tree(str(store.layout.payload(second))), describe_tree(main_of(store)), ["links"]) == []
    assert violations(store.root) == []


def test_zoo_comes_back_with_all_metadata_and_undo_gives_the_other_one_back(fs_dir: Path):
    store = make_store(fs_dir / "repo")
    main = main_of(store)
    juicefs = "juicefs" in str(fs_dir)
    make_zoo(main, many=20, skip=("xattrs",) if juicefs else ())
    first = snapshot(store)["snapshot_id"]
    before = describe_tree(main)
    for name in sorted(os.listdir(os.fsencode(main)))[::2]:
        removal.remove_tree(making.at(os.fsdecode(os.fsencode(main) + b"/" + name)))
    write(main, {"new/one": "1", "new/two": "2", "zz": "z"})
    os.mkfifo(main / "pipe")
    dirty = describe_tree(main)
    dirty_names = sorted(os.listdir(os.fsencode(main)))  # the zoo has a user's file with a name like ours
    done = go(store, first)
    lost = [loss for loss in done.degraded if loss["what"] != "hardlink"]
    allowed = ["data", "links"] if juicefs else ["data"]
    payload = describe_tree(str(store.layout.payload(first)))
    if not lost:
        found = diff_trees(payload if juicefs else before, describe_tree(main), allowed)
        assert [line for line in found if not line.startswith("b'': mtime")] == []
    undo.undo(store, "main")
    assert diff_trees(dirty, describe_tree(main), ["data"]) == []
    assert sorted(os.listdir(os.fsencode(main))) == dirty_names
    assert os.listdir(str(store.layout.intents)) == []


def test_what_does_not_differ_keeps_inode_times_and_open_handles(pair):
    store, first, _ = pair
    main = main_of(store)
    same, directory = os.stat(main / "same"), os.stat(main / "dir")
    root, deep = os.stat(main), os.stat(main / "dir/deep")
    handle = os.open(main / "same", os.O_RDONLY)
    go(store, first)
    now = os.stat(main / "same")
    assert (now.st_ino, now.st_mtime_ns, now.st_ctime_ns) == (same.st_ino, same.st_mtime_ns, same.st_ctime_ns)
    assert os.stat(main / "dir").st_ino == directory.st_ino
    assert os.stat(main / "dir/deep").st_ino == deep.st_ino
    assert os.stat(main).st_ino == root.st_ino
    assert os.fstat(handle).st_nlink == 1
    os.close(handle)


def test_a_directory_without_changes_keeps_its_ctime(pair):
    store, _, _ = pair
    (main_of(store) / "dir/deep/x").write_text("x")
    os.utime(main_of(store) / "dir/deep/x", ns=(1, 1))
    write(main_of(store), {"quiet/a": "a"})
    third = snapshot(store)["snapshot_id"]
    write(main_of(store), {"changed": "again"})
    before = os.stat(main_of(store) / "quiet").st_ctime_ns
    go(store, third)
    assert os.stat(main_of(store) / "quiet").st_ctime_ns == before


def test_displaced_content_is_kept(pair):
    store, first, _ = pair
    write(main_of(store), {"changed": "never in a snapshot", "fresh/a/b": "nor this", "untracked": "nor that"})
    go(store, first)
    assert {b"never in a snapshot", b"nor this", b"nor that"} <= kept_contents(store)


def test_discard_keeps_nothing_and_says_how_much_went(pair):
    store, first, _ = pair
    write(main_of(store), {"big": "x" * 1000})
    os.chdir(main_of(store))
    said = run("restore", first, "--discard", "--json")
    assert said.exit == 0
    assert said.json["discarded_bytes"] >= 1000
    assert os.listdir(str(store.layout.undo)) == []


def test_full_restore_moves_the_head_and_says_where_one_is(pair):
    store, first, second = pair
    os.chdir(main_of(store))
    said = run("restore", first)
    assert said.text.startswith("Restored ")
    assert "Worktree is now in DETACHED state." in said.text
    assert "jvs restore LATEST" in said.text
    assert store.head_of("main") == (first, second)
    said = run("restore", "HEAD")
    assert "Worktree is at HEAD state." in said.text
    assert store.head_of("main") == (second, second)


def test_paths_restore_only_those_and_the_head_stays(pair):
    store, first, second = pair
    os.chdir(main_of(store))
    assert run("restore", first, "--", "changed", "dir").exit == 0
    main = main_of(store)
    assert (main / "changed").read_text() == "one"
    assert (main / "dir/deep/x").read_text() == "x"
    assert (main / "added").read_text() == "added"
    assert store.head_of("main") == (second, second)


def test_paths_are_relative_to_the_current_directory(pair):
    store, first, _ = pair
    os.chdir(main_of(store) / "dir")
    assert run("restore", first, "--", "deep/x").exit == 0
    assert (main_of(store) / "dir/deep/x").read_text() == "x"


def test_patterns_choose_among_snapshot_and_worktree(pair):
    store, first, _ = pair
    write(main_of(store), {"dir/extra.log": "1", "other.log": "2"})
    os.chdir(main_of(store))
    assert run("restore", first, "--", "*.log").exit == 0
    assert not (main_of(store) / "other.log").exists()
    assert not (main_of(store) / "dir/extra.log").exists()
    assert (main_of(store) / "changed").read_text() == "two!"


def test_a_path_into_a_directory_that_became_a_file_makes_way(pair):
    store, first, _ = pair
    os.chdir(main_of(store))
    assert run("restore", first, "--", "swap/in").exit == 0
    assert (main_of(store) / "swap/in").read_text() == "a"
    undo.undo(store, "main")
    assert (main_of(store) / "swap").read_text() == "now a file"


def test_a_path_that_nobody_has_is_not_found(pair):
    store, first, _ = pair
    os.chdir(main_of(store))
    for path in ("no-such", "*.nothing"):
        said = run("restore", first, "--", path)
        assert said.exit == 5
        assert "E_NOT_FOUND" in said.err


def test_dry_run_changes_nothing(pair):
    store, first, _ = pair
    os.chdir(main_of(store))
    before = describe_tree(store.root)
    said = run("restore", first, "--dry-run", "--json")
    assert {c["path"] for c in said.json["changes"] if c["change"] == "removed"} == {"added", "fresh"}
    ignored = ("locks", "index.sqlite")
    found = [line for line in diff_trees(before, describe_tree(store.root)) if not any(i in line for i in ignored)]
    assert [line for line in found if not line.startswith("b'.jvs': mtime")] == []


def test_interactive_lists_numbered_candidates(pair):
    store, first, _ = pair
    os.chdir(main_of(store))
    said = run("restore", "-i", stdin=b"2\n")
    assert said.exit == 0
    assert store.head_of("main")[0] == first
    assert "  1  " in said.err and "first" in said.err
    assert run("restore", "-i", stdin=b"\n").exit == 2


def test_tampered_content_is_refused_and_nothing_changes(pair):
    store, first, _ = pair
    victim = Path(str(store.layout.payload(first)), "changed")
    victim.chmod(0o644)
    victim.write_text("bad")
    before = describe_tree(main_of(store))
    with pytest.raises(errors.PayloadHashMismatch):
        go(store, first)
    assert diff_trees(before, describe_tree(main_of(store))) == []
    assert os.listdir(str(store.layout.intents)) == []
    assert os.listdir(str(store.layout.undo)) == []


def test_force_tampered_restores_as_it_is_and_audits_the_reason(pair):
    store, first, _ = pair
    Path(str(store.layout.payload(first)), "changed").write_text("bad")
    os.chdir(main_of(store))
    assert run("restore", first, "--force-tampered", " ").exit == 2
    assert run("restore", first, "--force-tampered", "only copy left").exit == 0
    assert (main_of(store) / "changed").read_text() == "bad"
    last = Path(str(store.layout.audit_log)).read_text().splitlines()[-1]
    assert '"reason":"only copy left"' in last


@pytest.mark.parametrize("victim", ["descriptor", "ready", "payload"])
def test_a_damaged_snapshot_is_refused(pair, victim: str):
    store, first, _ = pair
    path = str(getattr(store.layout, victim)(first))
    if victim == "payload":
        os.rename(path, path + "-away")
    elif victim == "ready":
        os.unlink(path)
    else:
        Path(path).write_text(Path(path).read_text().replace('"first"', '"other"'))
    os.chdir(main_of(store))
    assert run("restore", first).exit in (5, 20, 23)
    assert (main_of(store) / "changed").read_text() == "two!"


def test_partial_snapshots_restore_their_paths_only(store: Store):
    main = main_of(store)
    write(main, {"a/1": "1", "b/2": "2"})
    part = snapshot(store, paths=[b"a"])["snapshot_id"]
    write(main, {"a/1": "changed", "a/new": "n", "b/2": "changed"})
    go(store, part)
    assert (main / "a/1").read_text() == "1"
    assert not (main / "a/new").exists()
    assert (main / "b/2").read_text() == "changed"


def test_hard_links_come_back_as_one_file(store: Store):
    main = main_of(store)
    write(main, {"a": "shared", "d/x": "x"})
    os.link(main / "a", main / "d/b")
    os.link(main / "a", main / "c")
    first = snapshot(store)["snapshot_id"]
    (main / "a").unlink()
    (main / "c").unlink()
    write(main, {"a": "own", "c": "own"})
    go(store, first)
    assert os.stat(main / "a").st_ino == os.stat(main / "c").st_ino == os.stat(main / "d/b").st_ino
    removal.remove_tree(making.at(main / "d"))
    (main / "c").unlink()
    (main / "a").write_text("else")
    go(store, first)
    assert os.stat(main / "a").st_ino == os.stat(main / "c").st_ino == os.stat(main / "d/b").st_ino
    assert (main / "a").read_text() == "shared"


def test_mode_and_times_of_directories_come_back(store: Store):
    main = main_of(store)
    write(main, {"d/a": "a"})
    os.chmod(main / "d", 0o750)
    os.utime(main / "d", ns=(1, 123_456_789))
    first = snapshot(store)["snapshot_id"]
    os.chmod(main / "d", 0o700)
    write(main, {"d/b": "b"})
    go(store, first)
    st = os.stat(main / "d")
    assert (stat.S_IMODE(st.st_mode), st.st_mtime_ns) == (0o750, 123_456_789)


def test_users_files_with_our_names_are_data(store: Store):
    main = main_of(store)
    names = {".jvs-tmp-x": "1", ".jvs-tmp-1700000000000-0a1b2c3d-0": "2", ".READY": "3", ".jvs-half": "4"}
    write(main, names)
    first = snapshot(store)["snapshot_id"]
    for name in names:
        (main / name).unlink()
    go(store, first)
    assert {name: (main / name).read_text() for name in names} == names


def test_nothing_to_do_is_recorded_and_cannot_be_undone(pair):
    store, _, second = pair
    done = go(store, second)
    assert done.operation_id is None
    assert os.listdir(str(store.layout.undo)) == []
    assert '"operation":"restore"' in Path(str(store.layout.audit_log)).read_text().splitlines()[-1]


def test_an_error_while_copying_puts_everything_back(pair, monkeypatch: pytest.MonkeyPatch):
    store, first, _ = pair
    before = describe_tree(main_of(store))
    calls = []
    real = metadata.copy_entry

    def failing(*args, **more):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(*args, **more)

    monkeypatch.setattr(metadata, "copy_entry", failing)
    with pytest.raises(errors.NoSpace):
        go(store, first)
    assert diff_trees(before, describe_tree(main_of(store))) == []
    assert os.listdir(str(store.layout.intents)) == os.listdir(str(store.layout.undo)) == []


@pytest.mark.parametrize("whole", [True, False])
def test_new_contents_are_durable_before_a_name_leads_to_them(pair, monkeypatch: pytest.MonkeyPatch, whole: bool):
    store, first, _ = pair
    if not whole:
        monkeypatch.setattr(durable, "_SYNCFS_FLUSHES", frozenset())
    said: list[str] = []
    for owner, call in ((durable.Barrier, "flush"), (durable, "fsync_file"), (durable, "exchange")):
        real = getattr(owner, call)

        def noting(*args, real=real, call=call, **more):
            said.append(call)
            return real(*args, **more)

        monkeypatch.setattr(owner, call, noting)
    go(store, first)
    sync = "flush" if whole else "fsync_file"
    assert "exchange" in said and sync in said[: said.index("exchange")]
    assert sync == "fsync_file" or "flush" in said[said.index("exchange") :]


def test_rooms_for_what_is_displaced_are_durable_before_anything_moves_there(pair, monkeypatch: pytest.MonkeyPatch):
    store, first, _ = pair
    at_flush: list[list[str]] = []

    def flush(_self: durable.Barrier) -> None:
        (undo_dir,) = Path(str(store.layout.undo)).iterdir()
        at_flush.append(sorted(str(path.relative_to(undo_dir)) for path in undo_dir.rglob("*")))

    monkeypatch.setattr(durable.Barrier, "flush", flush)
    go(store, first)
    assert at_flush[0] == ["delta.cbor", "files", "files/dir", "files/dir/deep", "op.json"]
    assert "files/dir/deep/x" in at_flush[-1]


def test_a_journal_says_what_is_there_only_when_it_will_stay(pair, monkeypatch: pytest.MonkeyPatch):
    store, first, _ = pair
    synced: list[list[str]] = []
    real = durable.fsync_dir

    def fsync_dir(path, *args):
        if not isinstance(path, bytes) and path.parent == store.layout.undo:
            synced.append(sorted(os.listdir(str(path))))
        real(path, *args)

    monkeypatch.setattr(durable, "fsync_dir", fsync_dir)
    go(store, first)
    assert synced[:2] == [["delta.cbor", "files"], ["delta.cbor", "files", "op.json"]]


def test_a_journal_is_gone_for_good_before_its_delta_goes(pair, monkeypatch: pytest.MonkeyPatch):
    store, first, _ = pair
    said: list[str] = []
    for module, call in ((durable, "unlink"), (durable, "fsync_dir"), (removal, "remove_tree")):
        real = getattr(module, call)

        def noting(path, *args, real=real, call=call, **more):
            said.append(f"{call} {os.path.basename(path if isinstance(path, bytes) else str(path))}")
            return real(path, *args, **more)

        monkeypatch.setattr(module, call, noting)
    operation = go(store, first, discard=True).operation_id
    gone = said.index("unlink op.json")
    assert said[gone : gone + 3] == ["unlink op.json", f"fsync_dir {operation}", f"remove_tree {operation}"]


@pytest.mark.parametrize("call", ["exchange", "rename", "rename_new"])
@pytest.mark.parametrize("number", range(6))
def test_an_error_while_switching_puts_everything_back(pair, monkeypatch: pytest.MonkeyPatch, call: str, number: int):
    store, first, second = pair
    before = describe_tree(main_of(store))
    real, seen = getattr(durable, call), []

    def failing(*args, **more):
        seen.append(1)
        if len(seen) == number + 1:
            raise OSError(5, "Input/output error")
        return real(*args, **more)

    monkeypatch.setattr(durable, call, failing)
    try:
        go(store, first)
    except errors.IOFailure:
        assert diff_trees(before, describe_tree(main_of(store))) == []
        assert os.listdir(str(store.layout.intents)) == os.listdir(str(store.layout.undo)) == []
        assert store.head_of("main") == (second, second)
    else:
        assert len(seen) <= number


def test_an_interrupt_between_two_lines_loses_nothing(pair, monkeypatch: pytest.MonkeyPatch):
    """The old entry is under our temporary name at that moment: taking back must not take it for the new one."""
    store, first, _ = pair
    before = describe_tree(main_of(store))
    real = durable.exchange

    def interrupted(*args, **more):
        real(*args, **more)
        monkeypatch.setattr(durable, "exchange", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(durable, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(store, first)
    assert diff_trees(before, describe_tree(main_of(store))) == []


def test_without_exchange_it_works_as_well(pair, monkeypatch: pytest.MonkeyPatch):
    store, first, _ = pair
    monkeypatch.setattr(durable, "exchange", lambda *a, **m: False)
    dirty = describe_tree(main_of(store))
    go(store, first)
    assert diff_trees(describe_tree(str(store.layout.payload(first))), describe_tree(main_of(store)), ["links"]) == []
    undo.undo(store, "main")
    assert diff_trees(dirty, describe_tree(main_of(store))) == []


def test_what_somebody_puts_in_the_way_meanwhile_is_kept(pair, monkeypatch: pytest.MonkeyPatch):
    store, first, _ = pair
    real = replace.Switcher.switch

    def late(self, i):
        if self.delta.steps[i].path == b"gone":
            (main_of(store) / "gone").write_text("just written")
        if self.delta.steps[i].path == b"changed":
            (main_of(store) / "changed").write_text("just changed")
        real(self, i)

    monkeypatch.setattr(replace.Switcher, "switch", late)
    go(store, first)
    assert (main_of(store) / "gone").read_text() == "gone"
    assert {b"just written", b"just changed"} <= kept_contents(store)


def test_only_what_differs_is_read_from_the_snapshot(pair, monkeypatch: pytest.MonkeyPatch):
    store, _, second = pair
    go(store, second)
    (main_of(store) / "changed").write_text("3")
    seen = []
    real = entries.entry_at
    monkeypatch.setattr(entries, "entry_at", lambda fd, name, **more: seen.append(name) or real(fd, name, **more))
    go(store, second)
    assert seen == [b"changed"]


def test_operations_that_are_old_and_many_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "0"})
    first = snapshot(store)["snapshot_id"]
    for number in range(5):
        write(main_of(store), {"a": f"change {number}"})
        go(store, first)
    few = open_store(store.root, "undo.max_operations=2", "undo.max_age_days=0")
    assert pruning.prune(few, "main") == 0
    real, lasted = clock.now_ns, clock.boottime_ns
    monkeypatch.setattr(clock, "now_ns", lambda: real() + 2 * pruning.DAY_NS)
    assert pruning.prune(few, "main") == 0, "only the clock says so"
    monkeypatch.setattr(clock, "boottime_ns", lambda: lasted() + 2 * pruning.DAY_NS)
    assert pruning.prune(few, "main") > 0
    assert len(os.listdir(str(store.layout.undo))) == 2
    assert {b"change 3", b"change 4"} <= kept_contents(store)


def test_no_journal_is_read_while_all_operations_are_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = make_store(tmp_path / "repo", "undo.max_operations=1", "undo.max_age_days=3")
    write(main_of(store), {"a": "0"})
    first = snapshot(store)["snapshot_id"]
    for number in range(3):
        write(main_of(store), {"a": f"change {number}"})
        go(store, first)
    read = []
    real_load, real, lasted = journal.load, clock.now_ns, clock.boottime_ns
    monkeypatch.setattr(journal, "load", lambda layout, number: read.append(number) or real_load(layout, number))
    for days, reads, expired in ((0, 0, 0), (2.9, 0, 0), (3.1, 3, 2)):
        read.clear()
        monkeypatch.setattr(clock, "now_ns", lambda days=days: real() + int(days * pruning.DAY_NS))
        monkeypatch.setattr(clock, "boottime_ns", lambda days=days: lasted() + int(days * pruning.DAY_NS))
        assert len(pruning.expired(store, "main")) == expired
        assert len(read) == reads


DAY = pruning.DAY_NS


def moments(*operations: tuple[float, str, float]) -> list[dict]:
    """Return journals, newest first, of operations written oldest first: wall clock and boot, in days."""
    return [
        {
            "operation_id": str(number),
            "created_at": clock.rfc3339(int((1000 + wall) * DAY)),
            "clock": {"boot": boot, "boottime_ns": int(lasted * DAY)} if boot else {},
        }
        for number, (wall, boot, lasted) in reversed(list(enumerate(operations)))
    ]


@pytest.mark.parametrize(
    ("operations", "now", "days"),
    [
        ([(0, "a", 1)], (5, "a", 6), 5),
        ([(0, "a", 1)], (5, "a", 1), 0),  # the clock was set ahead
        ([(0, "a", 1)], (-5, "a", 6), 0),  # and back
        ([(-400, "a", 1)], (0, "a", 1), 0),
        ([(0, "a", 1)], (30, "b", 0), 1),  # booted between: who knows
        ([(0, "a", 1)], (0.5, "b", 0), 0.5),
        ([(0, "a", 1)], (-3, "b", 0), 0),
        ([(0, "a", 1), (2, "b", 1)], (5, "c", 1), 2),
        ([(0, "a", 1), (0, "b", 1), (15, "b", 1)], (15, "a", 1), 0),
        ([(0, "a", 1)] + [(15, "b", 1), (0, "a", 1)] * 20, (15, "b", 1), 1),  # two hosts take turns
        ([(0, "", 0)], (40, "a", 1), 1),  # a journal of the first version
        ([(0, "a", 5)], (3, "a", 1), 0),  # a clock of the boot that runs back is one in a time namespace
    ],
)
def test_no_setting_of_a_clock_makes_an_operation_old(operations, now, days):
    wall, boot, lasted = now
    found = pruning.ages(moments(*operations), (int((1000 + wall) * DAY), boot, int(lasted * DAY)))
    assert found["0"] == days * DAY


def test_apply_tree_makes_a_directory_equal_to_a_snapshot(pair, tmp_path: Path):
    store, first, _ = pair
    other = tmp_path / "other"
    write(other, {"changed": "mine", "extra": "e"})
    said = plumb("apply-tree", str(store.layout.payload(first)), str(other), "--keep", str(tmp_path / "kept"))
    assert said.exit == 0, said.err
    assert diff_trees(describe_tree(str(store.layout.payload(first))), describe_tree(other), ["links"]) == []
    assert (tmp_path / "kept/files/extra").read_text() == "e"
