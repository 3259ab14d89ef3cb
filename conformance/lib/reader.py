"""An independent reader of a repository of format 2: it collects what is there and what is wrong with each file.

It never writes, holds no locks and trusts nothing; what the files mean together is judged in `oracle`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lib import tries
from lib.canonical import Malformed, cbor_decode, json_decode, json_encode, json_object
from lib.places import control_of, forks_of, is_apart, is_in_place, worktree_dir
from lib.records import (
    ID,
    NAME,
    READY_KEYS,
    UUID,
    check_annotation,
    check_audit_record,
    check_config,
    check_descriptor,
    check_journal,
    genesis_hash,
    ids_in,
)
from lib.treehash import Tree, hash_tree

_TOP = frozenset(
    [
        *("format_version", "repo_id", "config.toml", "worktrees", "snapshots", "descriptors", "intents", "audit"),
        *("gc", "undo", "locks", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "index.sqlite-journal"),
        *("synced.json", "annotations", "boundaries", "tries", ".gitignore"),
    ]
)
_INDEX_OF_MOUNT = re.compile(r"index\.sqlite\.[0-9a-f]{16}")


@dataclass
class Problem:
    """Something in one file that the format forbids."""

    kind: str
    path: str
    what: str


@dataclass
class Repo:
    """Everything the reader found. Paths in problems and debris are relative to `.jvs`."""

    root: str
    repo_id: str = ""
    problems: list[Problem] = field(default_factory=list)
    debris: list[str] = field(default_factory=list)
    payloads: set[str] = field(default_factory=set)
    ready: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    leaves: dict[str, Any] = field(default_factory=dict)
    descriptors: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    configs: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    intents: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    audit: list[dict[str, Any]] = field(default_factory=list)
    audit_ok: bool = True
    torn_tail: bytes = b""
    tombstones: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    boundaries: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    undo: list[str] = field(default_factory=list)
    journals: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    annotations: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    root_extras: list[str] = field(default_factory=list)

    @property
    def jvs(self) -> str:
        return control_of(self.root)

    @property
    def in_place(self) -> bool:
        return is_in_place(self.root)

    @property
    def forks(self) -> str:
        return forks_of(self.root)

    def worktree_dir(self, name: str) -> str:
        return worktree_dir(self.root, name)

    def tree_of(self, name: str) -> Tree:
        """Return the tree of a worktree; `.jvs` at its root is no part of it."""
        return hash_tree(self.worktree_dir(name), skip=b".jvs")

    def pending(self) -> dict[str, str | None]:
        """Return the snapshots that intents are publishing, each with the head to go back to."""
        found: dict[str, str | None] = {}
        for intent in self.intents.values():
            if intent is not None and intent.get("operation") == "snapshot":
                snapshot_id = intent.get("snapshot_id", intent.get("operation_id"))
                if isinstance(snapshot_id, str):
                    found[snapshot_id] = intent.get("parent_id")
            if intent is not None and intent.get("operation") == "receive":
                found.update(dict.fromkeys(ids_in(intent.get("snapshots"))))
        return found

    def visible(self) -> dict[str, dict[str, Any]]:
        """Return the descriptors of the snapshots whose payload, marker and descriptor agree and are not pending."""
        pending = self.pending()
        found = {}
        for snapshot_id, descriptor in self.descriptors.items():
            ready = self.ready.get(snapshot_id)
            if descriptor is None or ready is None or snapshot_id not in self.payloads or snapshot_id in pending:
                continue
            if all(ready.get(key) == descriptor.get(key) for key in READY_KEYS):
                found[snapshot_id] = descriptor
        return found

    def collected(self) -> set[str]:
        """Return the snapshots that the audit log records as collected."""
        return {i for record in self.audit if record["operation"] == "gc_run" for i in ids_in(record["details"])}

    def effective(self, snapshot_id: str | None) -> str | None:
        """Return what a head means: while the snapshot it names is pending, its parent."""
        pending = self.pending()
        seen: set[str] = set()
        while snapshot_id in pending and snapshot_id not in seen:
            seen.add(snapshot_id)
            snapshot_id = pending[snapshot_id]
        return snapshot_id


def read_repository(root: str) -> Repo:
    """Read a repository. Errors: none for damage (see `problems`); OSError when the root itself is not there."""
    repo = Repo(os.path.realpath(root))
    if not repo.in_place and not is_apart(repo.root):
        repo.root_extras = sorted(set(os.listdir(repo.root)) - {".jvs", "main", "worktrees"})
    if not os.path.isdir(repo.jvs) or os.path.islink(repo.jvs):
        repo.problems.append(Problem("layout", ".", "there is no .jvs directory"))
        return repo
    if stat.S_IMODE(os.lstat(repo.jvs).st_mode) != 0o700:
        mode = stat.S_IMODE(os.lstat(repo.jvs).st_mode)
        repo.problems.append(Problem("layout", ".", f"mode {mode:04o} is not 0700"))
    _identity(repo)
    _snapshots(repo)
    _descriptors(repo)
    _configs(repo)
    _intents(repo)
    _audit(repo)
    _tombstones(repo)
    _later(repo, "boundaries", "boundary", check_descriptor, repo.boundaries)
    _later(repo, "annotations", "annotation", check_annotation, repo.annotations)
    repo.undo = [n for n in _names(repo, "undo") if ID.match(n)]
    _journals(repo)
    held = os.path.isdir(os.path.join(repo.jvs, "undo", "held"))  # what operations need of collected snapshots
    repo.debris += [f"undo/{n}" for n in _names(repo, "undo") if not ID.match(n) and n != "held"]
    repo.debris += [f"undo/held/{n}" for n in (_names(repo, "undo/held") if held else []) if not ID.match(n)]
    repo.debris += tries.left(repo.jvs)
    top = {*_TOP, "forks"} if repo.in_place or is_apart(repo.root) else _TOP
    repo.debris += [n for n in os.listdir(repo.jvs) if n not in top and not _INDEX_OF_MOUNT.fullmatch(n)]
    repo.debris += [f"gc/trash/{n}" for n in _names(repo, "gc/trash")]
    if os.path.isdir(repo.forks):
        shown = os.path.relpath(repo.forks, repo.jvs)
        repo.debris += [f"{shown}/{n}" for n in sorted(os.listdir(repo.forks)) if n.startswith(".jvs-tmp-")]
    return repo


def _names(repo: Repo, directory: str) -> list[str]:
    path = os.path.join(repo.jvs, directory)
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise NotADirectoryError(20, "not a directory")
        return sorted(os.listdir(path))
    except OSError as error:
        repo.problems.append(Problem("layout", directory, f"cannot be listed: {error.strerror}"))
        return []


def _load(repo: Repo, path: str, kind: str, *, canonical: bool = False) -> dict[str, Any] | None:
    """Read one control file without following links or waiting on a fifo; damage becomes a problem and None."""
    full = os.path.join(repo.jvs, path)
    try:
        data = read_file(full)
        value = json_object(data)
        if canonical and data.rstrip(b"\n") != json_encode(value):
            raise Malformed("not canonical")
        return value
    except OSError as error:
        repo.problems.append(Problem(kind, path, f"cannot be read: {error.strerror or error}"))
    except Malformed as error:
        repo.problems.append(Problem(kind, path, f"is damaged: {error}"))
    return None


def read_file(path: str) -> bytes:
    """Return the bytes of a regular file; anything else, links included, is an OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(22, "not a regular file")
        return file.read()


