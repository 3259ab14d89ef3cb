"""Nothing that comes out of a repository drives the terminal, whatever record it stands in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from making import run, write

from jvs import canon
from jvs.store import descriptor
from jvs.ui import escape

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u2066\r\x08\x7f\u0085"
OBEYED = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u202a\u202b\u202c\u202d\u202e"}
OBEYED |= {*"\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029"}
READS = (
    ("history",),
    ("history", "--graph", "--all"),
    ("history", "--json"),
    ("history", "--jsonl"),
    ("history", "--format", "{note} {tags} {actor} {engine} {added}"),
    ("show",),
    ("show", "--json"),
    ("status",),
    ("diff", "HEAD"),
    ("diff", "-p", "HEAD", "--json"),
    ("undo", "--list"),
    ("verify", "--all"),
    ("doctor",),
    ("gc", "plan", "--keep-last", "1"),
    ("info",),
    ("worktree", "list"),
)


def obeyed(text: str) -> set[str]:
    return {repr(character) for character in set(text) & OBEYED - {"\n", "\t"}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    assert run("init", str(root)).exit == 0
    for content in ("one", "two"):
        write(root / "main", {"a": content, f"n{content}\x1b[2J\u202e": "x"})
        assert run("-C", str(root), "snapshot", content, "-t", content).exit == 0
    assert run("-C", str(root), "restore", "one").exit == 0
    return root


def change(root: Path, **fields: object) -> None:
    """Give the newest descriptor other fields, and the checksum that they need."""
    path = sorted((root / ".jvs/descriptors").glob("*.json"))[-1]
    record = {**json.loads(path.read_bytes()), **fields}
    record["descriptor_checksum"] = descriptor.checksum(record)
    path.write_bytes(canon.encode(record) + b"\n")


def test_no_command_prints_what_a_terminal_obeys(root):
    change(root, note=EVIL, actor=EVIL, engine=EVIL, tags=[EVIL], degraded=[{"path": EVIL, "what": EVIL, "why": EVIL}])
    found = {}
    for words in READS:
        said = run("-C", str(root), *words)
        if obeyed(said.out.decode()) or obeyed(said.err) or said.exit == 70:
            found[words] = (said.exit, obeyed(said.out.decode()), obeyed(said.err))
    assert found == {}


@pytest.mark.parametrize("value", (["x"], {"a": EVIL}, {"added": -1}, EVIL, 7, None, [[["x"]]]), ids=repr)
def test_history_survives_every_kind_of_changes(root, value):
    change(root, changes=value)
    for words in (*READS[:7], ("info", "--sizes")):
        said = run("-C", str(root), *words)
        assert said.exit != 70 and "Traceback" not in said.err, said.err
        assert obeyed(said.out.decode() + said.err) == set()


def test_json_says_the_same_with_escapes(root):
    change(root, note=EVIL)
    said = run("-C", str(root), "history", "--all", "--json")
    assert EVIL in [snapshot["note"] for snapshot in json.loads(said.out)]


@pytest.mark.parametrize("character", sorted(OBEYED | {"\ud800"}), ids=ascii)
def test_each_character_that_a_terminal_obeys_is_made_visible(character):
    shown = escape.visible(f"a{character}b")
    assert (character in "\n\t") == (shown == f"a{character}b")
    assert shown.isascii()


def test_only_our_own_colours_pass():
    ours = "\x1b[1;33mid\x1b[0m"
    assert escape.visible(ours, colors=True) == ours
    assert "\x1b" not in escape.visible(ours)
    for theirs in ("\x1b[8mhidden", "\x1b[2J", "\x1b]0;x\x07", "\x1b[31;8m", "\x1b[38;5;1m"):
        assert "\x1b" not in escape.visible(theirs, colors=True)
