"""Retention: which snapshots a policy keeps, and by which of its rules.

A policy works on each worktree's snapshots by themselves, so that a busy worktree cannot push out the snapshots of a
quiet one. Newest means nearest to the tip of the line, never latest by the clock, and a time that does not fit into
its line is drawn between its neighbours (`store.line_times`): a clock that was wrong makes nothing else go. Hours,
days, weeks (ISO), months and years are those of UTC.
Source: jvs-gc-plan(1), jvs-config(5).
"""

from __future__ import annotations

import fnmatch

from jvs import clock, units
from jvs.names import check_listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal, TypedDict

    from jvs.store.descriptor import Descriptor
    from jvs.store.settings import Settings

    class Rules(TypedDict, total=False):
        """The rules of a policy that are set."""

        keep_last: int
        keep_within: str
        keep_hourly: int
        keep_daily: int
        keep_weekly: int
        keep_monthly: int
        keep_yearly: int
        keep_tag: list[str]
        drop_tagged: bool
        only: list[str]

    PeriodRule = Literal["keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"]

COUNTS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
RULES = (
    "keep_last",
    "keep_within",
    "keep_hourly",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "keep_tag",
)
DROP_TAGGED = "drop_tagged"
ONLY = "only"
_MAX_DIGITS = 9


def _set_ones(rules: Mapping[str, object]) -> Any:
    """Return the rules that are set; settings and options have checked their values."""
    return {key: rules[key] for key in RULES if rules.get(key)}


class Policy:
    """The rules of one collection. Shape: `rules` holds only those that are set; none at all means no thinning.

    `only` are the ids that may go at all, where they were named; None for all.
    """

    def __init__(self, rules: Mapping[str, object]) -> None:
        self.rules: Rules = _set_ones(rules)
        self.drops_tagged = bool(rules.get(DROP_TAGGED))
        only = rules.get(ONLY)
        self.only = frozenset(only) if isinstance(only, list) else None
        if "keep_tag" in self.rules:
            self.rules["keep_tag"] = check_listed(self.rules["keep_tag"], "keep_tag")
        self._within = units.duration_ns(self.rules["keep_within"], "keep_within") if "keep_within" in self.rules else 0

    @classmethod
    def of(cls, settings: Settings, given: Mapping[str, object]) -> Policy:
        """Return the policy of the options; without any, that of the settings.

        Options replace the configured policy as a whole: half a policy from each would keep what nobody asked for.
        """
        chosen = {key: value for key, value in given.items() if value is not None and key != DROP_TAGGED}
        if not chosen:
            chosen = {key: settings.get(f"retention.{key}") for key in RULES}
        return cls({**chosen, DROP_TAGGED: given.get(DROP_TAGGED)})

    @property
    def is_set(self) -> bool:
        """Whether there is any rule, or snapshots were named, so that lines may be thinned."""
        return bool(self.rules) or self.only is not None

    def as_json(self) -> Rules:
        """Return the rules that are set."""
        found: Rules = {**self.rules, "drop_tagged": True} if self.drops_tagged else {**self.rules}
        return found if self.only is None else {**found, "only": sorted(self.only)}

    def kept(self, newest_first: list[Descriptor], times: dict[str, int]) -> dict[str, list[str]]:
        """Return for each snapshot that a rule keeps the rules that keep it, as a person reads them.

        `newest_first` are descriptors, children before their parents (`lineage.order`); `times` says when they were
        taken (`line_times.trusted`).
        """
        groups: dict[str, list[Descriptor]] = {}
        for record in newest_first:
            trusted: Descriptor = {**record, "created_at": clock.rfc3339(times[record["snapshot_id"]])}
            groups.setdefault(record["worktree_name"], []).append(trusted)
        reasons: dict[str, list[str]] = {}
        for group in groups.values():
            self._keep_group(group, reasons)
        if self.only is not None:
            for record in newest_first:
                if record["snapshot_id"] not in self.only:
                    reasons.setdefault(record["snapshot_id"], []).append("not named")
        return reasons

    def _keep_group(self, newest_first: list[Descriptor], reasons: dict[str, list[str]]) -> None:
        def note(record: Descriptor, reason: str) -> None:
            reasons.setdefault(record["snapshot_id"], []).append(reason)

        for record in newest_first[: self.rules.get("keep_last", 0)]:
            note(record, "keep-last")
        newest_ns = max(clock.parse_rfc3339(record["created_at"]) for record in newest_first)
        for record in newest_first if self._within else ():
            # Counted back from the newest snapshot, not from now: then a plan does not change by waiting, and a
            # worktree that nobody touches, or a clock that jumps, loses nothing.
            if clock.parse_rfc3339(record["created_at"]) >= newest_ns - self._within:
                note(record, f"keep-within {self.rules['keep_within']}")
        for rule, period_of in _PERIODS.items():
            for record in _first_of_each(newest_first, period_of, self.rules.get(rule, 0)):
                note(record, f"{rule.replace('_', '-')} {period_of(record['created_at'])}")
        for pattern in self.rules.get("keep_tag", ()):
            for record in newest_first:
                if any(isinstance(tag, str) and fnmatch.fnmatchcase(tag, pattern) for tag in record["tags"]):
                    note(record, f"keep-tag {pattern}")


def _first_of_each(newest_first: list[Descriptor], period_of: Callable[[str], str], count: int) -> list[Descriptor]:
    """Return the newest snapshot of each of the newest `count` periods."""
    seen: dict[str, Descriptor] = {}
    for record in newest_first:
        if len(seen) >= count:
            break
        seen.setdefault(period_of(record["created_at"]), record)
    return list(seen.values())


def _week(created_at: str) -> str:
    """Return the ISO week; it belongs to the year that holds its Thursday."""
    import datetime

    year, week, _ = datetime.date.fromisoformat(created_at[:10]).isocalendar()
    return f"{year}-W{week:02d}"


_PERIODS: dict[PeriodRule, Callable[[str], str]] = {
    "keep_hourly": lambda created_at: created_at[:13],
    "keep_daily": lambda created_at: created_at[:10],
    "keep_weekly": _week,
    "keep_monthly": lambda created_at: created_at[:7],
    "keep_yearly": lambda created_at: created_at[:4],
}
