"""Every command line that the documents show works: README.md, jvs-tutorial(7) and other pages, all EXAMPLES.

Sessions (lines that begin with `$`) run in one shell, in order. Single examples run each in a repository of its own,
prepared with what examples speak of. What cannot run here is listed in `UNAVAILABLE`, with the reason.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import making
import pytest
from running import Lab

from jvs.cli import commands
from jvs.publish import record

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
TIMEOUT_SECONDS = 120
MINOR = 14
"""The newest Python, 3.MINOR, that the metadata names."""

UNAVAILABLE = {
    r"^jvs conformance run": "runs for minutes; tests of its own run it",
    r"^jvs torture": "runs for minutes; tests of its own run it",
    r"jvs completion zsh": "the line is for zsh",
}
PROGRAMS = {"rsync": "rsync", "sha256sum": "coreutils", "xargs": "findutils", "make": "make"}

# What stands in a document in place of what a reader has.
STAND_INS: tuple[tuple[str, str], ...] = (
    (r"(?<=^jvs-prune-snapshot )1700000000000-0a1b2c3d", "$(cat made)"),
    (r"\.venv/bin/pip install \.", "true"),
    (r"1795885977737", '$(jvs try --list --json | sed -n \'s/.*"try_id": "\\(.*\\)".*/\\1/p\')'),
    (r"(?<=^jvs try -- )make clean all|(?<=^jvs try --apply -- )./migrate.sh", "true"),
    (r"(?<=snapshots/)ID", "$(jvs-resolve HEAD)"),
    (r"/srv/", ""),
    (r"1700000000000-0a1b2c3d", "$(jvs-resolve HEAD)"),
    (r"0123456789abcdef0123456789abcdef", '$(jvs gc plan --json | sed -n \'s/.*"plan_id": "\\(.*\\)".*/\\1/p\')'),
    (r"/mnt/(data|jfs)", "."),
    (r"(?<=^jvs restore )ID$", "HEAD~1"),
)

GONE = """
jvs worktree fork baseline gone && cd worktrees/gone && echo 1 > new && jvs snapshot && jvs-resolve HEAD > ../../made &&
cd ../.. && jvs worktree remove --discard gone
"""

# What must be there before a line can work: shell that runs just before it.
SETUP: tuple[tuple[str, str], ...] = (
    (r"^jvs gc unpin |^jvs pin remove ", "jvs gc pin baseline"),
    (r"^jvs mcp --repo ~/lab", "jvs init ~/lab"),
    (r"^jvs merge experiment", "jvs fork baseline experiment && echo 9 > worktrees/experiment/src/new &&"
     " jvs snapshot -w experiment && jvs tag LATEST -w experiment mine"),
    (r"^jvs init --here ~/project( |$)", "mkdir ~/project"),
    (r"^jvs -C ~/project detach", "mkdir ~/project && jvs init --here ~/project"),
    (r"^jvs clone ~/project", "mkdir ~/project ~/disk; jvs init --here ~/project"),
    (r"^jvs history LATEST~10 ", "for n in 1 2 3 4 5 6 7 8 9 10; do echo $n > main/settings.toml; jvs snapshot; done"),
    (r"baseline:\./config|LATEST:data.csv", "echo > main/config.toml; echo > main/data.csv; jvs snapshot -t baseline"),
    (r"HEAD:data.bin", "echo > main/data.bin; jvs snapshot"),
    (r"^jvs undo", "jvs restore baseline && jvs undo && jvs restore baseline"),
    (r"^jvs undo --redo", "jvs restore baseline && jvs undo"),
    (r"^jvs config unset ", "jvs config set snapshot.when_detached refuse"),
    (r"^jvs try --(apply|keep) 1795", "cd main && jvs try -- sh -c 'echo x > tried'"),
    (r"^jvs enter experiment", "jvs worktree fork baseline experiment"),
    (r"jvs worktree path experiment|jvs -C .*experiment", "jvs worktree fork baseline experiment"),
    (r"^jvs worktree (rename|remove|move) trial-2", "jvs worktree fork baseline trial-2"),
    (r"^jvs worktree attach ~/trial-2", "jvs fork baseline trial-2 --path ~/was && mv ~/was ~/trial-2"),
    (r"^jvs-chain-check deploys", "jvs-chain-append --log deploys.jsonl deploy"),
    (r"^jvs-sync-tree dataset-copy", "jvs-clone-tree dataset dataset-copy"),
    (r"^jvs-prune-snapshot ", GONE),
    (r"^jvs-mark-live --candidates --keep-last 5", "for n in 1 2 3 4 5 6 7; do echo $n > main/new; jvs snapshot; done"),
    (r"^jvs-apply-tree ", "mkdir app"),
    (r"^jvs receive base.jvs|^jvs-read-stream < base.jvs", "jvs send HEAD -o base.jvs"),
    (r"^jvs hooks allow", "mkdir .jvs/hooks && cp /bin/true .jvs/hooks/pre-snapshot"),
    (r"> ~/.config/fish/completions", "mkdir -p ~/.config/fish/completions"),
    (r"^\./clean\.py", "printf '#!/bin/sh\\necho clean > $1/clean\\n' > clean.py && chmod +x clean.py"),
)  # fmt: skip

SESSION_SETUP = tuple(pair for pair in SETUP if pair[0] == r"^\./clean\.py")
"""What pages assume in the middle of a session; README.md assumes nothing."""

# What recovers things after lines that stop in the middle.
AFTERWARDS = {r"jvs-write-intent --record$": ("doctor", "--repair-runtime")}

# Lines whose answer is "no" in the prepared repository, with the status that says so.
STATUSES = {r"--exit-code": (0, 3), r"--tool 'diff": (0, 1)}

PREPARE = """
set -e
mkdir -p assets && echo art > assets/art
jvs init lab > /dev/null
cd lab/main
mkdir -p src data models && echo w > models/weights && echo 'print(1)' > src/model.py
echo 'a = 1' > settings.toml && seq 1 100 > data/numbers
jvs snapshot "epoch 1" --tag baseline --tag good > /dev/null
echo 'print(2)' > src/model.py && echo 'a = 2' > settings.toml
jvs snapshot "epoch 2" --tag release-1 > /dev/null
echo more > data/more
jvs snapshot "raw data" > /dev/null
cd ..
mkdir -p dataset backup data build.tmp && echo 1 > dataset/one && cp -r dataset/one backup && cp -r dataset/one data
echo page > build.tmp/index.html
printf 'data install:\\n\\t@echo made\\n' > Makefile
mkdir old
"""


def documents() -> list[Path]:
    return [path for path in sorted((ROOT / "man").glob("man[57]/*.[57]")) if "\n$ " in path.read_text()]


def shell(script: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **variables}
    return subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=TIMEOUT_SECONDS,
    )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the repository that single examples work in, once."""
    where = tmp_path_factory.mktemp("template")
    done = shell(PREPARE, where, HOME=str(where), XDG_STATE_HOME=str(where), XDG_CONFIG_HOME=str(where))
    assert done.returncode == 0, done.stderr
    return where


