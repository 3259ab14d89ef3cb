"""Whatever stands in a file, on stdin or on the command line: a stable error class, never a traceback."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import making
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jvs import canon, names
from jvs.cli import run as cli
from jvs.errors import JvsError
from jvs.store import audit, audit_check, changing, descriptor, init, intent, refs, worktree
from jvs.store import settings as jvs_settings
from jvs.store.settings import Settings
from jvs.store.store import Store

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
ID = "1700000000000-0a1b2c3d"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    chosen = Settings.from_environment({"JVS_SNAPSHOT_ENGINE": "copy"})
    init.create(str(tmp_path / "lab"), chosen)
    monkeypatch.chdir(tmp_path / "lab" / "main")
    return Store.open(str(tmp_path / "lab"), chosen)


def mutated(valid: dict) -> st.SearchStrategy[bytes]:
    """Return records that are nearly valid, damaged in one place, and bytes that are nothing like one."""
    whole = canon.encode(valid)
    one_field = st.tuples(st.sampled_from(sorted(valid)), JSON).map(
        lambda kv: json.dumps({**valid, kv[0]: kv[1]}).encode()
    )
    missing = st.sampled_from(sorted(valid)).map(
        lambda key: json.dumps({k: v for k, v in valid.items() if k != key}).encode()
    )
    cut = st.integers(0, len(whole)).map(lambda n: whole[:n])
    flipped = st.tuples(st.integers(0, len(whole) - 1), st.integers(1, 255)).map(
        lambda where: whole[: where[0]] + bytes([whole[where[0]] ^ where[1]]) + whole[where[0] + 1 :]
    )
    return st.one_of(
        one_field, missing, cut, flipped, st.binary(max_size=200), JSON.map(lambda v: json.dumps(v).encode())
    )


DESCRIPTOR = {
    "format": 2,
    "snapshot_id": ID,
    "parent_id": None,
    "worktree_name": "main",
    "created_at": "2026-01-02T03:04:05.123456Z",
    "note": "n",
    "tags": ["t"],
    "engine": "copy",
    "hash_algorithm": "sha256-tree-1",
    "payload_root_hash": "0" * 64,
    "payload": {"files": 0, "dirs": 0, "symlinks": 0, "others": 0, "bytes": 0},
    "changes": None,
    "degraded": [],
    "partial_paths": None,
    "actor": "a@b",
    "audit_head": "0" * 64,
    "integrity_state": "verified",
}
DESCRIPTOR["descriptor_checksum"] = descriptor.checksum(DESCRIPTOR)


@QUICK
@given(data=mutated(DESCRIPTOR))
def test_damaged_descriptors_are_refused_with_a_class(store: Store, data: bytes) -> None:
    Path(str(store.layout.descriptor(ID))).write_bytes(data)
    try:
        record = descriptor.load(store.layout, ID)
    except JvsError as error:
        assert error.name != "E_INTERNAL" and error.hint
    else:
        assert descriptor.checksum(record) == record["descriptor_checksum"]


@QUICK
@given(data=st.data())
def test_damaged_worktree_configs_are_refused_with_a_class(store: Store, data: st.DataObject) -> None:
    path = Path(str(store.layout.worktree_config("main")))
    path.write_bytes(data.draw(mutated(worktree.new_config("main"))))
    try:
        worktree.load(store.layout, "main")
    except JvsError as error:
        assert error.name != "E_INTERNAL" and error.hint


INTENT = intent.new(
    "snapshot",
    "main",
    operation_id=ID,
    owner={"pid": 1, "started": "1", "boot": "b", "namespace": "n", "host": "h", "locked": True},
    audit=audit.event("snapshot", "a@b", target=ID, worktree="main"),
    audit_seq=1,
    snapshot_id=ID,
    parent_id=None,
    latest_id=None,
)


@QUICK
@given(data=mutated(INTENT))
def test_a_damaged_intent_never_crashes_the_next_command(store: Store, data: bytes) -> None:
    path = Path(str(store.layout.intent(ID)))
    path.write_bytes(data)
    try:
        with changing.worktree(store, "main"):
            pass
    except JvsError as error:
        assert error.name != "E_INTERNAL" and error.hint
    path.unlink(missing_ok=True)


@QUICK
@given(line=st.binary(max_size=300))
def test_a_damaged_audit_log_is_a_broken_chain(store: Store, line: bytes) -> None:
    path = Path(str(store.layout.audit_log))
    whole = path.read_bytes()
    path.write_bytes(whole + line + b"\n")
    try:
        report = audit_check.check(making.at(path), audit.genesis(store.repo_id))
        assert report.problems
    finally:
        path.write_bytes(whole)


@QUICK
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_damaged_settings_name_the_file(data: bytes) -> None:
    try:
        jvs_settings.parse_file(data, "config.toml")
    except JvsError as error:
        assert error.name in ("E_USAGE", "E_NAME_INVALID") and error.hint


@QUICK
@given(name=st.text(max_size=80))
def test_names_are_taken_or_refused(name: str) -> None:
    for check in (names.check_worktree_name, names.check_tag, names.check_snapshot_id):
        try:
            assert check(name)
        except JvsError as error:
            assert error.name == "E_NAME_INVALID" and error.hint


@QUICK
@given(target=st.text(max_size=40) | st.from_regex(r"\A(HEAD(~\d*)?|@\{.{0,6}\}|[0-9a-f-]{0,24})\Z"))
def test_any_target_is_found_or_refused(store: Store, target: str) -> None:
    try:
        refs.resolve(store, target, "main")
    except JvsError as error:
        assert error.name in (("E_NOT_FOUND", "E_AMBIGUOUS") if target else ("E_USAGE",)) and error.hint


RECORD = {
    "version": 1,
    "repo": "",
    "worktree": "main",
    "snapshot_id": ID,
    "parent_id": None,
    "latest_id": None,
    "created_at": "2026-01-02T03:04:05.123456Z",
    "partial_paths": None,
    "done": ["check-worktree", "write-intent", "clone-tree", "hash-tree"],
}


@QUICK
@given(
    data=st.data(), program=st.sampled_from(["hash_tree", "sync_tree", "write_ready", "update_head", "clear_intent"])
)
def test_any_publish_record_on_stdin_is_done_or_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: st.DataObject, program: str
) -> None:
    import importlib

    text = data.draw(mutated({**RECORD, "repo": store.root}))

    class Stdin:
        buffer = io.BytesIO(text)

    monkeypatch.setattr(sys, "stdin", Stdin)
    before = sorted(os.listdir(str(store.layout.jvs)))
    code = importlib.import_module(f"jvs.plumbing.{program}").main(["--record"])
    assert code != 70, capsys.readouterr().err
    assert sorted(set(os.listdir(str(store.layout.jvs))) - {"index.sqlite", "index.sqlite-journal"}) == sorted(
        set(before) - {"index.sqlite", "index.sqlite-journal"}
    )


@QUICK
@given(words=st.lists(st.text(max_size=12).filter(lambda w: "\0" not in w), max_size=4))
def test_any_command_line_is_understood_or_refused(
    store: Store, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    code = cli.main(["history", *words])
    captured = capsys.readouterr()
    assert code != 70, captured.err
    assert "Traceback" not in captured.err
