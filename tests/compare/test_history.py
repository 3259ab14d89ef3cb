"""Which snapshots a listing shows, in which order, and how branches are drawn."""

from __future__ import annotations

import random

import making
import pytest

from jvs.compare import graph, history
from jvs.errors import UsageError
from jvs.store import descriptor, lineage
from jvs.ui import fields, history_text, template


def record(snapshot_id, parent, **more):
    return {"snapshot_id": snapshot_id, "parent_id": parent, "note": "", "tags": [], **more}


def family(*pairs):
    return {name: record(name, parent) for name, parent in pairs}


@pytest.fixture
def store(tmp_path):
    return making.make_store(tmp_path / "repo")


def take(store, count):
    made = []
    for number in range(count):
        making.write(making.main_of(store), {"f": str(number)})
        made.append(making.snapshot(store, f"note {number}", tags=[f"t{number}"])["snapshot_id"])
    return made


def test_a_limit_reads_only_as_many_descriptors(store, monkeypatch):
    ids = take(store, 6)
    read = []
    real = descriptor.load
    monkeypatch.setattr(descriptor, "load", lambda layout, i: read.append(i) or real(layout, i))
    found = list(history.along_line(store, ids[-1], history.Choice(limit=2)))
    assert [r["snapshot_id"] for r in found] == ids[:-3:-1]
    assert read == ids[:-3:-1]


def test_filters_look_at_notes_and_tags(store):
    ids = take(store, 3)
    by = lambda **how: [r["snapshot_id"] for r in history.along_line(store, ids[-1], history.Choice(**how))]
    assert by(tags=["t1"]) == [ids[1]]
    assert by(pattern="note [12]") == [ids[2], ids[1]]
    assert by(pattern="^t0$") == [ids[0]]
    assert by(limit=0) == []


@pytest.mark.parametrize("how", [{"limit": -1}, {"pattern": "("}])
def test_a_bad_choice_is_a_usage_error(how):
    with pytest.raises(UsageError):
        history.Choice(**how)


def test_newest_first_puts_children_before_parents_whatever_the_ids_say():
    found = family(("9", None), ("1", "9"), ("5", None))
    assert [r["snapshot_id"] for r in history.newest_first(found)] == ["5", "1", "9"]


def test_newest_first_survives_a_circle():
    found = family(("a", "b"), ("b", "a"), ("c", None))
    assert sorted(r["snapshot_id"] for r in history.newest_first(found)) == ["a", "b", "c"]


def drawing(found, first=None):
    order = graph.drawing_order(found, first)
    return [drawn.rstrip() + (f" {i}" if i else "") for drawn, i in graph.draw(found, order)]


def test_a_line_is_drawn_as_a_column():
    assert drawing(family(("1", None), ("2", "1"))) == ["* 2", "* 1"]


def test_a_fork_is_joined_to_the_line_that_it_left():
    found = family(("1", None), ("2", "1"), ("3", "2"), ("f", "1"))
    assert drawing(found, "3") == ["* 3", "* 2", "| * f", "|/", "* 1"]


def test_three_branches_of_one_parent_join_one_after_the_other():
    found = family(("1", None), ("a", "1"), ("b", "1"), ("c", "1"))
    assert drawing(found, "a") == ["* a", "| * c", "| | * b", "| |/", "|/", "* 1"]


def test_branches_of_branches_stay_next_to_their_own_parent():
    found = family(("1", None), ("2", "1"), ("3", "2"), ("x", "2"), ("y", "1"))
    assert drawing(found, "3") == ["* 3", "| * x", "|/", "* 2", "| * y", "|/", "* 1"]


def test_a_collected_snapshot_is_drawn_as_a_circle():
    found = family(("1", None), ("2", "1"))
    found["1"]["collected"] = True
    assert drawing(found) == ["* 2", "o 1"]


def test_every_drawing_has_each_snapshot_once():
    import random

    dice = random.Random(7)
    for _ in range(50):
        found = {}
        for number in range(25):
            parent = dice.choice([None, *found]) if found else None
            found[f"{number:02d}"] = record(f"{number:02d}", parent)
        order = graph.drawing_order(found, dice.choice(list(found)))
        assert sorted(order) == sorted(found)
        place = {i: n for n, i in enumerate(order)}
        assert all(r["parent_id"] is None or place[i] < place[r["parent_id"]] for i, r in found.items())
        assert [i for _, i in graph.draw(found, order) if i] == order


def merging(*rows):
    return {name: record(name, parent, merged=list(merged)) for name, parent, *merged in rows}


