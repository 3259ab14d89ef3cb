"""A record can only name what is inside: whatever `.jvs` says, no command reaches the canaries outside.

Every field of every kind of record is forged, and every directory and file of `.jvs`, `main` and `worktrees` replaced
by a link; then commands of the whole table run, in a mount namespace in which all else is read-only. The sample is
the same each time and takes seconds; `JVS_TEST_FUZZ_SECONDS=N` tries cases in random order for N seconds per kind, and
`JVS_TEST_FUZZ_COUNTS=FILE` gets a line for each kind with how many cases and commands.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
import zlib
from pathlib import Path

import canaries
import every_command
import forging
import making  # noqa: F401 (loaded once here, not in each fork)
import pending
import pytest
import sandbox
from supervisor import seccomp

FUZZ_SECONDS = float(os.environ.get("JVS_TEST_FUZZ_SECONDS", "0"))
SAMPLE = 1
tried = {"cases": 0, "commands": 0}
"""Of one process: each kind runs in a fork of its own."""
pytestmark = pytest.mark.xdist_group("confinement")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a repository with every kind of record, and one with each kind of operation pending."""
    if reason := sandbox.is_possible():
        pytest.skip(reason)
    try:
        return pending.build_all(tmp_path_factory.mktemp("bases"))
    except seccomp.Unsupported as reason:
        pytest.skip(str(reason))


def world_in(scratch: Path, base: Path, number: int) -> forging.World:
    """Copy a repository deep into the scratch, next to new canaries."""
    top = scratch / f"case-{number}"
    root = top / "1/2/3/4/repo"
    root.parent.mkdir(parents=True)
    shutil.copytree(base, root, symlinks=True)
    world = forging.World(root, top / "canaries")
    canaries.plant(world.canaries)
    return world


def outside_of(world: forging.World) -> set[str]:
    """Return every name in the scratch but those of the repository, its clone and the user's own home."""
    scratch = world.root.parents[5]
    own = {str(scratch / "home"), str(cloned(world))}
    found = set()
    for here, directories, files in os.walk(scratch):
        if here in own or Path(here) == world.root:
            directories.clear()
            continue
        found |= {os.path.join(here, name) for name in (*directories, *files)} - own
    return found


def cloned(world: forging.World) -> Path:
    """Return where 'jvs clone' puts what it makes: the one place outside that a command was told to fill."""
    return every_command.clone_of(world.root)


def leaks_of(world: forging.World) -> list[str]:
    """Return the files of a repository, or of its clone, that hold the content of a canary."""
    return canaries.leaks(world.root) + canaries.leaks(cloned(world))


def run_case(scratch: Path, base: Path, case: forging.Case, number: int, how_many: int) -> list[str]:
    """Forge, run commands, and return what went wrong."""
    world = world_in(scratch, base, number)
    try:
        case.forge(world)
        before, names = canaries.facts(world.canaries), outside_of(world)
        found = []
        tried["cases"] += 1
        for words in chosen(world.root, case, how_many):
            tried["commands"] += 1
            ended = sandbox.command(words, cwd=world.root)
            found += [f"{case}: {fault}" for fault in ended.faults]
            said = f"{case}: '{' '.join(words)[:100]}': "
            after, names_after = canaries.facts(world.canaries), outside_of(world)
            found += [said + what for what in canaries.differences(before, after)]
            found += [said + f"new outside: {name}" for name in sorted(names_after - names)]
            if canaries.TOKEN in ended.out or canaries.TOKEN.decode() in ended.err:
                found.append(said + "printed a canary")
            if not found:
                found += [said + leak for leak in leaks_of(world)]
            if found:
                break
        return found
    finally:
        shutil.rmtree(world.root.parents[4], ignore_errors=True)
        shutil.rmtree(scratch / "home", ignore_errors=True)


