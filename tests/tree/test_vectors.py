"""The vectors in `vectors/`, for any implementation of the format, against this one and the independent reader.

`README` there says what each file holds. Where a vector and this program disagree, the program is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import making
import pytest

from jvs import canon, names
from jvs.check import verify
from jvs.fs import listing
from jvs.store import audit, audit_check, descriptor
from jvs.tree import node

VECTORS = Path(__file__).resolve().parent / "vectors"
KINDS = {name: number for number, name in enumerate(listing.KIND_NAMES)}


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def cases(name: str, part: str) -> list:
    return [pytest.param(case, id=case["name"]) for case in load(name)[part]]


def encoders() -> list:
    return [canon.encode, making.oracle_module("canonical").json_encode]


def decoders() -> list:
    return [canon.decode, making.oracle_module("canonical").json_decode]


def raw(case: dict[str, Any], key: str) -> bytes:
    """Return bytes that a vector gives as text, as `KEY_b64`, or as `KEY_repeat`: [text, count]."""
    if f"{key}_b64" in case:
        return base64.b64decode(case[f"{key}_b64"], validate=True)
    if f"{key}_repeat" in case:
        text, count = case[f"{key}_repeat"]
        return text.encode() * count
    return case[key].encode("utf-8")


@pytest.mark.parametrize("case", cases("canonical-json", "accepted"))
def test_canonical_json(case):
    for decode in decoders():
        value = decode(raw(case, "json"))
        for encode in encoders():
            assert encode(value) == case["canonical"].encode("utf-8")
    assert hashlib.sha256(case["canonical"].encode("utf-8")).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", cases("canonical-json", "refused"))
def test_refused_json(case):
    for decode in decoders():
        with pytest.raises(ValueError):
            decode(raw(case, "json"))


def entry_of(case: dict[str, Any]) -> list[Any]:
    attributes = case["xattrs"]
    if attributes is not None:
        attributes = {raw(item, "name"): raw(item, "value") for item in attributes}
    digest = bytes.fromhex(case["digest"])
    return [raw(case, "name"), KINDS[case["kind"]], int(case["mode"], 8), case["size"], digest, attributes]


@pytest.mark.parametrize("case", cases("nodes", "nodes"))
def test_directory_nodes(case):
    entries = [entry_of(entry) for entry in case["entries"]]
    for encode in (canon.cbor_encode, making.oracle_module("canonical").cbor_encode):
        data = encode(entries)
        assert data.hex() == case["cbor"]
        assert hashlib.sha256(b"jvs-tree-1\0" + data).hexdigest() == case["digest"]
    assert node.node_digest(bytes.fromhex(case["cbor"])).hex() == case["digest"]
    assert node.decode_node(bytes.fromhex(case["cbor"])) == [tuple(entry) for entry in entries]


@pytest.mark.parametrize("case", cases("nodes", "roots"))
def test_roots(case):
    attributes = case["xattrs"]
    if attributes is not None:
        attributes = {raw(item, "name"): raw(item, "value") for item in attributes}
    root = (int(case["mode"], 8), attributes, bytes.fromhex(case["digest"]))
    assert node.encode_root(root).hex() == case["cbor"]
    assert node.root_hash(root) == case["root_hash"]
    theirs = making.oracle_module("canonical").cbor_encode(list(root))
    assert hashlib.sha256(b"jvs-root-1\0" + theirs).hexdigest() == case["root_hash"]


@pytest.mark.parametrize("case", cases("nodes", "refused"))
def test_refused_nodes(case):
    with pytest.raises(ValueError):
        node.decode_node(bytes.fromhex(case["cbor"]))


def build(path: bytes, case: dict[str, Any]) -> None:
    """Make what a vector describes."""
    kind, mode = case["kind"], int(case["mode"], 8)
    if kind == "dir":
        os.mkdir(path)
        for entry in case["entries"]:
            build(path + b"/" + raw(entry, "name"), entry)
    elif kind == "file":
        with open(path, "wb") as file:
            file.write(raw(case, "content"))
    elif kind == "symlink":
        os.symlink(raw(case, "target"), path)
        return
    else:
        form = {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "char": stat.S_IFCHR, "block": stat.S_IFBLK}[kind]
        os.mknod(path, form | 0o600, os.makedev(case.get("major", 0), case.get("minor", 0)))
    os.chmod(path, mode)
    for item in case.get("xattrs") or []:
        os.setxattr(path, raw(item, "name"), raw(item, "value"))
    os.chmod(path, mode)


@pytest.mark.parametrize("case", cases("trees", "trees"))
def test_trees(case, tmp_path):
    path = os.fsencode(tmp_path / "tree")
    try:
        build(path, case["tree"])
    except PermissionError as error:
        pytest.skip(f"devices and capabilities need root: {error}")
    if any(not os.access(entry, os.R_OK) for entry in Path(os.fsdecode(path)).rglob("*") if entry.is_file()):
        pytest.skip("only root may read all of it")
    algorithm = case.get("algorithm", node.ALGORITHM)
    ours = verify.hash_directory(making.at(os.fsdecode(path)), plain=node.is_plain(algorithm))
    theirs = making.oracle_module("treehash").hash_tree(path, algorithm)
    assert theirs.root_hash == case["root_hash"]
    assert ours.root_hash == case["root_hash"]
    assert ours.payload() == theirs.counts() == case["payload"]
    assert {data.hex() for data in ours.nodes.values()} == set(case["nodes"])


def test_no_two_trees_have_the_same_hash():
    hashes = [case["root_hash"] for case in load("trees")["trees"]]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("case", cases("records", "descriptors"))
def test_descriptors_and_their_markers(case):
    record = canon.decode_object(case["canonical"].encode())
    assert canon.encode(record) == case["canonical"].encode()
    assert descriptor.checksum(record) == making.oracle_module("records").checksum(record) == case["checksum"]
    assert record["descriptor_checksum"] == case["checksum"]
    assert making.oracle_module("records").check_descriptor(record, record["snapshot_id"]) == []
    assert canon.encode(descriptor.ready_of(record)).decode() == case["ready"]
    covered = {k: v for k, v in record.items() if k not in ("descriptor_checksum", "integrity_state")}
    assert hashlib.sha256(canon.encode(covered)).hexdigest() == case["checksum"]


def test_genesis():
    for case in load("records")["genesis"]:
        assert audit.genesis(case["repo_id"]) == case["prev_hash"]
        assert making.oracle_module("records").genesis_hash(case["repo_id"]) == case["prev_hash"]


@pytest.mark.parametrize("case", cases("records", "chains"))
def test_audit_chains(case, tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(line + "\n" for line in case["lines"]), encoding="utf-8")
    report = audit_check.check(making.at(path), case["first_hash"])
    assert (report.problems == []) == case["valid"]
    assert report.count == case["records"]
    if case["valid"]:
        assert report.head == case["head"]
        for line in case["lines"]:
            record = json.loads(line)
            assert making.oracle_module("records").record_hash(record) == record["record_hash"]


def test_ids_and_names():
    vectors = load("names")
    for text in vectors["ids"]["good"]:
        assert names.is_snapshot_id(text)
    for text in vectors["ids"]["bad"]:
        assert not names.is_snapshot_id(text)
    for text in vectors["worktree_names"]["good"]:
        assert names.check_worktree_name(text) == text
    for text in vectors["worktree_names"]["bad"]:
        with pytest.raises(names.NameInvalid):
            names.check_worktree_name(text)
