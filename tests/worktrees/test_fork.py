"""Making worktrees: whole or not at all, complete, with the best engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import main_of, make_store, run, snapshot, violations, write
from zoo import describe_tree, diff_trees, make_zoo

from jvs import errors
from jvs.engine import base as engine
from jvs.engine import groups
from jvs.fs import durable
from jvs.store import changing
from jvs.store.store import Store
from jvs.worktrees import fork


@pytest.fixture
def lab(tmp_path: Path) -> tuple[Store, str]:
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "a", ".git/config": "c", ".venv/bin/python": "p", "ignored.pyc": "i"})
    made = snapshot(store, "base note", tags=["base"])
    os.chdir(main_of(store))
    return store, made["snapshot_id"]


def make(store: Store, target: str, name: str, **more) -> dict:
    with changing.worktree(store, name):
        return fork.fork(store, target, name, **more)


def test_a_fork_is_complete_and_its_own(fs_dir: Path):
    store = make_store(fs_dir / "repo")
    juicefs = "juicefs" in str(fs_dir)
    make_zoo(main_of(store), many=20, skip=("xattrs",) if juicefs else ())
    first = snapshot(store)["snapshot_id"]
    made = make(store, first, "side")
    ignored = ["data", "links"] if juicefs else ["data"]
    payload = describe_tree(str(store.layout.payload(first)))
    if not made["degraded"]:
        assert diff_trees(payload, describe_tree(made["path"]), ignored) == []
    write(made["path"], {"new": "n"})
    second = snapshot(store, name="side")
    assert second["parent_id"] == first
    assert not (main_of(store) / "new").exists()
    assert violations(store.root) == []


def test_a_fork_on_btrfs_is_one_ioctl(btrfs_dir: Path):
    store = make_store(btrfs_dir / "repo")
    write(main_of(store), {"a": "a"})
    made = make(store, snapshot(store)["snapshot_id"], "side")
    assert made["engine"] == engine.BTRFS


@pytest.mark.parametrize("word", ["base", "LATEST-1", "ID", "SHORT", "brand-new"])
def test_one_word_is_the_name_whatever_snapshots_are_called(lab, word):
    _, first = lab
    word = {"ID": first, "SHORT": first[14:21]}.get(word, word)
    made = run("fork", word, "--json").json
    assert (made["name"], made["snapshot_id"]) == (word, first)


def test_a_snapshot_is_the_first_of_two_words_or_an_option(lab):
    _, first = lab
    for number, words in enumerate((["base", "w0"], ["--at", "base", "w1"], ["w2", "--at", "LATEST"])):
        made = run("fork", *words, "--json").json
        assert (made["name"], made["snapshot_id"]) == (f"w{number}", first)
    assert run("fork", "--at", "base", "--json").json["name"] == f"fork-{first[14:21]}"
    assert run("fork", "nothing", "x").exit == 5
    assert run("fork", "a", "b", "c").exit == run("fork", "a", "b", "--at", "base").exit == 2


@pytest.mark.parametrize("word", ["HEAD", "LATEST", "HEAD~0", "LATEST~0"])
def test_a_word_that_can_only_be_a_snapshot_is_refused_with_the_way_to_say_it(lab, word):
    store, _ = lab
    said = run("fork", word)
    assert said.exit == 10 and f"--at {word}" in said.err
    assert os.listdir(Path(store.root) / "worktrees") == []


def test_command_says_what_was_made(lab):
    store, first = lab
    said = run("fork", "experiment")
    assert said.text.startswith(f"Created worktree 'experiment' from snapshot {first}\n")
    assert (Path(store.root) / "worktrees/experiment/.venv/bin/python").read_text() == "p"
    assert run("worktree", "fork", "experiment").exit == 7
    assert run("fork", "bad/name").exit == 10


def test_it_works_from_anywhere_in_the_repository(lab):
    store, _ = lab
    os.chdir(store.root)
    assert run("fork", "one").exit == 0
    os.chdir("worktrees/one/.git")
    assert run("fork", "two").exit == 0
    assert run("worktree", "path", "two").text == f"{store.root}/worktrees/two\n"


def test_tampered_snapshots_are_refused_and_nothing_is_left(lab):
    store, first = lab
    Path(str(store.layout.payload(first)), "a").write_text("bad")
    with pytest.raises(errors.PayloadHashMismatch):
        make(store, first, "side", verify=True)
    with pytest.raises(errors.PayloadHashMismatch):
        make(store, first, "side")
    assert (
        os.listdir(str(store.layout.forks))
        == os.listdir(str(store.layout.intents))
        == os.listdir(str(store.layout.undo))
        == []
    )


@pytest.mark.parametrize("call", ["publish", "create_file", "fsync_dir"])
def test_an_error_leaves_nothing(lab, monkeypatch: pytest.MonkeyPatch, call: str):
    store, first = lab
    real, armed = getattr(durable, call), []

    def failing(path, *args, **more):
        if (armed and "undo" in str(path)) or (armed and call == "publish"):
            armed.clear()  # once: while a directory cannot be synced, the intent has to stay
            raise OSError(28, "No space left on device")
        return real(path, *args, **more)

    monkeypatch.setattr(durable, call, failing)
    armed.append(1)
    with pytest.raises(errors.NoSpace):
        make(store, first, "side")
    armed.clear()
    assert (
        os.listdir(str(store.layout.forks))
        == os.listdir(str(store.layout.intents))
        == os.listdir(str(store.layout.undo))
        == []
    )
    make(store, first, "side")
    assert violations(store.root) == []


FIRST = [("copy", "ext4"), ("reflink-copy", "xfs")]


@pytest.fixture
def at_once(monkeypatch):
    """Let stamps be kept however young they are."""
    from jvs.tree import racy

    monkeypatch.setattr(racy, "RACY_NS", 0)


@pytest.mark.parametrize(("engine_name", "fs"), FIRST)
def test_the_first_snapshot_of_a_fork_links_what_it_was_made_from(fs_at, at_once, monkeypatch, engine_name, fs):
    words = f"default_engine={engine_name}"
    store = make_store(fs_at(fs) / "repo", words)
    write(main_of(store), {f"d{i}/f{j}": f"{i}-{j}" for i in range(3) for j in range(3)})
    first = snapshot(store)["snapshot_id"]
    made = make(store, first, "side")
    write(made["path"], {"d1/f1": "changed", "d1/new": "n"})
    read = []
    from jvs.fs import paths

    real = paths.open_file_with_stat
    monkeypatch.setattr(paths, "open_file_with_stat", lambda name, fd=None: read.append(name) or real(name, fd))
    second = snapshot(store, name="side")
    monkeypatch.undo()
    assert {name for name in read if isinstance(name, bytes) and name[:1] in b"fn"} == {b"f1", b"new"}
    payloads = [Path(str(store.layout.payload(one))) for one in (first, second["snapshot_id"])]
    for path in payloads[0].rglob("f*"):
        name = path.relative_to(payloads[0])
        same = os.lstat(path).st_ino == os.lstat(payloads[1] / name).st_ino
        assert same == (str(name) != "d1/f1"), name
        assert os.lstat(Path(made["path"]) / name).st_ino != os.lstat(payloads[1] / name).st_ino
    assert (second["changes"]["added"], second["changes"]["modified"]) == (1, 1)
    assert diff_trees(describe_tree(made["path"]), describe_tree(str(payloads[1]))) == []
    assert violations(store.root) == []
    off = make_store(fs_at(fs) / "off", words, "engine.remember_forks=false")
    write(main_of(off), {f"d{i}/f{j}": f"{i}-{j}" for i in range(3) for j in range(3)})
    other = make(off, snapshot(off)["snapshot_id"], "side")
    write(other["path"], {"d1/f1": "changed", "d1/new": "n"})
    assert snapshot(off, name="side")["payload_root_hash"] == second["payload_root_hash"]


@pytest.mark.parametrize(("engine_name", "fs"), FIRST)
@pytest.mark.parametrize("linked", [True, False])
def test_names_in_other_payloads_are_kept_in_mind_only_where_there_may_be_groups(
    fs_at, at_once, monkeypatch, engine_name, fs, linked
):
    """A second snapshot shares its files with the first one; only hard links of the worktree itself are groups."""
    store = make_store(fs_at(fs) / "repo", f"default_engine={engine_name}")
    main = Path(main_of(store))
    write(main, {f"d{i}/f{j}": f"{i}-{j}" for i in range(3) for j in range(3)})
    if linked:
        os.link(main / "d0/f0", main / "d2/same")
    snapshot(store)
    write(main, {"d1/f1": "changed"})
    second = snapshot(store)["snapshot_id"]
    payload = Path(str(store.layout.payload(second)))
    assert os.lstat(payload / "d1/f0").st_nlink > 1
    kept: list[bytes] = []
    real = groups.Linked.__init__
    monkeypatch.setattr(
        groups.Linked, "__init__", lambda self, path, *more: kept.append(path) or real(self, path, *more)
    )
    made = make(store, second, "side")
    assert bool(kept) == linked
    assert diff_trees(describe_tree(made["path"]), describe_tree(str(payload)), ["links"]) == []
    names = [path for path in Path(made["path"]).rglob("*") if path.is_file() and path.stat().st_nlink > 1]
    assert {path.name for path in names} == ({"f0", "same"} if linked else set())
    store.index().close()  # an index that knows nothing of the snapshot says nothing of groups
    for path in Path(str(store.layout.control)).glob("index.sqlite*"):
        path.unlink()
    kept.clear()
    make(store, second, "other")
    assert kept
    assert violations(store.root) == []


@pytest.mark.parametrize(("engine_name", "fs"), FIRST)
@pytest.mark.parametrize("change", ["same size, time put back", "mapping", "swapped", "mode", "removed", "payload"])
def test_nothing_that_changed_in_a_fork_is_taken_for_unchanged(fs_at, at_once, engine_name, fs, change):
    store = make_store(fs_at(fs) / "repo", f"default_engine={engine_name}")
    write(main_of(store), {"d/a": "aaaa", "d/b": "bbbb", "c": "cccc"})
    for name in ("d/a", "d/b"):
        os.utime(main_of(store) / name, ns=(10**18, 10**18))
    first = snapshot(store)["snapshot_id"]
    made = make(store, first, "side")
    a, b = Path(made["path"]) / "d/a", Path(made["path"]) / "d/b"
    if change == "same size, time put back":
        a.write_text("AAAA")
        os.utime(a, ns=(10**18, 10**18))
    elif change == "mapping":
        import mmap

        with a.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[:4] = b"AAAA"
        os.utime(a, ns=(10**18, 10**18))
    elif change == "swapped":
        os.rename(a, a.with_name("x"))
        os.rename(b, a)
        os.rename(a.with_name("x"), b)
    elif change == "mode":
        os.chmod(a, 0o600)
    elif change == "removed":
        a.unlink()
    else:
        (Path(str(store.layout.payload(first))) / "d/a").write_text("longer than before")
    second = snapshot(store, name="side")
    payload = Path(str(store.layout.payload(second["snapshot_id"])))
    assert diff_trees(describe_tree(made["path"]), describe_tree(str(payload))) == []
    from jvs.check import verify

    assert verify.check_snapshot(store, second["snapshot_id"]).payload_hash_valid


def test_a_fork_that_could_not_keep_everything_is_read(fs_at, at_once, monkeypatch):
    from jvs.engine import small_files
    from jvs.fs import metadata

    store = make_store(fs_at("ext4") / "repo", "default_engine=copy")
    write(main_of(store), {"d/a": "a", "d/b": "b"})
    first = snapshot(store)["snapshot_id"]
    apply = metadata.apply_metadata

    def lossy(target, st, xattrs, path, losses, **more):
        if path == b"d/a":
            losses.add(path, "owner", "refused")
        return apply(target, st, xattrs, path, losses, **more)

    monkeypatch.setattr(metadata, "apply_metadata", lossy)
    monkeypatch.setattr(small_files.SmallFiles, "on", False)
    make(store, first, "side")
    assert store.index().bound_base(store.tree_key("side")) is None
