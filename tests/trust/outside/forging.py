"""Forged records: every field of every kind of record in `.jvs`, with values that lead elsewhere or are of no type.

A forger changes one repository and says what it did. Checksums are made to fit, as whoever forges a record would.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import canaries
from lib import canonical
from lib import records as lib_records

LINKED_ID = "1700000000000-0a1b2c3d"
MISSING = "(missing)"
HUGE = 70_000


class World(NamedTuple):
    """A repository, and the directory of canaries that it must not reach."""

    root: Path
    canaries: Path

    @property
    def jvs(self) -> Path:
        return self.root / ".jvs"


class Case(NamedTuple):
    """One forgery. `base` names the repository that it begins with."""

    kind: str
    base: str
    what: str
    forge: Callable[[World], None]

    def __str__(self) -> str:
        return f"{self.kind} of {self.base}: {self.what}"


def values(world: World) -> dict[str, Any]:
    """Return the hostile values by name, the most dangerous first."""
    outside = str(world.canaries)
    up = os.path.relpath(outside, world.root / "worktrees")
    return {
        "up": f"{up}/dir",
        "linked": "linked",
        "absolute": f"{outside}/dir",
        "linked-id": LINKED_ID,
        "up-from-undo": os.path.relpath(outside, world.jvs / "undo") + "/dir",
        "through": f"x/../{os.path.relpath(outside, world.jvs / 'locks')}/x",
        "null": None,
        "list": [f"{up}/dir"],
        "missing": MISSING,
        "dots": "..",
        "object": {"path": f"{outside}/dir"},
        "negative": -1,
        "huge": "A" * HUGE,
        "control": "\x1b]0;t\x07\x9b31m\u202e\n",
        "nul": "a\0b",
        "huge-number": 1 << 70,
        "empty": "",
        "true": True,
        "dash": "-rf",
        "dot": ".",
        "surrogate": "\udcff",
    }


VALUES = tuple(values(World(Path("/a/b"), Path("/c"))))


def plant_links(world: World) -> None:
    """Make names that are valid lead to canaries: a worktree `linked`, and an id in each directory of ids."""
    for place in ("worktrees", ".jvs/worktrees"):
        (world.root / place / "linked").symlink_to(world.canaries / "dir")
    for place in ("undo", "snapshots", "gc/trash", "snapshots/x"):
        if (world.jvs / place).is_dir():
            (world.jvs / place / LINKED_ID).symlink_to(world.canaries / LINKED_ID)
    (world.root / "main" / "leads-out").symlink_to(world.canaries / "dir")


def fields(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every field of a record, and of the first item of each list."""
    if here:
        yield here
    if isinstance(value, dict):
        for key in value:
            yield from fields(value[key], (*here, key))
    elif isinstance(value, list) and value:
        yield from fields(value[0], (*here, 0))