@pytest.fixture
def prepared(template: Path, tmp_path: Path) -> Path:
    """Return the root of a prepared repository, in which examples are typed."""
    subprocess.run(["cp", "-a", str(template / "lab"), str(template / "assets"), str(tmp_path)], check=True)
    return tmp_path / "lab"


def unavailable(command: str) -> str | None:
    for pattern, reason in UNAVAILABLE.items():
        if re.search(pattern, command):
            return reason
    for program, package in PROGRAMS.items():
        if re.search(rf"\b{program}\b", command) and shutil.which(program) is None:
            return f"{program} ({package}) is not installed"
    return None


def completed(command: str) -> str:
    """Return a pipeline whose ends are dots with the steps that stand for them."""
    steps = [f"jvs-{step} --record" for step in record.STEPS]
    position = next((i for i, step in enumerate(steps) if step.split()[0] in command), 0)
    command = re.sub(r"^\.\.\. \|", lambda _: " | ".join(steps[:position]) + " |", command)
    return re.sub(r"\| \.\.\.$", lambda _: "| " + " | ".join(steps[position + 1 :]), command)


def with_stand_ins(command: str) -> str:
    for pattern, instead in STAND_INS:
        command = re.sub(pattern, instead.replace("\\", "\\\\"), command)
    return command


