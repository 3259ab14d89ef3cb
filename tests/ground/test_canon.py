"""Canonical JSON and deterministic CBOR: one value, one encoding; nothing that two readers could read differently."""

from __future__ import annotations

import json
import sys

import cbor2
import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jvs import canon

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
CBOR_VALUES = st.recursive(
    st.none() | st.integers(0, 2**64 - 1) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=40), inner, max_size=5),
    max_leaves=15,
)


def shown(value: object) -> str:
    return ascii(value)[:30]


@given(VALUES)
def test_a_value_survives_and_has_one_encoding(value):
    data = canon.encode(value)
    assert canon.decode(data) == value
    assert canon.encode(canon.decode(data)) == data


@given(st.dictionaries(TEXT, st.integers(0, 9), max_size=8))
def test_the_order_in_which_keys_were_put_in_does_not_show(value):
    turned = dict(reversed(list(value.items())))
    assert canon.encode(turned) == canon.encode(value)


def test_the_form_is_sorted_tight_utf8():
    assert canon.encode({"b": [1, None, True], "a": "\u00e9\n"}) == '{"a":"é\\n","b":[1,null,true]}'.encode()


@pytest.mark.parametrize(
    "value", [1.0, float("nan"), {1: 2}, {None: 1}, "\udcff", {"\ud800": 1}, b"x", {"a": {1, 2}}, 1j], ids=shown
)
def test_what_json_does_not_say_exactly_is_not_written(value):
    with pytest.raises(canon.BadJSON):
        canon.encode(value)


def test_floats_are_found_however_deep_they_hide():
    with pytest.raises(canon.BadJSON):
        canon.encode({"a": [{"b": [0.5]}]})


@pytest.mark.parametrize("data", hostile.BAD_JSON, ids=shown)
def test_hostile_json_is_refused_as_an_object(data):
    with pytest.raises(canon.BadJSON):
        canon.decode_object(data)


@pytest.mark.parametrize(
    "data", [b'{"a":"\\ud800"}', b'{"\\udc00":1}', b'{"a":{"b":1,"b":1}}', b'[{"a":1,"a":2}]', b"-Infinity", b"1E2"]
)
def test_what_two_readers_could_read_differently_is_refused(data):
    with pytest.raises(canon.BadJSON):
        canon.decode(data)


def test_escaped_surrogate_pairs_are_one_character():
    assert canon.decode(b'"\\ud83d\\udc09"') == "\U0001f409"


def test_nesting_is_limited_but_brackets_in_text_are_not():
    inside = "[" * 1000 + "{" * 1000 + '\\"'
    assert canon.decode(canon.encode({"a": inside})) == {"a": inside}
    deep = b"[" * canon.MAX_DEPTH + b"]" * canon.MAX_DEPTH
    assert canon.decode(deep)
    with pytest.raises(canon.BadJSON):
        canon.decode(b"[" + deep + b"]")
    assert canon.decode(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501


def test_what_can_be_written_can_be_read_back_at_the_limits_of_depth():
    value: object = 1
    for _ in range(canon.MAX_DEPTH):
        value = [value]
    assert canon.decode(canon.encode(value)) == value
    with pytest.raises(canon.BadJSON):
        canon.encode([value])


def test_integers_of_forty_digits_are_the_longest():
    assert canon.decode(b"9" * 40) == int("9" * 40)
    with pytest.raises(canon.BadJSON):
        canon.decode(b"9" * 41)


@given(st.binary(max_size=60))
def test_no_bytes_make_the_decoder_raise_anything_else(data):
    try:
        canon.decode(data)
    except canon.BadJSON:
        return
    json.loads(data)


@given(CBOR_VALUES)
def test_cbor_survives_and_is_deterministic(value):
    data = canon.cbor_encode(value)
    assert canon.cbor_decode(data) == value
    assert canon.cbor_encode(canon.cbor_decode(data)) == data


@pytest.fixture(scope="module")
def without_library():
    """Encode in a process that has not loaded the library, as the first nodes of every command are."""
    patched = pytest.MonkeyPatch()
    patched.delitem(sys.modules, "cbor2", raising=False)
    patched.setattr(canon, "_short_left", [1 << 40])
    yield
    patched.undo()


LIBRARY = cbor2  # loaded before the fixture hides it
EDGES = [
    0,
    23,
    24,
    255,
    256,
    65535,
    65536,
    2**32 - 1,
    2**32,
    2**63,
    2**64 - 1,
    2**64,
    -1,
    -24,
    -25,
    -256,
    -257,
    -(2**64),
]


@given(CBOR_VALUES | st.sampled_from(EDGES) | st.lists(st.integers(-(2**65), 2**65)) | VALUES)
def test_what_is_short_is_encoded_as_the_library_does(without_library, value):
    assert canon.cbor_encode(value) == LIBRARY.dumps(value, canonical=True)


@pytest.mark.parametrize("length", [0, 23, 24, 255, 256, 999, 1001, 70_000])
def test_short_or_long_the_encoding_is_one(without_library, length):
    for value in (b"x" * length, [None] * length, {b"%06d" % n: n for n in range(length)}, [[b"x" * length, -length]]):
        assert canon.cbor_encode(value) == LIBRARY.dumps(value, canonical=True)


def test_after_a_few_nodes_the_library_encodes(monkeypatch):
    monkeypatch.delitem(sys.modules, "cbor2")
    monkeypatch.setattr(canon, "_short_left", [11])
    assert canon.cbor_encode(b"123456789") and "cbor2" not in sys.modules
    assert canon.cbor_encode(b"1") and "cbor2" not in sys.modules
    canon.cbor_encode(b"1")
    assert "cbor2" in sys.modules


def test_cbor_map_keys_are_in_the_order_of_their_encodings():
    data = canon.cbor_encode({b"bb": 1, b"z": 2, b"a": 3, b"": 4})
    assert data == b"\xa4\x40\x04\x41a\x03\x41z\x02\x42bb\x01"


@pytest.mark.parametrize("data", [b"", b"\x82\x01", b"\xff", b"\x5f\x41", b"\x1c"], ids=shown)
def test_broken_cbor_is_a_value_error(data):
    with pytest.raises(ValueError):
        canon.cbor_decode(data)


@given(st.binary(max_size=80))
def test_every_path_survives_its_json_form(path):
    record = canon.path_json(path)
    assert canon.path_from_json(json.loads(canon.encode(record))) == path


def test_a_path_that_is_utf8_needs_no_second_form():
    assert canon.path_json("é".encode()) == {"path": "é"}
    assert canon.path_json(b"a\xff") == {"path": "a\\xff", "path_b64": "Yf8="}