@pytest.mark.parametrize(
    ("found", "rows"),
    [
        (
            merging(("a", None), ("b", "a"), ("s", "a"), ("m", "b", "s")),
            ["* m", "|\\", "* | b", "| * s", "|/", "* a"],
        ),
        (
            merging(("a", None), ("b", "a"), ("s", "a"), ("t", "s"), ("m", "b", "s"), ("n", "m")),
            ["* n", "* m", "|\\", "* | b", "| | * t", "| |/", "| * s", "|/", "* a"],
        ),
        (
            merging(("a", None), ("b", "a"), ("s", "a"), ("t", "a"), ("m", "b", "s", "t")),
            ["* m", "|\\", "| |\\", "* | | b", "| | * t", "| * | s", "| |/", "|/", "* a"],
        ),
        (merging(("a", None), ("x", None), ("m", "a", "x")), ["* m", "|\\", "* | a", "* x"]),
    ],
)
def test_what_was_merged_is_joined_to_where_it_went(found, rows):
    drawn = drawing(found, max(found, key=lambda i: i == "n" or i == "m"))
    assert drawn == rows


def test_any_graph_with_merges_shows_each_snapshot_once_after_those_that_hold_it():
    dice = random.Random(4)
    for _ in range(60):
        found: dict = {}
        for number in range(dice.randint(1, 14)):
            name, known = f"{number:02d}", list(found)
            parent = dice.choice([*known, None]) if known else None
            merged = [
                other for other in dice.sample(known, min(len(known), dice.choice([0, 0, 1, 2]))) if other != parent
            ]
            found[name] = record(name, parent, merged=merged)
        order = graph.drawing_order(found, dice.choice(list(found)))
        assert sorted(order) == sorted(found)
        where = {snapshot_id: number for number, snapshot_id in enumerate(order)}
        for snapshot_id, one in found.items():
            assert all(where[p] > where[snapshot_id] for p in [one["parent_id"], *one["merged"]] if p is not None)
        assert [i for _, i in graph.draw(found, order) if i] == order


def test_a_filtered_graph_joins_the_nearest_wanted_ancestors():
    found = family(("1", None), ("2", "1"), ("3", "2"))
    found["1"]["tags"] = found["3"]["tags"] = ["keep"]
    chosen = graph.choose(found, history.Choice(tags=["keep"]))
    assert {i: r["parent_id"] for i, r in chosen.items()} == {"1": None, "3": "1"}


def test_size_of_change():
    assert history_text.show_changes(None) == "?"
    assert history_text.show_changes({"added": 0, "removed": 0, "modified": 0, "bytes": 0}) == "none"
    assert history_text.show_changes({"added": 1, "removed": 2, "modified": 3, "bytes": 2048}) == "+1 -2 ~3 2.0 KiB"


def test_everything_includes_former_tips(store):
    ids = take(store, 3)
    assert making.run("-C", store.root, "restore", ids[0]).exit == 0
    making.write(making.main_of(store), {"g": "branch"})
    branch = making.snapshot(store, "branch")["snapshot_id"]
    assert set(history.everything(store)) == {*ids, branch}
    assert [r["snapshot_id"] for r in history.along_line(store, branch, history.Choice())] == [branch, ids[0]]


def test_a_damaged_descriptor_does_not_hide_the_others_of_a_full_listing(store):
    ids = take(store, 2)
    path = str(store.layout.descriptor(ids[0]))
    with open(path, "r+b") as file:
        file.write(b"x")
    assert set(history.everything(store)) == {ids[1]}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{a}", "1\n"),
        ("{a:>3}|{b}", "  1|x,y\n"),
        (r"{a}\t{b}\0", "1\tx,y\0"),
        (r"{a}\n", "1\n"),
        ("{{{a}}}", "{1}\n"),
        (r"\\n{c}", "\\n\n"),
        ("plain", "plain\n"),
    ],
)
def test_formats(text, line):
    values = {"a": 1, "b": ["x", "y"], "c": None}
    assert template.compile_format(text, values)(values.__getitem__) == line


@pytest.mark.parametrize(
    "text", ["{", "{nte}", "{a!r}", "{a.__class__}", "{a[0]}", "{a:{a}}", "{a:,}", "{}", "{a:99999999}"]
)
def test_a_bad_format_is_a_usage_error_with_a_hint(text):
    with pytest.raises(UsageError) as caught:
        template.compile_format(text, ["a", "note"])
    assert caught.value.hint
    if text == "{nte}":
        assert "did you mean '{note}'" in caught.value.hint


def test_every_format_field_has_a_value(store):
    (snapshot_id,) = take(store, 1)
    found = lineage.load_visible(store, snapshot_id)
    value = fields.value_of(store, found, lambda i: i[14:21])
    assert {field: value(field) for field in fields.FIELDS}["short_id"] == snapshot_id[14:21]


def test_short_ids_are_those_of_refs(store):
    from jvs.store import refs

    ids = [
        f"17000000000{n:02d}-{tail}"
        for n, tail in enumerate(("aaaaaaa1", "aaaaaaa2", "bbbbbbbb", "cccccccc", "cccccccc"))
    ]
    for snapshot_id in ids:
        open(str(store.layout.descriptor(snapshot_id)), "w").close()
    short = refs.ShortIds.among_all(store.layout)
    assert {i: short(i) for i in ids} == refs.short_ids(ids)
