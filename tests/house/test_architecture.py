"""The layers, held by reading the source: who may import what, and who may touch the world."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import sources
from sources import parsed

pytestmark = sources.group
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "ARCHITECTURE.md"
GROUND = "ground"
TOP = {"operations", "repository"}
"""Modules at the top of the library that stand on everything; all others there are the ground floor."""
MOST_MODULES_AT_THE_TOP = 12
MOST_LINES, MOST_FUNCTION_LINES = 400, 60


def table() -> dict[str, set[str]]:
    """Return package -> packages that it may import, as the table of the page says."""
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").split("\n"):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            allowed = {word.strip() for word in cells[2].split(",")}
            for name in re.findall(r"`(?:jvs/)?([a-z*]+)(?:\.py|/)", cells[0]):
                rows[GROUND if name == "*" else name] = allowed
    return rows


def modules() -> dict[str, Path]:
    """Return every module of the library by its name without `jvs.`."""
    found = {}
    for path in sorted((ROOT / "jvs").rglob("*.py")):
        parts = path.relative_to(ROOT / "jvs").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name and path.stat().st_size > 0:  # the __init__ of a package is empty
            found[name] = path
    return found


def commands() -> dict[str, Path]:
    """Return every command module by its import name."""
    return {
        f"jvs.{kind}.{path.stem}": path
        for kind in ("plumbing", "porcelain")
        for path in sorted((ROOT / kind).glob("*.py"))
        if path.stem != "__init__"
    }


def package_of(name: str) -> str:
    """Return the row of the table that a module of the library belongs to."""
    first, _, rest = name.partition(".")
    return first if rest or first in TOP else GROUND


def running(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what runs: all nodes but those that only type checkers read."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            todo.extend(ast.iter_child_nodes(node))


def imported(nodes: Iterable[ast.AST], known: set[str]) -> set[str]:
    """Return the modules of jvs that nodes import, by the names in `known`."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            base = node.module or ""
            found |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    names = {name[4:] for name in found if name.startswith("jvs.")}
    return {name for name in names if name in known or name.split(".")[0] in ("plumbing", "porcelain")}


def calls(nodes: Iterable[ast.AST]) -> list[tuple[str, int]]:
    """Return every attribute that is used, as `module.name`, and every call of a bare name."""
    found = []
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.append((f"{node.value.id}.{node.attr}", node.lineno))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.append((node.func.id, node.lineno))
    return found


def test_the_table_has_every_package_and_no_other():
    on_disk = {path.parent.name for path in (ROOT / "jvs").glob("*/__init__.py")}
    assert set(table()) - {"repository", GROUND, "plumbing", "porcelain"} == on_disk


def test_few_modules_are_at_the_top():
    assert len(list((ROOT / "jvs").glob("*.py"))) - 1 <= MOST_MODULES_AT_THE_TOP


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_what_the_table_allows(name):
    own = package_of(name)
    allowed = table()[own] | {own, GROUND}
    others = imported(ast.walk(parsed(modules()[name])), set(modules()))
    wrong = sorted(other for other in others if package_of(other) not in allowed)
    assert wrong == [], f"jvs.{name} may import {sorted(allowed)} (ARCHITECTURE.md)"


def test_no_modules_import_each_other():
    """Neither directly nor round a corner, neither inside a function nor for types."""
    known = set(modules())
    arrows = {name: imported(ast.walk(parsed(path)), known) & known for name, path in modules().items()}
    while leaves := [name for name, below in arrows.items() if not below & set(arrows)]:
        for name in leaves:
            del arrows[name]
    assert sorted(arrows) == [], "these import each other"


