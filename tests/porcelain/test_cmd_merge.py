"""`jvs merge`: the work of forks comes back, in place, undoable, recorded; a conflict changes nothing."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import making
import pytest
from making import plumb, run, snapshot, violations, write

from jvs.store import lineage, worktree
from jvs.store.store import Store

FILES = {"a": "base\n", "b": "base\n", "d/f": "base\n", "d/e/g": "base\n", "gone/x": "base\n", "gone/y/z": "base\n"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    write(making.main_of(made), FILES)
    snapshot(made, "base", tags=["base"])
    for name in ("one", "two"):
        assert run("fork", name).exit == 0
    return made


def side(store: Store, name: str) -> Path:
    return Path(store.root) / "worktrees" / name


def tree(path: Path) -> dict[str, Any]:
    """Return kind, mode and content of all below a directory."""
    found: dict[str, Any] = {}
    for one in [path, *path.rglob("*")]:
        st = one.lstat()
        content = os.readlink(one) if one.is_symlink() else one.read_bytes() if one.is_file() else None
        found[str(one.relative_to(path))] = (oct(st.st_mode), content)
    return found


def frozen(path: Path) -> dict[str, Any]:
    """Return all that could change below a directory, inodes and times too."""
    return {
        str(one.relative_to(path)): (one.lstat().st_ino, one.lstat().st_mtime_ns, one.lstat().st_mode)
        for one in [path, *path.rglob("*")]
    }


def test_three_forks_that_change_different_files_are_all_merged(store: Store) -> None:
    assert run("fork", "three").exit == 0
    write(side(store, "one"), {"a": "one\n", "d/new": "one\n"})
    shutil.rmtree(side(store, "two") / "gone")
    (side(store, "two") / "link").symlink_to("d/f")
    (side(store, "three") / "d/e").chmod(0o700)
    write(making.main_of(store), {"mine": "no snapshot holds it\n"})
    inode = Path("b").stat().st_ino
    for name in ("one", "two", "three"):
        assert run("snapshot", f"by {name}", "-w", name).exit == 0
        said = run("merge", name)
        assert said.exit == 0 and f"into '{'main'}'" in said.text
    assert tree(making.main_of(store)).keys() == {
        *(".", "a", "b", "d", "d/f", "d/e", "d/e/g", "d/new", "link", "mine"),
    }
    assert Path("a").read_text() == "one\n" and Path("d/e").stat().st_mode & 0o777 == 0o700
    assert Path("b").stat().st_ino == inode
    newest = run("history", "--json", "-n", "1").json[0]
    assert newest["merged"] == [run("resolve", "by three").text.strip()] and newest["note"] == "merge three"
    assert "[merged " in run("history", "--graph").text
    assert "Merged:" in run("show").text
    assert run("merge", "two").text.startswith("Nothing to merge")
    assert run("status", "--json").json["clean"] and run("doctor", "--strict").exit == 0
    assert violations(store.root) == []


def test_a_conflict_changes_nothing_and_names_every_path(store: Store) -> None:
    write(side(store, "one"), {"a": "one\n", "b": "one\n", "d/f": "one\n", "only": "one\n"})
    os.unlink("b")
    write(making.main_of(store), {"a": "mine\n"})
    snapshot(store, "by one", "one")
    before, log = frozen(making.main_of(store)), store.log().tail()
    ids = lineage.visible_ids(store.layout)
    said = run("merge", "one")
    assert said.exit == 7 and "E_CONFLICT" in said.err
    assert "a: modified here, modified there" in said.text and "b: removed here, modified there" in said.text
    said = run("merge", "one", "--json")
    assert [c["path"] for c in said.error["facts"]["conflicts"]] == ["a", "b"]
    assert run("merge", "one", "--dry-run").exit == 7
    assert frozen(making.main_of(store)) == before and store.log().tail() == log
    assert lineage.visible_ids(store.layout) == ids and os.listdir(str(store.layout.undo)) == []


@pytest.mark.parametrize(
    ("words", "a", "b"),
    [
        (["one", "--ours"], "mine\n", None),
        (["one", "--theirs"], "one\n", "one\n"),
        (["--both", "one"], "mine\n", None),
        (["one", "--theirs", "a", "--ours", "b"], "one\n", None),
        (["--theirs=b", "one", "--ours"], "mine\n", "one\n"),
    ],
)
def test_conflicts_are_decided_for_all_or_by_pattern(store: Store, words: list[str], a: str, b: str | None) -> None:
    write(side(store, "one"), {"a": "one\n", "b": "one\n", "d/f": "one\n"})
    os.unlink("b")
    write(making.main_of(store), {"a": "mine\n"})
    snapshot(store, "by one", "one")
    before = tree(making.main_of(store))
    said = run("merge", *words, "--json")
    assert said.exit == 0, said.err
    assert Path("a").read_text() == a and Path("d/f").read_text() == "one\n"
    assert (Path("b").read_text() if Path("b").exists() else None) == b
    if "--both" in words:
        assert Path("a.theirs").read_text() == Path("b.theirs").read_text() == "one\n"
    assert {item["path"] for item in said.json["decided"]} == {"a", "b"}
    merged = tree(making.main_of(store))
    head = store.head_of("main")
    assert run("undo").exit == 0
    assert tree(making.main_of(store)) == before
    assert run("resolve", "LATEST").text == run("resolve", "base").text
    assert run("undo", "--redo").exit == 0
    assert tree(making.main_of(store)) == merged and store.head_of("main") == head
    assert violations(store.root) == []


def test_link_groups_and_every_kind_of_file_come_as_they_are(store: Store) -> None:
    one = side(store, "one")
    os.link(one / "a", one / "d/a2")
    (one / "a").write_text("linked\n")
    os.mkfifo(one / "fifo")
    os.makedirs(one / "tree/deep")
    write(one, {"tree/deep/x": "x"})
    os.link(one / "tree/deep/x", one / "tree/y")
    (one / "tree").chmod(0o711)
    os.utime(one / "tree/y", ns=(5, 5))
    snapshot(store, "by one", "one")
    assert run("merge", "one").exit == 0
    assert Path("a").stat().st_ino == Path("d/a2").stat().st_ino and Path("a").stat().st_nlink == 2
    assert Path("tree/y").stat().st_ino == Path("tree/deep/x").stat().st_ino
    assert Path("tree/y").stat().st_mtime_ns == 5
    assert tree(making.main_of(store)) == tree(one)


def test_a_partial_snapshot_is_merged_with_what_it_lies_on(store: Store) -> None:
    one = side(store, "one")
    write(one, {"a": "one\n", "d/f": "one\n"})
    snapshot(store, "all", "one")
    write(one, {"d/f": "two\n", "d/more": "two\n", "b": "left out\n"})
    snapshot(store, "only d", "one", paths=[b"d"])
    write(making.main_of(store), {"d/f": "mine\n"})
    assert run("merge", "one", "--both").exit == 0
    texts = {name: Path(name).read_text() for name in ("a", "b", "d/f", "d/f.theirs", "d/more")}
    assert texts == {"a": "one\n", "b": "base\n", "d/f": "mine\n", "d/f.theirs": "two\n", "d/more": "two\n"}


def test_the_files_of_a_fork_are_merged_with_now(store: Store) -> None:
    write(side(store, "one"), {"a": "one\n"})
    said = run("merge", "one")
    assert "'--now' takes one first" in said.err and said.text.startswith("Nothing to merge")
    assert run("merge", "one", "--now", "--json").json["changes"][0]["path"] == "a"
    assert Path("a").read_text() == "one\n"
    assert run("merge", "one", "--now").text.startswith("Nothing to merge")


def test_only_some_paths_and_then_the_rest(store: Store) -> None:
    write(side(store, "one"), {"a": "one\n", "d/f": "one\n"})
    snapshot(store, "by one", "one")
    assert run("merge", "one", "--", "d").exit == 0
    assert Path("a").read_text() == "base\n" and Path("d/f").read_text() == "one\n"
    assert "merged" not in run("history", "--json", "-n", "1").json[0]
    assert run("merge", "one").exit == 0
    assert Path("a").read_text() == "one\n"
    assert run("merge", "one", "--", "never").exit in (0, 5)


def test_lines_that_were_merged_into_each_other_need_a_base(store: Store) -> None:
    for name in ("one", "two"):
        write(side(store, name), {name: name})
        snapshot(store, f"by {name}", name)
    assert run("tag", "by one", "o").exit == 0 and run("tag", "by two", "t").exit == 0
    assert run("merge", "t", "--into", "one").exit == 0
    assert run("merge", "o", "--into", "two").exit == 0
    write(side(store, "one"), {"after": "one"})
    snapshot(store, "later", "one")
    said = run("merge", "one", "--into", "two", "--json")
    assert said.exit == 5 and said.error["class"] == "E_AMBIGUOUS"
    both = sorted([run("resolve", "by one").text.strip(), run("resolve", "by two").text.strip()])
    assert said.error["facts"]["candidates"] == both
    latest = {name: store.head_of(name)[1] for name in ("one", "two")}
    assert plumb("merge-base", latest["one"], latest["two"]).text.split() == both
    assert run("merge", "one", "--into", "two", "--base", "by one").exit == 0
    assert (side(store, "two") / "after").read_text() == "one"


def test_a_base_that_was_collected_or_lost_stops_a_merge(store: Store) -> None:
    write(side(store, "one"), {"a": "one\n"})
    snapshot(store, "by one", "one")
    write(making.main_of(store), {"b": "mine\n"})
    snapshot(store, "by main")
    for name in ("two",):
        assert run("worktree", "remove", name, "--discard").exit == 0
    config = worktree.load(store.layout, "one")
    config["base_snapshot_id"] = None
    from jvs.store import records

    records.save(store.layout.worktree_config("one"), config)
    planned = run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json
    assert run("gc", "run", "--plan-id", planned["plan_id"]).exit == 0
    before = tree(making.main_of(store))
    said = run("merge", "one", "--json")
    assert said.exit == 22 and "was collected" in said.error["message"]
    os.unlink(str(store.layout.tombstone(planned["candidates"][0])))
    assert run("merge", "one").exit == 22
    assert tree(making.main_of(store)) == before
    assert run("merge", "one", "--base", "by main").exit in (0, 7)


def test_what_cannot_be_merged_is_refused(store: Store) -> None:
    assert run("merge", "main").exit == 2
    assert run("merge", "nowhere").exit == 5
    assert run("merge", "one", "extra").exit == 2
    assert run("merge", "base", "--now").exit == 2
    assert run("merge", "one", "--ours", "--theirs").exit == 2
    assert run("tag", "base", "one").exit == 0
    assert run("merge", "one").exit == 5  # a worktree and a tag
    assert run("merge", "one", "--now", "--dry-run").exit == 2


def test_a_merge_whose_snapshot_fails_is_named_by_the_next_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from jvs.publish import run as publishing

    write(side(store, "one"), {"a": "one\n"})
    made = snapshot(store, "by one", "one")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(publishing, "publish", fail)
        assert run("merge", "one").exit == 4
    assert Path("a").read_text() == "one\n"
    assert worktree.load(store.layout, "main")["merging"] == [made["snapshot_id"]]
    assert run("undo").exit == 0 and "merging" not in worktree.load(store.layout, "main")
    assert run("undo", "--redo").exit == 0
    assert run("snapshot", "part", "--", "b").exit == 0
    assert run("restore", "LATEST", "--", "b").exit == 0
    planned = run("gc", "plan", "--keep-last", "1", "--json").json
    assert made["snapshot_id"] not in planned["candidates"]
    assert run("snapshot", "by hand").exit == 0
    assert run("history", "--json", "-n", "1").json[0]["merged"] == [made["snapshot_id"]]
    assert "merging" not in worktree.load(store.layout, "main")
    assert run("doctor").exit == 0 and violations(store.root) == []


def test_going_back_forgets_a_merge_that_no_snapshot_names(store: Store) -> None:
    write(side(store, "one"), {"a": "one\n"})
    made = snapshot(store, "by one", "one")
    assert run("merge", "one", "--", "a").exit == 0
    worktree.set_merging(store.layout, "main", [made["snapshot_id"]])
    assert run("restore", "LATEST").exit == 0
    assert "merging" not in worktree.load(store.layout, "main")
    assert run("undo").exit == 0
    assert worktree.load(store.layout, "main")["merging"] == [made["snapshot_id"]]


def test_a_collection_follows_both_parents(store: Store) -> None:
    write(side(store, "one"), {"a": "one\n"})
    made = snapshot(store, "by one", "one")
    assert run("merge", "one").exit == 0
    assert run("worktree", "remove", "one", "--discard").exit == 0
    assert made["snapshot_id"] not in run("gc", "plan", "--json").json["candidates"]
    os.unlink(str(store.layout.descriptor(made["snapshot_id"])))
    assert any("missing from the line" in f["message"] for f in run("doctor", "--json").json["findings"])


def test_plumbing_prints_and_changes_nothing(store: Store) -> None:
    write(side(store, "one"), {"a": "one\n", "b": "one\n"})
    snapshot(store, "by one", "one")
    write(side(store, "two"), {"b": "two\n", "new/file": "two\n"})
    snapshot(store, "by two", "two")
    before = frozen(Path(store.root) / ".jvs/snapshots")
    said = plumb("merge-tree", "base", "by one", "by two")
    assert said.exit == 7
    assert [(c["path"], c["how"]) for c in said.json["changes"]] == [("new", "copy")]
    assert [c["path"] for c in said.json["conflicts"]] == ["b"]
    assert plumb("merge-tree", "base", "base", "by two").exit == 0
    assert frozen(Path(store.root) / ".jvs/snapshots") == before
    assert plumb("merge-base", "by one", "by two").text == run("resolve", "base").text


def grow(root: Path, chance: random.Random, steps: int) -> None:
    """Change a directory at random."""
    for _ in range(steps):
        path = root / "/".join(chance.choice("abc") for _ in range(chance.randrange(1, 4)))
        if any(a.is_symlink() or a.is_file() for a in path.parents if root in a.parents):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path) if chance.random() < 0.4 else path.chmod(chance.choice([0o700, 0o755]))
            continue
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        match chance.randrange(4):
            case 0:
                path.symlink_to(chance.choice("xyz"))
            case 1:
                path.mkdir()
            case _ if chance.random() < 0.8:
                path.write_text(chance.choice("xyz"))


@pytest.mark.parametrize("seed", range(int(os.environ.get("JVS_TEST_MERGES", "5"))))
def test_no_content_of_either_side_is_lost_whatever_they_did(tmp_path: Path, seed: int) -> None:
    """The tree merge is held against its reference elsewhere; here the disk is, and the repository."""
    chance = random.Random(seed)
    store = making.make_store(tmp_path / "repo")
    main, one = making.main_of(store), side(store, "one")
    grow(main, chance, 8)
    snapshot(store, "base")
    assert run("-C", store.root, "fork", "one").exit == 0
    for _ in range(3):
        grow(main, chance, 3)
        grow(one, chance, 3)
        before, theirs = tree(main), tree(one)
        plain = run("-C", store.root, "merge", "one", "--now", "--json")
        if plain.exit == 7:
            assert tree(main) == before
            assert run("-C", store.root, "merge", "one", "--both").exit == 0
            kept = {value[1] for value in tree(main).values()}
            assert {theirs[c["path"]][1] for c in plain.json["conflicts"] if c["theirs_kind"] == "file"} <= kept
            assert {before[c["path"]][1] for c in plain.json["conflicts"] if c["ours_kind"] == "file"} <= kept
        else:
            assert plain.exit == 0, plain.err
        assert run("-C", store.root, "verify", "--all").exit == 0
        assert violations(store.root) == []


def test_only_what_differs_is_written(store: Store) -> None:
    write(side(store, "one"), {"a": "one\n"})
    snapshot(store, "by one", "one")
    before = frozen(making.main_of(store))
    assert run("merge", "one").exit == 0
    after = frozen(making.main_of(store))
    assert {path for path in before if before[path] != after.get(path)} == {".", "a"}
