"""jvs verify: every byte, every line and the log; damage is named and never believed away."""

from __future__ import annotations

import json
import os

import making
import pytest
import zoo

from jvs import canon
from jvs.store import audit_check, descriptor


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "r")
    making.write(making.main_of(made), {"a": "1", "sub/b": "2"})
    monkeypatch.chdir(made.root)
    return made


def test_the_head_is_checked_when_no_target_is_given(store):
    assert making.run("verify").exit == 5
    made = making.snapshot(store)["snapshot_id"]
    said = making.run("verify")
    assert said.exit == 0
    assert said.text == f"{made}  OK\nChecksum: true\nPayload hash: true\n"


def test_json_has_the_promised_keys(store):
    made = making.snapshot(store)["snapshot_id"]
    assert making.run("verify", "--json").json == {
        "snapshot_id": made,
        "checksum_valid": True,
        "payload_hash_valid": True,
        "tamper_detected": False,
        "severity": "ok",
        "error": None,
        "differences": [],
        "not_checked": 0,
    }


def test_all_reports_each_snapshot_and_the_chain(store):
    made = [making.snapshot(store)["snapshot_id"] for _ in range(3)]
    said = making.run("verify", "--all")
    assert said.exit == 0
    assert said.text.endswith("3 of 3 snapshots OK; audit chain of 4 records is whole\n")
    lines = making.run("verify", "--all", "--jsonl").text.splitlines()
    assert [json.loads(line)["snapshot_id"] for line in lines] == sorted(made)


def tamper(store, made):
    payload = str(store.layout.payload(made))

    def flip():
        path = os.path.join(payload, "sub/b")
        was = os.stat(path)
        with open(path, "r+b") as file:
            file.write(b"3")
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    return {
        "a byte, times kept": (flip, "content", "sub/b"),
        "a mode": (lambda: os.chmod(os.path.join(payload, "a"), 0o777), "mode", "a"),
        "a removed file": (lambda: os.unlink(os.path.join(payload, "a")), "removed", "a"),
        "a new file": (lambda: making.write(payload, {"zz": "x"}), "added", "zz"),
        "a new empty directory": (lambda: os.mkdir(os.path.join(payload, "zz")), "added", "zz"),
        "an attribute": (lambda: os.setxattr(os.path.join(payload, "a"), "user.x", b"1"), "xattrs", "a"),
        "the root's mode": (lambda: os.chmod(payload, 0o700), "mode", "."),
        "a link for a file": (
            lambda: (os.unlink(os.path.join(payload, "a")), os.symlink("sub/b", os.path.join(payload, "a"))),
            "kind (file to symlink)",
            "a",
        ),
    }


TAMPERINGS = (
    "a byte, times kept",
    "a mode",
    "a removed file",
    "a new file",
    "a new empty directory",
    "an attribute",
    "the root's mode",
    "a link for a file",
)


@pytest.mark.parametrize("what", TAMPERINGS)
def test_every_kind_of_tampering_is_found_and_named(store, what):
    made = making.snapshot(store)["snapshot_id"]
    harm, word, path = tamper(store, made)[what]
    harm()
    said = making.run("verify", "--json")
    assert said.exit == 21
    assert said.json["tamper_detected"] is True
    assert said.json["severity"] == "critical"
    assert (said.json["checksum_valid"], said.json["payload_hash_valid"]) == (True, False)
    assert {"path": path, "what": word} in said.json["differences"]
    text = making.run("verify").text
    assert f"{made}  TAMPERED  E_PAYLOAD_HASH_MISMATCH: " in text
    assert f"  {word}: {path}\n" in text
    assert "Payload hash: false" in text
    assert making.run("verify", "--all").exit == 21
    assert making.run("verify", "--no-payload").exit == 0
    assert making.run("verify", "--no-index").exit == 21


