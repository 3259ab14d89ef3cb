"""The encodings and the tree hash: known values, and everything that must be refused or seen."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile

from lib import canonical
from lib.harness import write
from lib.treehash import hash_tree


def test_known_tree_hash() -> None:
    """Compare with a hash worked out by hand from the format's text."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        assert hash_tree(directory).root_hash == _root(0o755, hashlib.sha256(b"jvs-tree-1\0\x80").digest())
        write(f"{directory}/a", b"x")
        os.chmod(f"{directory}/a", 0o644)
        digest = hashlib.sha256(b"x").digest()
        node = b"\x81\x86\x41a\x00\x19\x01\xa4\x01\x58\x20" + digest + b"\xf6"
        assert hash_tree(directory).root_hash == _root(0o755, hashlib.sha256(b"jvs-tree-1\0" + node).digest())


def _root(mode: int, digest: bytes) -> str:
    encoded = b"\x83\x19" + mode.to_bytes(2, "big") + b"\xf6\x58\x20" + digest
    return hashlib.sha256(b"jvs-root-1\0" + encoded).hexdigest()


def test_hash_sees_every_kind_of_change() -> None:
    """Names, modes, kinds, targets, contents and attributes all count; times and inodes do not."""
    with tempfile.TemporaryDirectory() as directory:
        write(f"{directory}/d/f", b"1")
        seen = {hash_tree(directory).root_hash}

        def differs(what: str) -> None:
            now = hash_tree(directory).root_hash
            assert now not in seen, what
            seen.add(now)

        write(f"{directory}/d/f", b"2")
        differs("content")
        os.chmod(f"{directory}/d/f", 0o600)
        differs("mode")
        os.rename(f"{directory}/d/f", f"{directory}/d/g")
        differs("name")
        os.symlink("g", f"{directory}/d/l")
        differs("symlink")
        os.unlink(f"{directory}/d/l")
        os.symlink("h", f"{directory}/d/l")
        differs("target")
        os.mkfifo(f"{directory}/d/p")
        differs("fifo")
        os.unlink(f"{directory}/d/p")
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{directory}/d/p")
        server.close()
        differs("socket in place of a fifo")
        write(os.fsencode(directory).decode() + "/\udcff\n", b"")
        differs("odd name")
        os.chmod(directory, 0o750)
        differs("root mode")
        with contextlib.suppress(OSError):
            os.setxattr(f"{directory}/d/g", "user.x", b"1")
            differs("xattr")
        os.utime(f"{directory}/d/g", (1, 1))
        assert hash_tree(directory).root_hash in seen


def test_strict_json() -> None:
    """What two readers could read differently is refused."""
    for data in (
        b'{"a":1,"a":2}',
        b"NaN",
        b"1.5",
        b"1e3",
        b'"\\ud800"',
        b"\xff",
        b"[" * 100 + b"]" * 100,
        b"{} {}",
        b"",
    ):
        try:
            canonical.json_decode(data)
        except canonical.Malformed:
            continue
        raise AssertionError(data)
    assert canonical.json_encode({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()


def test_cbor_round_trip() -> None:
    """Deterministic CBOR goes both ways; other encodings of the same value are refused."""
    value = [0, 23, 24, 255, 256, 65536, 1 << 40, -1, b"x" * 300, {b"b": b"", b"aa": b"1"}, None, True, "t"]
    assert canonical.cbor_decode(canonical.cbor_encode(value)) == value
    for data in (b"\x18\x01", b"\x82\x01", b"\x01\x01", b"\x9f\x01\xff", b"\xa2\x41b\x00\x41a\x00"):
        try:
            canonical.cbor_decode(data)
        except canonical.Malformed:
            continue
        raise AssertionError(data)
