"""`jvs diff -p A B` is a git patch: `git apply` turns a copy of A into exactly B.

Trees are made by hypothesis: odd names, modes, links, empty files, binaries, files that become links and directories.
git keeps one bit of a mode (executable) and no empty directories; both sides are compared as git sees them.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from running import Lab

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

NAMES = st.sampled_from(
    [
        *(b"a", b"b", b"dir/a", b"dir/b", b"dir/sub/c", b"a b", b"a b/c d", b" blank", b"blank ", b'quo"te', b"it's"),
        *(b"tab\there", b"new\nline", b"back\\slash", b"\xff\xfe", b"caf\xc3\xa9", b"-dash", b"a/a", b"b/b", b"..."),
        *(b"b b/b b", b"/dev/null"[1:], b"x.sh", b"%s", b"\x7f", b"\xe2\x80\xae"),
    ]
)
CONTENTS = st.one_of(
    st.sampled_from([b"", b"\n", b"one\n", b"one", b"one\ntwo\n", b"one\ntwo", b"one\r\ntwo\r\n", b"\0", b"a\0b\n"]),
    st.lists(st.sampled_from([b"x\n", b"y\n", b"-- \n", b"+++ b/a\n", b"\n", b"\x0c\n"]), max_size=12).map(b"".join),
    st.binary(max_size=300),
)
ENTRIES = st.one_of(
    st.tuples(st.just("file"), CONTENTS),
    st.tuples(st.just("program"), CONTENTS),
    st.tuples(st.just("link"), st.sampled_from([b"a", b"dir", b"../x y", b"\xff", b"nowhere\n"])),
)
TREES = st.dictionaries(NAMES, ENTRIES, max_size=6)


def possible(tree: dict) -> dict:
    """Return a tree without entries that lie below another entry that is no directory."""
    return {name: entry for name, entry in tree.items() if not any(name.startswith(n + b"/") for n in tree)}


def write_tree(directory: Path, tree: dict) -> None:
    """Make a directory hold exactly a tree."""
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name, (kind, content) in possible(tree).items():
        path = os.path.join(os.fsencode(directory), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if kind == "link":
            os.symlink(content, path)
        else:
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, 0o755 if kind == "program" else 0o644)


def read_tree(directory: Path) -> dict:
    """Return a directory as git sees it."""
    found = {}
    for root, directories, files in os.walk(os.fsencode(directory)):
        for name in [*files, *(d for d in directories if os.path.islink(os.path.join(root, d)))]:
            path = os.path.join(root, name)
            key = os.path.relpath(path, os.fsencode(directory))
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path))
            else:
                with open(path, "rb") as file:
                    found[key] = ("program" if os.stat(path).st_mode & 0o100 else "file", file.read())
    return found


def apply_patch(patch: bytes, directory: Path) -> subprocess.CompletedProcess:
    """Apply with git, outside of any repository."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(directory.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    words = ["git", "-c", "core.fileMode=true", "apply", "--whitespace=nowarn", "--unidiff-zero", "-"]
    return subprocess.run(words, cwd=directory, input=patch, capture_output=True, env=environment)


def patch_of(lab: Lab, *words: str, form: str) -> bytes:
    if form == "text":
        return lab.must("diff", "-p", *words).out
    value = lab.must("diff", "-p", "--json", *words).json
    return base64.b64decode(value["patch_b64"]) if "patch_b64" in value else value["patch"].encode()


def repository(where: Path) -> Lab:
    lab = Lab(where / "lab")
    lab.must("init", str(lab.root), cwd=where)
    return lab


def snapshots(lab: Lab, before: dict, after: dict) -> tuple[str, str]:
    """Take a snapshot of each of two trees, and return their ids."""
    write_tree(lab.main, before)
    first = lab.must("snapshot", "--json", "before").json["snapshot_id"]
    write_tree(lab.main, after)
    second = lab.must("snapshot", "--json", "after").json["snapshot_id"]
    assert read_tree(lab.main) == possible(after)
    return first, second


def check(lab: Lab, ids: tuple[str, str], before: dict, after: dict, copy: Path, form: str) -> None:
    copy.mkdir(exist_ok=True)
    write_tree(copy, before)
    patch = patch_of(lab, *ids, form=form)
    if possible(before) == possible(after):
        assert patch == b""
        return
    done = apply_patch(patch, copy)
    assert done.returncode == 0, (done.stderr, patch)
    assert read_tree(copy) == possible(after), patch