def setup_of(command: str, table: tuple[tuple[str, str], ...] = SETUP) -> str:
    found = ""
    for pattern, before in table:
        if re.search(pattern, command):
            found = before
    return found


def allowed(command: str) -> tuple[int, ...]:
    return next((statuses for pattern, statuses in STATUSES.items() if re.search(pattern, command)), (0,))


SHELL = re.compile(r"""[|&;<>$`"*?(){}\\#!\n]|(?<![^\s=:])(~|\[)|^\w+=""")
"""What makes a line mean something else to a shell than the words between its blanks."""


def plain_words(line: str) -> list[str]:
    """Return the words of a line that is one command of jvs without anything for a shell; else nothing."""
    words = shlex.split(line) if not SHELL.search(re.sub(r"'[^']*'", "", line)) else []
    return words if words and words[0] in SCRIPTS else []


def typed_in(where: Path, line: str) -> tuple[int, str]:
    """Type a line; return its status and what it said. A shell is started only for what needs one."""
    words = plain_words(line)
    if words:
        answer = Lab(where).command(*words, cwd=where, stdin="/dev/null")
        return answer.exit, answer.said
    done = shell(f"set -o pipefail\n{line}\n", where)
    return done.returncode, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("jvs history --format '{a} $b' HEAD~1", ["jvs", "history", "--format", "{a} $b", "HEAD~1"]),
        ("jvs try -- sh -c 'a | b'", ["jvs", "try", "--", "sh", "-c", "a | b"]),
        *((f"jvs {rest}", []) for rest in ("a | b", "~/a", "--x=~/a", "$(a)", "*.sh", "'a'*", 'a "b"', "a > b", "[a]")),
        ("A=b jvs status", []),
        ("cd main", []),
    ],
)
def test_a_line_goes_to_a_shell_unless_it_means_only_its_words(line: str, words: list[str]) -> None:
    assert plain_words(line) == words


def examples() -> list:
    found = []
    for name in commands.COMMANDS:
        try:
            module = importlib.import_module(commands.module_of(name))
        except ModuleNotFoundError:  # the test of the pages says which are missing
            continue
        for number, (command, _) in enumerate(module.EXAMPLES, 1):
            found.append(pytest.param(command, id=f"{name}-{number}"))
    return found


@pytest.mark.parametrize("command", examples())
def test_example_of_a_command(command: str, prepared: Path, tmp_path: Path) -> None:
    reason = unavailable(command)
    if reason:
        pytest.skip(reason)
    makes_repository = command.startswith("jvs init")
    where = prepared
    if makes_repository:
        shutil.rmtree(prepared)
        where = tmp_path
    before = setup_of(command)
    line = completed(with_stand_ins(command))
    if before:
        done = shell(f"({before}) > /dev/null", where)
        assert done.returncode == 0, f"{before}\n{done.stderr}"
    status, said = typed_in(where, line)
    assert status in allowed(command), f"{line}\nstatus {status}\n{said}"
    if not makes_repository and not command.startswith("jvs detach"):
        after = [words for pattern, words in AFTERWARDS.items() if re.search(pattern, command)]
        for words in (*after, ("verify", "--all"), ("doctor",)):
            check = making.run("-C", str(where), *words)
            assert check.exit == 0, f"after {line}, {words}:\n{check.text}\n{check.err}"


def literal_blocks(path: Path) -> list[list[str]]:
    """Return the literal displays of an mdoc page, as they are shown."""
    blocks: list[list[str]] = []
    inside = False
    for line in path.read_text().splitlines():
        if line.startswith(".Bd -literal"):
            inside = True
            blocks.append([])
        elif line.startswith(".Ed"):
            inside = False
        elif inside:
            blocks[-1].append(line.replace("\\e", "\\").replace("\\&", ""))
    return blocks


def typed(blocks: list[list[str]]) -> list[str]:
    """Return what is typed in displays: lines behind `$ `, with what goes on behind `> `."""
    found: list[str] = []
    for block in blocks:
        going_on = False
        for line in block:
            if line.startswith("$ "):
                found.append(line[2:])
                going_on = True
            elif line.startswith("> ") and going_on:
                found[-1] += "\n" + line[2:]
            else:
                going_on = False
    return found


