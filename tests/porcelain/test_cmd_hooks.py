"""`jvs hooks list`, `allow` and `deny`: the user's word on the hooks of a repository."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import making
import pytest


@pytest.fixture
def hooks(tmp_path, monkeypatch) -> Path:
    """Return the directory of the hooks of a repository around the current directory."""
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    directory = Path(str(made.layout.hooks))
    directory.mkdir(mode=0o700)
    return directory


def write(directory: Path, name: str, script: str = "true") -> bytes:
    data = f"#!/bin/sh\n{script}\n".encode()
    (directory / name).write_bytes(data)
    (directory / name).chmod(0o700)
    return data


def states() -> dict[str, str]:
    return {item["hook"]: item["state"] for item in making.run("hooks", "list", "--json").json["hooks"]}


def test_list_says_that_there_are_none(hooks):
    assert making.run("hooks", "list").text == "No hooks\n"
    assert making.run("hooks", "list", "--json").json == {"hooks": [], "count": 0}


def test_allow_remembers_the_content_and_list_shows_it(hooks):
    data = write(hooks, "pre-snapshot")
    assert states() == {"pre-snapshot": "not allowed"}
    said = making.run("hooks", "allow", "pre-snapshot", "--json").json
    assert said["allowed"][0]["sha256"] == hashlib.sha256(data).hexdigest()
    assert states() == {"pre-snapshot": "allowed"}
    assert hashlib.sha256(data).hexdigest()[:16] in making.run("hooks", "list").text


def test_a_changed_hook_must_be_allowed_again(hooks):
    write(hooks, "pre-snapshot")
    making.run("hooks", "allow")
    write(hooks, "pre-snapshot", "false")
    assert states() == {"pre-snapshot": "changed"}
    assert making.run("snapshot").exit == 0
    making.run("hooks", "allow")
    assert making.run("snapshot").exit == 7


def test_deny_takes_the_permission_back(hooks):
    for name in ("pre-snapshot", "post-restore"):
        write(hooks, name)
    making.run("hooks", "allow")
    assert making.run("hooks", "deny", "pre-snapshot").text == "Denied pre-snapshot\n"
    assert states() == {"pre-snapshot": "not allowed", "post-restore": "allowed"}
    assert making.run("hooks", "deny", "--json").json == {"denied": ["post-restore"]}
    assert making.run("hooks", "deny").text.startswith("No change")


def test_a_hook_that_is_gone_can_still_be_denied(hooks):
    data = write(hooks, "pre-snapshot")
    making.run("hooks", "allow")
    (hooks / "pre-snapshot").unlink()
    making.run("hooks", "deny", "pre-snapshot")
    (hooks / "pre-snapshot").write_bytes(data)
    (hooks / "pre-snapshot").chmod(0o700)
    assert states() == {"pre-snapshot": "not allowed"}


def test_what_cannot_be_allowed(hooks):
    assert making.run("hooks", "allow").exit == 5
    assert making.run("hooks", "allow", "pre-snapshot").exit == 5
    assert making.run("hooks", "allow", "../pre-snapshot").exit == 2
    assert making.run("hooks", "deny", "nosuch").exit == 2
    write(hooks, "pre-snapshot")
    (hooks / "pre-snapshot").chmod(0o722)
    said = making.run("hooks", "allow", "--json")
    assert said.exit == 11 and said.error["class"] == "E_PATH_ESCAPE"
    assert states() == {"pre-snapshot": "unsafe"}


def test_one_unsafe_hook_keeps_the_others_from_being_allowed(hooks):
    for name in ("pre-snapshot", "pre-restore"):
        write(hooks, name)
    (hooks / "pre-restore").chmod(0o777)
    assert making.run("hooks", "allow").exit == 11
    assert states() == {"pre-snapshot": "not allowed", "pre-restore": "unsafe"}


def test_without_a_home_nothing_is_allowed(hooks, monkeypatch):
    write(hooks, "pre-snapshot", "false")
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    said = making.run("hooks", "allow")
    assert said.exit == 2 and "XDG_STATE_HOME" in said.err
    assert making.run("hooks", "deny").exit == 0
    assert making.run("snapshot").exit == 0


def test_the_users_own_hooks_are_listed_as_allowed(hooks, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    own = tmp_path / "config/jvs/hooks"
    own.mkdir(parents=True)
    write(own, "pre-snapshot")
    (listed,) = making.run("hooks", "list", "--json").json["hooks"]
    assert (listed["origin"], listed["state"], listed["path"]) == ("user", "allowed", os.fspath(own / "pre-snapshot"))


def test_the_permissions_can_be_read_by_the_user_alone(hooks):
    write(hooks, "pre-snapshot")
    making.run("hooks", "allow")
    state = Path(making.settings().state_dir) / "allowed-hooks"
    assert state.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in state.iterdir()] == [0o600]
