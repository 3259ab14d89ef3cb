"""The index is a cache: whatever happens to it, answers stay the same and nobody gets an error."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import making
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jvs.store import changing
from jvs.tree import index, index_file, prune
from jvs.tree import node as tree_node
from jvs.tree import rows as tree_rows

EMPTY = b"\x80"
DATA = tree_node.encode_node([(b"a", 0, 0o644, 1, b"\1" * 32, None)])
DIGEST = tree_node.node_digest(DATA)
ROW = tree_rows.pack([b"a"], b"s" * 44)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "index.sqlite")


def filled(path):
    cache = index.Index(path)
    cache.store("main", rows=[(b"", ROW, DIGEST), (b"sub", ROW, DIGEST)], nodes={DIGEST: DATA}, base=("ID", b"root"))
    return cache


def test_what_was_kept_is_known_to_the_next_run(path):
    filled(path).close()
    with index.Index(path) as cache:
        assert cache.rows("main") == {b"": (ROW, DIGEST), b"sub": (ROW, DIGEST)}
        assert cache.node(DIGEST) == DATA
        assert cache.base("main") == ("ID", b"root")
        assert cache.rows("other") == {}
        assert cache.base("other") is None
        assert cache.node(b"\2" * 32) is None


def test_the_file_is_private(path):
    filled(path).close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_the_empty_directory_is_always_known():
    assert index.Index(None).node(tree_node.EMPTY_DIGEST) == EMPTY


def test_an_absent_index_knows_and_keeps_nothing():
    cache = index.Index(None)
    cache.store("main", rows=[(b"", ROW, DIGEST)], nodes={DIGEST: DATA})
    cache.forget("main")
    cache.forget_nodes(set())
    assert cache.rows("main") == {}
    assert cache.node(DIGEST) is None
    assert cache.root("0" * 64) is None
    assert cache.base("main") is None
    cache.close()


def test_directories_that_are_gone_are_forgotten(path):
    with filled(path) as cache:
        cache.store("main", gone=[b"sub"])
        assert set(cache.rows("main")) == {b""}
        cache.store("main", rows=[(b"new", ROW, DIGEST)], replace=True)
        assert set(cache.rows("main")) == {b"new"}
        cache.forget("main")
        assert cache.rows("main") == {}
        assert cache.base("main") is None
        assert cache.node(DIGEST) == DATA


def test_nodes_of_collected_snapshots_are_forgotten(path):
    with filled(path) as cache:
        cache.forget_nodes({DIGEST})
        assert cache.node(DIGEST) == DATA
        cache.forget_nodes(set())
        assert cache.node(DIGEST) is None


def test_a_root_is_proved_by_its_hash(path):
    root = (0o755, None, DIGEST)
    data = tree_node.encode_root(root)
    with filled(path) as cache:
        cache.store(None, nodes={bytes.fromhex(tree_node.root_hash(root)): data, b"\5" * 32: data})
        assert cache.root(tree_node.root_hash(root)) == root
        assert cache.root("05" * 32) is None


def test_a_node_that_was_changed_is_not_believed(path):
    filled(path).close()
    forge(path, "UPDATE node SET data=?", (b"\x81",))
    with index.Index(path) as cache:
        assert cache.node(DIGEST) is None


@pytest.mark.parametrize("what", ["digest", "node", "path", "chk"])
def test_a_row_that_was_changed_is_not_believed(path, what):
    filled(path).close()
    forge(path, f"UPDATE dir SET {what}=? WHERE path=?", (b"forged", b"sub"))
    with index.Index(path) as cache:
        assert set(cache.rows("main")) == {b""}


OTHER = tree_rows.pack([b"b"], b"t" * 44)
STREAM = tree_rows.as_kept(ROW)[0]
DAMAGES = [
    b"",
    b"forged",
    STREAM[:-1],
    STREAM[:9],
    b"\0" * 8,
    b"\xff" * 8 + STREAM[8:],
    tree_rows.as_kept(OTHER)[0],
    ROW,
]


@pytest.mark.parametrize("damage", range(len(DAMAGES)))
def test_a_damaged_row_is_that_of_its_digest_and_tells_nothing(path, damage):
    filled(path).close()
    forge(path, "UPDATE dir SET stamps=? WHERE path=?", (DAMAGES[damage], b"sub"))
    with index.Index(path) as cache:
        row, node = cache.rows("main")[b"sub"]
        assert row == ROW and row != OTHER and node == DIGEST  # which the check proves, not the bytes
        assert tree_rows.whole(row) is None
        assert tree_rows.unpack(row, 44) == {}
        assert not tree_rows.has_names(row, [b"a"], 44) and not tree_rows.has_names(row, [], 44)
        assert cache.recall((row, node)) == ({}, {})
        assert prune.Untouched({b"sub/below"}, cache.rows("main"), cache).passage(b"sub") is None
        assert tree_rows.whole(cache.rows("main")[b""][0]) == ROW


def test_no_more_comes_out_than_can_have_been_put_in(path, monkeypatch):
    monkeypatch.setattr(index, "LEAST_UNPACKED", 1000)
    monkeypatch.setattr(index, "MOST_TIMES_UNPACKED", 0)
    many = tree_rows.pack([b"%03d" % number for number in range(20)], bytes(44 * 20))
    with filled(path) as cache:
        cache.store("main", rows=[(b"many", many, DIGEST)])
        rows = cache.rows("main")
        assert tree_rows.whole(rows[b""][0]) == ROW
        assert rows[b"many"][0] == many
        assert tree_rows.whole(cache.rows("main")[b"many"][0]) == many
        assert [tree_rows.whole(rows[b"many"][0]) for _ in range(2)] == [None, None]


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name), st.binary(min_size=44, max_size=44)
    ),
    st.integers(0, 1 << 30),
)
def test_a_row_comes_out_as_it_was_put_in(entries, seed):
    names = sorted(entries)
    row = tree_rows.pack(names, b"".join(entries[name] for name in names))
    kept = tree_rows.PackedRow(*tree_rows.as_kept(row), tree_rows.Unpacking(1 << 30))
    assert kept == row and tree_rows.whole(kept) == row
    assert tree_rows.count(kept) == len(names) and tree_rows.has_names(kept, names, 44)
    assert tree_rows.as_kept(kept) == tree_rows.as_kept(row)
    if row:
        at = seed % len(row)
        assert kept != row[:at] + bytes([row[at] ^ 1]) + row[at + 1 :]


def test_a_row_of_another_worktree_is_not_believed(path):
    filled(path).close()
    forge(path, "UPDATE dir SET tree='other'", ())
    with index.Index(path) as cache:
        assert cache.rows("other") == {}


def forge(path, statement, values):
    with sqlite3.connect(path) as db:
        db.execute(statement, values)
    db.close()


def test_a_base_that_does_not_belong_to_the_rows_is_not_believed(path):
    """A power cut may keep some pages of a transaction and lose others: files are linked from the base unread."""
    for statement, values in (
        ("UPDATE base SET snapshot='other'", ()),
        ("UPDATE base SET root=?", (b"other",)),
        ("UPDATE base SET snapshot=?", (b"\xff",)),
        ("DELETE FROM dir WHERE path=?", (b"sub",)),
        ("UPDATE dir SET chk=? WHERE path=?", (b"\1" * 16, b"sub")),
        ("INSERT INTO dir VALUES ('main',?,?,?,?,?)", (b"more", ROW, b"d", DIGEST, b"\1" * 16)),
    ):
        filled(path).close()
        forge(path, statement, values)
        with index.Index(path) as cache:
            assert cache.base("main") is None, statement
        Path(path).unlink(missing_ok=True)


def test_a_row_that_the_base_was_not_bound_to_is_not_used(path):
    """A torn transaction may leave an old row, whole in itself, in the table and the new check in its index."""
    with filled(path) as cache:
        bound = cache.bound_base("main")
        assert bound is not None
        checks = bound[2]
        assert set(cache.rows("main", checks)) == {b"", b"sub"}
        assert tree_rows.LazyRows(cache, "main", checks).get(b"sub") is not None
        check = cache.checked_row("main", b"sub")[2]
        assert set(cache.rows("main", checks - {check})) == {b""}
        assert tree_rows.LazyRows(cache, "main", checks - {check}).get(b"sub") is None


def test_rows_that_are_kept_without_a_base_have_none(path):
    with filled(path) as cache:
        assert cache.base("main") == ("ID", b"root")
        cache.store("main", rows=[(b"new", ROW, DIGEST)])
        assert cache.base("main") is None
        cache.store("main", rows=[(b"", ROW, DIGEST)], gone=[b"new"], base=("ID2", b"root"))
        assert cache.base("main") == ("ID2", b"root")
        cache.store(None, nodes={b"\3" * 32: b"x"})
        assert cache.base("main") == ("ID2", b"root")


@pytest.mark.parametrize("content", [b"", b"x", b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_dropped_and_built_anew(path, content):
    with open(path, "wb") as file:
        file.write(content)
    with index.Index(path) as cache:
        assert cache.rows("main") == {}
    with filled(path) as cache:
        assert cache.node(DIGEST) == DATA


def test_damage_anywhere_in_the_file_is_never_an_error(path):
    with filled(path) as cache:
        nodes = {os.urandom(32): os.urandom(2000) for _ in range(60)}
        cache.store("main", rows=[(b"d%d" % i, ROW * 20, DIGEST) for i in range(60)], nodes=nodes)
    with open(path, "rb") as file:
        whole = file.read()
    for at in range(0, len(whole), 997):
        with open(path, "wb") as file:
            file.write(whole[:at] + b"\xa5" * 300 + whole[at + 300 :])
        with index.Index(path) as cache:
            rows = cache.rows("main")
            assert all(row in (ROW, ROW * 20) and node == DIGEST for row, node in rows.values())
            assert cache.node(DIGEST) in (None, DATA)
            cache.store("main", rows=[(b"", ROW, DIGEST)], gone=[b"x"], nodes={DIGEST: DATA})
            cache.forget("main")


def test_a_file_cut_short_is_never_an_error(path):
    filled(path).close()
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        whole = file.read()
    for keep in range(0, size, size // 15):
        with open(path, "wb") as file:
            file.write(whole[:keep])
        with index.Index(path) as cache:
            assert cache.node(DIGEST) in (None, DATA)


def test_another_version_is_dropped(path):
    filled(path).close()
    forge(path, "PRAGMA user_version=99", ())
    with index.Index(path) as cache:
        assert cache.rows("main") == {}
        cache.store("main", rows=[(b"", ROW, DIGEST)])
        assert set(cache.rows("main")) == {b""}


def test_a_lock_that_stays_held_means_work_without(path, monkeypatch):
    filled(path).close()
    monkeypatch.setattr(index_file, "BUSY_SECONDS", 0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with index.Index(path) as cache:
        assert cache.rows("main") == {}
        assert cache.node(DIGEST) is None
        cache.store("main", rows=[(b"", ROW, DIGEST)])
    other.execute("ROLLBACK")
    other.close()
    with index.Index(path) as cache:
        assert cache.node(DIGEST) == DATA


def test_a_link_in_its_place_is_replaced_and_not_followed(path, tmp_path):
    (tmp_path / "victim").write_bytes(b"mine")
    os.symlink(tmp_path / "victim", path)
    with filled(path) as cache:
        assert cache.node(DIGEST) == DATA
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not os.path.islink(path)


def test_a_reader_of_a_repository_that_cannot_be_written_makes_no_file(path):
    with index.Index(path, readonly=True) as cache:
        assert cache.rows("main") == {}
    assert not os.path.exists(path)


def test_a_directory_in_its_place_is_no_error(path):
    os.mkdir(path)
    with index.Index(path) as cache:
        assert cache.rows("main") == {}


def test_rows_survive_packing():
    names = [b"a", b"b\xff", b"c"]
    stamps = b"1" * 44 + b"2" * 44 + b"\0" * 44
    unpacked = tree_rows.unpack(tree_rows.pack(names, stamps), 44)
    assert unpacked == {b"a": b"1" * 44, b"b\xff": b"2" * 44, b"c": b"\0" * 44}
    assert tree_rows.unpack(tree_rows.pack([], b""), 44) == {}


def test_a_snapshot_succeeds_whatever_stands_in_the_place_of_the_index(tmp_path):
    store = making.make_store(tmp_path / "r")
    making.write(making.main_of(store), {"a/b": "1", "c": "2"})
    first = making.snapshot(store)
    store.close()
    spoil = [
        lambda p: os.unlink(p),
        lambda p: open(p, "wb").write(b"rubbish" * 3000),  # noqa: SIM115
        lambda p: forge(p, "DELETE FROM node", ()),
        lambda p: forge(p, "DELETE FROM dir", ()),
        lambda p: forge(p, "DROP TABLE node", ()),
        lambda p: forge(p, "UPDATE base SET snapshot='1700000000000-0a1b2c3d'", ()),
        lambda p: forge(p, "UPDATE base SET snapshot='../../../etc'", ()),
    ]
    for harm in spoil:
        harm(str(store.layout.index))
        made = making.snapshot(making.open_store(store.root))
        assert made["payload_root_hash"] == first["payload_root_hash"]
    assert making.violations(store.root) == []


def test_lost_nodes_do_not_make_a_snapshot_read_its_parent_or_fail(tmp_path):
    store = making.make_store(tmp_path / "r")
    making.write(making.main_of(store), {"a/b": "1", "c/d": "2"})
    first = making.snapshot(store)
    store.close()
    making.write(making.main_of(store), {"c/d": "changed"})
    forge(str(store.layout.index), "DELETE FROM node", ())
    with open(os.path.join(str(store.layout.payload(first["snapshot_id"])), "a/b"), "w") as file:
        file.write("tampered")
    made = making.snapshot(making.open_store(store.root, use_index=True))
    assert making.main_of(store).joinpath("a/b").read_text() == "1"
    assert made["parent_id"] == first["snapshot_id"]


def test_a_look_that_read_much_is_quick_the_next_time_and_no_link_rests_on_it(tmp_path) -> None:
    import os

    from jvs.check import verify
    from jvs.publish import run as publishing
    from jvs.store import init, worktree_scan
    from jvs.store.settings import Settings
    from jvs.store.store import Store

    settings = Settings.from_environment({"JVS_SNAPSHOT_ENGINE": "copy"})
    init.create(str(tmp_path / "lab"), settings)
    store = Store.open(str(tmp_path / "lab"), settings)
    main = tmp_path / "lab" / "main"
    for number in range(worktree_scan.MUCH_READ + 50):
        (main / f"f{number}").write_text(f"{number:06}")
        os.utime(main / f"f{number}", ns=(10**18, 10**18))

    def take() -> dict:
        with changing.worktree(store, "main"):
            return publishing.publish(store, "main")

    first = take()
    for path in main.iterdir():  # same sizes, same times, other content
        path.write_text(path.read_text()[::-1])
        os.utime(path, ns=(10**18, 10**18))
    os.sync()
    worktree_scan.clock.sleep(0.05)
    seen = worktree_scan.walk_now(store, "main")
    assert seen.taken > worktree_scan.MUCH_READ
    assert worktree_scan.walk_now(store, "main").taken == 0
    assert worktree_scan.walk_now(store, "main").root_hash == seen.root_hash != first["payload_root_hash"]
    second = take()
    assert second["payload_root_hash"] == seen.root_hash
    assert verify.check_snapshot(store, second["snapshot_id"]).error is None


def test_rows_without_a_base_are_not_used(path):
    """Each may be true, and the row above a directory older than that of the directory."""
    with filled(path) as cache:
        assert set(cache.bound_rows("main")) == {b"", b"sub"}
    forge(path, "DELETE FROM base", ())
    with index.Index(path) as cache:
        assert cache.bound_rows("main") == {}
        assert cache.seen_rows("main") == {}


def test_what_a_look_found_is_laid_over_the_rows_that_it_had(path):
    other = tree_rows.pack([b"b"], b"t" * 44)
    with filled(path) as cache:
        assert cache.seen_checks("main") is None
        cache.store(tree_rows.seen("main"), rows=[(b"", other, DIGEST)], base=("ID", DIGEST))
        assert cache.seen_rows("main") == {b"": (other, DIGEST), b"sub": (ROW, DIGEST)}
        assert cache.rows("main")[b""] == (ROW, DIGEST)
    forge(path, "UPDATE base SET snapshot='ID2' WHERE tree='main/seen'", ())
    with index.Index(path) as cache:
        assert cache.seen_rows("main") == {b"": (ROW, DIGEST), b"sub": (ROW, DIGEST)}


def test_a_look_before_the_first_snapshot_is_remembered(path):
    with index.Index(path) as cache:
        cache.store(tree_rows.seen("main"), rows=[(b"", ROW, DIGEST)], base=("", DIGEST))
        assert cache.seen_rows("main") == {b"": (ROW, DIGEST)}
        cache.store("main", rows=[(b"sub", ROW, DIGEST)], base=("ID", DIGEST))
        assert cache.seen_rows("main") == {b"sub": (ROW, DIGEST)}


def test_what_is_fetched_ahead_is_what_is_asked_for(path):
    with filled(path) as cache:
        cache.store(None, totals={DIGEST: (1, 2, 3, 4, 5)})
        cache.preload({DIGEST, b"\2" * 32}, {DIGEST})
        assert not cache._db.in_transaction
        forge(path, "DELETE FROM node", ())
        assert (cache.node(DIGEST), cache.total(DIGEST)) == (DATA, (1, 2, 3, 4, 5))
        assert cache.node(DIGEST) is None
        assert cache.node(b"\2" * 32) is None


def test_several_questions_at_once_hold_one_lock_and_let_go_of_it(path):
    with filled(path) as cache:
        with cache.at_once(), cache.at_once():
            assert cache.node(DIGEST) == DATA
            assert cache._db.in_transaction
        assert not cache._db.in_transaction
        with cache.at_once():
            cache.store("main", rows=[(b"new", ROW, DIGEST)], base=("ID2", b"root"))
        assert cache.base("main") == ("ID2", b"root")
        with pytest.raises(KeyError), cache.at_once():
            raise KeyError
        assert not cache._db.in_transaction


@pytest.mark.parametrize("plain", [True, False])
def test_whether_a_base_is_plain_is_bound_to_it(path, plain):
    with filled(path) as cache:
        cache.store("main", base=("ID", b"root"), plain=plain)
        assert cache.bound_base("main")[3] is plain
    forge(path, "UPDATE base SET plain=?", (int(not plain),))
    with index.Index(path) as cache:
        assert cache.bound_base("main") is None


def test_new_rows_are_laid_only_over_those_that_they_were_made_from(path, tmp_path):
    """An old copy of the file that is put back meanwhile has rows of another snapshot, each whole in itself."""
    later = tree_rows.pack([b"later"], b"t" * 44)
    filled(path).close()
    old = Path(path).read_bytes()
    with index.Index(path) as cache:
        cache.bound_base("main")
        cache.store("main", rows=[(b"", ROW, DIGEST), (b"sub", later, DIGEST)], base=("ID2", b"root"))
        assert cache.bound_base("main")[0] == "ID2"
        Path(path).write_bytes(old)
        with index.Index(path) as other:
            assert other.rows("main")[b"sub"] == (ROW, DIGEST)
        cache.store("main", rows=[(b"", later, DIGEST)], base=("ID3", b"root"))
    with index.Index(path) as cache:
        assert cache.bound_base("main")[0] == "ID3"
        assert cache.bound_rows("main") == {b"": (later, DIGEST)}


def test_a_store_follows_another_store_and_a_reading(path):
    later = tree_rows.pack([b"later"], b"t" * 44)
    with index.Index(path) as cache:
        for number, row in enumerate((ROW, later)):
            cache.store("main", rows=[(b"%d" % number, row, DIGEST)], base=(f"ID{number}", b"root"))
        assert set(cache.bound_rows("main")) == {b"0", b"1"}
    with index.Index(path) as cache:
        cache.bound_base("main")
        cache.store("main", rows=[(b"2", ROW, DIGEST)], base=("ID2", b"root"))
        assert set(cache.bound_rows("main")) == {b"0", b"1", b"2"}
    with index.Index(path) as cache:  # nobody asked what there is, so nothing of it is known to be true
        cache.store("main", rows=[(b"3", ROW, DIGEST)], base=("ID3", b"root"))
        assert set(cache.bound_rows("main")) == {b"3"}


def test_a_damaged_file_that_may_not_be_removed_is_worked_without(path, monkeypatch):
    Path(path).write_bytes(b"not a database" * 1000)

    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(index_file.durable, "unlink", refuse)
    with index.Index(path) as cache:
        cache.store("main", rows=[(b"", ROW, DIGEST)], base=("ID", b"root"))
        assert cache.bound_base("main") is None
        assert cache.rows("main") == {}


def test_rows_are_bound_again_only_after_a_change(path, monkeypatch):
    """Whether they are is asked for several times by each operation, and is as dear as there are directories."""
    summed: list[str] = []
    real = index.Index._checks_of
    monkeypatch.setattr(index.Index, "_checks_of", lambda self, name: summed.append(name) or real(self, name))
    with filled(path) as cache:
        bound = cache.bound_base("main")
        assert bound is not None
        summed.clear()
        with cache.at_once():
            assert cache.bound_base("main") == bound
        assert cache.bound_base("main") == bound and summed == []
        forge(path, "UPDATE dir SET chk=? WHERE path=?", (b"\1" * 16, b"sub"))
        assert cache.bound_base("main") is None and summed == ["main"]
        cache.store("main", rows=[(b"", ROW, DIGEST)], base=("ID2", b"root"), replace=True)
        assert cache.base("main") == ("ID2", b"root")
        with index.Index(path) as other:
            other.store("main", rows=[(b"new", ROW, DIGEST)], base=("ID3", b"root"))
        assert cache.base("main") == ("ID3", b"root")
        cache.forget("main")
        assert cache.bound_base("main") is None
        cache.give_up()
        assert cache.bound_base("main") is None
