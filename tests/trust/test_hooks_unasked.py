"""Nothing that lies in a repository runs before the user of the command allowed that content in that place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from making import run, settings, write

HOOKS = ("pre-snapshot", "post-snapshot", "pre-restore", "post-restore")
WAYS = (
    ("snapshot", "x"),
    ("restore", "one"),
    ("run", "--after", "--", "true"),
    ("undo",),
    ("status",),
    ("worktree", "fork", "one", "side"),
    ("gc", "plan"),
    ("doctor", "--repair-runtime"),
    ("verify", "--all"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository with two snapshots, whose main differs from both."""
    root = tmp_path / "repo"
    assert run("init", str(root)).exit == 0
    for content in ("one", "two"):
        write(root / "main", {"a": content})
        assert run("-C", str(root), "snapshot", content, "-t", content).exit == 0
    write(root / "main", {"a": "three"})
    return root


def arm(root: Path, canary: Path) -> None:
    """Put hooks into a repository, as somebody who sends it would."""
    hooks = root / ".jvs/hooks"
    hooks.mkdir(mode=0o700, exist_ok=True)
    for name in HOOKS:
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{canary}'\n")
        (hooks / name).chmod(0o700)


@pytest.mark.parametrize("words", WAYS, ids=lambda words: words[0])
def test_hooks_that_the_user_did_not_allow_do_not_run(root, tmp_path, words):
    run("-C", str(root / "main"), "restore", "one")
    arm(root, tmp_path / "canary")
    assert run("-C", str(root / "main"), *words).exit == 0
    assert not (tmp_path / "canary").exists()


def test_a_hook_that_does_not_run_is_remarked_on_once(root, tmp_path):
    arm(root, tmp_path / "canary")
    said = run("-C", str(root / "main"), "snapshot")
    assert said.exit == 0 and said.err.count("was not run") == 1 and "jvs hooks allow" in said.err


@pytest.mark.parametrize("words", WAYS[:4], ids=lambda words: words[0])
def test_a_clone_that_carries_a_repository_runs_nothing(root, tmp_path, words):
    assert run("init", str(tmp_path / "project")).exit == 0
    write(tmp_path / "project/main", {"a": "one"})
    assert run("-C", str(tmp_path / "project"), "snapshot", "one", "-t", "one").exit == 0
    inner = root / "main/project"
    shutil.move(tmp_path / "project", inner)  # `jvs init` refuses to nest, `git clone` does not
    arm(inner, tmp_path / "canary")
    run("-C", str(inner), *words)
    assert not (tmp_path / "canary").exists()


def test_what_was_allowed_runs_and_only_there(root, tmp_path):
    arm(root, tmp_path / "canary")
    assert run("-C", str(root), "hooks", "allow").exit == 0
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    assert run("-C", str(copy / "main"), "snapshot").exit == 0
    assert not (tmp_path / "canary").exists(), "a copy of the repository is another place"
    assert run("-C", str(root / "main"), "snapshot").exit == 0
    assert (tmp_path / "canary").exists()


def test_another_repository_in_the_same_place_is_not_allowed(root, tmp_path):
    arm(root, tmp_path / "canary")
    assert run("-C", str(root), "hooks", "allow").exit == 0
    shutil.rmtree(root)
    assert run("init", str(root)).exit == 0
    arm(root, tmp_path / "canary")
    assert run("-C", str(root / "main"), "snapshot").exit == 0
    assert not (tmp_path / "canary").exists()


def permissions() -> list[Path]:
    return sorted((Path(settings().state_dir) / "allowed-hooks").iterdir())


