"""`jvs enter`: a fork or a snapshot at main's own path, for one command and what it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import making
import pytest
from making import as_nobody, run

from jvs.fs import namespace

pytestmark = pytest.mark.skipif(not namespace.works(), reason="no mount namespaces here")

OFFLINE = ("--no-build-isolation", "--no-index")
BACKEND = """
import base64, hashlib, zipfile
def build_wheel(where, config_settings=None, metadata_directory=None):
    files = {
        "tool.py": "def main():\\n    print('tool of the fork')\\n",
        "tool-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: tool\\nVersion: 1\\n",
        "tool-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "tool-1.dist-info/entry_points.txt": "[console_scripts]\\ntool = tool:main\\n",
    }
    files["tool-1.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in [*files, "tool-1.dist-info/RECORD"])
    with zipfile.ZipFile(f"{where}/tool-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "tool-1-py3-none-any.whl"
"""


@pytest.fixture(params=["classic", "in place"])
def lab(request, tmp_path, monkeypatch) -> Path:
    """Return main of a repository with one snapshot and the fork `exp`; the current directory is in main."""
    main = tmp_path / "lab" if request.param == "in place" else tmp_path / "lab" / "main"
    main.mkdir(parents=True)
    making.write(main, {"f": "main", "d/g": "main"})
    if request.param == "classic":
        main.rename(tmp_path / "files")
        assert run("init", str(tmp_path / "lab"), "--from", str(tmp_path / "files")).exit == 0
    monkeypatch.chdir(main)
    if request.param == "in place":
        assert run("init", "--here").exit == 0
    assert run("snapshot", "first").exit == 0
    assert run("fork", "exp").exit == 0
    return main


def fork(main: Path, name: str = "exp") -> Path:
    return Path(run("-C", str(main), "worktree", "path", name).text.strip())


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".jvs" not in path.relative_to(root).parts
    }


def test_what_is_written_at_the_path_of_main_goes_into_the_fork(lab):
    before, there = tree(lab), fork(lab)
    script = f"echo new > {lab}/made; echo changed > {lab}/f; rm {lab}/d/g; pwd > {lab}/where"
    said = run("enter", "exp", "--", "sh", "-c", script)
    assert (said.exit, said.out) == (0, b"")
    assert tree(lab) == before, "main was changed"
    assert tree(there) == {"made": b"new\n", "f": b"changed\n", "where": f"{lab}\n".encode()}
    assert making.violations(lab if (lab / ".jvs").is_dir() else lab.parent) == []


@pytest.mark.parametrize("lab", ["in place"], indirect=True)
def test_a_real_environment_of_python_is_that_of_the_fork(lab, tmp_path):
    if subprocess.run([sys._base_executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("no pip to install with")
    subprocess.run(
        [sys._base_executable, "-m", "venv", "--without-pip", "--system-site-packages", lab / ".venv"], check=True
    )
    run("snapshot", "with an environment")
    assert run("fork", "env").exit == 0
    package = tmp_path / "package"
    project = '[project]\nname = "tool"\nversion = "1"\n[build-system]\nrequires = []\n'
    making.write(package, {"pyproject.toml": project + 'build-backend = "b"\nbackend-path = ["."]\n', "b.py": BACKEND})
    before = tree(lab)
    pip = [str(lab / ".venv/bin/python"), "-m", "pip", "install", "-q", "--no-compile", *OFFLINE]
    assert run("enter", "env", "--", *pip, str(package)).exit == 0
    assert run("enter", "env", "--", "sh", "-c", f"{lab}/.venv/bin/tool > {lab}/said").exit == 0
    assert (fork(lab, "env") / "said").read_text() == "tool of the fork\n"
    assert tree(lab) == before, "main was changed"
    assert (fork(lab, "env") / ".venv/bin/tool").read_text().startswith(f"#!{lab}/.venv/bin/")


def test_a_snapshot_is_seen_read_only(lab):
    making.write(lab, {"f": "newer"})
    said = run("enter", "first", "--json", "--", "sh", "-c", f"test $(cat {lab}/f) = main && ! touch {lab}/x 2>&1")
    assert said.exit == 0, said.err
    assert said.json["snapshot_id"] and said.json["worktree"] is None
    assert run("verify", "--all").exit == 0
    assert (lab / "f").read_text() == "newer"


def test_it_begins_in_the_same_directory_from_the_fork_too(lab, monkeypatch):
    there = fork(lab)
    for current, wanted in ((there / "d", lab / "d"), (lab / "d", lab / "d"), (there, lab), (lab, lab)):
        monkeypatch.chdir(current)
        word = [] if current.is_relative_to(there) else ["exp"]
        assert run("enter", *word, "--", "sh", "-c", f'test "$PWD" = {wanted} && test $(pwd -P) = {wanted}').exit == 0
    monkeypatch.chdir(lab)
    (there / "d" / "g").unlink()
    (there / "d").rmdir()
    monkeypatch.chdir(lab / "d")
    assert run("enter", "exp", "--", "sh", "-c", f'test "$PWD" = {lab}').exit == 0


def test_the_repository_is_out_of_sight(lab, tmp_path, tmp_path_factory):
    making.write(tmp_path, {".jvs/format_version": "2\n"})  # one further up, which is not to be found either
    jvs = f"{Path(sys.executable).parent}/jvs"
    control = lab / ".jvs" if (lab / ".jvs").is_dir() else lab.parent / ".jvs"
    script = (
        f"{jvs} status > {lab}/out 2> {lab}/err; echo $? > {lab}/code; ls -A {control} > {lab}/ls; touch {control}/x"
    )
    run("enter", "exp", "--", "sh", "-c", script)
    there = fork(lab)
    assert (there / "code").read_text() == "5\n"
    assert "E_NOT_A_REPOSITORY" in (there / "err").read_text() and "out of sight" in (there / "err").read_text()
    assert (there / "out").read_text() == (there / "ls").read_text() == ""
    assert not (control / "x").exists()
    inner = f"cd {tmp_path_factory.mktemp('other')} && {jvs} init own && cd own && {jvs} status"
    assert run("enter", "exp", "--", "sh", "-c", inner).exit == 0, "another repository can be used"


def test_the_exit_status_is_that_of_the_command(lab):
    assert run("enter", "exp", "--", "sh", "-c", "exit 9").exit == 9
    assert run("enter", "exp", "--", "sh", "-c", "kill -9 $$").exit == 137
    assert run("enter", "exp", "--", "/no/such/program").exit == 5
    said = run("enter", "exp", "--json", "--", "sh", "-c", "exit 3")
    assert said.exit == 3
    assert said.json == {
        "worktree": "exp",
        "snapshot_id": None,
        "shown_at": str(lab),
        "command": ["sh", "-c", "exit 3"],
        "exit": 3,
    }


def test_what_cannot_be_entered_is_an_error(lab):
    making.snapshot(making.open_store(lab), "part", paths=[b"f"])
    assert run("enter", "--", "true").exit == 2
    assert run("enter", "main", "--", "true").exit == 2
    assert run("enter", "exp", "true").exit == 2
    assert run("enter", "part", "--", "true").exit == 2
    assert run("enter", "nothing", "--", "true").exit == 5
    assert run("tag", "first", "exp").exit == 0
    assert run("enter", "exp", "--json", "--", "true").error["class"] == "E_AMBIGUOUS"


def test_where_namespaces_are_refused_nothing_is_run(lab, monkeypatch):
    monkeypatch.setattr(namespace, "refusal", lambda mounts=None: "unshare: Operation not permitted")
    said = run("enter", "exp", "--json", "--", "touch", str(lab / "x"))
    assert (said.exit, said.error["class"]) == (4, "E_IO")
    assert "unshare: Operation not permitted" in said.error["message"]
    assert not (lab / "x").exists() and not (fork(lab) / "x").exists()


def test_the_system_says_why_it_refuses(tmp_path):
    reason = namespace.refusal([namespace.Bind(str(tmp_path / "gone"), str(tmp_path))])
    assert reason == "No such file or directory"


def test_a_shell_is_what_is_run_without_a_command(lab, monkeypatch, tmp_path):
    shell = tmp_path / "shell"
    shell.write_text("#!/bin/sh\npwd > seen\n")
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    said = run("enter", "exp")
    assert said.exit == 0 and "'exit' leaves it" in said.err
    assert (fork(lab) / "seen").read_text() == f"{lab}\n"


def test_another_worktree_can_be_the_place(lab):
    assert run("fork", "two").exit == 0
    two = fork(lab, "two")
    assert run("enter", "exp", "-w", "two", "--", "sh", "-c", f"echo x > {two}/x; pwd").exit == 0
    assert (fork(lab) / "x").exists() and not (two / "x").exists() and not (lab / "x").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_other_users_can_enter_as_well(tmp_path_factory):
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # pytest closes its own directories to others
        os.chown(place, 65533, 65533)

        def act() -> None:
            os.environ["HOME"] = place
            if not namespace.works():
                return
            os.chdir(place)
            assert run("init", "lab").exit == 0
            making.write("lab/main", {"f": "main"})
            os.chdir("lab/main")
            assert run("snapshot").exit == 0 and run("fork", "exp").exit == 0
            script = f"echo fork > {place}/lab/main/f; test $(id -u) = 65533"
            assert run("enter", "exp", "--", "sh", "-c", script).exit == 0
            assert Path("f").read_text() == "main" and Path("../worktrees/exp/f").read_text() == "fork\n"
            assert (
                run("enter", "HEAD", "--", "sh", "-c", '! touch x 2>/dev/null && test -z "$(ls -A ../.jvs)"').exit == 0
            )

        as_nobody(act)


def test_excluded_directories_that_the_fork_has_not_are_seen_as_throwaway_copies(lab):
    making.write(lab, {".jvsignore": "env/\n/own/\n", "env/tool": "main", "d/env/deep": "main", "own/x": "main"})
    assert run("snapshot", "rules").exit == 0
    assert run("fork", "with").exit == 0
    there = fork(lab, "with")
    making.write(there, {"own/x": "fork"})
    before, files = tree(lab), tree(there)
    script = "cat env/tool d/env/deep own/x; echo changed > env/tool; rm d/env/deep; touch new"
    said = run("enter", "with", "--", "sh", "-c", f"({script}) > seen")
    assert said.exit == 0, said.err
    assert (there / "seen").read_text() == "mainmainfork"
    assert "'env' is excluded" in said.err and "'d/env' is excluded" in said.err
    for name in ("seen", "new"):
        (there / name).unlink()
    assert tree(lab) == before and tree(there) == files
    assert not (there / "env").exists() and not (there / "d/env").exists()
