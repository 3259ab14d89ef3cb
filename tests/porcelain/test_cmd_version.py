"""`jvs version`."""

from __future__ import annotations

import making
import pytest

from jvs import __version__


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_version_everywhere(store):
    assert making.run("version").text == f"jvs {__version__}\n" == making.run("--version").text
    value = making.run("version", "--json").json
    assert (value["version"], value["format_version"]) == (__version__, 2)
