"""What people come for, from beginning to end, in the words that they would use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import making
import pytest
import zoo

from jvs import Repository
from jvs.fs import namespace


def run(*words: str, exit: int = 0) -> making.Said:
    said = making.run(*words)
    assert said.exit == exit, said.err
    return said


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """A real project: with git, an environment of absolute paths, modules, and a place of its own."""
    root = tmp_path / "project"
    making.write(root, {"src/app.py": "print('works')\n", "README": "read me\n", "node_modules/left/pad.js": "pad"})
    tool = root / ".venv/bin/tool"
    making.write(root, {".venv/bin/tool": f"#!{root}/.venv/bin/python\n", ".venv/bin/python": "#!/bin/sh\necho ran\n"})
    for name in (tool, root / ".venv/bin/python"):
        name.chmod(0o755)
    if shutil.which("git"):
        identity = ["-c", "user.name=x", "-c", "user.email=x@y"]
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        subprocess.run(["git", "-C", str(root), *identity, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    monkeypatch.chdir(root)
    return root


def known(root: Path) -> dict[bytes, object]:
    found = zoo.describe_tree(os.fsencode(root))
    return {name: fact for name, fact in found.items() if name and not name.startswith((b".jvs", b".claude", b".mcp"))}


def inodes(root: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_ino for path in root.rglob("*") if ".jvs" not in path.relative_to(root).parts}


def test_a_day_of_a_new_user_in_a_real_project(project: Path):
    making.write(project, {".jvsignore": ".venv/\nnode_modules/\n"})
    files, numbers, place = known(project), inodes(project), project.stat().st_ino
    run("init")
    run("snapshot", "it works")
    assert (known(project), inodes(project), project.stat().st_ino) == (files, numbers, place)

    (project / "src/app.py").write_text("broken")
    (project / "README").unlink()
    (project / "node_modules/left/new.js").write_text("installed since")
    (project / ".venv/bin/tool").write_text("installed since")
    excluded = {name: fact for name, fact in known(project).items() if name.startswith((b".venv", b"node_modules"))}
    run("restore", "HEAD")
    now = known(project)
    assert {name: fact for name, fact in now.items() if name in excluded} == excluded
    assert (project / "src/app.py").read_text() == "print('works')\n" and (project / "README").exists()

    for name in ("one", "two"):
        fork = Path(run("fork", name, "--json").json["path"])
        assert (fork / "src/app.py").exists() and not (fork / ".venv").exists()
    run("agent", "install", "claude", "--project")
    assert "jvs" in (project / ".claude/settings.json").read_text()
    assert known(project) == now
    run("agent", "uninstall", "claude", "--project")
    assert run("status", "--json").json["counts"]["modified"] == 0
    run("doctor", "--strict")
    assert making.violations(project) == []


def test_which_snapshot_lost_this_line_and_bring_the_file_back(project: Path):
    run("init")
    ids = []
    for text in ("one\n", "one\ntwo\n", "one\ntwo\nthree\n", "one\nthree\n", "one\nthree\nfour\n"):
        making.write(project, {"notes/list": text, "other": text})
        ids.append(run("snapshot", text.replace("\n", " "), "--json").json["snapshot_id"])
    shown = [record["snapshot_id"] for record in run("history", "--json", "--", "notes/list").json]
    assert shown == ids[::-1]
    holds = [snapshot_id for snapshot_id in shown if b"two" in run("cat", f"{snapshot_id}:notes/list").out]
    assert shown[shown.index(holds[0]) - 1] == ids[3], "the one that lost it"
    run("restore", holds[0], "--", "notes/list")
    assert (project / "notes/list").read_text() == "one\ntwo\nthree\n"
    assert (project / "other").read_text() == "one\nthree\nfour\n"


def test_the_best_of_fifty_runs_by_its_metric(project: Path):
    run("init")
    with Repository.open(project) as repo:
        for number in range(50):
            (project / "weights").write_text(f"{number}")
            repo.snapshot(f"run {number}", meta={"loss": f"{(number - 31) ** 2 / 10 + 0.5:.1f}", "run": str(number)})
        best = repo.history(sort="loss", limit=3)
        assert [record["note"] for record in best] == ["run 31", "run 32", "run 30"]
    found = run("history", "--sort", "loss", "-n", "1", "--json").json[0]["snapshot_id"]
    run("restore", found)
    assert (project / "weights").read_text() == "31"


@pytest.mark.skipif(shutil.which("make") is None or not namespace.works(), reason="no make, or no mount namespaces")
def test_a_build_with_absolute_paths_is_tried(project: Path):
    making.write(
        project, {"Makefile": f"all:\n\tcp {project}/src/app.py {project}/built\nclean:\n\trm -rf {project}/old\n"}
    )
    making.write(project, {"old/thing": "kept"})
    run("init")
    run("snapshot", "before")
    before = known(project)
    said = run("try", "--json", "--", "make", "clean", "all")
    assert known(project) == before, "main was touched"
    assert {change["path"]: change["change"] for change in said.json["changes"]} == {
        "old": "removed",
        "old/thing": "removed",
        "built": "added",
    }
    assert said.exit == 0 and json.loads(run("try", "--list", "--json").text)[0]["try_id"] == said.json["try_id"]
    run("try", "--apply", said.json["try_id"])
    assert (project / "built").read_text() == "print('works')\n" and not (project / "old").exists()
    run("undo")
    assert known(project).keys() == before.keys() and (project / "old/thing").read_text() == "kept"