def chosen(root: Path, case: forging.Case, how_many: int) -> list[tuple[str, ...]]:
    """Return the commands of a case: always the same; half of them change something."""
    reads = every_command.invocations(root, every_command.READS)
    changes = every_command.invocations(root, every_command.CHANGES)
    changes += every_command.invocations(root, every_command.GUESSED)
    if not how_many:
        everything = [*reads, *changes]
        random.shuffle(everything)
        return everything
    start = zlib.crc32(str(case).encode())
    turned = [changes[(start + 7 * i) % len(changes)] for i in range(how_many - how_many // 2)]
    turned += [reads[(start + 5 * i) % len(reads)] for i in range(how_many // 2)]
    return [*turned, ("snapshot", "x")]


def spread(cases: list[forging.Case], many: int) -> list[forging.Case]:
    """Return a sample: places evenly spread, the dangerous values more often than the others."""
    if len(cases) <= many:
        return cases
    step = len(cases) / many
    return [cases[int(i * step + zlib.crc32(b"%d" % i) % max(1, int(step)))] for i in range(many)]


def try_all(tmp_path: Path, bases: dict[str, Path], cases: list[forging.Case], sample: int = SAMPLE) -> None:
    """Try a sample of the cases, or for as long as was asked for, and fail with everything that went wrong."""
    assert cases
    picked = list(cases) if FUZZ_SECONDS else spread(cases, sample)
    if FUZZ_SECONDS:
        random.shuffle(picked)

    def work(scratch: Path) -> list[str]:
        found: list[str] = []
        deadline = time.monotonic() + FUZZ_SECONDS
        for number, case in enumerate(picked):
            if FUZZ_SECONDS and time.monotonic() > deadline:
                break
            found += run_case(scratch, bases[case.base], case, number, 0 if FUZZ_SECONDS else 2)
        return found

    found = sandbox.run_counted(tmp_path / "scratch", work, tried)
    assert not found, f"{len(found)} faults:\n" + "\n".join(found[:40])


def test_nothing_forged_nothing_found(tmp_path, bases):
    """The harness itself: all commands over each repository as it is."""

    def work(scratch: Path) -> list[str]:
        found = []
        for number, (name, base) in enumerate(bases.items()):
            case = forging.Case("nothing", name, "nothing", lambda world: None)
            found += run_case(scratch, base, case, number, 2)
        return found

    assert sandbox.run(tmp_path / "scratch", work) == []


def test_the_harness_sees_what_a_command_does_outside(tmp_path, bases):
    """A program that reads, changes and deletes canaries is caught in each of these."""

    def work(scratch: Path) -> list[list[str]]:
        world = world_in(scratch, bases["clean"], 0)
        before = canaries.facts(world.canaries)
        (world.canaries / "file").chmod(0o600)
        (world.canaries / "dir/file").unlink()
        (world.canaries / "dir/more").touch()
        shutil.copy(world.canaries / "secret", world.root / "main/stolen")
        return [canaries.differences(before, canaries.facts(world.canaries)), leaks_of(world)]

    said, leaks = sandbox.run(tmp_path / "scratch", work)
    assert {word.split(":")[0] for word in said} == {"changed", "deleted or moved", "new"} and len(leaks) == 1


INTENTS = pending.OPERATIONS
JOURNALS = ("clean", "restore", "undo", "worktree_rename", "worktree_remove", "discard")


@pytest.mark.parametrize("base", INTENTS)
def test_forged_intents(tmp_path, bases, base):
    try_all(tmp_path, bases, list(forging.record_cases("intent", bases, base)))


@pytest.mark.parametrize("base", JOURNALS)
def test_forged_journals(tmp_path, bases, base):
    try_all(tmp_path, bases, list(forging.record_cases("journal", bases, base)))


@pytest.mark.parametrize("base", ("clean", "restore", "undo"))
def test_forged_steps(tmp_path, bases, base):
    try_all(tmp_path, bases, list(forging.delta_cases(bases, base)))


@pytest.mark.parametrize("base", ("clean", "undo"))
def test_forged_entries_that_are_not_kept_twice(tmp_path, bases, base):
    try_all(tmp_path, bases, list(forging.held_cases(bases, base)), 4)


@pytest.mark.parametrize("kind", ("parked", "config", "plan", "pin", "tombstone", "descriptor", "ready", "annotation"))
def test_forged_records(tmp_path, bases, kind):
    try_all(tmp_path, bases, list(forging.record_cases(kind, bases, "clean")))


def test_forged_log(tmp_path, bases):
    try_all(tmp_path, bases, list(forging.audit_cases(bases)))


def test_forged_settings(tmp_path, bases):
    try_all(tmp_path, bases, list(forging.settings_cases()))


def test_forged_identity(tmp_path, bases):
    try_all(tmp_path, bases, list(forging.identity_cases()))


def test_forged_memory_of_the_log(tmp_path, bases):
    try_all(tmp_path, bases, list(forging.anchor_cases()))


@pytest.mark.parametrize("base", ("clean", *pending.OPERATIONS))
def test_names_that_became_links(tmp_path, bases, base):
    try_all(tmp_path, bases, list(forging.node_cases(bases, base)))


@pytest.mark.parametrize("step", every_command.STEPS)
def test_forged_publish_records(tmp_path, bases, step):
    """A record on stdin of a step: each field forged, after all the steps before were really done."""

    def work(scratch: Path) -> list[str]:
        found: list[str] = []
        deadline = time.monotonic() + (FUZZ_SECONDS or 3600)
        prepared = scratch / "prepared"
        shutil.copytree(bases["clean"], prepared, symlinks=True)
        data = sandbox.command(("jvs-check-worktree", "--record", "main"), cwd=prepared).out
        for earlier in every_command.STEPS[: every_command.STEPS.index(step)]:
            data = sandbox.command((f"jvs-{earlier}", "--record"), cwd=prepared, stdin=data).out
        record = every_command.record_of(data)
        cases = [(place, name) for place in forging.fields(record) for name in forging.VALUES]
        random.Random(step).shuffle(cases)
        for number, (place, name) in enumerate(cases if FUZZ_SECONDS else cases[:SAMPLE]):
            if time.monotonic() > deadline:
                break
            world = world_in(scratch, prepared, number)
            forged = {**record, "repo": str(world.root)}
            forged = forging.changed(forged, place, forging.values(world)[name])
            forging.plant_links(world)
            before, names = canaries.facts(world.canaries), outside_of(world)
            tried["cases"] += 1
            tried["commands"] += 1
            ended = sandbox.command((f"jvs-{step}", "--record"), cwd=world.root, stdin=forging.encode(forged))
            what = [*ended.faults, *canaries.differences(before, canaries.facts(world.canaries))]
            what += [f"new outside: {path}" for path in outside_of(world) - names] + leaks_of(world)
            found += [f"{step} {'.'.join(map(str, place))} = {name}: {one}" for one in what]
            shutil.rmtree(world.root.parents[4])
        return found

    found = sandbox.run_counted(tmp_path / "scratch", work, tried)
    assert not found, "\n".join(found[:40])


def test_records_are_json(bases):
    """The bases hold a record of each kind, so that no kind goes untried."""
    for kind, (pattern, _) in forging.KINDS.items():
        base = bases["restore" if kind == "intent" else "clean"]
        found = list((base / ".jvs").glob(pattern))
        assert found, f"no {kind} in the repository"
        json.loads(found[0].read_bytes())
