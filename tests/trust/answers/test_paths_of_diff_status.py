"""`diff` and `status` take paths and patterns as `restore` does, and refuse what names nothing on either side."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Lab


def repository(where: Path) -> Lab:
    """Make a repository with two snapshots and a change of every kind on the way from one to the other, and on."""
    lab = Lab(where / "lab")
    lab.must("init", str(lab.root), cwd=where)
    (lab.main / "a").write_text("1\n")
    (lab.main / "sub").mkdir()
    lab.snapshot("one", **{"a.sh": "1\n", "sub/b.sh": "1\n", "c.txt": "1\n", "gone.sh": "1\n"})
    (lab.main / "gone.sh").unlink()
    lab.snapshot("two", **{"a.sh": "2\n", "sub/b.sh": "2\n", "c.txt": "2\n", "new.sh": "2\n"})
    for name in ("a.sh", "sub/b.sh", "c.txt", "gone.sh"):
        (lab.main / name).write_text("3\n")
    return lab


@pytest.fixture
def changed(tmp_path: Path) -> Lab:
    return repository(tmp_path)


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return one for all tests that change nothing in it."""
    return repository(tmp_path_factory.mktemp("looked-at"))


WAYS = {"diff": ["diff", "one", "two"], "diff of the files now": ["diff", "two"], "status": ["status"]}


def paths(value) -> set[str]:
    """Return the paths that an answer names, whatever its shape: every value of a key 'path'."""
    if isinstance(value, dict):
        own = {value["path"]} if isinstance(value.get("path"), str) else set()
        return own.union(*(paths(part) for part in value.values()))
    return set().union(*(paths(part) for part in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", ["nowhere", "sub/nowhere", "*.nothing", "a.sh/x", "nowhere/"])
def test_what_names_nothing_is_an_error(looked_at, way, given, form):
    answer = looked_at.jvs(*WAYS[way], *form, "--", "c.txt", given)
    assert answer.exit == 5, answer.said
    assert given.rstrip("/").encode() in answer.err


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(["*.sh"], {"a.sh", "sub/b.sh"}, id="pattern"),
        pytest.param(["sub/*.sh"], {"sub/b.sh"}, id="pattern below"),
        pytest.param(["?.txt"], {"c.txt"}, id="one character"),
        pytest.param(["a.sh"], {"a.sh"}, id="file"),
        pytest.param(["sub"], {"sub/b.sh"}, id="directory"),
        pytest.param(["sub/"], {"sub/b.sh"}, id="directory with its slash"),
        pytest.param(["./c.txt"], {"c.txt"}, id="from here"),
        pytest.param(["c.txt", "a.sh"], {"c.txt", "a.sh"}, id="two"),
    ],
)
def test_paths_and_patterns_choose(looked_at, way, given, expected):
    found = paths(looked_at.must(*WAYS[way], "--json", "--", *given).json)
    ours = {"a.sh", "sub/b.sh", "c.txt"}
    assert found & ours == expected


@pytest.mark.parametrize("way", WAYS)
def test_a_path_that_is_on_one_side_only_is_known(looked_at, way):
    """`gone.sh` is in the first snapshot, not in the second, and among the files now."""
    assert looked_at.must(*WAYS[way], "--", "gone.sh").exit == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_path_without_a_change_is_no_error(changed, way):
    (changed.main / "a.sh").write_text("2\n")
    changed.snapshot("same", **{"same.txt": "1\n"})
    words = [{"one": "HEAD", "two": "HEAD"}.get(word, word) for word in WAYS[way]]
    assert changed.must(*words, "--", "a.sh").exit == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_file_whose_name_looks_like_a_pattern_is_meant_first(changed, way):
    changed.snapshot("three", **{"[a].sh": "1\n"})
    (changed.main / "[a].sh").write_text("2\n")
    words = [{"one": "two", "two": "three"}.get(word, word) for word in WAYS[way]]
    assert "[a].sh" in paths(changed.must(*words, "--json", "--", "[a].sh").json)
