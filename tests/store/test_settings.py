"""The layers of settings, the errors that name file and line, and writing without losing anything."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import making
import pytest

from jvs.errors import NameInvalid, UsageError
from jvs.store import changing, intent, settings, settings_file
from jvs.store.settings import Settings


@pytest.fixture
def store(tmp_path):
    return making.make_store(tmp_path / "repo")


def user_file(text):
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "jvs" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_later_layers_win(store, monkeypatch):
    key = "snapshot.when_detached"
    seen = [making.open_store(store.root).settings.origin(key)]
    path = user_file('[snapshot]\nwhen_detached = "refuse"\n')
    seen.append(making.open_store(store.root).settings.origin(key))
    Path(str(store.layout.config)).write_text('snapshot.when_detached = "branch"\n')
    seen.append(making.open_store(store.root).settings.origin(key))
    monkeypatch.setenv("JVS_SNAPSHOT_WHEN_DETACHED", "refuse")
    seen.append(making.open_store(store.root).settings.origin(key))
    seen.append(making.open_store(store.root, f"{key}=branch").settings.origin(key))
    assert seen == [
        ("branch", "default"),
        ("refuse", str(path)),
        ("branch", str(store.layout.config)),
        ("refuse", "environment"),
        ("branch", "command line"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("# c\n[undo]\nmax_operation = 3\n", 3, "unknown key 'undo.max_operation'"),
        ("durability = 3\n", 1, "must be text"),
        ('\ndurability = "never"\n', 2, "cannot be 'never'"),
        ("[undo]\nmax_operations = -1\n", 2, "whole number"),
        ("[undo]\nmax_operations = true\n", 2, "whole number"),
        ('default_tags = "a"\n', 1, "list of texts"),
    ],
)
def test_errors_name_file_and_line(store, text, line, says):
    path = user_file(text)
    with pytest.raises(UsageError) as caught:
        making.open_store(store.root)
    assert f"{path}:{line}: " in caught.value.message
    assert says in caught.value.message
    assert caught.value.hint


def test_broken_toml_names_the_file(store):
    path = user_file("a = = 1\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        making.open_store(store.root)
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError):
        making.open_store(store.root)


def test_unknown_keys_have_a_nearest(store):
    with pytest.raises(UsageError) as caught:
        Settings.from_environment({}, overrides=["undo.max_operation=3"])
    assert "did you mean 'undo.max_operations'?" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("progress_enabled", "no", False),
        ("undo.max_operations", "7", 7),
        ("default_tags", "a, b", ["a", "b"]),
        ("default_tags", '["a","b"]', ["a", "b"]),
        ("retention.keep_within", "7d", "7d"),
    ],
)
def test_values_on_the_command_line(key, text, value):
    assert settings.parse_value(key, text, "-c") == value


def test_default_tags_follow_the_rule_of_tags():
    with pytest.raises(NameInvalid):
        settings.parse_value("default_tags", "a/b", "-c")


FILE = """# mine
durability = "each" # slow disk

[snapshot]
# why: policy
when_detached = 'refuse'   # keep me

