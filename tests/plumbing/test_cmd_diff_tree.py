"""`jvs-diff-tree`: what differs between two trees."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_snapshots(store):
    main = making.main_of(store)
    making.write(main, {"a": "1", "b": "2"})
    making.snapshot(store)
    (main / "b").unlink()
    (main / "a").chmod(0o600)
    making.write(main, {"c": "3"})
    making.snapshot(store)
    rows = [line.split("\t") for line in making.plumb("diff-tree", "HEAD~1", "HEAD").text.splitlines()]
    assert [(r[0], r[1], r[2], r[5]) for r in rows] == [
        ("M", "0644", "0600", "a"),
        ("D", "0644", "-", "b"),
        ("A", "-", "0644", "c"),
    ]
    assert rows[2][3] == "-" and len(rows[2][4]) == 64
    assert making.plumb("diff-tree", "HEAD", "HEAD", "--exit-code").exit == 0
    assert making.plumb("diff-tree", "HEAD~1", "HEAD", "--exit-code").exit == 3
    assert [e["change"] for e in making.plumb("diff-tree", "HEAD~1", "HEAD", "--json").json] == [
        "modified",
        "removed",
        "added",
    ]
    import cbor2

    assert cbor2.loads(making.plumb("diff-tree", "HEAD~1", "HEAD", "--cbor").out)[:2] == [b"M", b"a"]


def test_directories_without_a_repository(tmp_path, monkeypatch):
    making.write(tmp_path, {"x/f": "1", "y/f": "1", "y/odd\nname": ""})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").chmod(0o755)
    (tmp_path / "y").chmod(0o755)
    assert making.plumb("diff-tree", "./x", "y", "-z").out.endswith(b"\todd\nname\0")
    assert making.plumb("diff-tree", "./x", "nothing").exit == 5
