"""Retention: what each rule keeps, in UTC, per worktree, by lineage and not by the clock."""

from __future__ import annotations

import pytest
from making import settings

from jvs import clock, units
from jvs.errors import UsageError
from jvs.gc import retention
from jvs.store import line_times


def line(*times: str, name: str = "main", tags: dict[int, list[str]] | None = None) -> list[dict]:
    """Return descriptors, newest first, as far as a policy looks at them; ids are the positions."""
    return [
        {
            "snapshot_id": f"{name}{place}",
            "worktree_name": name,
            "parent_id": f"{name}{place + 1}" if place + 1 < len(times) else None,
            "created_at": f"{when}.000000Z",
            "tags": (tags or {}).get(place, []),
        }
        for place, when in enumerate(times)
    ]


def kept(rules: dict, records: list[dict]) -> list[str]:
    return sorted(reasons(rules, records))


def reasons(rules: dict, records: list[dict]) -> dict[str, list[str]]:
    times = line_times.trusted({record["snapshot_id"]: record for record in records}, NOW)
    return retention.Policy(rules).kept(records, times)


NOW = clock.parse_rfc3339("2030-01-01T00:00:00.000000Z")
DAYS = line(
    "2026-03-02T23:59:59",
    "2026-03-02T00:00:00",
    "2026-03-01T12:00:00",
    "2026-02-28T12:30:00",
    "2026-02-28T12:15:00",
    "2025-12-31T00:00:00",
)


def test_keep_last_keeps_the_newest_of_each_worktree():
    both = [*DAYS, *line("2020-01-01T00:00:00", "2019-01-01T00:00:00", name="w")]
    assert kept({"keep_last": 2}, both) == ["main0", "main1", "w0", "w1"]


@pytest.mark.parametrize(
    ("rule", "count", "expected"),
    [
        ("keep_hourly", 2, ["main0", "main1"]),
        ("keep_hourly", 4, ["main0", "main1", "main2", "main3"]),
        ("keep_daily", 2, ["main0", "main2"]),
        ("keep_daily", 9, ["main0", "main2", "main3", "main5"]),
        ("keep_monthly", 2, ["main0", "main3"]),
        ("keep_yearly", 2, ["main0", "main5"]),
        ("keep_weekly", 2, ["main0", "main2"]),
    ],
)
def test_periods_keep_their_newest_snapshot(rule, count, expected):
    assert kept({rule: count}, DAYS) == expected


def test_weeks_are_those_of_iso_across_new_year():
    records = line("2027-01-03T00:00:00", "2026-12-28T00:00:00", "2026-12-27T23:59:59")
    assert kept({"keep_weekly": 5}, records) == ["main0", "main2"]
    assert reasons({"keep_weekly": 5}, records)["main0"] == ["keep-weekly 2026-W53"]


def test_keep_within_counts_back_from_the_newest_snapshot():
    assert kept({"keep_within": "2d"}, DAYS) == ["main0", "main1", "main2"]
    assert kept({"keep_within": "24h"}, DAYS) == ["main0", "main1"]


def test_clock_that_jumped_back_makes_nothing_newer_go():
    jumped = line("1999-01-01T00:00:00", "2026-03-02T00:00:00", "2026-03-01T00:00:00")
    assert "main0" in kept({"keep_last": 1}, jumped)
    assert "main0" in kept({"keep_daily": 1}, jumped)


def test_keep_tag_takes_patterns_and_is_case_sensitive():
    records = line("2026-01-03T00:00:00", "2026-01-02T00:00:00", tags={0: ["v1.2", "x"], 1: ["V1"]})
    assert kept({"keep_tag": ["v*"]}, records) == ["main0"]
    assert kept({"keep_tag": ["nothing", "V?"]}, records) == ["main1"]


def test_every_rule_that_keeps_a_snapshot_is_named():
    records = line("2026-01-03T00:00:00", tags={0: ["a"]})
    named = reasons({"keep_last": 1, "keep_daily": 1, "keep_tag": ["a"]}, records)
    assert named == {"main0": ["keep-last", "keep-daily 2026-01-03", "keep-tag a"]}


def test_rules_of_zero_are_no_policy():
    assert not retention.Policy({"keep_last": 0, "keep_within": "", "keep_tag": []}).is_set
    assert retention.Policy({"keep_last": 1}).is_set


def test_options_replace_the_configured_policy_as_a_whole():
    configured = settings("retention.keep_last=7", "retention.keep_tag=a,b")
    assert retention.Policy.of(configured, {"keep_last": None}).as_json() == {"keep_last": 7, "keep_tag": ["a", "b"]}
    assert retention.Policy.of(configured, {"keep_daily": 2}).as_json() == {"keep_daily": 2}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1d12h", 129600), ("2w", 1209600), ("1y", 31536000)]
)
def test_durations(text, seconds):
    assert units.duration_ns(text, "here") == seconds * 1_000_000_000


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "-1d", "1.5h", "7x", "\u0661d", "9999999999d", "1d2"])
def test_bad_durations_are_usage_errors_that_say_where(text):
    with pytest.raises(UsageError, match="here"):
        units.duration_ns(text, "here")


HOUR = 3_600_000_000_000


def times_of(*hours: float, now: float = 1000) -> list[float]:
    """Return the trusted times of a line, both oldest first."""
    known = {
        str(place): {
            "parent_id": str(place - 1) if place else None,
            "created_at": clock.rfc3339(int(hour * HOUR)),
        }
        for place, hour in enumerate(hours)
    }
    found = line_times.trusted(known, int(now * HOUR))
    return [found[str(place)] / HOUR for place in range(len(hours))]


@pytest.mark.parametrize(
    ("said", "trusted"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 9999, 3], [1, 3, 3]),  # ahead of the clock
        ([1, 2, 9999], [1, 2, 1000]),
        ([1, 500, 3, 4], [1, 3, 3, 4]),  # ahead when it was taken, not any more
        ([5, 6, 0, 7], [5, 6, 6, 7]),  # back to 1970
        ([5, 6, 7, 0], [5, 6, 7, 7]),
        ([0, 5, 6], [0, 5, 6]),
        ([500, 1], [1, 1]),  # either could be wrong: the later one is believed
        ([9999, 9998, 9997], [1000, 1000, 1000]),
        ([1, 800, 801, 4, 5, 6], [1, 4, 4, 4, 5, 6]),
    ],
)
def test_a_wrong_clock_moves_the_time_of_no_other_snapshot(said, trusted):
    assert times_of(*said) == trusted


def test_each_branch_of_a_line_has_its_own_order():
    known = {
        i: {"parent_id": parent, "created_at": clock.rfc3339(hour * HOUR)}
        for i, parent, hour in [("a", None, 1), ("b", "a", 9), ("c", "a", 2), ("d", "c", 3), ("e", "b", 10)]
    }
    found = line_times.trusted(known, 100 * HOUR)
    assert {i: time // HOUR for i, time in found.items()} == {"a": 1, "b": 9, "c": 2, "d": 3, "e": 10}