F = "file"
CASES = {
    "a change": ({b"a": (F, b"1\n2\n")}, {b"a": (F, b"1\n3\n")}),
    "a new file": ({}, {b"a": (F, b"1\n")}),
    "no line feed at the end": ({b"a": (F, b"1")}, {b"a": (F, b"1\n2")}),
    "an empty file": ({}, {b"a": (F, b"")}),
    "an empty file removed": ({b"a": (F, b"")}, {}),
    "an empty file filled": ({b"a": (F, b"")}, {b"a": (F, b"1\n")}),
    "a mode": ({b"a": (F, b"1\n")}, {b"a": ("program", b"1\n")}),
    "a mode of a new file": ({}, {b"a": ("program", b"1\n")}),
    "a mode and a change": ({b"a": (F, b"1\n")}, {b"a": ("program", b"2\n")}),
    "a new link": ({}, {b"a": ("link", b"b")}),
    "a link elsewhere": ({b"a": ("link", b"b")}, {b"a": ("link", b"c")}),
    "a link removed": ({b"a": ("link", b"b")}, {}),
    "a file that becomes a link": ({b"a": (F, b"1\n")}, {b"a": ("link", b"c")}),
    "a directory that becomes a file": ({b"a/b": (F, b"1\n")}, {b"a": (F, b"2\n")}),
    "a new binary": ({}, {b"a": (F, bytes(range(256)))}),
    "a changed binary": ({b"a": (F, b"\0" * 900)}, {b"a": (F, b"\0" * 900 + b"1")}),
    "a removed binary": ({b"a": (F, b"\0")}, {}),
    "a large text": ({b"a": (F, b"x\n" * 300_000)}, {b"a": (F, b"x\n" * 300_000 + b"y\n")}),
    "a rename": ({b"a": (F, b"1\n2\n3\n" * 20)}, {b"b": (F, b"1\n2\n3\n" * 20)}),
    "blanks": ({b"a b": (F, b"1\n")}, {b"a b": (F, b"2\n"), b"c d/e f": (F, b"3\n")}),
    "quotes": ({b'a"b\\': (F, b"1\n")}, {b'a"b\\': (F, b"2\n")}),
    "a newline": ({b"a\nb": (F, b"1\n")}, {b"a\nb": (F, b"2\n")}),
    "not UTF-8": ({b"\xff": (F, b"1\n")}, {b"\xff": (F, b"2\n")}),
    "not UTF-8 inside": ({b"a": (F, b"\xff\n")}, {b"a": (F, b"\xfe\n")}),
    "no ASCII": ({"ä".encode(): (F, b"1\n")}, {"ä".encode(): (F, b"2\n")}),
    "carriage returns": ({b"a": (F, b"1\r\n2\r\n")}, {b"a": (F, b"1\r\n3\r\n")}),
}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, dict[str, tuple[str, str]]]:
    """Return a repository for all cases, and the snapshots of those that were taken so far."""
    return repository(tmp_path_factory.mktemp("cases")), {}


def in_one_worker(case: str) -> object:
    """Return a case as a parameter: its two snapshots are taken once for both forms."""
    return pytest.param(case, marks=pytest.mark.xdist_group(f"patch-{case}"))


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("case", [in_one_worker(case) for case in CASES])
def test_git_applies_the_patch(history, case, form, tmp_path):
    lab, taken = history
    if case not in taken:
        taken[case] = snapshots(lab, *CASES[case])
    check(lab, taken[case], *CASES[case], tmp_path / "copy", form)


@given(TREES, TREES)
@example({}, {b"a": ("file", b"")})
@settings(
    max_examples=int(os.environ.get("JVS_PATCH_EXAMPLES", "12")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_git_applies_the_patch_of_any_two_trees(tmp_path_factory, before, after):
    where = tmp_path_factory.mktemp("any")
    lab = repository(where)
    check(lab, snapshots(lab, before, after), before, after, where / "copy", "text")


@pytest.mark.parametrize("form", ["text", "json"])
def test_without_a_difference_the_patch_is_empty(lab, form):
    lab.must("snapshot", "one")
    assert patch_of(lab, "HEAD", form=form) == b""
