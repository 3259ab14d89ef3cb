"""Every hint can be followed.

The hints are read from the source: a command that a hint names in quotes has to be one, with options that it has, and
each hint has a row in `ROWS`, which provokes it and does what it says, or belongs to one of `KINDS`, whose hints say
the same thing of many places. A hint with neither fails.
"""

from __future__ import annotations

import ast
import fcntl
import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from running import Answer, Lab

from jvs import names

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted(
    path
    for kind in ("jvs", "plumbing", "porcelain")
    for path in (ROOT / kind).rglob("*.py")
    if "hint" in path.read_text()
)


def text_of(node: ast.expr) -> str:
    """Return what a hint says, with `{}` where a value is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value or "")
    if isinstance(node, ast.JoinedStr):
        return "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} | {text_of(node.orelse)}"
    return ""


def called_hint(target: ast.expr) -> bool:
    """Answer whether a name or an attribute is called so, or something in one that is."""
    if isinstance(target, ast.Subscript | ast.Starred):
        return called_hint(target.value)
    if isinstance(target, ast.Tuple | ast.List):
        return any(map(called_hint, target.elts))
    return "hint" in (target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")).lower()


@functools.cache
def hints_in(path: Path) -> list[tuple[str, str]]:
    """Return (place, text) for each hint in a source: arguments, variables and constants that are called so."""
    hints = []
    for node in ast.walk(ast.parse(path.read_text())):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call):
            found = [keyword.value for keyword in node.keywords if keyword.arg == "hint"]
        elif isinstance(node, ast.Assign) and any(map(called_hint, node.targets)):
            found = [*node.value.values] if isinstance(node.value, ast.Dict) else [node.value]
        hints += [(f"{path.relative_to(ROOT)}:{value.lineno}", text_of(value)) for value in found if text_of(value)]
    return sorted(set(hints))


@functools.cache
def hints() -> list[tuple[str, str]]:
    """Return all of them."""
    return [hint for path in SOURCES for hint in hints_in(path)]


QUOTED = re.compile(r"'(jvs[ -][^']+)'")


def test_there_are_hints_to_follow():
    assert len(hints()) > 150


def test_every_command_that_a_hint_names_exists_with_the_options_that_it_names(lab):
    rows = lab.must("help", "-a", "--json").json
    known = {row["program"] for row in rows} | {"jvs fork", "jvs wt"}
    helps: dict[str, str] = {}
    wrong = []
    for place, text in hints():
        for command in QUOTED.findall(text):
            words = command.replace("{}", " ").split()
            if words[0] == "jvs-" or (ROOT / "contrib" / words[0]).exists():  # any step; no command of ours
                continue
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


@pytest.mark.parametrize("source", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_a_hint_says_something_to_do(source):
    for place, text in hints_in(source):
        assert len(text.split()) >= 2 or "{}" in text, place
        assert not text.endswith(".") or text.endswith("CMD ..."), f"{place}: a hint has no full stop"


NOTHING = "1700000000000-00000000"
PLAN = "0" * 32


def hint_of(answer: Answer) -> str:
    found = re.search(rb"^hint: (.*)$", answer.err, re.M)
    return found.group(1).decode() if found else ""


class Row(NamedTuple):
    """What provokes a hint, and what it says to do; words are those of `jvs`, unless they begin with a program."""

    hint: str
    provoke: list[str]
    follow: list[list[str]]
    prepare: Callable[[Lab], object] | None = None
    place: str = "main"


def words_of(lab: Lab, words: list[str]) -> list[str]:
    ids = lab.ids()
    values = {
        "FIRST": ids[0],
        "LAST": ids[-1],
        "ROOT": str(lab.root),
        "OP": operation(lab),
        "FRESH": str(lab.root.parent / "fresh"),
    }
    for key, value in values.items():
        words = [word.replace(f"<{key}>", value) for word in words]
    return words if words[0].startswith("jvs-") else ["jvs", *words]


def operation(lab: Lab) -> str:
    return max((path.name for path in (lab.jvs_dir / "undo").iterdir() if path.name[0].isdigit()), default="")


def fork(lab: Lab) -> None:
    lab.must("fork", "--at", "HEAD", "w")


def detach(lab: Lab) -> None:
    lab.must("restore", "one")
    lab.must("config", "set", "snapshot.when_detached", "refuse")


def spoil(place: str, data: bytes = b"x") -> Callable[[Lab], None]:
    """Return what damages a file of the control directory."""

    def do(lab: Lab) -> None:
        path = lab.jvs_dir / words_of(lab, [place])[1]
        if path.exists():
            path.chmod(0o600)
        path.write_bytes(data)

    return do


def damage_payload(lab: Lab) -> None:
    path = lab.jvs_dir / "snapshots" / lab.ids()[0] / "a"
    path.chmod(0o600)
    path.write_bytes(b"?\n")


def plan_and_go_on(lab: Lab) -> None:
    lab.must("gc", "plan", "--keep-last", "1")
    lab.snapshot("three", a="3\n")


def plan_id(lab: Lab) -> str:
    return next(path.stem for path in (lab.jvs_dir / "gc" / "plans").iterdir())


ROWS = [
    Row("see '{} --help'", ["status", "--nothing"], [["status", "--help"]]),
    Row("see 'jvs --help'", ["--nothing"], [["--help"]]),
    Row("did you mean '{}'?", ["stauts"], [["status"]]),
    Row("'jvs help' lists the commands", ["qqqqqq"], [["help"]]),
    Row("one of: {}", ["gc"], [["gc", "plan"]]),
    Row("did you mean '{} {}'?", ["gc", "plna"], [["gc", "plan"]]),
    Row("did you mean '{}'? | 'jvs help -a'", ["help", "stauts"], [["help", "status", "-t"]]),
    Row("name a directory that is there", ["-C", "nowhere", "status"], [["-C", ".", "status"]]),
    Row("'--wait 0' fails at once when busy", ["status", "--wait", "nan"], [["status", "--wait", "0"]]),
    Row("write -n with a whole number", ["history", "-n", "-1"], [["history", "-n", "1"]]),
    Row("write a regular expression; '\\' takes", ["history", "-g", "("], [["history", "-g", "\\("]]),
    Row("use one of: {}", ["snapshot", "--engine", "nothing"], [["snapshot", "--engine", "copy"]]),
    Row(
        "run 'jvs info' to see which engines do",
        ["snapshot", "--engine", "btrfs-snapshot"],
        [["info"], ["config", "unset", "default_engine"], ["snapshot"]],
    ),
    Row("name paths below '{}'", ["restore", "one", "--", "../../x"], [["restore", "one", "--", "a"]]),
    Row("'jvs gc pins' lists the pins", ["gc", "unpin", "HEAD"], [["gc", "pins"]]),
    Row(
        "write 30d, 12h, 2030-01-31",
        ["gc", "pin", "HEAD", "--expires", "soon"],
        [["gc", "pin", "HEAD", "--expires", "30d"]],
    ),
    Row("'jvs gc plan' makes one", ["gc", "run", "--plan-id", PLAN], [["gc", "plan"]]),
    Row("'jvs gc plan' makes one", ["gc", "run", "--plan-id", "x"], [["gc", "plan"]]),
    Row(
        "'jvs doctor' says what can be repaired; a copy",
        ["gc", "plan"],
        [["gc", "pin", "<LAST>"], ["gc", "plan"]],
        spoil("gc/pins/<LAST>.json"),
    ),
    Row(
        "'jvs doctor' says what can be repaired; a copy",
        ["gc", "plan"],
        [["gc", "unpin", "<LAST>"], ["gc", "plan"]],
        spoil("gc/pins/<LAST>.json"),
    ),
    Row("'jvs-list-snapshots' lists them", ["jvs-prune-snapshot", NOTHING], [["jvs-list-snapshots"]]),
    Row("'jvs-mark-live' lists what is protected", ["jvs-prune-snapshot", "<LAST>"], [["jvs-mark-live"]]),
    Row("ids look like 1700000000000-0a1b2c3d", ["jvs-prune-snapshot", "x"], [["history"]]),
    Row("use 1 to 64 of A-Z a-z", ["fork", "--at", "HEAD", "a/b"], [["fork", "--at", "HEAD", "ab"]]),
    Row(
        "choose another name; 'jvs worktree list'",
        ["fork", "--at", "HEAD", "w"],
        [["worktree", "list"], ["fork", "--at", "HEAD", "v"]],
        fork,
    ),
    Row("choose another name", ["worktree", "rename", "w", "w"], [["worktree", "rename", "w", "v"]], fork),
    Row(
        "an operation is named alone: 'jvs undo OPERATION'",
        ["undo", "--redo", "<OP>"],
        [["undo", "<OP>"]],
        lambda lab: lab.must("restore", "one"),
    ),
    Row(
        "it is written to the audit log: say why",
        ["restore", "one", "--force-tampered", " "],
        [["restore", "one", "--force-tampered", "why"]],
    ),
    Row(
        "go elsewhere first: cd '{}'",
        ["worktree", "remove", "w"],
        [["-C", "<ROOT>", "worktree", "remove", "w"]],
        fork,
        "worktrees/w",
    ),
    Row("name the snapshot with '--at {}'", ["fork", "HEAD"], [["fork", "--at", "HEAD"]]),
    Row(
        "name files and directories that are there", ["snapshot", "x", "--", "nothing"], [["snapshot", "x", "--", "a"]]
    ),
    Row(
        "'jvs worktree fork NAME' goes on elsewhere",
        ["snapshot", "x"],
        [
            ["worktree", "fork", "fresh"],
            ["-c", "snapshot.when_detached=branch", "snapshot", "x"],
            ["restore", "LATEST"],
            ["snapshot", "x"],
        ],
        detach,
    ),
    Row(
        "'jvs verify {}' names all that differs",
        ["restore", "<FIRST>"],
        [["restore", "<FIRST>", "--force-tampered", "I know"]],
        damage_payload,
    ),
    Row("'jvs history --all' lists the snapshots", ["show", NOTHING], [["history", "--all"]]),
    Row("name one: 'jvs history --all' lists them", ["show", ""], [["history", "--all"]]),
    Row("did you mean {}? | 'jvs history --all' lists them", ["show", "qqqqqqqq"], [["history", "--all"]]),
    Row("write LATEST~N or HEAD~N with a whole number", ["show", "HEAD~x"], [["show", "HEAD~1"]]),
    Row("'jvs history' shows the line", ["show", "HEAD~9"], [["history"]]),
    Row("'jvs history' shows their ages", ["show", "@{9w}"], [["history"]]),
    Row("write @{90s}, @{30m}", ["show", "@{x}"], [["history"]]),
    Row(
        "take one with 'jvs snapshot'",
        ["show", "-w", "new"],
        [["snapshot", "x", "-w", "new"], ["show", "-w", "new"]],
        lambda lab: lab.must("worktree", "create", "new"),
    ),
    Row(
        "take one with 'jvs snapshot', or name one",
        ["-C", "../worktrees/new", "fork", "y"],
        [["fork", "--at", "one", "y"]],
        lambda lab: lab.must("worktree", "create", "new"),
    ),
    Row("name one by its id: {}", ["show", "t"], [["show", "<LAST>"]], lambda lab: lab.snapshot("three", a="3\n")),
    Row("write '{{' for a brace itself", ["history", "--format", "{"], [["history", "--format", "{{"]]),
    Row(
        "did you mean '{{}}'? | the fields are {}",
        ["history", "--format", "{nothing}"],
        [["history", "--format", "{note}"]],
    ),
    Row("write '{{}}'", ["history", "--format", "{note!r}"], [["history", "--format", "{note}"]]),
    Row("write '{{}:<20}' or", ["history", "--format", "{note:zz}"], [["history", "--format", "{note:<20}{id:>8}"]]),
    Row("write 90s, 30m, 12h", ["undo", "--forget", "--older", "soon"], [["undo", "--forget", "--older", "30d"]]),
    Row("only restore, undo, rename and remove can be", ["undo"], [["restore", "one"], ["undo"]]),
    Row(
        "'jvs undo --redo' reverses the last undo",
        ["undo"],
        [["undo", "--redo"]],
        lambda lab: (lab.must("restore", "one"), lab.must("undo")),
    ),
    Row("'jvs undo --list' shows them", ["undo", NOTHING], [["undo", "--list"]]),
    Row(
        "write 'jvs undo --forget OPERATION'",
        ["undo", "--forget"],
        [["undo", "--forget", "--older", "30d"], ["undo", "--forget", "--all"]],
    ),
    Row("it belongs to the repository; other worktrees can", ["worktree", "remove", "main"], [["worktree", "list"]]),
    Row("'jvs worktree list' shows the worktrees", ["status", "-w", "nothing"], [["worktree", "list"]]),
    Row("'jvs worktree list' shows the worktrees", ["status", "-w", ""], [["worktree", "list"]]),
    Row(
        "make one with 'jvs init' or 'jvs init NAME'",
        ["-C", "/", "status"],
        [["init", "<FRESH>"], ["-C", "<FRESH>", "status"]],
    ),
    Row("work in it, or choose a place outside", ["init", "<ROOT>/main/x"], [["init", "<FRESH>"]]),
    Row("work in it", ["init", "<ROOT>"], [["status"]]),
    Row(
        "name the directory to begin with",
        ["init", "<FRESH>", "--from", "nowhere"],
        [["init", "<FRESH>", "--from", "."]],
    ),
    Row(
        "make the repository next to the directory",
        ["init", "<ROOT>x/y", "--from", "<ROOT>x"],
        [["init", "<FRESH>", "--from", "<ROOT>x"]],
        lambda lab: Path(f"{lab.root}x").mkdir(),
    ),
    Row(
        "begin with its files: --from '{}'",
        ["init", "<FRESH>", "--from", "<ROOT>"],
        [["init", "<FRESH>", "--from", "<ROOT>/main"]],
    ),
    Row("name a directory of its own: 'jvs init NAME'", ["init", "/"], [["init", "<FRESH>"]]),
    Row("{}'jvs config list' shows all keys", ["config", "get", "nothing"], [["config", "list"]]),
    Row(
        "jvs-config(5) says what each setting takes",
        ["config", "set", "undo.max_operations", "many"],
        [["help", "config"], ["config", "set", "undo.max_operations", "7"]],
    ),
    Row("use one of: {}", ["config", "set", "durability", "never"], [["config", "set", "durability", "each"]]),
    Row("write -c KEY=VALUE", ["-c", "nothing", "status"], [["-c", "default_tags=x", "status"]]),
    Row("set HOME or XDG_CONFIG_HOME", ["config", "set", "--user", "default_tags", "x"], [["config", "list"]]),
    Row("quote a note of several words", ["snapshot", "two", "words"], [["snapshot", "two words"]]),
    Row("give it as an argument, with -m, or with -F FILE", ["snapshot", "x", "-m", "y"], [["snapshot", "-m", "y"]]),
    Row("name a file with the note", ["snapshot", "-F", "nothing"], [["snapshot", "-F", "a"]]),
    Row("name a snapshot, or choose one with '-i'", ["restore"], [["history"], ["restore", "one"]]),
    Row(
        "leave one of them out",
        ["history", "--graph", "--format", "{id}"],
        [["history", "--graph"], ["history", "--format", "{id}"]],
    ),
    Row("leave one of them out", ["verify", "--all", "one"], [["verify", "--all"], ["verify", "one"]]),
    Row("leave one of them out", ["jvs-resolve", "--head", "one"], [["jvs-resolve", "--head"], ["jvs-resolve", "one"]]),
    Row("jvs run [--rollback] -- CMD ...", ["run"], [["run", "--", "true"]]),
    Row("check its name and PATH", ["run", "--", "no-such-program"], [["run", "--", "true"]]),
    Row("close the quotes", ["diff", "--tool", "'true", "one"], [["diff", "--tool", "'true'", "one"]]),
    Row("--tool meld, --tool 'diff -r'", ["diff", "--tool", "", "one"], [["diff", "--tool", "true", "one"]]),
    Row("a single snapshot is read whole in any case", ["verify", "one", "--independent"], [["verify", "one"]]),
    Row("jvs-hash-tree DIR", ["jvs-hash-tree"], [["jvs-hash-tree", "."]]),
    Row("jvs-sync-tree DIR", ["jvs-sync-tree"], [["jvs-sync-tree", "."]]),
    Row("jvs-clone-tree SRC DST", ["jvs-clone-tree", "."], [["jvs-clone-tree", ".", "<FRESH>"]]),
    Row("jvs-with-lock WORKTREE -- CMD ...", ["jvs-with-lock", "main"], [["jvs-with-lock", "main", "--", "true"]]),
    Row("name two directories: SOURCE and TARGET", ["jvs-apply-tree", ".", "nothing"], [["jvs-hash-tree", "."]]),
    Row(
        "'jvs-ls-tree -r SNAPSHOT' lists",
        ["restore", "one", "--", "nothing"],
        [["jvs-ls-tree", "-r", "one"], ["restore", "one", "--", "a"]],
    ),
    Row(
        "put it back, or make it again from the latest snapshot",
        ["-C", "<ROOT>", "status"],
        [["restore", "LATEST"], ["status"]],
        lambda lab: shutil.rmtree(lab.main),
        ".",
    ),
    Row(
        "put it back, or make it again from the latest snapshot",
        ["status", "-w", "w"],
        [["restore", "-w", "w", "LATEST"], ["status", "-w", "w"]],
        lambda lab: (fork(lab), shutil.rmtree(lab.root / "worktrees" / "w")),
    ),
    Row(
        "'jvs doctor' says what can be repaired; a copy",
        ["gc", "run", "--plan-id", PLAN],
        [["doctor"], ["gc", "plan"]],
        spoil(f"gc/plans/{PLAN}.json", b"{}\n"),
    ),
    Row(
        "'jvs doctor' says what can be repaired",
        ["gc", "run", "--plan-id", PLAN],
        [["doctor"]],
        spoil(f"gc/plans/{PLAN}.json"),
    ),
    Row(
        "'jvs doctor' says what can be repaired; a copy",
        ["snapshot", "x"],
        [["doctor", "--repair", "clean_intents"], ["snapshot", "x"]],
        spoil(f"intents/{NOTHING}.json"),
    ),
]
"""Those whose hints cannot be told from the words alone are provoked by `prepare` first."""


def id_of(row: Row) -> str:
    return " ".join(row.provoke)[:60]


@pytest.mark.parametrize("row", ROWS, ids=id_of)
def test_what_a_hint_says_can_be_done_and_helps(two, row):
    if row.prepare is not None:
        row.prepare(two)
    place = two.root / row.place
    without = {"HOME": "", "XDG_CONFIG_HOME": ""} if row.hint.startswith("set HOME") else {}
    answer = two.command(*words_of(two, row.provoke), cwd=place, env=without)
    assert answer.exit not in (0, 70), answer.said
    hint = hint_of(answer)
    parts = [part for alternative in row.hint.split(" | ") for part in re.split(r"\{+\}+", alternative)]
    assert any(part.strip() and part.strip(" '") in hint for part in parts), f"{hint!r} is not {row.hint!r}"
    for words in row.follow:
        where = place if place.is_dir() else two.root
        done = two.command(*words_of(two, words), cwd=where)
        assert done.exit in (0, 3) or (words[0] == "doctor" and done.exit not in (2, 70)), (
            f"{hint!r}: {words}: {done.said}"
        )


CONTROL = {
    "repo_id": ["verify", "--all"],
    "descriptors/<LAST>.json": ["show", "HEAD"],
    "snapshots/<LAST>.READY": ["show", "HEAD"],
    "audit/audit.jsonl": ["verify", "--all"],
    "worktrees/main/config.json": ["status"],
    "format_version": ["status"],
}


@pytest.mark.parametrize("how", ["damaged", "missing"])
@pytest.mark.parametrize("name", CONTROL)
def test_a_file_that_is_restored_from_a_copy_is_as_good_as_new(two, name, how):
    """The kind of all hints that speak of a copy of the repository."""
    path = two.jvs_dir / words_of(two, [name])[1]
    before = path.read_bytes()
    path.chmod(0o600)
    path.unlink() if how == "missing" else path.write_bytes(b"{}\n")
    answer = two.jvs(*CONTROL[name])
    assert answer.exit not in (0, 70), answer.said
    path.write_bytes(before)
    two.must(*CONTROL[name])
    assert two.jvs("doctor", "--strict").exit == 0


@pytest.mark.parametrize("words", [["snapshot", "x"], ["config", "set", "default_tags", "x"]], ids=" ".join)
def test_what_is_busy_can_be_done_when_the_other_has_ended(two, words):
    """The kind of all hints that say to wait."""
    lock = two.jvs_dir / "locks" / ("config.lock" if words[0] == "config" else "worktree-main.lock")
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        answer = two.jvs(*words, "--wait", "0")
        assert answer.exit == 6, answer.said
        assert "wait" in hint_of(answer)
    two.must(*words)


@pytest.mark.parametrize("limit", ["NOFILE 10", "FSIZE 600"])
def test_with_a_higher_limit_it_works(two, limit):
    """The kind of all hints about limits, permissions and mounts: the way is in the words, and then it works."""
    answer = two.command("jvs", "snapshot", "x", situation=[f"limit {limit}"])
    assert answer.exit == 4, answer.said
    assert "ulimit" in hint_of(answer)
    two.must("snapshot", "x")


KINDS = {
    "restore it from a copy": r"copy from there|copy of the repository|(from|with) a copy"
    r"|put (the directory|it|the word) back",
    "the rights, limits, mounts and disks of the system": r"permission|ulimit|mount|owner|free some space|system log"
    r"|as that user|chmod|swapoff|storage|work in it|Linux|close other programs|PATH",
    "wait and try again": r"wait for|take the snapshot again|run (the command|it) again|let it pause"
    r"|somebody else moved it|others",
    "move, remove or correct what is in the way": r"\b(move|remove|repair|delete|correct|unmount|take it out)\b"
    r"|edit it by hand|write '2'|somebody put it back|sets? it aside",
    "other words on the command line": r"^(write|decide|name|give|send"
    r"|choose|use|put|leave|quote|answer|begin|feed|compare"
    r"|one of|set HOME|a script begins|did you mean|add|rename|install|make|do what|names hold|the fields|jvs[- ]|cd"
    r"|clone)\b|name a file with -o",
    "another jvs": r"version of jvs|newer jvs|this is a bug in jvs",
    "a command, which exists with its options": r"'jvs[- ][^']*'|'--[a-z-]+'|see ",
    "there is nothing to do": r"nothing was done|is done, only its words",
}
"""What a hint may say besides: each kind was followed for some of its places above, and is the same for the others."""


def test_every_hint_has_a_row_or_a_kind():
    rows = [row.hint.split(" | ") for row in ROWS]
    left = [
        f"{place}: {text}"
        for place, text in hints()
        if not any(part in text for row in rows for part in row)
        and not any(re.search(kind, text) for kind in KINDS.values())
    ]
    assert left == [], "write a row that provokes the hint and does what it says"


def test_no_row_is_about_a_hint_that_is_gone():
    elsewhere = [names._RULE, "'jvs help' lists the commands"]  # no words at the place itself
    texts = [*(text for _, text in hints()), *elsewhere]
    assert [row.hint for row in ROWS if not any(row.hint.split(" | ")[0] in text for text in texts)] == []
