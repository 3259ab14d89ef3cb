"""Times, ids and randomness."""

from __future__ import annotations

import datetime
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jvs import clock, names

FAR_NS = 253_402_300_799 * 1_000_000_000  # the last second of 9999


@given(st.integers(0, FAR_NS))
def test_a_time_survives_its_text_form_to_the_microsecond(ns):
    text = clock.rfc3339(ns)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert clock.parse_rfc3339(text) == ns - ns % 1000


def test_the_text_form_is_utc_with_microseconds():
    assert clock.rfc3339(1_767_323_045_123_456_789) == "2026-01-02T03:04:05.123456Z"
    assert clock.rfc3339(0) == "1970-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.123456",
        "2026-01-02T03:04:05.123456+",
        "2026-01-02 03:04:05.123456Z",
        "2026-13-02T03:04:05.123456Z",
        "2026-02-30T03:04:05.123456Z",
        "2026-01-02T25:04:05.123456Z",
        "2026-01-02T03:04:05.12345xZ",
        "2026-01-02T03:04:05. 12345Z",
        "2026-01-02T03:04:05.+12345Z",
        "2026-01-02T03:04:05.1_2345Z",
        "2026-01-02T03:04:60.000000Z",
        "2026-1-002T03:04:05.123456Z",
        "\u0662026-01-02T03:04:05.123456Z",
        "x" * 27,
    ],
)
def test_other_texts_are_no_times(text):
    with pytest.raises(ValueError):
        clock.parse_rfc3339(text)


@given(st.integers(-FAR_NS, FAR_NS), st.data())
def test_a_text_is_a_time_when_that_time_is_written_so(ns, data):
    text = list(clock.rfc3339(ns))
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.sampled_from("0123456789-:.TZ +_\u0662x"))
    text = "".join(text)
    try:
        when = clock.parse_rfc3339(text)
    except ValueError:
        with pytest.raises(ValueError):
            when = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
            passed = when - datetime.datetime(1970, 1, 1)
            ns = (passed.days * 86400 + passed.seconds) * 10**9 + passed.microseconds * 1000
            if clock.rfc3339(ns) != text:
                raise ValueError from None
    else:
        assert clock.rfc3339(when) == text


def test_new_ids_have_the_shape_of_ids_and_do_not_repeat():
    made = [clock.new_snapshot_id() for _ in range(1000)] + [clock.new_operation_id() for _ in range(1000)]
    assert all(names.is_snapshot_id(one) for one in made)
    assert len(set(made)) == len(made)


def test_an_id_begins_with_the_wall_clock():
    before = clock.now_ms()
    made = int(clock.new_snapshot_id()[:13])
    assert before <= made <= clock.now_ms()


def test_event_ids_are_random_uuids():
    made = uuid.UUID(clock.new_uuid())
    assert (made.version, made.variant) == (4, uuid.RFC_4122)
    assert clock.new_uuid() != clock.new_uuid()


@pytest.mark.parametrize("digits", [1, 2, 7, 8, 40])
def test_random_hex_has_the_length_asked_for(digits):
    assert re.fullmatch(rf"[0-9a-f]{{{digits}}}", clock.random_hex(digits))


def test_the_monotonic_clock_never_goes_back():
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)
