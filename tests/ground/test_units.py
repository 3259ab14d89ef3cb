"""Amounts: one grammar of durations for settings, options and targets."""

from __future__ import annotations

import pytest

from jvs import units
from jvs.errors import UsageError

HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize(
    ("text", "hours"),
    [("3600s", 1), ("60m", 1), ("2h", 2), ("1d", 24), ("1d12h", 36), ("1w", 168), ("1y", 8760), ("0s", 0)],
)
def test_a_duration_is_numbers_with_units(text, hours):
    assert units.duration_ns(text, "x") == hours * HOUR_NS


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1.5h", "1 h", "٣h", "1H", "1h1", "9999999999h", "1mo"])
def test_everything_else_is_a_usage_error_that_says_where(text):
    with pytest.raises(UsageError, match="--older"):
        units.duration_ns(text, "--older")
