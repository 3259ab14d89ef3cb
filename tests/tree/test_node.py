"""The Merkle tree: what a digest covers, what it leaves out, and comparing by descending where digests differ."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket

import making
import pytest
import zoo
from hypothesis import given
from hypothesis import strategies as st

from jvs.check import verify
from jvs.fs import listing
from jvs.fs.xattrs import is_covered
from jvs.tree import node

D = hashlib.sha256(b"x").digest()


def root_hash(path) -> str:
    return verify.hash_directory(making.at(path)).root_hash


def test_the_empty_directory_has_the_known_digest():
    assert hashlib.sha256(b"jvs-tree-1\0\x80").digest() == node.EMPTY_DIGEST


def test_the_root_hash_covers_mode_xattrs_and_the_directory(tmp_path):
    os.chmod(tmp_path, 0o755)
    expected = hashlib.sha256(b"jvs-root-1\0" + b"\x83\x19\x01\xed\xf6\x58\x20" + node.EMPTY_DIGEST).hexdigest()
    assert root_hash(tmp_path) == expected == node.root_hash((0o755, None, node.EMPTY_DIGEST))


def test_the_independent_reader_gives_the_zoo_the_same_hash(fs_dir):
    zoo.make_zoo(fs_dir / "zoo", many=20)
    theirs = making.oracle_module("treehash").hash_tree(os.fsencode(fs_dir / "zoo"))
    ours = verify.hash_directory(making.at(fs_dir / "zoo"))
    assert ours.root_hash == theirs.root_hash
    assert ours.payload() == theirs.counts()


def changes():
    return {
        "content": lambda d: (d / "file").write_bytes(b"two"),
        "same size": lambda d: (d / "file").write_bytes(b"eno"),
        "mode": lambda d: (d / "file").chmod(0o755),
        "setuid": lambda d: (d / "file").chmod(0o4644),
        "directory mode": lambda d: (d / "sub").chmod(0o700),
        "root mode": lambda d: d.chmod(0o711),
        "name": lambda d: (d / "file").rename(d / "File"),
        "new empty file": lambda d: (d / "new").touch(),
        "new empty directory": lambda d: (d / "sub/new").mkdir(),
        "removed": lambda d: (d / "sub/inner").unlink(),
        "moved": lambda d: (d / "sub/inner").rename(d / "inner"),
        "link target": lambda d: ((d / "link").unlink(), (d / "link").symlink_to("elsewhere")),
        "link to file": lambda d: ((d / "link").unlink(), (d / "link").write_bytes(b"file")),
        "fifo to socket": lambda d: ((d / "fifo").unlink(), _socket(d / "fifo")),
        "xattr": lambda d: os.setxattr(d / "file", "user.x", b"1"),
        "xattr of a directory": lambda d: os.setxattr(d / "sub", "user.x", b"1"),
        "xattr of the root": lambda d: os.setxattr(d, "user.x", b"1"),
        "xattr value": lambda d: os.setxattr(d / "tagged", "user.x", b"2"),
        "ACL": lambda d: os.setxattr(d / "file", "system.posix_acl_access", zoo.ACL),
    }


def _socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def sample(directory):
    making.write(directory, {"file": "one", "sub/inner": "inner", "tagged": "t"})
    (directory / "link").symlink_to("file")
    os.mkfifo(directory / "fifo")
    os.setxattr(directory / "tagged", "user.x", b"1")
    return directory


@pytest.mark.parametrize("what", changes())
def test_every_change_of_what_is_covered_changes_the_root_hash(tmp_path, what):
    sample(tmp_path)
    before = root_hash(tmp_path)
    changes()[what](tmp_path)
    assert root_hash(tmp_path) != before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners and trusted attributes")
def test_times_owners_links_and_other_attributes_are_not_covered(tmp_path):
    sample(tmp_path)
    before = root_hash(tmp_path)
    os.utime(tmp_path / "file", ns=(1, 2))
    os.chown(tmp_path / "sub", 1234, 1234)
    os.setxattr(tmp_path / "file", "trusted.x", b"1")
    (tmp_path / "sub/inner").write_bytes((tmp_path / "sub/inner").read_bytes())
    assert root_hash(tmp_path) == before


def test_hard_links_hash_like_copies(tmp_path):
    making.write(tmp_path / "a", {"x": "same", "y": "same"})
    making.write(tmp_path / "b", {"x": "same"})
    os.link(tmp_path / "b/x", tmp_path / "b/y")
    assert root_hash(tmp_path / "a") == root_hash(tmp_path / "b")


def test_hashing_changes_nothing_not_even_access_times(tmp_path):
    sample(tmp_path)
    for path in (tmp_path / "file", tmp_path / "sub", tmp_path / "sub/inner", tmp_path):
        os.utime(path, ns=(1, 2))
    root_hash(tmp_path)
    for path in (tmp_path / "file", tmp_path / "sub", tmp_path / "sub/inner", tmp_path):
        info = os.stat(path)
        assert (info.st_atime_ns, info.st_mtime_ns) == (1, 2)


def test_names_that_differ_only_in_unicode_form_are_two_names(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("caf\u00e9", "cafe\u0301"):
        (tmp_path / "a" / name).touch()
    assert verify.hash_directory(making.at(tmp_path / "a")).files == 2


def test_big_files_hash_the_same_in_threads(tmp_path):
    for i in range(5):
        (tmp_path / f"big{i}").write_bytes(bytes([i]) * (5 << 20))
    one = verify.hash_directory(making.at(tmp_path), jobs=1)
    many = verify.hash_directory(making.at(tmp_path), jobs=4)
    assert one.root_hash == many.root_hash
    assert one.bytes == many.bytes == 5 * (5 << 20)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [[b"a", 0, 0, 0, D]],
        [[b"b", 0, 0, 0, D, None], [b"a", 0, 0, 0, D, None]],
        [[b"a", 0, 0, 0, D, None], [b"a", 0, 0, 0, D, None]],
        [[b"", 0, 0, 0, D, None]],
        [[b".", 0, 0, 0, D, None]],
        [[b"..", 1, 0, 0, D, None]],
        [[b"a/b", 0, 0, 0, D, None]],
        [["a", 0, 0, 0, D, None]],
        [[b"a", 7, 0, 0, D, None]],
        [[b"a", -1, 0, 0, D, None]],
        [[b"a", 0, None, 0, D, None]],
        [[b"a", 0, 0, None, D, None]],
        [[b"a", 0, 0, 0, D[:31], None]],
        [[b"a", 0, 0, 0, D, [1]]],
        [17],
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_stored_node_that_is_no_node_is_a_value_error(value):
    import cbor2

    with pytest.raises(ValueError):
        node.decode_node(cbor2.dumps(value))


@pytest.mark.parametrize(
    ("name", "digest"), [*((name, D) for name in (b"", b".", b"..", b"a/b", b"../a", "a", None, 3)), (b"e", "x")]
)
def test_what_is_no_name_leads_to_no_directory(name, digest):
    import cbor2

    kept = [b"d", listing.DIR, 0o755, 0, D, None]
    assert node.subdirectories(node.decode_proved(cbor2.dumps([kept, [b"f", 0, 0, 0, None, 1]]))) == [(b"d", D)]
    with pytest.raises(ValueError):
        node.subdirectories(node.decode_proved(cbor2.dumps([kept, [name, listing.DIR, 0o755, 0, digest, None]])))


def test_a_node_survives_its_encoding():
    entries = [(b"a", 0, 0o644, 3, D, {b"user.x": b"1"}), (b"b\xff", 1, 0o755, 0, node.EMPTY_DIGEST, None)]
    assert node.decode_node(node.encode_node(entries)) == entries
    assert node.decode_root(node.encode_root((0o755, None, D))) == (0o755, None, D)
    with pytest.raises(ValueError):
        node.decode_root(b"\x80")


TREES = st.recursive(
    st.binary(max_size=2).map(lambda content: ("file", content)),
    lambda inner: st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d\xff"]), inner, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


class Nodes:
    """Builds trees in memory and counts how often a node is loaded."""

    def __init__(self):
        self.nodes = {}
        self.loads = 0

    def build(self, value):
        entries = []
        for name in sorted(value):
            item = value[name]
            if isinstance(item, dict):
                entries.append((name, listing.DIR, 0o755, 0, self.build(item), None))
            else:
                digest = hashlib.sha256(item[1]).digest()
                entries.append((name, listing.FILE, 0o644, len(item[1]), digest, None))
        data = node.encode_node(entries)
        digest = node.node_digest(data)
        self.nodes[digest] = node.decode_node(data)
        return digest

    def load(self, digest):
        self.loads += 1
        return self.nodes[digest]


def flat(value, path=b""):
    found = {}
    for name, item in value.items():
        here = listing.relative(path, name)
        found[here] = "dir" if isinstance(item, dict) else item
        if isinstance(item, dict):
            found |= flat(item, here)
    return found


@given(TREES, TREES)
def test_comparing_finds_exactly_what_differs_in_order(before, after):
    nodes = Nodes()
    found = list(node.compare(nodes.load, nodes.build(before), nodes.build(after)))
    old, new = flat(before), flat(after)
    differing = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    assert {path for path, _, _ in found} == differing
    assert len(found) == len(differing)
    for path, a, b in found:
        assert (a is None) == (path not in old)
        assert (b is None) == (path not in new)
    for first, second in itertools.pairwise(found):
        assert first[0].split(b"/") < second[0].split(b"/")


def test_comparing_loads_only_what_differs():
    nodes = Nodes()
    same = {bytes([c]): {b"x": ("file", b"")} for c in b"abcdefgh"}
    before = nodes.build({b"big": same, b"other": {b"y": ("file", b"1")}})
    after = nodes.build({b"big": same, b"other": {b"y": ("file", b"2")}})
    assert [path for path, _, _ in node.compare(nodes.load, before, after)] == [b"other/y"]
    assert nodes.loads == 4
    assert list(node.compare(nodes.load, before, before)) == []
    assert nodes.loads == 4


def test_a_directory_that_only_changed_its_mode_is_named():
    nodes = Nodes()
    inner = nodes.build({})
    a, b = (node.encode_node([(b"d", listing.DIR, mode, 0, inner, None)]) for mode in (0o755, 0o700))
    for data in (a, b):
        nodes.nodes[node.node_digest(data)] = node.decode_node(data)
    found = list(node.compare(nodes.load, node.node_digest(a), node.node_digest(b)))
    assert [path for path, _, _ in found] == [b"d"]


def test_only_the_promised_attributes_are_covered():
    covered = ("user.x", "user.", "system.posix_acl_access", "system.posix_acl_default", "security.capability")
    assert all(is_covered(name) for name in covered)
    assert not any(is_covered(name) for name in ("security.selinux", "trusted.x", "system.other", "usernot.x"))
