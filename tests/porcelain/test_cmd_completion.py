"""`jvs completion`: the scripts work in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import making
import pytest

from jvs.cli import commands, completion


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


@pytest.fixture
def world(store, tmp_path, monkeypatch):
    making.write(making.main_of(store), {"file.txt": "1"})
    making.snapshot(store, "note", tags=["nightly"])
    assert making.run("worktree", "fork", "side").exit == 0
    assert making.run("fork", "outside", "--path", str(tmp_path / "repo.outside")).exit == 0
    (tmp_path / "files").mkdir()
    apart = ["--repo", str(tmp_path / "repo.apart")]
    assert making.run("init", "--here", str(tmp_path / "files"), "--control", apart[1]).exit == 0
    assert making.run(*apart, "worktree", "create", "other").exit == 0
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    if shutil.which("jvs-list-snapshots") is None:
        pytest.skip("the programs are not installed next to this Python")
    return tmp_path


CASES = [
    ("jvs sta", "status"),
    ("jvs gc u", "unpin"),
    ("jvs snapshot --if", "--if-changed"),
    ("jvs restore nigh", "nightly"),
    ("jvs show HEAD~", "HEAD~1"),
    ("jvs worktree remove si", "side"),
    ("jvs history -w si", "side"),
    ("jvs config get undo.max_o", "undo.max_operations"),
    ("jvs snapshot --engine btr", "btrfs-snapshot"),
    ("jvs completion fi", "fish"),
    ("jvs-resolve nigh", "nightly"),
    ("jvs-ls-tree --sha", "--sha256sum"),
    ("jvs help resto", "restore"),
    ("jvs diff HEAD -- fil", "file.txt"),
    ("jvs -C / --repo @ worktree remove si", "side"),
    ("jvs --repo=@ -C / restore nigh", "nightly"),
    ("jvs -C / --repo @.apart history -w oth", "other"),
    ("jvs -C @.outside worktree path out", "outside"),
]


@pytest.mark.parametrize(("line", "wanted"), CASES)
def test_bash(world, line, wanted):
    script = making.run("completion", "bash").text
    driver = """
compopt() { :; }
read -ra COMP_WORDS <<< "$1"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_jvs
printf '%s\\n' "${COMPREPLY[@]}"
"""
    assert complete(["bash", "--norc", "-c", script + driver, "bash", line.replace("@", f"{world}/repo")]) == [wanted]


@pytest.mark.parametrize(("line", "wanted"), CASES)
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish(world, line, wanted):
    (world / "jvs.fish").write_text(making.run("completion", "fish").text)
    found = complete(
        [
            "fish",
            "--no-config",
            "-c",
            f"source {world}/jvs.fish; complete -C '{line.replace(chr(64), str(world / 'repo'))}'",
        ]
    )
    assert wanted in [word.split("\t")[0] for word in found]


@pytest.mark.parametrize(("line", "wanted"), CASES)
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh(world, line, wanted):
    (world / "jvs.zsh").write_text(making.run("completion", "zsh").text)
    driver = (
        "compdef() { : }; compset() { : }; _files() { print -l -- *(N) };"
        "compadd() { shift; print -l -- $@ };"
        f'eval "$(<{world}/jvs.zsh)"; words=({line.replace("@", f"{world}/repo")}); CURRENT=$#words; _jvs'
    )
    assert wanted in complete(["zsh", "-f", "-c", driver])


def complete(words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def test_every_command_is_in_every_script(store):
    for shell in completion.SHELLS:
        text = making.run("completion", shell).text
        for name in (*commands.COMMANDS, *commands.ALIASES):
            assert name in text


def test_an_unknown_shell(store):
    assert making.run("completion", "tcsh").exit == 2
