"""Every hint can be followed.

The hints are read from the source: a command that a hint names in quotes has to be one, with options that it has.
Errors are provoked, and what the hint says is done: then the command works, or the one that the hint names does.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Lab

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ("jvs", "plumbing", "porcelain")


def text_of(node: ast.expr) -> str:
    """Return what a hint says, with `{}` where a value is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value or "")
    if isinstance(node, ast.JoinedStr):
        return "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} | {text_of(node.orelse)}"
    return ""


def hints() -> Iterator[tuple[str, str]]:
    """Yield (place, text) for each hint in the source: arguments, variables and constants that are called so."""
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                found: list[ast.expr] = []
                if isinstance(node, ast.Call):
                    found = [keyword.value for keyword in node.keywords if keyword.arg == "hint"]
                elif isinstance(node, ast.Assign) and any("hint" in ast.unparse(t).lower() for t in node.targets):
                    found = [*node.value.values] if isinstance(node.value, ast.Dict) else [node.value]
                for value in found:
                    if text_of(value):
                        yield f"{path.relative_to(ROOT)}:{value.lineno}", text_of(value)


HINTS = sorted(set(hints()))
QUOTED = re.compile(r"'(jvs[ -][^']+)'")


def test_there_are_hints_to_follow():
    assert len(HINTS) > 150


def test_every_command_that_a_hint_names_exists_with_the_options_that_it_names(lab):
    rows = lab.must("help", "-a", "--json").json
    known = {row["program"] for row in rows} | {"jvs fork", "jvs wt"}
    helps: dict[str, str] = {}
    wrong = []
    for place, text in HINTS:
        for command in QUOTED.findall(text):
            words = command.split()
            program = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in known), None)
            if program is None:
                if words[1:2] != ["--help"] and "{}" not in words[:2]:
                    wrong.append(f"{place}: no command '{command}'")
                continue
            if program not in helps:
                helps[program] = lab.program(*program.split(), "--help").text
            options = re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", command)
            wrong += [f"{place}: '{program}' has no {o}" for o in options if o not in helps[program]]
    assert wrong == []


@pytest.mark.parametrize(("place", "text"), HINTS, ids=[place for place, _ in HINTS])
def test_a_hint_says_something_to_do(place, text):
    assert len(text.split()) >= 2 or "{}" in text
    assert not text.endswith(".") or text.endswith("CMD ..."), "a hint has no full stop"


def hint_of(answer) -> str:
    found = re.search(rb"^hint: (.*)$", answer.err, re.M)
    return found.group(1).decode() if found else ""


def remove_main(lab: Lab) -> list[str]:
    shutil.rmtree(lab.main)
    return ["-C", str(lab.root), "status"]


def fill_target(lab: Lab) -> list[str]:
    (lab.root / "worktrees" / "w").mkdir()
    return ["fork", "--at", "HEAD", "w"]


def detach(lab: Lab) -> list[str]:
    (lab.main / "a").write_text("2\n")
    lab.must("snapshot", "two")
    lab.must("restore", "one")
    lab.must("config", "set", "snapshot.when_detached", "refuse")
    return ["snapshot", "x"]


CASES: dict[str, Callable[[Lab], list[str]]] = {
    "the main worktree is missing": remove_main,
    "the place of a fork is taken": fill_target,
    "detached": detach,
    "an unknown snapshot": lambda lab: ["show", "nothing"],
    "an unknown worktree": lambda lab: ["worktree", "path", "nothing"],
    "an unknown plan": lambda lab: ["gc", "run", "--plan-id", "0" * 32],
    "an unknown setting": lambda lab: ["config", "get", "nothing"],
    "an unknown command": lambda lab: ["nothing"],
    "an unknown option": lambda lab: ["status", "--nothing"],
    "an unknown engine": lambda lab: ["snapshot", "--engine", "nothing"],
    "nothing to undo": lambda lab: ["undo"],
    "no pin": lambda lab: ["gc", "unpin", "HEAD"],
    "outside": lambda lab: ["-C", "/", "status"],
    "a name that cannot be one": lambda lab: ["fork", "--at", "HEAD", "a/b"],
    "too far back": lambda lab: ["show", "HEAD~9"],
    "too old": lambda lab: ["show", "@{9w}"],
}
FAILS = {"the main worktree is missing": "'worktree remove' refuses main, and 'worktree fork' needs another name"}


@pytest.mark.parametrize("case", CASES)
def test_what_a_hint_names_can_be_done(lab, case, request):
    if case in FAILS:
        request.applymarker(pytest.mark.xfail(strict=True, reason=FAILS[case]))
    lab.must("snapshot", "one")
    words = CASES[case](lab)
    answer = lab.jvs(*words, cwd=lab.root)
    assert answer.exit not in (0, 70), answer.said
    hint = hint_of(answer)
    assert hint, answer.said
    place = lab.main if lab.main.is_dir() else lab.root
    outside = case == "outside"
    for command in QUOTED.findall(hint):
        line = [
            {"NAME": "fresh", "DIR": str(lab.root), "COMMAND": "status"}.get(word, word) for word in command.split()
        ]
        if "..." in line:
            continue
        done = lab.program(*line, cwd=os.path.dirname(lab.root) if outside else place)
        assert done.exit in (0, 3), f"hint {hint!r}: {command}: {done.said}"
    if case == "the main worktree is missing":
        assert lab.jvs(*words, cwd=lab.root).exit == 0, f"{hint!r} was followed, and nothing is better"
