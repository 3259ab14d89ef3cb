"""`jvs-read-stream`: prints the ids that are new, parents first."""

from __future__ import annotations

import making


def test_ids_are_printed_once(tmp_path, monkeypatch):
    source, target = (making.make_store(tmp_path / name) for name in ("source", "target"))
    made = []
    for number in range(2):
        making.write(making.main_of(source), {"a": str(number)})
        made.append(making.snapshot(source)["snapshot_id"])
    monkeypatch.chdir(making.main_of(source))
    data = making.plumb("write-stream", "HEAD").out
    monkeypatch.chdir(making.main_of(target))
    assert making.plumb("read-stream", stdin=data).out.decode().split() == made
    assert making.plumb("read-stream", stdin=data).out == b""
