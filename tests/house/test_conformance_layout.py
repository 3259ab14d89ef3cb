"""The shape of conformance/: who imports whom, how long things are, whose globals are whose, what is installed."""

from __future__ import annotations

import ast
import fnmatch
import functools
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "conformance"
ORDER = ("supervisor", "lib", "checks torture mutants", "crashmodel interleave", "selftest")
"""The shelves, from the ground up: a module imports from its own shelf and from those below it."""
LINES, FUNCTION_LINES = 400, 60


@functools.cache
def files():
    """Return every Python file of the suite: modules by their dotted names, programs without a suffix by theirs."""
    found = {}
    for path in sorted(SUITE.rglob("*")):
        if path.suffix == ".py":
            found[".".join(path.relative_to(SUITE).with_suffix("").parts)] = path
        elif path.is_file() and "__pycache__" not in path.parts and path.open("rb").readline().startswith(b"#!"):
            found[f"{path.name} (program)"] = path
    return found


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(), str(path))


@functools.cache
def imported(tree):
    """Return every dotted name that an import anywhere in a module may load, in functions and for types as well."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    return names


def graph():
    """Return which modules of the suite each of its modules imports."""
    known = files()
    return {name: {other for other in imported(parsed(path)) if other in known} for name, path in known.items()}


def cycle_in(edges):
    """Return one circle of imports as a list of names, or an empty list."""
    done = set()

    def visit(name, above):
        if name in above:
            return [*above[above.index(name) :], name]
        if name in done:
            return []
        for other in sorted(edges.get(name, ())):
            if found := visit(other, [*above, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := visit(name, []))), [])


def foreign_privates(tree):
    """Return what a module assigns, or reads, of the names with an underscore of another module."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {alias.asname or alias.name for alias in node.names if alias.name.islower()}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{a.name}" for a in node.names if a.name.startswith("_") and a.name != "__path__"]
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            name = ast.unparse(node.args[0])
            found += [f"setattr({name})"] if name in modules else []
        if not (isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")):
            continue
        owner = ast.unparse(node.value)
        if owner.split(".")[0] in modules and owner.split(".")[0] not in sys.stdlib_module_names:
            found.append(ast.unparse(node))
    return found


def test_no_module_imports_one_that_imports_it():
    edges = graph()
    assert sum(map(len, edges.values())) > 100  # the graph is really there
    assert cycle_in(edges) == []


def test_each_shelf_imports_only_what_is_below_it():
    level = {shelf: number for number, shelves in enumerate(ORDER) for shelf in shelves.split()}
    assert {path.name for path in SUITE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(level)
    for name, others in graph().items():
        mine = name.split(".")[0]
        for other in others:
            below = other.split(".")[0]
            assert mine not in level or below == mine or level[below] < level[mine], f"{name} imports {other}"


def test_nothing_of_jvs_is_imported():
    for name, path in files().items():
        assert not [other for other in imported(parsed(path)) if other.split(".")[0] == "jvs"], name


def test_modules_and_functions_are_short():
    for name, path in files().items():
        assert path.read_text().count("\n") <= LINES, name
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < FUNCTION_LINES, f"{name}.{node.name}"


def test_what_begins_with_an_underscore_belongs_to_its_module():
    for name, path in files().items():
        assert foreign_privates(parsed(path)) == [], name


@pytest.mark.parametrize(
    "source",
    [
        "from torture import matrix\nmatrix._runner = 1",
        "import torture.matrix\ntorture.matrix._runner: int = 1",
        "from torture import matrix as m\ndef f():\n    m._runner += 1",
        "from torture import matrix\nsetattr(matrix, '_runner', 1)",
        "from torture.matrix import _runner",
    ],
)
def test_a_foreign_private_name_is_found(source):
    assert foreign_privates(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    ["import b", "def f():\n    import b", "from b import x", "if TYPE_CHECKING:\n    import b", "import_module('b')"],
)
def test_a_circle_is_found_however_the_import_is_written(source):
    assert cycle_in({"a": {"b"} & imported(ast.parse(source)), "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_file_is_installed_in_its_place():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    for path in SUITE.rglob("*"):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        name = str(path.relative_to(ROOT))
        patterns = data.get(f"share/jvs/{path.parent.relative_to(ROOT)}", [])
        assert any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns), name


def test_the_shared_modules_load_alone(tmp_path):
    """Each module can be the first one that is imported: no order of imports is relied upon."""
    names = [name for name in files() if "(" not in name and not name.endswith(("__main__", "standby_server"))]
    wanted = {name.split(".")[0] for path in files().values() for name in imported(parsed(path))}
    code = (
        f"import {', '.join(sorted(wanted & sys.stdlib_module_names))}\n"
        "import importlib, os, sys\nsys.path.insert(0, sys.argv[1])\nsys.pycache_prefix = sys.argv.pop()\n"
        "for name in sys.argv[2:]:\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        importlib.import_module(name); os._exit(0)\n"
        "    assert os.waitpid(pid, 0)[1] == 0, name\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code, SUITE, *names, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_mutant_is_a_patch_of_the_library_as_it_is(monkeypatch):
    """A mutant whose patch does not apply proves nothing, and a run of all mutants is too long to find it soon."""
    monkeypatch.syspath_prepend(str(SUITE))
    judge, edits = (importlib.import_module(f"mutants.{name}") for name in ("judge", "edits"))
    for mutant in importlib.import_module("mutants.wrong_programs").MUTANTS:
        texts = {}
        for edit in mutant.edits:
            text = texts.get(edit.file) or (ROOT / "jvs" / edit.file).read_text()
            change = judge.dropped if isinstance(edit, edits.Drop) else judge.swapped
            texts[edit.file] = change(text, edit)
        for file, text in texts.items():
            compile(text, f"{mutant.name}: {file}", "exec")