def payload_hash(root: str, snapshot_id: str) -> str:
    """Return the root hash in a descriptor."""
    hashed: str = json_object(read_file(f"{control_of(root)}/descriptors/{snapshot_id}.json"))["payload_root_hash"]
    return hashed


def _identity(repo: Repo) -> None:
    for name, fits in (("format_version", re.compile(r"2\n\Z")), ("repo_id", re.compile(UUID.pattern[:-2] + r"\n\Z"))):
        try:
            text = read_file(os.path.join(repo.jvs, name)).decode("ascii", "replace")
        except OSError as error:
            repo.problems.append(Problem("layout", name, f"cannot be read: {error.strerror}"))
            continue
        if not fits.match(text):
            repo.problems.append(Problem("layout", name, f"holds {text[:60]!r}"))
        if name == "repo_id":
            repo.repo_id = text.strip()


def _snapshots(repo: Repo) -> None:
    for name in _names(repo, "snapshots"):
        path = f"snapshots/{name}"
        is_dir = stat.S_ISDIR(os.lstat(os.path.join(repo.jvs, path)).st_mode)
        if ID.match(name) and is_dir:
            repo.payloads.add(name)
        elif name.endswith(".READY") and ID.match(name[:-6]):
            ready = _load(repo, path, "ready", canonical=True)
            if ready is not None and not set(READY_KEYS) <= set(ready):
                repo.problems.append(Problem("ready", path, f"lacks {sorted(set(READY_KEYS) - set(ready))}"))
                ready = None
            repo.ready[name[:-6]] = ready
        elif name.endswith(".leaves") and ID.match(name[:-7]):
            repo.leaves[name[:-7]] = _leaves(repo, path)
        else:
            repo.debris.append(path)


