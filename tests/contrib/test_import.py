"""`jvs-import`: two repositories that the Go implementation made, and others made by its rules."""

from __future__ import annotations

import gzip
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import making
import pytest

IMPORT = Path(__file__).resolve().parents[2] / "contrib" / "jvs-import"
DATA = Path(__file__).parent / "data"

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


def library() -> Any:
    loader = importlib.machinery.SourceFileLoader("jvs_import", str(IMPORT))
    spec = importlib.util.spec_from_loader("jvs_import", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def take_over(*words: str | Path) -> subprocess.CompletedProcess[str]:
    search = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    argv = [sys.executable, str(IMPORT), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": search})


def unpack(version: str, to: Path) -> Path:
    with tarfile.open(DATA / f"format-1-of-{version}.tar.gz") as archive:
        archive.extractall(to, filter="fully_trusted")
    return to / ("proj" if version == "8.2" else "folder")


def tree(root: Path) -> dict[str, Any]:
    """Return what lies below a directory: contents, targets of links, modes, times of files."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        plain = path.is_file() and not path.is_symlink()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (content, info.st_mode, info.st_mtime_ns if plain else 0)
    return found


class Format1:
    """A repository of format 1 in the making, by the rules of version 8.2."""

    def __init__(self, root: Path) -> None:
        self.root, self.control = root, root / ".jvs"
        for name in ("snapshots", "descriptors", "worktrees/main", "audit", "intents", "gc"):
            (self.control / name).mkdir(parents=True)
        (root / "main").mkdir()
        (self.control / "format_version").write_text("1\n")
        self.last: str | None = None

    def snapshot(
        self,
        number: int,
        files: dict[str, str],
        worktree: str = "main",
        links: dict[str, str] | None = None,
        **more: Any,
    ) -> str:
        snapshot_id = f"{1700000000000 + number:013}-{number:08x}"
        payload = self.control / "snapshots" / snapshot_id
        payload.mkdir()
        making.write(payload, files)
        for name, target in (links or {}).items():
            os.symlink(target, payload / name)
        record = {
            "snapshot_id": snapshot_id,
            "worktree_name": worktree,
            "created_at": f"2024-01-02T03:04:{number:02}.123456789Z",
            "engine": "copy",
            "payload_root_hash": library().payload_hash(payload),
            **({"parent_id": self.last} if self.last else {}),
            **more,
        }
        text = json.dumps(
            {**record, "descriptor_checksum": "", "integrity_state": ""},
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        )
        record["descriptor_checksum"] = hashlib.sha256(text.encode()).hexdigest()
        record["integrity_state"] = "verified"
        (self.control / "descriptors" / f"{snapshot_id}.json").write_text(json.dumps(record))
        marker = {"snapshot_id": snapshot_id, "payload_root_hash": record["payload_root_hash"]}
        (payload / ".READY").write_text(json.dumps(marker))
        self.head(snapshot_id)
        return snapshot_id

    def head(self, snapshot_id: str, name: str = "main") -> None:
        self.last = snapshot_id
        config = {"name": name, "head_snapshot_id": snapshot_id, "latest_snapshot_id": snapshot_id}
        (self.control / "worktrees" / name / "config.json").write_text(json.dumps(config))


@pytest.fixture
def old(tmp_path: Path) -> Format1:
    return Format1(tmp_path / "old")


@pytest.mark.parametrize("version", ["8.2", "0.4.8"])
def test_a_repository_of_the_go_implementation_is_taken_over_with_its_history(version, tmp_path):
    source, target = unpack(version, tmp_path), tmp_path / "new"
    before = tree(source)
    done = take_over(source, target)
    assert done.returncode == 0, done.stderr
    assert tree(source) == before, "the old repository is only read"
    records = [json.loads(path.read_text()) for path in (source / ".jvs" / "descriptors").iterdir()]
    lines = {f"{was['snapshot_id']}  {was['worktree_name']}  {was['note']}".rstrip() for was in records}
    assert lines <= set(done.stderr.splitlines()), "one line for each, with its note as it is"
    store = making.open_store(target)
    for path in (source / ".jvs" / "descriptors").iterdir():
        was = json.loads(path.read_text())
        said = making.plumb("cat-descriptor", "-C", str(target), was["snapshot_id"]).json
        assert (said["note"], said["tags"]) == (was["note"], was.get("tags", []))
        assert said["parent_id"] == (was.get("parent_id") or was.get("started_from"))
        assert said["created_at"][:26] == was["created_at"][:26] and said["worktree_name"] == was["worktree_name"]
        payload = tree(Path(str(store.layout.payload(was["snapshot_id"]))))
        wanted = tree(source / ".jvs" / "snapshots" / was["snapshot_id"])
        del wanted[".READY"]
        assert payload == wanted
    for path in (source / ".jvs" / "worktrees").iterdir():
        was = json.loads((path / "config.json").read_text())
        assert store.head_of(path.name) == (was["head_snapshot_id"], was["latest_snapshot_id"])
    assert making.run("-C", str(target), "doctor", "--strict").exit == 0
    assert making.violations(target) == []


@pytest.mark.parametrize(
    ("note", "shown"),
    [
        (None, ""),
        ("", ""),
        ("\n", ""),
        ("one\ntwo", "one"),
        ("gr\u00fcn \u2192 blau", "gr\u00fcn \u2192 blau"),
        ("\x1b[2Jx\x07", "\\x1b[2Jx\\x07"),
        ("\ud800", "\\ud800"),
        ("\u202eabc", "\\u202eabc"),
    ],
)
def test_a_note_is_shown_as_a_terminal_can_show_it(note, shown):
    assert library().subject({"note": note}) == shown


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """An import of a repository that has one of each oddity, and the ids of its snapshots."""
    place = tmp_path_factory.mktemp("taken")
    old = Format1(place / "old")
    ids = [old.snapshot(number, {"a": str(number), "d/.READY": "mine", "d/b": "1"}) for number in (1, 2)]
    for snapshot_id in ids:
        os.utime(old.control / "snapshots" / snapshot_id / "a", ns=(0, 0))
    ids.append(old.snapshot(3, {"d/b": "2"}, partial_paths=["d"], tags=["v1"], note="-only d & <more>"))
    making.write(old.root / "main", {"a": "later", "only here": "x", "d/.READY": "mine"})
    shutil.copy(old.control / "snapshots" / ids[2] / ".READY", old.root / "main" / ".READY")
    done = take_over(old.root, place / "new")
    assert done.returncode == 0, done.stderr
    return place / "new", ids


def content(root: Path) -> dict[str, bytes]:
    return {name: found[0] for name, found in tree(root).items() if isinstance(found[0], bytes)}


def test_files_that_no_snapshot_holds_come_along_and_the_marker_does_not(taken):
    assert content(taken[0] / "main") == {"a": b"later", "only here": b"x", "d/.READY": b"mine"}


def test_states_of_one_second_and_size_are_two_states(taken):
    root, ids = taken
    assert [(root / ".jvs" / "snapshots" / i / "a").read_text() for i in ids[:2]] == ["1", "2"]


def test_a_file_of_the_user_that_is_called_like_the_marker_stays(taken):
    root, ids = taken
    assert (root / ".jvs" / "snapshots" / ids[0] / "d" / ".READY").read_text() == "mine"


def test_a_partial_snapshot_stays_one(taken):
    root, ids = taken
    said = making.plumb("cat-descriptor", "-C", str(root), ids[2]).json
    assert (said["partial_paths"], said["tags"], said["note"]) == (["d"], ["v1"], "-only d & <more>")
    assert content(root / ".jvs" / "snapshots" / ids[2]) == {"d/b": b"2"}


def test_an_import_goes_on_with_what_is_new(taken, tmp_path):
    root, ids = taken
    old = Format1(tmp_path / "old")
    shutil.rmtree(old.root)
    shutil.copytree(root.parent / "old", old.root, symlinks=True)
    old.last = ids[2]
    fourth = old.snapshot(4, {"a": "4"})
    target = tmp_path / "new"
    shutil.copytree(root, target, symlinks=True)
    assert take_over(old.root, target).returncode == 0
    assert making.plumb("cat-descriptor", "-C", str(target), fourth).json["parent_id"] == ids[2]


def break_content(payload: Path) -> None:
    (payload / "a").write_text("other")


def break_descriptor(payload: Path) -> None:
    path = payload.parents[1] / "descriptors" / f"{payload.name}.json"
    path.write_text(path.read_text().replace('"copy"', '"forged"'))


def compress(payload: Path) -> None:
    (payload / ".READY.gz").write_bytes(gzip.compress(b"{}"))


DAMAGES = {
    "content": break_content,
    "descriptor": break_descriptor,
    "missing": shutil.rmtree,
    "compressed": compress,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_is_named_and_nothing_is_made(damage, old, tmp_path):
    first, second, _ = (old.snapshot(i, {"a": str(i)}) for i in (1, 2, 3))
    DAMAGES[damage](old.control / "snapshots" / second)
    done = take_over(old.root, tmp_path / "new")
    assert done.returncode == 1 and second in done.stderr and first not in done.stderr
    assert not (tmp_path / "new").exists()


def test_what_was_made_from_a_damaged_snapshot_continues_from_the_one_before(old, tmp_path):
    first, second, third = (old.snapshot(i, {"a": str(i)}) for i in (1, 2, 3))
    break_content(old.control / "snapshots" / second)
    done = take_over("--without-damaged", old.root, tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert making.plumb("cat-descriptor", "-C", str(tmp_path / "new"), third).json["parent_id"] == first


HOSTILE = (
    {"worktree": "../../out"},
    {"worktree": "-x"},
    {"partial_paths": ["../out"]},
    {"partial_paths": ["/etc"]},
    {"partial_paths": ["a/../../out"]},
    {"partial_paths": [7]},
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
def test_a_record_that_leads_outside_is_refused(hostile, old, tmp_path):
    old.snapshot(1, {"a": "1"}, **hostile)
    before = tree(tmp_path)
    assert take_over(old.root, tmp_path / "new").returncode == 1
    assert tree(tmp_path) == before


def test_a_link_in_a_worktree_leads_no_partial_snapshot_outside(old, tmp_path):
    (tmp_path / "out").mkdir()
    old.snapshot(1, {"a": "1"}, links={"d": str(tmp_path / "out")})
    old.snapshot(2, {"d/x": "escaped"}, partial_paths=["d/x"])
    done = take_over(old.root, tmp_path / "new")
    assert done.returncode == 1 and "leads out" in done.stderr
    assert os.listdir(tmp_path / "out") == []


def test_a_target_with_snapshots_of_its_own_is_refused(old, tmp_path):
    old.snapshot(1, {"a": "1"})
    store = making.make_store(tmp_path / "new")
    making.snapshot(store, "mine")
    before = tree(tmp_path / "new" / "main")
    assert take_over(old.root, tmp_path / "new").returncode == 1
    assert tree(tmp_path / "new" / "main") == before


def test_every_command_on_an_old_repository_points_to_the_import(old, monkeypatch):
    monkeypatch.chdir(old.root)
    before = tree(old.root)
    for words in (("status",), ("snapshot",), ("history",), ("doctor",), ("doctor", "--repair-runtime")):
        said = making.run(*words)
        assert said.exit != 0 and "jvs-import" in said.text + said.err, said
    assert tree(old.root) == before