def rewrite(path, change, *, fix=False):
    with open(path, "rb") as file:
        record = json.loads(file.read())
    change(record)
    if fix:
        record["descriptor_checksum"] = descriptor.checksum(record)
    with open(path, "wb") as file:
        file.write(canon.encode(record) + b"\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(note="other"),
        lambda d: d.update(parent_id="1700000000000-0a1b2c3d"),
        lambda d: d.update(unknown=1),
        lambda d: d["payload"].update(files=9),
        lambda d: d.pop("note"),
        lambda d: d.update(payload_root_hash="0" * 64),
        lambda d: d.update(created_at="yesterday"),
        lambda d: d.update(tags="x"),
    ],
)
def test_an_edited_descriptor_is_found(store, change):
    made = making.snapshot(store)["snapshot_id"]
    rewrite(str(store.layout.descriptor(made)), change)
    for words in (["verify"], ["verify", "--all"], ["verify", "--no-payload"]):
        said = making.run(*words)
        assert said.exit == 20, words
        assert "E_DESCRIPTOR_CORRUPT" in said.text + said.err


def test_a_descriptor_that_was_edited_with_its_checksum_does_not_fit_its_marker_or_the_log(store):
    made = making.snapshot(store)["snapshot_id"]
    rewrite(str(store.layout.descriptor(made)), lambda d: d.update(note="forged"), fix=True)
    assert making.run("verify").exit == 20
    with open(str(store.layout.descriptor(made)), "rb") as file:
        forged = json.loads(file.read())
    with open(str(store.layout.ready(made)), "wb") as file:
        file.write(canon.encode(descriptor.ready_of(forged)) + b"\n")
    assert making.run("verify").exit == 0
    said = making.run("verify", "--all")
    assert said.exit == 24
    assert "another descriptor than the log recorded" in said.text


def test_a_missing_parent_breaks_the_line(store):
    first = making.snapshot(store)["snapshot_id"]
    second = making.snapshot(store)["snapshot_id"]
    os.unlink(str(store.layout.descriptor(first)))
    said = making.run("verify", "--all", "--json")
    assert said.exit in (20, 22, 23, 24)
    assert "E_LINEAGE_BROKEN" in {problem["class"] for problem in said.json["problems"]}
    assert making.run("verify", second).exit == 0


def test_a_circle_of_parents_is_found(store):
    first = making.snapshot(store)["snapshot_id"]
    second = making.snapshot(store)["snapshot_id"]
    rewrite(str(store.layout.descriptor(first)), lambda d: d.update(parent_id=second), fix=True)
    said = making.run("verify", "--all", "--json")
    assert said.exit != 0
    assert any("cycle in the history" in problem["message"] for problem in said.json["problems"])


def test_a_marker_or_payload_without_a_descriptor_is_reported(store):
    made = making.snapshot(store)["snapshot_id"]
    os.unlink(str(store.layout.descriptor(made)))
    said = making.run("verify", "--all", "--json")
    assert said.exit != 0
    assert made in [report["snapshot_id"] for report in said.json["snapshots"] if report["tamper_detected"]]


def test_a_record_of_a_snapshot_that_is_gone_is_reported(store):
    made = making.snapshot(store)["snapshot_id"]
    making.snapshot(store)
    for path in (str(store.layout.descriptor(made)), str(store.layout.ready(made))):
        os.unlink(path)
    zoo.remove_tree(str(store.layout.payload(made)))
    said = making.run("verify", "--all")
    assert said.exit != 0
    assert "missing and was not collected" in said.text


def test_it_writes_nothing(store):
    making.snapshot(store)
    store.close()
    before = zoo.describe_tree(os.fsencode(store.root))
    assert making.run("verify", "--all").exit == 0
    assert zoo.diff_trees(before, zoo.describe_tree(os.fsencode(store.root))) == []


def test_it_never_believes_the_index(store):
    made = making.snapshot(store)["snapshot_id"]
    with open(os.path.join(str(store.layout.payload(made)), "a"), "w") as file:
        file.write("2")
    os.unlink(str(store.layout.index))
    assert making.run("verify").exit == 21


def test_a_torn_last_line_is_reported_and_is_no_damage(store):
    making.snapshot(store)
    with open(str(store.layout.audit_log), "ab") as file:
        file.write(b'{"seq"')
    said = making.run("verify", "--all")
    assert said.exit == 0
    assert "torn last line of 6 bytes" in said.text


def test_an_empty_log_is_broken(store):
    making.snapshot(store)
    os.truncate(str(store.layout.audit_log), 0)
    said = making.run("verify", "--all")
    assert said.exit == 24
    assert audit_check.check(store.layout.audit_log, None).count == 0


def test_wrong_calls(store):
    assert making.run("verify", "--all", "x").exit == 2
    assert making.run("verify", "none").exit == 5
    assert making.run("verify", "a", "b").exit == 2