def _leaves(repo: Repo, path: str) -> Any:
    """Read the leaves of a snapshot's large files; what is no map of them becomes a problem and None."""
    try:
        data = read_file(os.path.join(repo.jvs, path))
        value = cbor_decode(data[13:])
        if data[:13] != b"jvs-leaves-1\0" or not isinstance(value, dict):
            raise Malformed("it is no map of leaves")
        return value
    except (OSError, Malformed) as error:
        repo.problems.append(Problem("leaves", path, f"cannot be read: {error}"))
        return None


def _descriptors(repo: Repo) -> None:
    for name in _names(repo, "descriptors"):
        path = f"descriptors/{name}"
        if not (name.endswith(".json") and ID.match(name[:-5])):
            repo.debris.append(path)
            continue
        descriptor = _load(repo, path, "descriptor")
        if descriptor is not None:
            wrong = check_descriptor(descriptor, name[:-5])
            repo.problems += [Problem("descriptor", path, what) for what in wrong]
            descriptor = None if wrong else descriptor
        repo.descriptors[name[:-5]] = descriptor


def _configs(repo: Repo) -> None:
    for name in _names(repo, "worktrees"):
        path = f"worktrees/{name}"
        if not NAME.match(name) or not os.path.isdir(os.path.join(repo.jvs, path)):
            repo.debris.append(path)
            continue
        inside = os.listdir(os.path.join(repo.jvs, path))
        repo.debris += [f"{path}/{n}" for n in inside if n != "config.json"]
        if "config.json" not in inside and not os.path.isdir(repo.worktree_dir(name)):
            repo.debris.append(path)
            continue
        config = _load(repo, path + "/config.json", "config")
        if config is not None:
            wrong = check_config(config, name)
            repo.problems += [Problem("config", path + "/config.json", what) for what in wrong]
            config = None if wrong else config
        repo.configs[name] = config


def _intents(repo: Repo) -> None:
    for name in _names(repo, "intents"):
        path = f"intents/{name}"
        if name.endswith(".json") and ID.match(name[:-5]):
            repo.intents[name[:-5]] = _load(repo, path, "intent")
        else:
            repo.debris.append(path)


def _later(repo: Repo, directory: str, kind: str, check: Callable[[Any, str], list[str]], into: dict[str, Any]) -> None:
    """Read the records of a directory that is made when the first of them is."""
    for name in _names(repo, directory) if os.path.lexists(os.path.join(repo.jvs, directory)) else ():
        path = f"{directory}/{name}"
        if not name.endswith(".json") or not ID.match(name[:-5]):
            repo.debris.append(path)
        elif (record := into.setdefault(name[:-5], _load(repo, path, kind, canonical=True))) is not None:
            repo.problems += [Problem(kind, path, what) for what in check(record, name[:-5])]


