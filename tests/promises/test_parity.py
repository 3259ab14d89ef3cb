"""What the text of a command tells is in its JSON, and what its JSON tells about content is in its text.

Not compared: ages and sizes in units (the JSON has times and bytes), and colours. `history` shows one line of each
snapshot, the whole of which `show` tells; digests of single files are told by the plumbing.
"""

from __future__ import annotations

import json
import os
import re

import making
import pytest

from jvs.cli import output

LOOKS = [
    ["status"],
    ["status", "-s"],
    ["history"],
    ["history", "--all"],
    ["history", "--oneline", "--graph"],
    ["diff"],
    ["diff", "HEAD"],
    ["diff", "baseline", "HEAD", "--stat"],
    ["diff", "--name-status", "HEAD"],
    ["show"],
    ["show", "baseline"],
    ["history", "--paths", "a"],
    ["history", "--sort", "MARKkey", "--meta", "MARKkey"],
    ["tag", "baseline"],
    ["note", "baseline"],
    ["meta", "baseline"],
    ["ls", "-r", "baseline"],
    ["restore", "--paths", "MARKgone"],
    ["restore", "--dry-run", "HEAD"],
    ["undo", "--list"],
    ["worktree", "list"],
    ["worktree", "path"],
    ["info"],
    ["info", "--sizes"],
    ["verify"],
    ["verify", "--all"],
    ["doctor", "--strict"],
    ["doctor", "--repair-list"],
    ["gc", "pins"],
    ["config", "list"],
    ["config", "list", "--show-origin"],
    ["config", "get", "--show-origin", "durability"],
    ["help"],
    ["help", "gc"],
    ["resolve", "HEAD"],
    ["cat-descriptor", "HEAD"],
    ["cat-file", "-s", "baseline:a"],
    ["list-snapshots"],
    ["ls-tree", "-r", "HEAD"],
    ["diff-tree", "baseline", "HEAD"],
    ["probe-engine"],
    ["list-intents"],
    ["verify-snapshot", "HEAD"],
    ["chain-check"],
    ["hash-tree", "."],
    ["mark-live"],
    ["mark-live", "--candidates", "--keep-last", "1"],
]
CHANGES = [
    ["restore", "HEAD"],
    ["undo"],
    ["restore", "baseline", "--", "src-MARKpath"],
    ["snapshot", "MARKnew"],
    ["snapshot", "--if-changed"],
    ["run", "--", "sh", "-c", "echo 1 > MARKrun"],
    ["worktree", "create", "MARKmade"],
    ["worktree", "rename", "MARKmade", "MARKrenamed"],
    ["worktree", "remove", "MARKrenamed"],
    ["worktree", "fork", "baseline", "MARKforked"],
    ["merge", "MARKforked"],
    ["gc", "pin", "HEAD"],
    ["gc", "unpin", "HEAD"],
    ["tag", "HEAD", "MARKlater"],
    ["note", "MARKlater", "MARKnote"],
    ["meta", "MARKlater", "MARKkey=MARKvalue"],
    ["config", "set", "default_tags", "MARKset"],
    ["config", "unset", "default_tags"],
]
WHOLE = [["show"], ["show", "baseline"], ["status"], ["diff", "HEAD"], ["restore", "--dry-run", "HEAD"], ["info"]]
WHOLE += [["worktree", "list"], ["undo", "--list"], ["gc", "pins"], ["verify", "--all"], ["doctor", "--strict"]]
UNITS = re.compile(r"\b\d+(\.\d+)? (B|KiB|MiB|GiB)\b|\b\d+ (s|min|h|days?) ago\b")
TOKEN = re.compile(r"MARK\w+|\b[0-9a-f]{64}\b|\b\d{13}-[0-9a-f]{8}\b|\b[0-9a-f]{7,8}\b|\b\d+\b|E_[A-Z_]+|/[\w./-]+")


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "r")
    main = making.main_of(made)
    monkeypatch.chdir(main)
    making.write(main, {"a": "1", "src-MARKpath/b": "2", "MARKgone": "3"})
    making.snapshot(made, "MARKfirst", tags=["baseline", "MARKtag"])
    making.write(main, {"a": "22", "MARKcame": "4"})
    os.unlink("MARKgone")
    making.snapshot(made, "MARKsecond\nMARKmore")
    making.write(main, {"MARKthird": "5"})
    making.snapshot(made, "MARKthird")
    making.run("worktree", "fork", "baseline", "MARKfork")
    making.run("restore", "HEAD~1")
    making.run("gc", "pin", "baseline", "--reason", "MARKreason")
    making.run("meta", "baseline", "MARKkey=MARKvalue")
    making.write(main, {"a": "333", "MARKadded": "6"})
    os.rename("src-MARKpath/b", "src-MARKpath/MARKrenamed")
    return made


def leaves(value) -> list:
    if isinstance(value, dict):
        return [*value, *(leaf for item in value.values() for leaf in leaves(item))]
    if isinstance(value, list):
        return [len(value), *(leaf for item in value for leaf in leaves(item))]
    return [value]


def untold(text: str, value) -> list[str]:
    """Return what a text tells that JSON does not."""
    found = leaves(value)
    words = "\n".join(str(leaf) for leaf in found if isinstance(leaf, str))
    numbers = {str(leaf) for leaf in found if isinstance(leaf, int)}
    tokens = TOKEN.findall(UNITS.sub("", text))
    return [token for token in tokens if token not in words and token not in numbers]


def untold_by_text(value, text: str) -> list[str]:
    """Return the names, ids, tags, notes and paths in JSON that a text does not tell."""
    missing = []
    for leaf in leaves(value):
        for token in re.findall(r"MARK\w+", leaf) if isinstance(leaf, str) else []:
            if token not in text:
                missing.append(token)
    return missing


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_what_the_text_tells_is_in_the_json(store, words):
    said, reported = making.run(*words), making.run(*words, "--json")
    assert said.exit == reported.exit == 0, said.err
    assert untold(said.text, reported.json) == []


@pytest.mark.parametrize("words", WHOLE, ids=" ".join)
def test_what_the_json_tells_is_in_the_text(store, words):
    reported, said = making.run(*words, "--json"), making.run(*words)
    if words[0] in ("status", "diff"):  # of a note of many lines these show the first
        reported = reported._replace(out=reported.out.replace(b"\\nMARKmore", b""))
    assert untold_by_text(json.loads(reported.out), said.text) == []


@pytest.mark.parametrize("words", [w for w in LOOKS if w[0] == "history"], ids=" ".join)
def test_lines_of_json_tell_what_the_document_tells(store, words):
    lines = [json.loads(line) for line in making.run(*words, "--jsonl").text.splitlines()]
    assert untold(making.run(*words).text, lines) == []


def test_what_a_change_says_is_in_its_json(store, monkeypatch):
    """Both forms are made from one result, because no change happens twice."""
    for words in CHANGES:
        said = []
        monkeypatch.setattr(output, "emit", lambda result, args, said=said: said.append((result, args)))
        assert making.run(*words).exit == 0
        ((result, args),) = said
        text = output.render(result, args).decode()
        args.json = True
        value = json.loads(output.render(result, args))
        assert text and untold(text, value) == [], words
        assert untold_by_text(value, text + " ".join(words)) == [] or words[0] == "snapshot", words
