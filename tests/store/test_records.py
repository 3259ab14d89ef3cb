"""Control files: damage raises the class of the file that it stands in, never anything else."""

from __future__ import annotations

import os

import hostile
import making
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jvs.errors import DescriptorCorrupt, JvsError, LineageBroken
from jvs.store import records

FIELDS = {"name": records.is_text, "count": records.is_count}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "kind/record.json")


@pytest.fixture(autouse=True)
def kind(tmp_path):
    (tmp_path / "kind").mkdir()


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def test_what_was_saved_is_loaded_with_unknown_fields_kept(path):
    record = {"name": "x", "count": 1, "later": {"a": [None]}}
    records.save(making.at(path), record)
    assert records.load(making.at(path), FIELDS, LineageBroken) == record
    with open(path, "rb") as file:
        assert file.read() == b'{"count":1,"later":{"a":[null]},"name":"x"}\n'
    assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", hostile.BAD_JSON, ids=lambda data: ascii(data)[:30])
def test_hostile_content_is_the_class_of_the_file(path, data):
    put(path, data)
    for error in (LineageBroken, DescriptorCorrupt):
        with pytest.raises(error) as caught:
            records.load(making.at(path), FIELDS, error)
        assert "kind/record.json" in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b'{"name":"x"}', "count"),
        (b'{"name":7,"count":1}', "name"),
        (b'{"name":"x","count":-1}', "count"),
        (b'{"name":"x","count":true}', "count"),
        (b'{"name":"x","count":"1"}', "count"),
        (b'{"name":null,"count":1}', "name"),
    ],
)
def test_a_field_that_is_missing_or_of_another_type_is_named(path, data, key):
    put(path, data)
    with pytest.raises(LineageBroken, match=f"'{key}'"):
        records.load(making.at(path), FIELDS, LineageBroken)


@pytest.mark.parametrize("what", ["directory", "fifo", "link", "dangling"])
def test_what_is_no_regular_file_is_damage(path, tmp_path, what):
    if what == "directory":
        os.mkdir(path)
    elif what == "fifo":
        os.mkfifo(path)
    else:
        put(str(tmp_path / "real"), b'{"name":"x","count":1}')
        os.symlink(tmp_path / ("real" if what == "link" else "none"), path)
    with pytest.raises(LineageBroken):
        records.load(making.at(path), FIELDS, LineageBroken)


def test_a_missing_file_is_left_to_the_caller(path):
    with pytest.raises(FileNotFoundError):
        records.load(making.at(path), FIELDS, LineageBroken)


def test_a_file_that_is_too_long_is_damage(path, monkeypatch):
    monkeypatch.setattr(records, "MAX_BYTES", 10)
    put(path, b'{"name":"x","count":1}')
    with pytest.raises(LineageBroken):
        records.load(making.at(path), FIELDS, LineageBroken)


@hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120))
def test_no_bytes_make_it_raise_anything_else(data):
    try:
        records.parse(data, making.at("/tmp/record.json"), FIELDS, LineageBroken)
    except JvsError as error:
        assert isinstance(error, LineageBroken)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (records.is_text, ["", "x"], [None, 1, [], b"x"]),
        (records.is_text_or_null, ["", None], [1, {}]),
        (records.is_id, hostile.GOOD_SNAPSHOT_IDS, [None, 1, *hostile.BAD_SNAPSHOT_IDS]),
        (records.is_id_or_null, [None, *hostile.GOOD_SNAPSHOT_IDS], ["", 1]),
        (records.is_hash, ["a" * 64, "0" * 64], ["A" * 64, "a" * 63, "a" * 65, "g" * 64, None, "a" * 63 + "\n"]),
        (records.is_list, [[], [1]], [None, {}, "x", ()]),
        (records.is_list_or_null, [[], None], [{}, "x"]),
        (records.is_object, [{}, {"a": 1}], [None, [], "x"]),
        (records.is_count, [0, 1, 2**63 - 1], [-1, 2**63, True, "1", None]),
        (records.is_time, ["2026-01-02T03:04:05.123456Z"], ["2026-01-02", None, 1, "x" * 27]),
    ],
)
def test_the_checks_of_fields(check, good, bad):
    assert [value for value in good if not check(value)] == []
    assert [value for value in bad if check(value)] == []