def _tombstones(repo: Repo) -> None:
    for name in _names(repo, "gc/tombstones"):
        if name.endswith(".json") and ID.match(name[:-5]):
            repo.tombstones[name[:-5]] = _load(repo, f"gc/tombstones/{name}", "tombstone")
        else:
            repo.debris.append(f"gc/tombstones/{name}")


def _journals(repo: Repo) -> None:
    """Read the journal of each operation below `undo/`; one without `op.json` is being started or removed."""
    for operation_id in repo.undo:
        home = f"undo/{operation_id}"
        if not os.path.lexists(os.path.join(repo.jvs, home, "op.json")):
            if operation_id not in repo.intents:
                repo.debris.append(home)
            continue
        record = _load(repo, home + "/op.json", "journal")
        if record is not None:
            wrong = _journal(repo, home, operation_id, record)
            repo.problems += [Problem("journal", home + "/op.json", what) for what in wrong]
            record = None if wrong else record
        repo.journals[operation_id] = record


def _journal(repo: Repo, home: str, operation_id: str, record: dict[str, Any]) -> list[str]:
    """Return what is wrong with one `op.json`, and with the list of steps whose hash it holds."""
    wrong = check_journal(record, operation_id)
    if wrong:
        return wrong
    steps = os.path.join(repo.jvs, home, "delta.cbor")
    if record["kind"] == "restore":
        found = hashlib.sha256(read_file(steps)).hexdigest() if os.path.lexists(steps) else None
        if found != record["details"].get("delta_sha256"):
            wrong.append(f"delta.cbor hashes to {found}, not {record['details'].get('delta_sha256')}")
    return wrong


def _audit(repo: Repo) -> None:
    """Read the complete chain across rotated files and recompute every hash."""
    names = _names(repo, "audit")
    rotated = sorted(n for n in names if n.startswith("audit-") and n.endswith(".jsonl"))
    repo.debris += [
        f"audit/{n}"
        for n in names
        if n not in rotated and n != "audit.jsonl" and not (n.startswith("torn-") and n.endswith(".bin"))
    ]
    if "audit.jsonl" not in names:
        _break(repo, "audit.jsonl", "is missing")
    previous, seq = genesis_hash(repo.repo_id), None
    for name in [*rotated, "audit.jsonl"] if "audit.jsonl" in names else rotated:
        try:
            data = read_file(os.path.join(repo.jvs, "audit", name))
        except OSError as error:
            _break(repo, name, f"cannot be read: {error.strerror}")
            return
        *lines, tail = data.split(b"\n")
        if tail:
            if name == "audit.jsonl":
                repo.torn_tail = tail
            else:
                _break(repo, name, "a rotated file ends in a torn line")
        for number, line in enumerate(lines, 1):
            where = f"{name}:{number}"
            record = _audit_record(repo, where, line)
            if record is None:
                return
            if record["prev_hash"] != previous:
                _break(repo, where, "prev_hash is not the hash of the record before")
            if seq is not None and record["seq"] != seq + 1:
                _break(repo, where, f"seq {record['seq']} follows {seq}")
            if seq is None and record["seq"] not in (0, 1):
                _break(repo, where, f"the first seq is {record['seq']}")
            previous, seq = record["record_hash"], record["seq"]
            repo.audit.append(record)


def _audit_record(repo: Repo, where: str, line: bytes) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json_decode(line)
    except Malformed as error:
        _break(repo, where, f"is damaged: {error}")
        return None
    wrong = check_audit_record(record)
    if not wrong and line != json_encode(record):
        wrong = "is not canonical JSON"
    if wrong:
        _break(repo, where, wrong)
        return None
    return record


def _break(repo: Repo, where: str, what: str) -> None:
    repo.audit_ok = False
    repo.problems.append(Problem("audit", "audit/" + where, what))
