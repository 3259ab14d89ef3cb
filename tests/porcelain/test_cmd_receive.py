"""`jvs receive`: the snapshots of a stream, all or none."""

from __future__ import annotations

import making


def test_from_a_file_and_from_stdin(tmp_path, monkeypatch):
    source, target = (making.make_store(tmp_path / name) for name in ("source", "target"))
    making.write(making.main_of(source), {"a": "1"})
    made = making.snapshot(source, "one")["snapshot_id"]
    monkeypatch.chdir(making.main_of(source))
    data = making.run("send").out
    monkeypatch.chdir(making.main_of(target))
    assert making.run("receive", stdin=data[:-1]).exit == 23
    said = making.run("receive", "--json", stdin=data)
    assert said.json["snapshots"] == [made] and said.json["source_repo"] == source.repo_id
    (tmp_path / "f").write_bytes(data)
    said = making.run("receive", str(tmp_path / "f"))
    assert said.exit == 0 and b"Here already: 1 snapshot." in said.out
    assert making.run("restore", made).exit == 0
    assert (making.main_of(target) / "a").read_text() == "1"
    assert making.run("receive", str(tmp_path / "nothing")).exit == 4
