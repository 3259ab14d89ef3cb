"""`jvs diff --tool`: two directories for any program, snapshots read-only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import making
import pytest
from making import run

from jvs.fs import namespace

TOOL = """
import os, sys
from pathlib import Path
out, a, b = sys.argv[1:]
def text(d):
    return ";".join(f"{p.name}={p.read_text()}" for p in sorted(Path(d).rglob("*")) if p.is_file())
try:
    Path(a, "new").write_text("x")
    could = "writable"
except OSError:
    could = "read-only"
Path(out).write_text(f"{text(a) if could == 'read-only' else '?'}|{text(b)}|{could}|{a}|{b}")
sys.exit(9)
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    making.write(making.main_of(made), {"f": "1", "d/g": "1"})
    making.snapshot(made, "first")
    making.write(making.main_of(made), {"f": "2"})
    making.snapshot(made, "second")
    making.write(making.main_of(made), {"f": "3"})
    (tmp_path / "tool.py").write_text(TOOL)
    return made


def tool(tmp_path: Path) -> str:
    return f"{sys.executable} '{tmp_path}/tool.py' '{tmp_path}/said'"


def test_two_snapshots_and_one_with_the_files_now(store, tmp_path):
    if not namespace.works():
        pytest.skip("no mount namespaces here")
    for words, first, second in (([], "1", "2"), (["first"], "1", "3"), (["first", "second"], "1", "2")):
        assert run("diff", *words, "--tool", tool(tmp_path)).exit == 9
        a, b, could, *places = (tmp_path / "said").read_text().split("|")
        assert (a, b, could) == (f"g=1;f={first}", f"g=1;f={second}", "read-only")
        assert not os.path.exists(places[0]), "what was shown is left"
        assert os.path.exists(places[1]) == (words == ["first"])
    assert run("verify", "--all").exit == 0


def test_where_there_are_no_namespaces_it_is_a_copy(store, tmp_path, monkeypatch):
    monkeypatch.setattr(namespace, "works", lambda: False)
    assert run("diff", "first", "second", "--tool", tool(tmp_path)).exit == 9
    _, b, could, a_place, b_place = (tmp_path / "said").read_text().split("|")
    assert (b, could) == ("g=1;f=2", "writable")
    assert not os.path.exists(a_place) and not os.path.exists(b_place)
    assert run("verify", "--all").exit == 0


def test_what_cannot_be_shown_or_run_is_an_error(store):
    making.snapshot(store, "part", paths=[b"f"])
    assert run("diff", "part", "--tool", "true").exit == 2
    assert run("diff", "--tool", "").exit == 2
    assert run("diff", "--tool", "'").exit == 2
    assert run("diff", "first", "--tool", "true", "--", "f").exit == 2
    assert run("diff", "first", "--tool", "/no/such/program").exit == 5
    assert run("diff", "first", "--tool", "true").exit == 0
    assert run("diff", "first", "--tool", "sh -c 'kill -9 $$'").exit == 137
