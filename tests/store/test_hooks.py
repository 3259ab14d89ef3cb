"""Hooks run around snapshots and restores; those of a repository here are allowed, if they can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jvs.cli import run as cli


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert cli.main(["init", str(tmp_path / "lab")]) == 0
    main = tmp_path / "lab" / "main"
    (main / "a").write_text("a\n")
    monkeypatch.chdir(main)
    return tmp_path / "lab"


def write_hook(directory: Path, name: str, script: str, mode: int = 0o700) -> Path:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    if directory.parent.name == ".jvs":
        cli.main(["hooks", "allow", name])
    return path


def test_a_repository_hook_gets_the_facts(lab: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f'echo "$JVS_HOOK $JVS_WORKTREE $JVS_NOTE $JVS_SNAPSHOT_ID $PWD" >> {said}'
    write_hook(lab / ".jvs" / "hooks", "pre-snapshot", script)
    write_hook(lab / ".jvs" / "hooks", "post-snapshot", script)
    assert cli.main(["snapshot", "hello"]) == 0
    before, after = said.read_text().splitlines()
    assert before == f"pre-snapshot main hello  {lab / 'main'}"
    assert after.startswith("post-snapshot main hello 1")


def test_a_pre_hook_that_fails_stops_the_snapshot_and_leaves_nothing(lab: Path, capfd) -> None:
    write_hook(lab / ".jvs" / "hooks", "pre-snapshot", "exit 3")
    assert cli.main(["snapshot"]) == 7
    assert "pre-snapshot" in capfd.readouterr().err
    assert os.listdir(lab / ".jvs" / "snapshots") == []


def test_a_post_hook_that_fails_is_only_remarked_on(lab: Path, capfd) -> None:
    write_hook(lab / ".jvs" / "hooks", "post-snapshot", "exit 3")
    assert cli.main(["snapshot"]) == 0
    assert "exit code 3" in capfd.readouterr().err


@pytest.mark.parametrize("mode", [0o722, 0o720])
def test_a_repository_hook_that_others_can_change_is_not_run(lab: Path, tmp_path: Path, capfd, mode: int) -> None:
    write_hook(lab / ".jvs" / "hooks", "pre-snapshot", f"touch {tmp_path}/ran", mode)
    assert cli.main(["snapshot"]) == 0
    assert not (tmp_path / "ran").exists()
    assert "was not run" in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_repository_hook_of_another_user_is_not_run(lab: Path, tmp_path: Path) -> None:
    os.chown(write_hook(lab / ".jvs" / "hooks", "pre-snapshot", f"touch {tmp_path}/ran"), 1234, 1234)
    assert cli.main(["snapshot"]) == 0
    assert not (tmp_path / "ran").exists()


def test_a_link_in_place_of_a_hook_is_not_followed(lab: Path, tmp_path: Path) -> None:
    target = write_hook(tmp_path / "elsewhere", "script", f"touch {tmp_path}/ran")
    (lab / ".jvs" / "hooks").mkdir()
    (lab / ".jvs" / "hooks" / "pre-snapshot").symlink_to(target)
    assert cli.main(["snapshot"]) == 0
    assert not (tmp_path / "ran").exists()


def test_the_users_own_hooks_run_for_every_repository(lab: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    write_hook(tmp_path / "config" / "jvs" / "hooks", "pre-restore", f"touch {tmp_path}/ran")
    assert cli.main(["snapshot"]) == 0
    assert cli.main(["restore", "HEAD"]) == 0
    assert (tmp_path / "ran").exists()