def test_the_library_never_imports_commands():
    wrong = [
        (name, other)
        for name, path in modules().items()
        for other in imported(ast.walk(parsed(path)), set())
        if other.split(".")[0] in ("plumbing", "porcelain")
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_never_imports_a_command(name):
    wrong = {
        other
        for other in imported(ast.walk(parsed(commands()[name])), set())
        if other.split(".")[0] in ("plumbing", "porcelain")
    }
    assert wrong == set()


CHANGE = {"publish", "restore", "worktrees", "gc", "engine"}
LOCK = {"store.changing", "store.recovery", "store.settings_file", "store.init", "fs.locks", "fs.durable"}


@pytest.mark.parametrize("name", sorted(name for name in commands() if name.startswith("jvs.porcelain.")))
def test_a_command_for_people_changes_things_through_operations_only(name):
    others = imported(running(parsed(commands()[name])), set(modules()))
    assert sorted(other for other in others if package_of(other) in CHANGE or other in LOCK) == []


def test_the_api_changes_things_through_operations_only():
    others = imported(running(parsed(modules()["repository"])), set(modules()))
    assert sorted(other for other in others if package_of(other) in CHANGE or other in LOCK) == []


def test_engines_and_records_never_import_each_other():
    known = set(modules())
    records = {
        "store.records",
        "store.descriptor",
        "store.intent",
        "store.worktree",
        "store.audit",
        "store.lineage",
        "store.refs",
    }
    for name, path in modules().items():
        used = imported(running(parsed(path)), known)
        if name == "engine" or name.startswith("engine."):
            assert not used & records, name
        if name in records:
            assert not any(other.startswith("engine") for other in used), name


def test_conformance_never_imports_jvs():
    for path in sorted((ROOT / "conformance").rglob("*.py")):
        names = [
            name
            for node in ast.walk(parsed(path))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        ]
        assert not [name for name in names if name.split(".")[0] == "jvs"], path


REMOVES = {
    *("os.rename", "os.renames", "os.replace", "os.unlink", "os.remove", "os.rmdir", "os.removedirs"),
    *("os.fsync", "os.fdatasync", "os.sync"),
    *("shutil.rmtree", "shutil.move", "shutil.copytree", "shutil.copyfile", "shutil.copy2"),
}
READS_TIME = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.sleep", "time.perf_counter"),
    *("os.urandom", "random.random", "random.choice", "secrets.token_hex", "uuid.uuid4", "datetime.now"),
}
PROCESSES = {
    *("subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output", "subprocess.check_call"),
    *("os.system", "os.popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawnv", "os.execv", "os.execvp"),
    *("os.execve", "os.execvpe", "os.execl", "pty.spawn"),
}
SPEAKS = {
    *("print", "input", "exit", "quit", "sys.exit", "os._exit", "sys.argv", "sys.stdout", "sys.stderr", "sys.stdin"),
    *("os.environ", "os.environb", "os.getenv", "os.putenv", "os.get_terminal_size"),
}
ALLOWED = {
    "what removes, renames and syncs": (REMOVES, {"fs.durable", "fs.removal"}),
    "what reads time and randomness": (READS_TIME, {"clock", "engine.juicefs.control"}),
    "what starts processes": (
        PROCESSES,
        {
            *("engine.juicefs.client", "store.hooks", "cli.dispatch", "tree.parallel", "ui.terminal"),
            *("tree.workers", "cli.difftool", "operations.programs", "fs.namespace"),
        },
    ),
    "what prints, exits and reads the environment": (
        SPEAKS,
        {
            *("cli.run", "cli.output", "cli.streams", "cli.dispatch", "engine.juicefs.control", "tree.parallel"),
            *("fs.namespace", "tree.workers"),
        },
    ),
}
"""Rule -> names, modules of the library that may use them. `cli.dispatch` hands an unknown word to a program on PATH;
`ui.terminal` runs the pager for a command, `cli.difftool` what compares directories; `operations.programs`
what a user asks for; `fs.namespace` tries in a child
that does nothing else whether it may have a namespace; `tree.parallel` and `tree.workers` fork helpers, which end
themselves;
`engine.juicefs.control` is run as a program of its own, which imports nothing of jvs by then."""


@pytest.mark.parametrize("rule", ALLOWED)
def test_only_its_own_module_does_it(rule):
    names, allowed = ALLOWED[rule]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {used}"
        for name, path in modules().items()
        if name not in allowed
        for used, line in calls(running(parsed(path)))
        if used in names
    ]
    assert wrong == []


COMMANDS_MAY = {
    "jvs.plumbing.with_lock": PROCESSES,
    "jvs.porcelain.help": PROCESSES,
    "jvs.porcelain.conformance_run": PROCESSES,
    "jvs.porcelain.conformance_list": PROCESSES,
    "jvs.porcelain.torture": PROCESSES,
}


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_touches_disk_clock_and_processes_through_the_library(name):
    banned = (REMOVES | READS_TIME | PROCESSES) - COMMANDS_MAY.get(name, set())
    banned |= {"print", "input", "exit", "quit", "sys.exit", "os._exit"}
    wrong = [f"{line}: {used}" for used, line in calls(ast.walk(parsed(commands()[name]))) if used in banned]
    assert wrong == [], f"{commands()[name].relative_to(ROOT)}"


def test_no_star_imports_no_relative_imports_no_asserts_on_input():
    for name, path in {**modules(), **commands()}.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}:{node.lineno}"
                assert all(alias.name != "*" for alias in node.names), f"{name}:{node.lineno}"


def test_no_module_is_called_a_drawer():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "lib"}
    assert not {name.split(".")[-1] for name in modules()} & drawers


def test_no_module_and_no_function_is_too_long_to_be_read_at_once():
    long = []
    for name, path in {**modules(), **commands()}.items():
        lines = len(path.read_text(encoding="utf-8").split("\n")) - 1
        if lines > MOST_LINES:
            long.append(f"{name}: {lines} lines")
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    long.append(f"{name}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_no_two_classes_have_the_same_name():
    """A name that stands for two things has to be looked up at each use."""
    found: dict[str, list[str]] = {}
    for name, path in modules().items():
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def test_every_module_has_a_docstring_and_postponed_annotations():
    for name, path in {**modules(), **commands()}.items():
        tree = parsed(path)
        assert ast.get_docstring(tree), name
        first = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        assert first, f"{name} lacks 'from __future__ import annotations'"


def test_every_public_function_and_class_has_a_docstring():
    missing = []
    for name, path in {**modules(), **commands()}.items():
        for node in parsed(path).body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                missing.append(f"{name}.{node.name}")
    assert missing == []


def test_every_function_is_annotated():
    missing = []
    for name, path in {**modules(), **commands()}.items():
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in args if a.annotation is None and a.arg not in ("self", "cls")]
            if bare or node.returns is None:
                missing.append(f"{name}:{node.lineno} {node.name} {bare}")
    assert missing == []


def test_packages_are_listed_as_they_are_on_disk():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    below = {path.parent for path in (ROOT / "jvs").rglob("__init__.py")}
    found = {".".join(path.relative_to(ROOT).parts) for path in below} | {"jvs.plumbing", "jvs.porcelain"}
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_the_version_is_said_once():
    import tomllib

    import jvs

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == jvs.__version__
    assert sys.version_info >= (3, 11)