SPOILS = {
    "writable by the group": lambda path: path.chmod(0o620),
    "writable by others": lambda path: path.chmod(0o602),
    "directory writable by others": lambda path: path.parent.chmod(0o777),
    "a link": lambda path: (path.rename(path.with_suffix(".x")), path.symlink_to(path.with_suffix(".x"))),
    "no JSON": lambda path: path.write_bytes(b"\xff"),
    "a list": lambda path: path.write_bytes(b"[]"),
    "of another hook": lambda path: path.write_bytes(path.read_bytes().replace(b'"hook":"', b'"hook":"x')),
    "a fifo": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_permission_that_is_not_plainly_the_users_allows_nothing(root, tmp_path, spoil):
    arm(root, tmp_path / "canary")
    assert run("-C", str(root), "hooks", "allow").exit == 0
    for path in permissions():
        SPOILS[spoil](path)
    assert run("-C", str(root / "main"), "snapshot").exit == 0
    assert not (tmp_path / "canary").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_a_permission_of_another_user_allows_nothing(root, tmp_path):
    arm(root, tmp_path / "canary")
    assert run("-C", str(root), "hooks", "allow").exit == 0
    for path in permissions():
        os.chown(path, 12345, 12345)
    assert run("-C", str(root / "main"), "snapshot").exit == 0
    assert not (tmp_path / "canary").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_programs_of_another_user_do_not_run_though_home_is_theirs(root, tmp_path):
    """As with sudo, which may keep HOME."""
    file = Path(settings().user_file)
    write(file.parent, {"hooks/pre-snapshot": f"#!/bin/sh\ntouch '{tmp_path}/canary'\n"})
    (file.parent / "hooks/pre-snapshot").chmod(0o755)
    file.write_text('engine.juicefs.binary = "/bin/false"\n')
    assert settings().engine_options().binary == "/bin/false"
    for path in (file, file.parent / "hooks/pre-snapshot"):
        os.chown(path, 12345, 12345)
    said = run("-C", str(root / "main"), "snapshot", "-c", "default_engine=copy")
    assert said.exit == 0 and "belongs to another user" in said.err
    assert not (tmp_path / "canary").exists() and settings().engine_options().binary is None


def test_a_repository_cannot_allow_its_own_hooks(root, tmp_path):
    """Settings, and permissions that lie in the repository, count for nothing."""
    arm(root, tmp_path / "canary")
    assert run("-C", str(root), "hooks", "allow").exit == 0
    state = Path(settings().state_dir)
    for place in (root / ".jvs", root / ".jvs/hooks", root / "main/.local/state/jvs"):
        shutil.copytree(state / "allowed-hooks", place / "allowed-hooks")
    shutil.rmtree(state)
    assert run("-C", str(root / "main"), "snapshot").exit == 0
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "HOME"))
def test_a_relative_directory_of_the_user_is_none(root, tmp_path, monkeypatch, name):
    """It would lie in the repository that the command happens to run in."""
    below = {"XDG_CONFIG_HOME": "conf", "XDG_STATE_HOME": "conf", "HOME": ".config"}[name]
    hooks = root / "main" / below / "jvs/hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-snapshot").write_text(f"#!/bin/sh\ntouch '{tmp_path}/canary'\n")
    (hooks / "pre-snapshot").chmod(0o700)
    monkeypatch.chdir(root / "main")
    for other in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "." if name == "HOME" else "conf")
    assert run("snapshot").exit == 0
    assert not (tmp_path / "canary").exists()


def test_what_runs_is_what_was_hashed(root, tmp_path, monkeypatch):
    """A hook that is exchanged after its content was compared does not run."""
    from jvs.store import hooks

    arm(root, tmp_path / "canary")
    good = root / ".jvs/hooks/pre-snapshot"
    good.write_text(f"#!/bin/sh\ntouch '{tmp_path}/good'\n")
    assert run("-C", str(root), "hooks", "allow", "pre-snapshot").exit == 0
    real = hooks._state

    def exchange(store, hook):
        found = real(store, hook)
        evil = good.with_name("evil")
        evil.write_text(f"#!/bin/sh\ntouch '{tmp_path}/canary'\n")
        evil.chmod(0o700)
        evil.rename(good)
        return found

    monkeypatch.setattr(hooks, "_state", exchange)
    run("-C", str(root / "main"), "snapshot")
    assert (tmp_path / "good").exists() and not (tmp_path / "canary").exists()


def test_hooks_of_a_repository_do_not_run_for_the_hook_of_an_agent(root, tmp_path):
    arm(root, tmp_path / "canary")
    event = {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "make"}}
    program = os.path.join(os.path.dirname(sys.executable), "jvs-claude-hook")
    if not os.path.exists(program):
        program = str(Path(__file__).parents[2] / "contrib/agents/jvs-claude-hook")
    data = json.dumps({**event, "cwd": str(root / "main")}).encode()
    environment = {**os.environ, "PATH": os.path.dirname(sys.executable) + ":" + os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, program], cwd=root / "main", input=data, capture_output=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert len(run("-C", str(root), "history", "--json").json) == 3, done.stderr
    assert not (tmp_path / "canary").exists()
