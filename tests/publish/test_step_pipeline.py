"""A snapshot by plumbing commands alone: the pipeline, crashes after every step, and refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import making
import pytest
import zoo

from jvs.publish import record as publish_record
from jvs.store import intent

PIPELINE = """
jvs-check-worktree --record main | jvs-write-intent --record | jvs-clone-tree --record | jvs-hash-tree --record |
jvs-sync-tree --record | jvs-write-descriptor --record --note N | jvs-write-ready --record | jvs-rename-ready --record |
jvs-update-head --record | jvs-chain-append --record | jvs-clear-intent --record
"""
SCRIPT = Path(__file__).resolve().parents[2] / "contrib" / "snapshot.sh"
STEPS = publish_record.STEPS
VOLATILE = ("snapshot_id", "parent_id", "created_at", "audit_head", "descriptor_checksum", "note")


@pytest.fixture
def store(tmp_path):
    made = making.make_store(tmp_path / "r")
    making.write(making.main_of(made), {"a": "1", "sub/b": "2"})
    making.snapshot(made, "first")
    making.write(making.main_of(made), {"sub/b": "changed", "c": "3"})
    made.close()
    return made


@pytest.fixture
def programs(monkeypatch):
    """Put the console scripts of this installation on PATH."""
    sibling = Path(sys.executable).parent
    if not (sibling / "jvs-check-worktree").exists():
        pytest.fail(f"jvs is not installed next to {sys.executable}: no console scripts there")
    monkeypatch.setenv("PATH", f"{sibling}:{os.environ['PATH']}")


def shell(command, store, **more):
    return subprocess.run(["sh", "-c", command], cwd=store.root, capture_output=True, text=True, check=False, **more)


def step(name, stdin, *words):
    return making.plumb(name, "--record", *words, stdin=stdin)


def run_steps(store, count, owner):
    """Do the first `count` steps as a shell with the process id `owner` would; returns the last output."""
    os.chdir(store.root)
    said = making.plumb("check-worktree", "--record", "main")
    for name in STEPS[1:count]:
        more = ["--owner-pid", str(owner)] if name == "write-intent" else []
        assert said.exit == 0, said.err
        said = step(name, said.out, *more)
    assert said.exit == 0, said.err
    return said


@pytest.fixture
def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_the_pipeline_as_it_is_printed_takes_a_snapshot(store, programs):
    done = shell(PIPELINE, store)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    record = json.loads(done.stdout)
    assert record["done"] == list(STEPS)
    opened = making.open_store(store.root)
    assert opened.head_of("main")[0] == record["snapshot_id"]
    assert making.violations(store.root) == []


@pytest.mark.parametrize("count", range(1, len(STEPS) + 1))
def test_a_crash_after_any_step_is_recovered_by_the_next_snapshot(store, count, dead_pid):
    before = making.open_store(store.root).head_of("main")[0]
    said = run_steps(store, count, dead_pid)
    crashed = said.json["snapshot_id"]
    assert making.violations(store.root, recovered=False) == []
    done = making.run("snapshot", "--json", "next")
    assert done.exit == 0, done.err
    kept = count > STEPS.index("rename-ready")
    assert done.json["parent_id"] == (crashed if kept else before)
    assert os.path.exists(str(store.layout.descriptor(crashed))) == kept
    assert bool(done.err) == (1 < count < len(STEPS))
    assert making.violations(store.root) == []
    assert making.run("verify", "--all").exit == 0


@pytest.mark.parametrize("count", range(1, len(STEPS) + 1))
def test_a_reader_between_two_steps_sees_the_snapshot_only_when_it_is_done(store, count):
    before = making.open_store(store.root).head_of("main")
    crashed = run_steps(store, count, os.getpid()).json["snapshot_id"]
    now = making.open_store(store.root).head_of("main")
    assert now == ((crashed, crashed) if count == len(STEPS) else before)
    assert making.violations(store.root, recovered=False) == []


@pytest.mark.parametrize("count", range(2, len(STEPS)))
def test_a_live_pipeline_is_not_touched_by_another_snapshot(store, count):
    pending = run_steps(store, count, os.getpid())
    said = making.run("snapshot", "--json", "other")
    assert said.exit == 0, said.err
    assert intent.list_ids(store.layout) == [pending.json["snapshot_id"]]


@pytest.mark.parametrize("name", STEPS[1:])
def test_done_twice_is_success_or_a_clean_refusal(store, name, dead_pid):
    """A step whose effect is there already must not spoil it: the rest of the pipeline still ends well."""
    said = run_steps(store, STEPS.index(name) + 1, dead_pid)
    again = step(name, said.out)
    assert again.exit in (0, 7, 5), again.err
    record = said.json
    for later in STEPS[STEPS.index(name) + 1 :]:
        said = step(later, said.out)
        assert said.exit == 0, said.err
    assert making.open_store(store.root).head_of("main")[0] == record["snapshot_id"]
    assert making.violations(store.root) == []


@pytest.mark.parametrize("name", STEPS[1:])
def test_empty_stdin_is_refused_and_nothing_happens(store, name):
    os.chdir(store.root)
    before = zoo.describe_tree(os.fsencode(str(store.layout.jvs)))
    for stdin in (b"", b"\n"):
        said = step(name, stdin)
        assert said.exit == 2
        assert said.out == b""
        assert "E_USAGE" in said.err
        assert "hint: " in said.err
    assert zoo.diff_trees(before, zoo.describe_tree(os.fsencode(str(store.layout.jvs)))) == []


@pytest.mark.parametrize("name", STEPS[2:])
def test_a_record_that_lacks_an_earlier_step_is_refused(store, name, dead_pid):
    said = run_steps(store, STEPS.index(name), dead_pid)
    record = said.json
    record["done"].remove(STEPS[STEPS.index(name) - 1])
    refused = step(name, json.dumps(record).encode())
    assert refused.exit == 2, refused.err
    assert f"'{STEPS[STEPS.index(name) - 1]}' is missing" in refused.err
    assert refused.out == b""


@pytest.mark.parametrize("name", STEPS[1:])
def test_what_is_no_record_is_refused_with_a_class(store, name):
    os.chdir(store.root)
    for bad in (
        *(b"[]", b"{}", b"x", b'{"version":1}', b'{"version":1,"done":[]}', b'{"a":1,"a":2}', b"\xff"),
        b'{"repo":"/","worktree":"main","snapshot_id":"x"}',
        json.dumps({"repo": store.root, "worktree": "main", "snapshot_id": "x"}).encode(),
        json.dumps({"repo": store.root, "worktree": "main", "snapshot_id": "x", "version": 1, "done": 7}).encode(),
    ):
        said = step(name, bad)
        assert said.exit in (2, 5, 10), said.err
        assert said.out == b""
        assert "Traceback" not in said.err


@pytest.mark.parametrize("name", ["clone-tree", "write-descriptor", "rename-ready", "update-head", "clear-intent"])
def test_a_forged_record_never_leads_out_of_the_repository(store, name, dead_pid):
    record = run_steps(store, 2, dead_pid).json
    record["done"] = list(STEPS)
    before = sorted(os.listdir(store.root)), sorted(os.listdir(os.path.dirname(store.root)))
    for field in ("snapshot_id", "worktree", "parent_id"):
        for value in ("../../../tmp/x", "", "/etc", "..", 17, [], {"a": 1}):
            said = step(name, json.dumps({**record, field: value}).encode())
            assert said.exit not in (0, 70), (field, value, said.err)
            assert "Traceback" not in said.err
            assert before == (sorted(os.listdir(store.root)), sorted(os.listdir(os.path.dirname(store.root))))


@pytest.mark.parametrize("name", STEPS[2:])
def test_a_record_without_the_results_of_earlier_steps_is_refused_with_a_class(store, name, dead_pid):
    """The names of all earlier steps stand in `done`, and what they learned does not."""
    record = run_steps(store, 2, dead_pid).json
    record["done"] = list(STEPS[: STEPS.index(name)])
    said = step(name, json.dumps(record).encode())
    assert said.exit not in (1, 70), said.err
    assert "Traceback" not in said.err
    assert making.run("snapshot").exit == 0
    assert making.violations(store.root) == []


def test_a_head_never_names_what_was_not_published(store, dead_pid):
    record = run_steps(store, STEPS.index("rename-ready"), dead_pid).json
    record["done"].append("rename-ready")
    said = step("update-head", json.dumps(record).encode())
    assert said.exit == 5, said.err
    assert making.violations(store.root, recovered=False) == []


def test_the_head_that_moved_meanwhile_is_a_stale_head(store, dead_pid):
    said = run_steps(store, STEPS.index("update-head"), os.getpid())
    making.run("snapshot", "faster")
    refused = step("update-head", said.out)
    assert refused.exit == 7
    assert "E_STALE_HEAD" in refused.err
    assert refused.out == b""


def compared(root):
    """Return what two repositories that were made in two ways must agree in."""
    reader = making.oracle_module("reader")
    repo = reader.read_repository(str(root))
    names = {snapshot_id: i for i, snapshot_id in enumerate(sorted(repo.descriptors))}
    descriptors = []
    for snapshot_id in sorted(repo.descriptors):
        record = repo.descriptors[snapshot_id]
        kept = {key: value for key, value in record.items() if key not in VOLATILE}
        descriptors.append(kept | {"parent": names.get(record["parent_id"])})
    configs = {
        name: {key: names.get(config[f"{key}_snapshot_id"]) for key in ("head", "latest", "base")}
        for name, config in repo.configs.items()
    }
    events = [
        {key: record[key] for key in ("seq", "operation", "worktree", "reason", "actor")}
        | {"target": names.get(record["target"]), "details": sorted(record["details"])}
        for record in repo.audit
    ]
    files = sorted(
        (os.path.relpath(os.path.join(at, name), root).replace(snapshot_id, str(number)), mode(os.path.join(at, name)))
        for at, dirs, found in os.walk(root)
        for name in [*dirs, *found]
        for snapshot_id, number in [named(os.path.join(at, name), names)]
        if "/locks/" not in os.path.join(at, name) and "/gc/reserve" not in os.path.join(at, name)
    )
    payloads = {
        names[i]: making.oracle_module("treehash").hash_tree(os.path.join(repo.jvs, "snapshots", i)).entries
        for i in repo.payloads
    }
    return {
        "descriptors": descriptors,
        "configs": configs,
        "events": events,
        "files": files,
        "payloads": payloads,
        "intents": repo.intents,
        "debris": repo.debris,
    }


def named(path, names):
    for snapshot_id, number in names.items():
        if snapshot_id in path:
            return snapshot_id, number
    return "-", "-"


def mode(path):
    return oct(os.lstat(path).st_mode)


def take_both_ways(one, other, change):
    for root in (one, other):
        change(Path(root) / "main")
    scripted = subprocess.run(
        ["sh", str(SCRIPT), "main", 'a "note"\nof two', "t1", "t2"], cwd=one, capture_output=True, text=True
    )
    assert scripted.returncode == 0, scripted.stderr
    os.chdir(other)
    said = making.run("snapshot", 'a "note"\nof two', "--tag", "t1", "--tag", "t2")
    assert said.exit == 0, said.err
    return scripted.stdout


def test_the_script_leaves_the_same_repository_as_jvs_snapshot(fs_dir, programs):
    one, other = fs_dir / "one", fs_dir / "other"
    for root in (one, other):
        store = making.make_store(root)
        zoo.make_zoo(root / "main", many=10, skip=("socket", "times", "deep", "owners", "xattrs"))
        os.setxattr(root / "main/many", "user.kind", b"directory")
        store.close()

    def edit(main):
        making.write(main, {"new/file": "new", "edited": "one"})

    def edit_again(main):
        making.write(main, {"edited": "two"})
        shutil.rmtree(main / "new")

    take_both_ways(one, other, edit)
    printed = take_both_ways(one, other, edit_again)
    assert printed == making.open_store(one).head_of("main")[0] + "\n"
    assert compared(one) == compared(other)
    assert making.violations(one) == []
    for root in (one, other):
        os.chdir(root)
        assert making.run("verify", "--all").exit == 0


def test_the_script_reports_the_exit_code_of_the_step_that_failed(store, programs):
    for words, code in ((["main", "n", "bad tag"], 10), (["nope"], 5), (["-x"], 2)):
        done = subprocess.run(["sh", str(SCRIPT), *words], cwd=store.root, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
    os.chdir(store.root)
    assert making.run("snapshot").exit == 0
    assert making.violations(store.root) == []


def test_the_script_passes_shellcheck():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", "-s", "sh", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_lock_keeps_a_snapshot_out_while_the_pipeline_runs(store, programs):
    inside = "jvs snapshot --wait 0; echo exit $?"
    done = shell(f"jvs-with-lock main -- sh -c '{inside}'", store)
    assert done.stdout == "exit 6\n"
    assert "E_BUSY" in done.stderr
    assert "jvs-with-lock" in done.stderr