[other.tool]
anything = [1, 2]
"""


@pytest.mark.parametrize(
    ("key", "value", "before", "after"),
    [
        ("durability", "auto", 'durability = "each" # slow disk', 'durability = "auto" # slow disk'),
        ("snapshot.when_detached", "branch", "when_detached = 'refuse'   # keep", 'when_detached = "branch"   # keep'),
        ("undo.max_operations", 3, None, "[undo]\nmax_operations = 3\n"),
        ("default_tags", ["a", "b#c"[:1]], None, 'default_tags = ["a", "b"]\n'),
    ],
)
def test_only_the_line_of_the_key_changes(key, value, before, after):
    edited = settings_file.edit(FILE, key, value)
    assert after in edited
    if before is not None:
        assert edited == FILE.replace(before, after)
    for line in FILE.splitlines():
        if line and (before is None or not line.startswith(before.split(" ")[0])):
            assert line in edited


def test_unset_takes_the_line_and_an_empty_table_away():
    once = settings_file.edit("[undo]\nmax_operations = 3\n", "undo.max_operations", None)
    assert tomllib.loads(once) == {}
    assert settings_file.edit(FILE, "undo.max_operations", None) == FILE
    assert "when_detached" not in settings_file.edit(FILE, "snapshot.when_detached", None)


@pytest.mark.parametrize(
    "text",
    [
        "undo = { max_operations = 1, other = 2 }\n",
        'default_tags = [\n  "x", # one\n  "y",\n]\n',
        '"undo"."max_operations" = 1\n',
        "[undo]\n  max_operations=1",
        "[ undo ]\nx = 1\n[undo.below]\nmax_operations = 9\n",
        'note = """\nmax_operations = 5\n[undo]\n"""\n',
        "",
        "\r\n[undo]\r\nmax_operations = 1\r\n",
    ],
)
@pytest.mark.parametrize(("key", "value"), [("undo.max_operations", 5), ("default_tags", ["new"])])
def test_whatever_the_form_the_document_is_what_was_wanted(text, key, value):
    wanted = tomllib.loads(text)
    here = wanted
    *tables, last = key.split(".")
    for table in tables:
        here = here.setdefault(table, {})
    here[last] = value
    edited = settings_file.edit(text, key, value)
    assert tomllib.loads(edited) == wanted
    removed = tomllib.loads(settings_file.edit(edited, key, None))
    del here[last]
    assert {k: v for k, v in removed.items() if v} == {k: v for k, v in wanted.items() if v}


def test_a_value_in_the_way_of_a_table_is_an_error():
    with pytest.raises(UsageError, match="not a table"):
        settings_file.edit("undo = 3\n", "undo.max_operations", 5)


def test_a_change_is_recorded_and_leaves_no_intent(store):
    assert settings_file.change_repository(store, "undo.max_operations", 5)
    assert not settings_file.change_repository(store, "undo.max_operations", 5)
    assert making.open_store(store.root).settings.get("undo.max_operations") == 5
    assert intent.load_all(store.layout) == []
    last = Path(str(store.layout.audit_log)).read_text().splitlines()[-1]
    assert '"operation":"config"' in last and '"target":"undo.max_operations"' in last
    assert making.violations(store.root) == []


@pytest.mark.parametrize("dies_at", ["write", "replace_file", "append", "clear"])
def test_a_crash_at_any_step_is_recovered(store, monkeypatch, dies_at):
    """Stop without any clean-up at a step, as a killed process does; the next command makes it whole."""
    from jvs.fs import durable
    from jvs.store import audit

    class Killed(BaseException):
        pass

    def die(*args, **more):
        raise Killed

    target = {"write": intent, "clear": intent, "append": audit.Log}.get(dies_at, durable)
    real = durable.replace_file
    with monkeypatch.context() as patched:
        patched.setattr(target, dies_at, die)
        if dies_at == "replace_file":  # only that of the settings; what would look whether it took effect dies too
            patched.setattr(
                durable, "replace_file", lambda path, *a: (die if str(path).endswith(".toml") else real)(path, *a)
            )
            patched.setattr(settings_file, "read_text", _fails_after(settings_file.read_text, 1))
        with pytest.raises((Killed, OSError)):
            settings_file.change_repository(making.open_store(store.root), "undo.max_operations", 5)
    fresh = making.open_store(store.root)
    changing.recover(fresh)
    assert intent.load_all(store.layout) == []
    value = making.open_store(store.root).settings.get("undo.max_operations")
    records = Path(str(store.layout.audit_log)).read_text().count('"operation":"config"')
    assert (value, records) == ((20, 0) if dies_at == "write" else (5, 1))
    assert making.violations(store.root) == []


def _fails_after(real, count):
    left = [count]

    def call(*args):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(5, "gone")
        return real(*args)

    return call


def test_the_user_file_is_made_private(store):
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "jvs" / "config.toml"
    assert settings_file.change_user(str(path), "durability", "each")
    assert path.read_text() == 'durability = "each"\n'
    assert path.stat().st_mode & 0o777 == 0o600
    assert not settings_file.change_user(str(path), "durability", "each")


def test_a_repository_cannot_name_a_program_to_run(tmp_path) -> None:
    import pytest

    from jvs.errors import UsageError
    from jvs.store.settings import Settings

    path = tmp_path / "config.toml"
    path.write_text('[engine.juicefs]\nbinary = "/tmp/evil"\n')
    with pytest.raises(UsageError, match="not taken from a repository"):
        Settings.from_environment({}).with_repository(making.at(path))
    own = Settings.from_environment({"JVS_ENGINE_JUICEFS_BINARY": "/opt/juicefs"})
    assert own.get("engine.juicefs.binary") == "/opt/juicefs"


def test_output_format_json_is_the_same_as_asking_for_it(tmp_path, monkeypatch, capsys) -> None:
    import json

    from jvs.cli import run as cli

    assert cli.main(["init", str(tmp_path / "lab")]) == 0
    monkeypatch.chdir(tmp_path / "lab" / "main")
    assert cli.main(["config", "set", "output_format", "json"]) == 0
    capsys.readouterr()
    assert cli.main(["history"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["show", "nothing-like-it"]) == 5
    assert json.loads(capsys.readouterr().err)["error"]["class"] == "E_NOT_FOUND"
