"""Merge bases: the same as looking at all ancestors of all, over random histories with merges."""

from __future__ import annotations

import random
from typing import Any

import pytest

from jvs.errors import LineageBroken
from jvs.store import ancestry


def history(chance: random.Random, count: int) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for number in range(count):
        ids = list(made)
        parent = chance.choice(ids[-4:]) if ids and chance.random() < 0.9 else None
        merged = [chance.choice(ids)] if ids and chance.random() < 0.4 else []
        made[str(number)] = {"parent_id": parent, **({"merged": merged} if merged else {})}
    return made


def all_ancestors(made: dict[str, dict[str, Any]], one: str) -> set[str]:
    found = {one}
    for parent in ancestry.parents(made[one]):  # type: ignore[arg-type]
        found |= all_ancestors(made, parent)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_bases_are_the_common_ancestors_that_no_other_descends_from(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    made = history(chance, 16)
    monkeypatch.setattr(ancestry.lineage, "load_any", lambda layout, one: made[one])
    for _ in range(20):
        a, b = chance.choice(list(made)), chance.choice(list(made))
        common = all_ancestors(made, a) & all_ancestors(made, b)
        best = {c for c in common if not any(c != d and c in all_ancestors(made, d) for d in common)}
        assert ancestry.Ancestry(None).merge_bases(a, b) == sorted(best)  # type: ignore[arg-type]


def test_one_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(layout: object, one: str) -> dict[str, Any]:
        if one == "0":
            raise LineageBroken("gone", hint="")
        return {"parent_id": "0", "merged": []}

    monkeypatch.setattr(ancestry.lineage, "load_any", load)
    with pytest.raises(LineageBroken):
        ancestry.Ancestry(None).merge_bases("1", "2")  # type: ignore[arg-type]
