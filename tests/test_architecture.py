"""The layers, held by reading the source: who may import what, and who may touch the world."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    "errors cli.commands",
    "names clock",
    "progress ui.terminal",
    "canon fs.paths store.layout fs.listing ui.template gc.retention",
    "fs.durable fs.locks",
    "tree.node fs.copyfile tree.hasher tree.rows tree.index tree.builder tree.prune tree.parallel tree.racy tree.scan tree.hash_source fs.metadata store.records store.settings "
    "tree.path_filter",
    "engine.base engine.btrfs.engine engine.btrfs.cleaner engine.btrfs.search engine.juicefs.completeness engine.juicefs.control engine.copier "
    "engine.copy engine.hardlinks engine.juicefs.engine engine.juicefs.attempt engine.juicefs.client engine.juicefs.mount "
    "engine.juicefs.repair engine.reflink engine.juicefs.survey engine.target engine.juicefs.writers",
    "restore.delta restore.entries restore.hardlinks restore.replace restore.resume restore.apply",
    "store.descriptor store.worktree store.intent store.audit store.audit_check store.anchor",
    "store.recovery store.store store.settings_file",
    "store.lineage store.refs store.node_store gc.pins store.init restore.journal compare.listing store.worktree_scan worktrees.registration gc.tombstone gc.reach gc.roots",
    "publish.steps publish.record publish.payload worktrees.heads check.verify compare.changes compare.diff compare.status gc.plan compare.history compare.graph store.hooks restore.plan store.tamper_check",
    "restore.run worktrees.fork worktrees.move gc.run gc.remove ui.run_text",
    "worktrees.undo check.findings check.structure check.debris check.consistency",
    "ui.history_text ui.fields ui.diff_text ui.patch ui.status_text ui.restore_text ui.show_text ui.verify_text ui.info_text cli.manual",
    "check.doctor ui.doctor_text repository cli.suites",
    "cli.completion cli.completion_bash cli.completion_fish",
    "cli.dispatch cli.arguments cli.output",
    "cli.run",
    "cli.pipeline",
)
"""Modules of `jvs`, lowest first. A module imports from its own row and the rows above it on this page."""


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


def rank() -> dict[str, int]:
    return {name: i for i, row in enumerate(LAYERS) for name in row.split()}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def running(tree: ast.Module) -> ast.Module:
    """Return the tree without what only type checkers read."""

    class Drop(ast.NodeTransformer):
        def visit_If(self, node: ast.If):
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                return None
            return self.generic_visit(node)

    return Drop().visit(tree)


def imported(tree: ast.AST, known: set[str]) -> set[str]:
    """Return the modules of jvs that a tree imports, by the names in `known`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            base = node.module or ""
            found |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    names = {name[4:] for name in found if name.startswith("jvs.")}
    return {name for name in names if name in known or name.split(".")[0] in ("plumbing", "porcelain")}


def calls(tree: ast.AST) -> list[tuple[str, int]]:
    """Return every attribute that is used, as `module.name`, and every call of a bare name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.append((f"{node.value.id}.{node.attr}", node.lineno))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.append((node.func.id, node.lineno))
    return found


def test_every_module_has_its_layer():
    unplaced = sorted(set(modules()) - set(rank()))
    assert unplaced == [], f"give these a row in LAYERS: {unplaced}"


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_from_its_own_layer_and_those_below(name):
    ranks = rank()
    wrong = {
        other
        for other in imported(running(parsed(modules()[name])), set(modules()))
        if ranks.get(other, 99) > ranks.get(name, -1)
    }
    assert wrong == set(), f"jvs.{name} imports {sorted(wrong)} from a layer above it"


def test_the_library_never_imports_commands():
    wrong = [
        (name, other)
        for name, path in modules().items()
        for other in imported(parsed(path), set())
        if other.split(".")[0] in ("plumbing", "porcelain")
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_never_imports_a_command(name):
    wrong = {
        other for other in imported(parsed(commands()[name]), set()) if other.split(".")[0] in ("plumbing", "porcelain")
    }
    assert wrong == set()


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
    for path in sorted((ROOT / "conformance").glob("*.py")):
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
    "what removes, renames and syncs": (REMOVES, {"fs.durable"}),
    "what reads time and randomness": (READS_TIME, {"clock", "engine.juicefs.control"}),
    "what starts processes": (
        PROCESSES,
        {"engine.juicefs.client", "store.hooks", "cli.dispatch", "tree.parallel", "ui.terminal"},
    ),
    "what prints, exits and reads the environment": (
        SPEAKS,
        {"cli.run", "cli.output", "cli.dispatch", "engine.juicefs.control", "tree.parallel"},
    ),
}
"""Rule -> names, modules of the library that may use them. `cli.dispatch` hands an unknown word to a program on PATH;
`ui.terminal` runs the pager for a command; `tree.parallel` forks helpers, which end themselves; `engine.juicefs.control` is run as a
program of its own, which imports nothing of jvs by then."""


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
    "jvs.porcelain.run": PROCESSES,
    "jvs.porcelain.help": PROCESSES,
    "jvs.porcelain.conformance_run": PROCESSES,
    "jvs.porcelain.conformance_list": PROCESSES,
    "jvs.porcelain.torture": PROCESSES,
}


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_touches_disk_clock_and_processes_through_the_library(name):
    banned = (REMOVES | READS_TIME | PROCESSES) - COMMANDS_MAY.get(name, set())
    banned |= {"print", "input", "exit", "quit", "sys.exit", "os._exit"}
    wrong = [f"{line}: {used}" for used, line in calls(parsed(commands()[name])) if used in banned]
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
