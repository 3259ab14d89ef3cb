"""Completion evaluates nothing that a repository holds, and reads no repository of another user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from making import run, write

from jvs import canon
from jvs.store import descriptor

PROGRAM = os.path.join(os.path.dirname(sys.executable), "jvs")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository with a snapshot."""
    root = tmp_path / "repo"
    assert run("init", str(root)).exit == 0
    write(root / "main", {"a": "one"})
    assert run("-C", str(root), "snapshot", "one", "-t", "one").exit == 0
    return root


HOSTILE_NAMES = (
    "$(touch canary)",
    "`touch canary`",
    "x;touch canary",
    "x|touch canary",
    "x\ntouch canary",
    "'$(touch canary)'",
)
LINES = (
    "jvs restore ",
    "jvs snapshot -w ",
    "jvs worktree remove ",
    "jvs gc run --plan-id ",
    "jvs show ",
    "jvs diff -- ",
)


def hostile(root: Path) -> None:
    """Give worktrees, tags and files of a repository names that a shell would run."""
    for name in HOSTILE_NAMES:
        (root / ".jvs/worktrees" / name).mkdir()
        (root / ".jvs/gc/plans" / f"{name}.json").touch()
        (root / "main" / name).touch()
    path = sorted((root / ".jvs/descriptors").glob("*.json"))[-1]
    record = json.loads(path.read_bytes())
    record["tags"] = [name.replace(",", "") for name in HOSTILE_NAMES]
    record["descriptor_checksum"] = descriptor.checksum(record)
    path.write_bytes(canon.encode(record) + b"\n")


def complete(shell: str, line: str, cwd: Path, tmp_path: Path) -> subprocess.CompletedProcess:
    """Let a shell complete a line, as TAB does."""
    script = tmp_path / f"completion.{shell}"
    script.write_bytes(run("completion", shell).out)
    if shell == "bash":
        code = (
            f"source '{script}'; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; "
            'read -ra COMP_WORDS <<<"$COMP_LINE"; '
            "COMP_WORDS+=(''); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
            "f=$(complete -p jvs | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $f jvs '' x; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        argv = ["bash", "--norc", "-c", code]
    elif shell == "fish":
        argv = ["fish", "--no-config", "-c", f"source '{script}'; complete -C '{line}'"]
    else:
        code = (
            "zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z 'PS1=; autoload -U compinit; compinit -u -D; "
            f"source {script}; (( $+_comps[jvs] )) || compdef _jvs jvs'; sleep 0.7; zpty -w -n z $'{line}\\t'; "
            "sleep 0.7; zpty -w -n z $'\\t\\t'; sleep 0.5; zpty -d z"
        )
        argv = ["zsh", "-f", "-c", code]
    return subprocess.run(argv, cwd=cwd, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("shell", ("bash", "zsh", "fish"))
def test_completion_evaluates_nothing(root, tmp_path, monkeypatch, shell, line):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    monkeypatch.setenv("PATH", os.path.dirname(PROGRAM) + ":" + os.environ["PATH"])
    hostile(root)
    complete(shell, line, root / "main", tmp_path)
    found = [str(path) for path in tmp_path.rglob("canary*") if path.name == "canary"]
    assert found == []


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away needs root")
@pytest.mark.parametrize("shell", ("bash", "zsh", "fish"))
def test_completion_reads_no_repository_of_another_user(root, tmp_path, monkeypatch, shell):
    if shutil.which(shell) is None or shell == "zsh":
        pytest.skip(f"what {shell} offers cannot be read here")
    monkeypatch.setenv("PATH", os.path.dirname(PROGRAM) + ":" + os.environ["PATH"])
    (root / ".jvs/worktrees/foreign").mkdir()
    os.chown(root / ".jvs", 12345, 12345)
    assert b"foreign" not in complete(shell, "jvs worktree remove ", root / "main", tmp_path).stdout


def test_bash_quotes_what_it_offers(root, tmp_path, monkeypatch):
    """A name that TAB put on the line must not run when ENTER is pressed."""
    monkeypatch.setenv("PATH", os.path.dirname(PROGRAM) + ":" + os.environ["PATH"])
    hostile(root)
    offered = complete("bash", "jvs worktree remove ", root / "main", tmp_path).stdout.decode().splitlines()
    assert "main" in offered
    for word in offered:
        subprocess.run(["bash", "--norc", "-c", f": {word}"], cwd=tmp_path, check=True, timeout=30)
    assert not (tmp_path / "canary").exists()


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_zsh_completes_paths(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(PROGRAM) + ":" + os.environ["PATH"])
    write(root / "main", {"unmistakable": "x"})
    script = tmp_path / "completion.zsh"
    script.write_bytes(run("completion", "zsh").out)
    code = (
        "zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z 'PS1=; autoload -U compinit; compinit -u -D; "
        f"source {script}; (( $+_comps[jvs] )) || compdef _jvs jvs; print rea''dy'; zpty -r -m z shown '*ready*'; "
        "zpty -w -n z $'jvs diff -- unmis\\t'; zpty -r -m z shown '*(unmistakable|no matches)*'; print -r -- $shown"
    )
    said = subprocess.run(["zsh", "-f", "-c", code], cwd=root / "main", capture_output=True, timeout=60)
    assert b"unmistakable" in said.stdout, said
