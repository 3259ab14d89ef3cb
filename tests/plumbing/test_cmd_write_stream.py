"""`jvs-write-stream`: a stream as plumbing."""

from __future__ import annotations

import making


def test_only_what_is_named(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(store))
    made = []
    for number in range(3):
        making.write(making.main_of(store), {"a": str(number)})
        made.append(making.snapshot(store)["snapshot_id"])
    said = making.plumb("write-stream", "--only", "-o", str(tmp_path / "f"), made[0], made[2])
    assert said.out.decode().split() == [made[0], made[2]]
    assert making.plumb("write-stream", "HEAD").out.startswith(b"\x84\x00\x6cjvs-stream-1")