def run_session(lines: list[str], where: Path) -> None:
    """Type lines into one shell; the first that fails ends it and is reported."""
    script = ["set -o pipefail"]
    for line in lines:
        reason = unavailable(line)
        if reason:
            script.append(f": left out, {reason}")
            continue
        before = setup_of(line, SESSION_SETUP)
        if before:
            script.append(f"{{ {before}; }}")
        script.append(f"{{ {line}\n}}" if "\n" in line else line)
        script.append(f"[ $? -eq 0 ] || {{ echo {len(script)} >&2; exit 99; }}")
    done = shell("\n".join(script) + "\n", where)
    if done.returncode == 99:
        at = int(done.stderr.split()[-1])
        pytest.fail(f"'{script[at - 1]}' failed\n{done.stdout}\n{done.stderr}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_session_of_a_page(path: Path, prepared: Path, tmp_path: Path) -> None:
    lines = typed(literal_blocks(path))
    assert lines
    where = {"jvs-agents.7": prepared / "main", "jvs-migration.7": tmp_path}.get(path.name, prepared)
    if path.name == "jvs-tutorial.7":
        where = tmp_path / "empty"
        where.mkdir()
    run_session(lines, where)


def test_the_tutorial_is_a_whole_session() -> None:
    lines = typed(literal_blocks(ROOT / "man" / "man7" / "jvs-tutorial.7"))
    words = {" ".join(line.split()[:2]) for line in lines}
    assert lines[0].startswith("jvs init") and len(lines) > 20
    assert {f"jvs {word}" for word in ("snapshot", "restore", "undo", "diff", "verify", "history", "status")} <= words


def readme_blocks() -> list[tuple[str, list[str]]]:
    """Return the fenced blocks of README.md with their languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    return [(language, text.splitlines()) for language, text in found]


def picture() -> Any:
    """Return `contrib/picture`, which runs the sessions of README.md, as a module."""
    loader = importlib.machinery.SourceFileLoader("jvs_picture", str(ROOT / "contrib" / "picture"))
    spec = importlib.util.spec_from_loader("jvs_picture", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def readme_session(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """README.md with the answers that its session gives here, and the home in which it was typed."""
    where = tmp_path_factory.mktemp("you")
    session = picture().Session(str(where), 80, NO_COLOR="1")
    return picture().filled((ROOT / "README.md").read_text(), session), where


def test_session_of_the_readme(readme_session: tuple[str, Path]) -> None:
    """It runs as pasted, assumes nothing, and prints what is shown."""
    shown = (ROOT / "README.md").read_text()
    assert len(typed([block for language, block in readme_blocks() if language == "console"])) > 8
    assert picture().difference(shown, readme_session[0]) is None, "run contrib/picture README.md"


def test_an_answer_in_the_readme_that_is_not_given_is_noticed() -> None:
    shown = (ROOT / "README.md").read_text()
    for was, other in (("2 modified", "3 modified"), ("jvs undo --redo", "jvs redo"), ("Created snapshot", "Made it")):
        assert was in shown
        assert picture().difference(shown, shown.replace(was, other, 1)) is not None
    assert picture().difference(shown, shown + "$ jvs\n") is not None


def test_what_the_readme_says_lies_where_is_there(readme_session: tuple[str, Path]) -> None:
    root = readme_session[1] / "lab"
    block = next(block for _, block in readme_blocks() if any("├──" in line for line in block))
    place, shown = root, []
    for line in block[1:]:
        depth, name = line.index("─"), re.split(r"\s{2,}", line.replace("│", " ").partition("── ")[2])[0]
        place = root / ".jvs" if depth > 2 else root
        shown.append(name)
        pattern = name.rstrip("/").replace("ID", "*").replace("experiment", "experiment*")
        assert list(place.glob(pattern)), f"'{name}' is not in '{place}'"
    assert len(shown) > 6


def test_figures_of_the_readme_are_those_that_were_measured() -> None:
    """Within a third: they are rounded, and another measurement may be a little different."""
    readme = " ".join((ROOT / "README.md").read_text().split())
    said = re.search(
        r"After 10 changed files among 100,000 a snapshot takes ([\d.]+) s on btrfs and ([\d.]+) s on ext4", readme
    )
    assert said is not None
    rows = [row.split(" | ") for row in (ROOT / "contrib/bench/RESULTS.md").read_text().splitlines()]
    for place, figure in (("btrfs", said[1]), ("ext4", said[2]), ("xfs", said[2])):
        measured = next(row[3] for row in rows if row[:3] == [f"| {place}", "W2", "second snapshot"])
        assert 2 / 3 < float(figure) / float(measured.removesuffix(" s")) < 1.5, place


def test_the_badges_are_true() -> None:
    shown = (ROOT / "contrib" / "badges.svg").read_text()
    assert shown == picture().badges(), "run contrib/picture contrib/badges.svg"
    assert f"python 3.11 - 3.{MINOR}" in shown and "license Apache-2.0" in shown


def codes() -> list[str]:
    """Return what README.md shows between backticks, outside of blocks."""
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", text)


def test_options_in_the_readme_exist() -> None:
    wrong, seen = [], 0
    for code in codes():
        words = code.split(" -- ")[0].split()
        names = {" ".join(words[1 : n + 1]) for n in (1, 2)} if words[0] == "jvs" else {words[0].removeprefix("jvs-")}
        name = next(
            (commands.ALIASES.get(n, n) for n in names if commands.ALIASES.get(n, n) in commands.COMMANDS), None
        )
        if name is None:
            continue
        known = importlib.import_module(commands.module_of(name)).build_parser().format_help()
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", " ".join(words)):
            seen += 1
            if option not in known:
                wrong.append(code)
    assert wrong == []
    assert seen > 4


def python_blocks() -> list:
    found = [pytest.param(block, id="README") for language, block in readme_blocks() if language == "python"]
    for path in sorted((ROOT / "man").glob("man[57]/*.[57]")):
        blocks = literal_blocks(path)
        found += [pytest.param(block, id=path.name) for block in blocks if any("import " in line for line in block)]
    return found


@pytest.mark.parametrize("block", python_blocks())
def test_python_of_a_document(block: list[str], prepared: Path, tmp_path: Path) -> None:
    where = tmp_path if any('"lab"' in line for line in block) else prepared
    script = "\n".join(["risky_work = work = lambda: None", *block])
    done = subprocess.run([sys.executable, "-c", script], cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_names_only_what_exists() -> None:
    firsts = {name.split(" ")[0] for name in (*commands.COMMANDS, *commands.ALIASES)}
    wrong = []
    pages = {path.stem.removeprefix("jvs-") for path in (ROOT / "man").glob("man[57]/*")}
    for code in codes():
        words = code.split()
        if words[0] == "jvs" and len(words) > 1 and words[1].islower() and words[1] not in firsts:
            wrong.append(code)
        if words[0].startswith("jvs-") and words[0][4:] not in commands.COMMANDS:
            wrong.append(code)
        if words[:2] == ["jvs", "help"] and words[2:] and words[2] not in {*pages, *commands.COMMANDS, "-a", "COMMAND"}:
            wrong.append(code)
        if re.match(r"(contrib|man|tests|conformance)/", words[0]) and not (ROOT / words[0]).exists():
            wrong.append(code)
    for name, section in re.findall(r"(jvs-[a-z-]+)\(([157])\)", (ROOT / "README.md").read_text()):
        if not (ROOT / "man" / f"man{section}" / f"{name}.{section}").exists():
            wrong.append(name)
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        if not (ROOT / link).exists():
            wrong.append(link)
    assert wrong == []


def test_the_readme_shadows_no_program_of_the_user() -> None:
    """No line puts a virtual environment's directory, which holds python3 and pip, on PATH."""
    text = (ROOT / "README.md").read_text()
    assert not re.search(r"PATH=[^\n]*share/jvs/bin", text)
    links = re.findall(r"ln -sf? (\S+)", text)
    assert links
    assert all(link.rpartition("/")[2] == "jvs*" for link in links)


def test_what_is_unavailable_is_used() -> None:
    lines = [param.values[0] for param in examples()]
    lines += [line for _, block in readme_blocks() for line in block]
    assert [pattern for pattern in UNAVAILABLE if not any(re.search(pattern, line) for line in lines)] == []
