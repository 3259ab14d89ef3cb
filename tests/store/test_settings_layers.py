"""Settings: which layer wins, and that a wrong value says where it stands."""

from __future__ import annotations

import making
import pytest

from jvs.errors import UsageError
from jvs.store.settings import KEYS, Settings


@pytest.fixture
def store(tmp_path):
    return making.make_store(tmp_path / "r")


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_later_layers_win(store, own_world, monkeypatch, tmp_path):
    key = "snapshot.when_detached"

    def value(*overrides):
        return making.open_store(store.root, *overrides).settings.origin(key)

    user, repository = own_world / ".config/jvs/config.toml", tmp_path / "r/.jvs/config.toml"
    assert value() == ("branch", "default")
    put(user, '[snapshot]\nwhen_detached = "refuse"\n')
    assert value() == ("refuse", str(user))
    put(repository, 'snapshot.when_detached = "branch"\n')
    assert value() == ("branch", str(repository))
    monkeypatch.setenv("JVS_SNAPSHOT_WHEN_DETACHED", "refuse")
    assert value() == ("refuse", "environment")
    assert value(f"{key}=branch") == ("branch", "command line")


def test_the_engine_has_a_variable_of_its_own(store, monkeypatch):
    monkeypatch.setenv("JVS_SNAPSHOT_ENGINE", "copy")
    assert making.open_store(store.root).settings.get("default_engine") == "copy"
    assert making.snapshot(making.open_store(store.root))["engine"] == "copy"


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ('output_format = "xml"', 1, "text, json"),
        ("\n\nprogress_enabled = 1", 3, "true or false"),
        ("default_tags = [1]", 1, "list of texts"),
        ("[undo]\nmax_operations = -1", 2, "0 or more"),
        ("outptu_format = 'text'", 1, "output_format"),
        ("default_engine = ", 1, ""),
        ("x = 'y", 1, ""),
    ],
)
def test_a_wrong_file_is_named_with_the_line(store, tmp_path, text, line, word):
    path = tmp_path / "r/.jvs/config.toml"
    put(path, text)
    with pytest.raises(UsageError) as caught:
        making.open_store(store.root)
    assert str(path) in caught.value.message
    assert word in caught.value.message + (caught.value.hint or "")
    if word:
        assert f":{line}: " in caught.value.message


@pytest.mark.parametrize("data", [b"\xff", b"[" * 5000, b'a = "\\ud800"', b"\0"])
def test_hostile_files_are_usage_errors(store, tmp_path, data):
    (tmp_path / "r/.jvs/config.toml").write_bytes(data)
    with pytest.raises(UsageError):
        making.open_store(store.root)


@pytest.mark.parametrize(
    "override", ["x=1", "default_engine", "default_engine=magic", "undo.max_operations=many", "=", ""]
)
def test_wrong_overrides_are_usage_errors(override):
    with pytest.raises(UsageError) as caught:
        making.settings(override)
    assert caught.value.hint


def test_wrong_variables_name_themselves(monkeypatch):
    monkeypatch.setenv("JVS_OUTPUT_FORMAT", "xml")
    with pytest.raises(UsageError, match="JVS_OUTPUT_FORMAT"):
        making.settings()


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("default_tags=a,b", "default_tags", ["a", "b"]),
        ('default_tags=["a", "b"]', "default_tags", ["a", "b"]),
        ("default_tags=", "default_tags", []),
        ("progress_enabled=no", "progress_enabled", False),
        ("undo.max_operations=7", "undo.max_operations", 7),
        ("retention.keep_within=7d", "retention.keep_within", "7d"),
    ],
)
def test_text_becomes_the_type_of_its_key(override, key, value):
    assert making.settings(override).get(key) == value


def test_every_key_has_a_default_of_its_type_and_a_meaning():
    from jvs.store.settings import check_value

    for key, (_, default, _, meaning) in KEYS.items():
        assert meaning
        if default is not None and default != "":
            assert check_value(key, default, "here") == default


def test_the_actor_is_the_user_or_what_jvs_actor_says(monkeypatch):
    monkeypatch.setenv("USER", "ann")
    assert making.settings().actor.startswith("ann@")
    monkeypatch.setenv("JVS_ACTOR", "robot")
    assert making.settings().actor == "robot"


def test_without_a_home_there_is_no_user_file():
    settings = Settings.from_environment({"USER": "x"})
    assert settings.user_file is None
    assert settings.state_dir is None
