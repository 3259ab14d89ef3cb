"""`jvs meta`, `snapshot --meta`, `history --meta` and `--sort`: facts of snapshots, numbers as numbers."""

from __future__ import annotations

import making
import pytest
from making import run

LOSSES = {"a": "10", "b": "9.5", "c": "1e1", "d": "word", "e": "-3", "f": None, "g": "nan", "h": "0x10"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    for note, loss in LOSSES.items():
        making.write(making.main_of(made), {"file": note})
        words = ["--meta", f"loss={loss}", "--meta", f"name={note}"] if loss is not None else []
        assert run("snapshot", note, *words).exit == 0
    return made


def notes(*words: str) -> str:
    return "".join(record["note"] for record in run("history", *words, "--json").json)


def test_numbers_sort_as_numbers_then_texts_and_what_has_none_comes_last(store):
    assert notes("--sort", "loss") == "ebcahgdf"
    assert notes("--sort=-loss") == notes("--sort", "-loss") == "cabedghf"
    assert notes("--sort", "-loss", "-n", "2") == "ca"
    assert notes("--sort", "nothing") == notes()


def test_facts_choose(store):
    assert notes("--meta", "loss=10") == "a" and notes("--meta", "loss=10.0") == ""
    assert notes("--meta", "loss") == "hgedcba"
    assert notes("--meta", "loss", "--meta", "name=b") == "b"
    assert run("history", "--meta", "a b=1").exit == 10


def test_facts_change_later(store):
    assert run("meta", "f", "loss=0", "done=yes, it is").exit == 0
    assert notes("--sort", "loss").startswith("ef")
    assert run("meta", "f").text == "done=yes, it is\nloss=0\n"
    assert run("meta", "f", "--delete", "done", "--delete", "never").exit == 0
    assert run("meta", "f", "--json").json["meta"] == {"loss": "0"}
    assert run("meta", "a", "--delete", "loss").exit == 0
    assert run("show", "a", "--json").json["meta"] == {"name": "a"}
    assert "name=a" in run("show", "a").text
    assert run("history", "--format", "{meta.name}|{meta}", "-g", "^a$").text == "a|name=a\n"
    assert making.violations(store.root) == []


@pytest.mark.parametrize("word", ["", "loss", "=1", "a b=1", "-x=1", "k=\0"])
def test_what_is_no_fact_is_refused(store, word):
    assert run("meta", "f", "--", word).exit in (2, 10)
    assert run("snapshot", f"--meta={word}", "no").exit in (2, 10)
    assert notes() == "hgfedcba"