def changed(record: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return the record with one field replaced, or taken out."""
    made = copy.deepcopy(record)
    target = made
    for key in place[:-1]:
        target = target[key]
    if value is MISSING:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    return made


def encode(record: Any) -> bytes:
    """Return JSON that lets everything pass, lone surrogates too."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


# The kinds of records


class Kind(NamedTuple):
    """Where the records of a kind are, below `.jvs`, and what makes a forged one fit."""

    pattern: str
    save: Callable[[World, Path, dict[str, Any]], None]


def _plain(world: World, path: Path, record: dict[str, Any]) -> None:
    path.write_bytes(encode(record))


def _descriptor(world: World, path: Path, record: dict[str, Any]) -> None:
    """Write a descriptor with a checksum that fits, and a READY marker that agrees with it."""
    try:
        record["descriptor_checksum"] = lib_records.checksum(record)
    except (canonical.Malformed, ValueError):
        pass
    path.write_bytes(encode(record))
    ready = world.jvs / "snapshots" / f"{path.stem}.READY"
    known = json.loads(ready.read_bytes())
    ready.write_bytes(encode({key: record[key] for key in known if key in record}))


def _plan(world: World, path: Path, record: dict[str, Any]) -> None:
    path.write_bytes(encode(record))


def _journal(world: World, path: Path, record: dict[str, Any]) -> None:
    path.write_bytes(encode(record))


KINDS: dict[str, Kind] = {
    "intent": Kind("intents/*.json", _plain),
    "journal": Kind("undo/*/op.json", _journal),
    "parked": Kind("undo/*/config/config.json", _plain),
    "config": Kind("worktrees/*/config.json", _plain),
    "plan": Kind("gc/plans/*.json", _plan),
    "pin": Kind("gc/pins/*.json", _plain),
    "tombstone": Kind("gc/tombstones/*.json", _plain),
    "descriptor": Kind("descriptors/*.json", _descriptor),
    "annotation": Kind("annotations/*.json", _plain),
    "ready": Kind("snapshots/*.READY", _plain),
}
_ONLY_PENDING = ("intent",)


def record_cases(kind: str, bases: dict[str, Path], base: str) -> Iterator[Case]:
    """Yield a case for every field of the records of a kind in one repository and every hostile value."""
    seen: set[tuple[Any, ...]] = set()
    root = bases[base]
    for path in sorted((root / ".jvs").glob(KINDS[kind].pattern), reverse=True):
        record = json.loads(path.read_bytes())
        shape = (record.get("kind"), record.get("forward"), path.parent.name == "main")
        for place in fields(record):
            if (shape, place) in seen:
                continue
            seen.add((shape, place))
            for name in VALUES:
                what = f"{path.name} {'.'.join(map(str, place))} = {name}"
                yield Case(kind, base, what, _record_forger(kind, path.relative_to(root), place, name))


def _record_forger(kind: str, relative: Path, place: tuple[Any, ...], name: str) -> Callable[[World], None]:
    def forge(world: World) -> None:
        path = world.root / relative
        record = json.loads(path.read_bytes())
        KINDS[kind].save(world, path, changed(record, place, values(world)[name]))
        plant_links(world)

    return forge


# Steps of a restore: CBOR, with its hash in the journal


def delta_cases(bases: dict[str, Path], base: str) -> Iterator[Case]:
    """Yield cases that forge the steps of a pending operation, or of one that can be undone."""
    root = bases[base]
    pending = {path.stem for path in (root / ".jvs/intents").glob("*.json")}
    paths = sorted((root / ".jvs/undo").glob("*/delta.cbor"), key=lambda path: path.parent.name not in pending)
    for path in paths[:2]:
        steps, directories = canonical.cbor_decode(path.read_bytes())
        for name in ("up", "absolute", "linked", "dots", "empty", "nul", "huge", "number", "null", "steps-up", "many"):
            for index in range(min(len(steps), 2)):
                what = f"step {index} of {path.parent.name} = {name}"
                yield Case("delta", base, what, _delta_forger(path.relative_to(root), 0, index, name))
            for index in range(min(len(directories), 1)):
                what = f"directory {index} of {path.parent.name} = {name}"
                yield Case("delta", base, what, _delta_forger(path.relative_to(root), 1, index, name))


def _delta_forger(relative: Path, part: int, index: int, name: str) -> Callable[[World], None]:
    def forge(world: World) -> None:
        path = world.root / relative
        delta = canonical.cbor_decode(path.read_bytes())
        up = os.path.relpath(world.canaries, world.root / "main").encode()
        value = {
            "up": up + b"/dir/file",
            "absolute": os.fsencode(world.canaries) + b"/dir/file",
            "linked": b"leads-out/file",
            "dots": b"..",
            "empty": b"",
            "nul": b"a\0b",
            "huge": b"x" * HUGE,
            "number": 7,
            "null": None,
            "steps-up": b"dir/../../" + up + b"/dir",
            "many": b"d/" * 2000 + b"x",
        }[name]
        delta[part][index][0] = value
        data = canonical.cbor_encode(delta)
        path.write_bytes(data)
        journal = path.parent / "op.json"
        record = json.loads(journal.read_bytes())
        record["details"]["delta_sha256"] = hashlib.sha256(data).hexdigest()
        journal.write_bytes(encode(record))
        plant_links(world)

    return forge


# What an operation does not keep because a snapshot holds it: CBOR in CBOR, with its hash


def held_cases(bases: dict[str, Path], base: str) -> Iterator[Case]:
    """Yield cases that forge which entries of which snapshots an operation needs, where one was written."""
    for path in sorted((bases[base] / ".jvs/undo").glob("*/held.cbor"))[-2:]:
        for place in ((1, 0, 0), (1, 0, 1), (1, 0, 2), (1, 0), (1,), (2, 0, 0), (2, 0, 1), (2,), (3,), (0,)):
            for name in ("up", "absolute", "linked", "id", "dots", "nul", "number", "large", "null", "text", "list"):
                what = f"{path.parent.name} {'.'.join(map(str, place))} = {name}"
                yield Case("held", base, what, _held_forger(path.relative_to(bases[base]), place, name))


def _held_forger(relative: Path, place: tuple[int, ...], name: str) -> Callable[[World], None]:
    def forge(world: World) -> None:
        path = world.root / relative
        record = canonical.cbor_decode(canonical.cbor_decode(path.read_bytes())[1])
        up = os.path.relpath(world.canaries, world.jvs / "snapshots/x").encode() + b"/dir"
        value = {
            "up": up,
            "absolute": os.fsencode(world.canaries) + b"/dir",
            "linked": b"leads-out/file",
            "id": LINKED_ID.encode(),
            "dots": b"..",
            "nul": b"a\0b",
            "number": 7,
            "large": 1 << 40,
            "null": None,
            "text": "text",
            "list": [[b"", b"", b""]],
        }[name]
        target = record
        try:
            for key in place[:-1]:
                target = target[key]
            target[place[-1]] = value
        except IndexError:  # this one has no such entry: it gets one that is none
            record[place[0]] = [value]
        body = canonical.cbor_encode(record)
        path.write_bytes(canonical.cbor_encode([hashlib.sha256(body).digest(), body]))
        plant_links(world)

    return forge


# Everything that is no JSON record of its own


def audit_cases(bases: dict[str, Path]) -> Iterator[Case]:
    """Yield cases that forge a line of the log, and hash the whole chain anew."""
    lines = (bases["clean"] / ".jvs/audit/audit.jsonl").read_bytes().splitlines()
    operations: dict[str, int] = {}
    for number, line in enumerate(lines):
        operations.setdefault(json.loads(line)["operation"], number)
    for operation, number in operations.items():
        for place in fields(json.loads(lines[number])):
            if place not in (("prev_hash",), ("record_hash",)):
                for name in VALUES:
                    what = f"{operation} {'.'.join(map(str, place))} = {name}"
                    yield Case("audit", "clean", what, _audit_forger(number, place, name))


def _audit_forger(number: int, place: tuple[Any, ...], name: str) -> Callable[[World], None]:
    def forge(world: World) -> None:
        log = world.jvs / "audit/audit.jsonl"
        records = [json.loads(line) for line in log.read_bytes().splitlines()]
        records[number] = changed(records[number], place, values(world)[name])
        previous = records[0]["prev_hash"]
        lines = []
        for record in records:
            try:
                record["prev_hash"] = previous
                record["record_hash"] = previous = lib_records.record_hash(record)
            except (canonical.Malformed, ValueError):
                pass
            lines.append(encode(record))
        log.write_bytes(b"".join(lines))

    return forge


_SETTINGS = (
    'default_engine = "{value}"',
    'default_tags = ["{value}"]',
    'engine.juicefs.binary = "{value}"',
    'engine.juicefs.control = "{value}"',
    "undo.max_operations = 0",
    "undo.max_age_days = -1",
    "undo.max_age_days = 99999999999999999999999",
    'retention.keep_within = "{value}"',
    'retention.keep_tag = ["{value}", "[", "****************************a"]',
    "retention.keep_last = 99999999999999999999999",
    'output_format = "{value}"',
    'progress_enabled = "{value}"',
    "a = " + "[" * 5000,
    '"' + "a." * 5000 + '" = 1',
)


def settings_cases() -> Iterator[Case]:
    """Yield cases that forge the repository's settings."""
    for line in _SETTINGS:
        for name in ("absolute", "up", "control", "huge") if "{value}" in line else ("",):
            yield Case("settings", "clean", f"{line[:40]} {name}".strip(), _settings_forger(line, name))


def _settings_forger(line: str, name: str) -> Callable[[World], None]:
    def forge(world: World) -> None:
        text = line
        if name:
            value = str(values(world)[name]).encode("unicode_escape").decode().replace("\\x", "\\u00")
            text = line.replace("{value}", value)
        (world.jvs / "config.toml").write_text(text + "\n")

    return forge


_IDENTITIES = (
    *(b"", b"\n", b"../../../../canaries/file\n", b"a-b-c-d-" + b"../" * 9 + b"\n", b"\xff" * 36 + b"\n"),
    *(b"x" * 200_000, b"../../../../../../../canaries/----xx\n"[-37:], b"/../../../canaries/dir/-----aaaaaaaa\n"),
    *(b"--" + b"/../canaries/x" + b"/." * 9 + b"--\n",),
)


def identity_cases() -> Iterator[Case]:
    """Yield cases that forge the repository's id, which becomes part of a file's name in the user's home."""
    for number, data in enumerate(_IDENTITIES):
        for name in ("repo_id", "format_version"):
            yield Case("identity", "clean", f"{name} {number}", _writer(f".jvs/{name}", data))
    for depth in range(2, 9):
        text = ("../" * depth + "canaries/dir/").ljust(32, "x")[:32] + "----"
        yield Case("identity", "clean", f"repo_id up {depth}", _writer(".jvs/repo_id", text.encode() + b"\n"))


def _writer(relative: str, data: bytes) -> Callable[[World], None]:
    def forge(world: World) -> None:
        (world.root / relative).write_bytes(data)

    return forge


def anchor_cases() -> Iterator[Case]:
    """Yield cases that forge what the user's own state directory remembers of the repository."""
    for name in VALUES:
        for field in ("seq", "hash"):
            yield Case("anchor", "clean", f"{field} = {name}", _anchor_forger(field, name))
    yield Case("anchor", "clean", "a link", _anchor_forger("link", ""))


def _anchor_forger(field: str, name: str) -> Callable[[World], None]:
    def forge(world: World) -> None:
        state = Path(os.environ["XDG_STATE_HOME"]) / "jvs"
        state.mkdir(parents=True, exist_ok=True)
        repo_id = (world.jvs / "repo_id").read_text().strip()
        place = hashlib.sha256(os.fsencode(world.root)).hexdigest()[:16]
        path = state / f"{repo_id}-{place}"
        if field == "link":
            path.symlink_to(world.canaries / "file")
            (state / f"{path.name}.tmp").symlink_to(world.canaries / "secret")
        else:
            path.write_bytes(encode(changed({"seq": 1, "hash": "0" * 64}, (field,), values(world)[name])))

    return forge


# Names in place of directories and files


def node_cases(bases: dict[str, Path], base: str) -> Iterator[Case]:
    """Yield cases that replace a directory or file of a repository by a link to a copy of it, or by something else.

    The copy is a canary: whatever is read from it, written to it or deleted there is outside of the repository.
    """
    root = bases[base]
    for relative in nodes(root):
        how = ("link", "fifo") if (root / relative).is_file() else ("link",)
        for way in how:
            yield Case("node", base, f"{relative} is a {way}", _node_forger(relative, way))
    for relative in (".jvs/audit/audit.jsonl", ".jvs/repo_id", ".jvs/config.toml", ".jvs/format_version"):
        yield Case("node", base, f"{relative} is huge", _node_forger(relative, "huge"))


def nodes(root: Path) -> list[str]:
    """Return `.jvs`, `main`, `worktrees`, every directory below them but those of payloads, and records."""
    found = []
    for top in (".jvs", "main", "worktrees"):
        found.append(top)
        for here, directories, files in os.walk(root / top):
            relative = Path(here).relative_to(root)
            if len(relative.parts) > 4 or (relative.parts[1:2] == ("snapshots",) and len(relative.parts) > 3):
                directories.clear()
                continue
            found += [str(relative / name) for name in sorted(directories)]
            if top == ".jvs":
                found += [str(relative / name) for name in sorted(files) if "files" not in relative.parts]
    return [name for name in found if not (root / name).is_symlink()]


def _node_forger(relative: str, way: str) -> Callable[[World], None]:
    def forge(world: World) -> None:
        path = world.root / relative
        if way == "link":
            adopted = canaries.adopt(world.canaries, path, f"adopted-{zlib.crc32(relative.encode()):x}")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        if way == "link":
            path.symlink_to(adopted)
        elif way == "fifo":
            os.mkfifo(path)
        else:
            with path.open("wb") as file:
                file.truncate(3 << 30)

    return forge
