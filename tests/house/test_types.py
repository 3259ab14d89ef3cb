"""The shapes of records, and the checker that holds them: what it must report, and what it cannot see by itself."""

from __future__ import annotations

import ast
import functools
import importlib
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sources
from sources import parsed

from jvs.store.settings import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = sources.group
ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for top in ("jvs", "plumbing", "porcelain") for path in sorted((ROOT / top).rglob("*.py"))]
FREE_FORM = {
    ("jvs/canon.py", "_object"): "any JSON object, while it is parsed",
    ("jvs/canon.py", "path_from_json"): "an object that may be a path, or anything",
    ("jvs/cli/mcp_table.py", "<module>"): "as below",
    ("jvs/cli/mcp_tools.py", "<module>"): "arguments and answers of tools, each with a schema of its own",
    ("jvs/engine/juicefs/control.py", "mount_config"): "what a JuiceFS mount says of itself",
    ("jvs/errors.py", "<module>"): "facts of an error, different for each place that raises it",
    ("jvs/progress.py", "<module>"): "records of the audit log, whose shape is known on a floor above",
    ("jvs/progress.py", "effect"): "as above",
    ("jvs/progress.py", "effects"): "as above",
    ("jvs/repository.py", "history"): "arguments, handed on as they are",
    ("jvs/repository.py", "merge"): "as above",
    ("jvs/repository.py", "snapshot"): "as above",
    ("jvs/operations/agents.py", "<module>"): "settings of another program, which we only add to",
    ("jvs/operations/agent_toml.py", "_parse"): "as above",
    ("jvs/operations/agent_toml.py", "_server"): "as above",
    ("jvs/operations/agent_toml.py", "_checked"): "as above",
    ("jvs/operations/given.py", "settings"): "settings by keyword, before their keys are known",
    ("jvs/store/audit.py", "<module>"): "details of an event, different for each operation",
    ("jvs/store/audit.py", "check_shape"): "an object that may be a record, or anything",
    ("jvs/store/settings.py", "<module>"): "settings of one file: each key has a type of its own",
    ("jvs/store/settings.py", "_flatten"): "a table of TOML that anybody wrote",
    ("jvs/store/settings_file.py", "_put"): "a table of TOML that anybody wrote",
}
"""(file, function) -> why a dictionary there holds anything; every other one has a shape."""
CHECKED = {
    ("jvs.store.descriptor", "FIELDS", "Descriptor"): {
        *("changes", "collected", "meta", "merged", "annotated_at", "annotated_by", "path_changes", "excluded"),
    },
    ("jvs.store.descriptor", "READY_FIELDS", "Ready"): set(),
    ("jvs.store.worktree", "FIELDS", "WorktreeConfig"): {"event_id", "made_as", "merging", "path", "token", "was"},
    ("jvs.store.tries", "FIELDS", "Try"): set(),
    ("jvs.restore.journal", "FIELDS", "Operation"): {"identity", "clock"},
    ("jvs.store.records", "PIN_FIELDS", "Pin"): set(),
    ("jvs.store.records", "ANNOTATION_FIELDS", "Annotation"): set(),
    ("jvs.gc.tombstone", "FIELDS", "Tombstone"): {"version"},
}
"""(module, table of what is checked when a record is read, its shape) -> keys that need not be there."""
INTENTS = {
    "snapshot": ("SnapshotIntent",),
    "gc_run": ("CollectionIntent",),
    "pin": ("PinIntent",),
    "unpin": ("PinIntent",),
    "worktree_rename": ("RenameIntent",),
    "worktree_remove": ("RemoveIntent", "ReturnIntent"),
    "worktree_move": ("PlaceIntent",),
    "worktree_attach": ("PlaceIntent",),
    "undo_forget": ("ForgetIntent",),
    "head_update": ("HeadIntent",),
    "restore": ("RestoreIntent",),
    "undo": ("RestoreIntent",),
    "merge": ("RestoreIntent",),
    "try": ("RestoreIntent",),
    "worktree_create": ("ForkIntent",),
    "worktree_fork": ("ForkIntent",),
    "annotate": ("AnnotateIntent",),
    "receive": ("ReceiveIntent",),
    "config": ("ConfigIntent",),
}
OTHER_KEYS = {
    *("Version", "Meta", "SkipDirMtime", "threading", "jvs.progress", "annotation_sha256"),
    *("hooks", "mcpServers", "command"),
}
"""What `get()` is given that is no key of ours: the configuration of a JuiceFS mount, `sys.modules`, audit details, and
the settings of an agent."""
WRONG = {
    "a key that a record has not": (
        "from jvs.store.descriptor import Descriptor",
        "def f(record: Descriptor) -> object:\n    return record['snapshot']",
        "typeddict-item",
    ),
    "a key that is missing": (
        "from jvs.store.worktree import WorktreeConfig",
        "def f() -> WorktreeConfig:\n    return {'name': 'main'}",
        "typeddict-item",
    ),
    "a value of another type": (
        "from jvs.restore.journal import Operation",
        "def f(record: Operation) -> str:\n    return record['bytes']",
        "return-value",
    ),
    "a particular of another operation": (
        "from jvs.store.shapes import SnapshotIntent",
        "def f(pending: SnapshotIntent) -> list[str]:\n    return pending['candidates']",
        "typeddict-item",
    ),
    "a particular that no intent has": (
        "from jvs.store.shapes import Begun",
        "def f(b: Begun) -> None:\n    from jvs.store import intent\n"
        "    intent.new('pin', None, operation_id='', owner=b['owner'], audit=b['audit'], audit_seq=1, pinned='')",
        "call-arg",
    ),
    "an import for types of what is elsewhere": (
        "from jvs.store.audit import ChainReport",
        "def f(chain: ChainReport) -> None: ...",
        "attr-defined",
    ),
    "an import of a command that is not there": (
        "from jvs.plumbing.hash_tree import no_such_function",
        "f = no_such_function",
        "attr-defined",
    ),
    "a function of a module that has none of that name": (
        "",
        "def f() -> str:\n    from jvs.ui import terminal\n    return terminal.plural(1, 'file')",
        "attr-defined",
    ),
    "a function without types": ("", "def f(x):\n    return x", "no-untyped-def"),
    "an ignore without a code": ("", "x: int = ''  # type: ignore", "ignore-without-code"),
    "an ignore that is not needed": ("", "x: int = 1  # type: ignore[assignment]", "unused-ignore"),
}
"""What the checker must report: import for types, code, error code."""


def shapes(path: Path) -> dict[str, ast.ClassDef]:
    """Return the shapes of records that a module defines: all classes that only the type checker sees."""
    found = {}
    for node in parsed(path).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found |= {item.name: item for item in node.body if isinstance(item, ast.ClassDef)}
    return found


@functools.cache
def all_shapes() -> dict[str, ast.ClassDef]:
    found: dict[str, ast.ClassDef] = {}
    for path in SOURCES:
        for name, node in shapes(path).items():
            assert name not in found, f"{relative(path)}: there is another {name}"
            found[name] = node
    return found


def keys(name: str, known: dict[str, ast.ClassDef]) -> dict[str, str]:
    """Return the keys of a shape and of those that it extends, each with its type as it is written."""
    if name not in known:
        return {}
    found: dict[str, str] = {}
    for base in known[name].bases:
        found |= keys(ast.unparse(base).rpartition(".")[2], known)
    for item in known[name].body:
        if isinstance(item, ast.AnnAssign):
            found[ast.unparse(item.target)] = ast.unparse(item.annotation)
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def free_forms(path: Path) -> set[tuple[str, str]]:
    """Return where a module says of a dictionary that it may hold anything."""
    found: set[tuple[str, str]] = set()

    def visit(node: ast.AST, inside: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = node.name
        if isinstance(node, ast.Subscript) and re.fullmatch(r"\w*([dD]ict|Mapping)\[\w+, Any\]", ast.unparse(node)):
            found.add((relative(path), inside))
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(parsed(path), "<module>")
    return found


def test_dictionaries_that_may_hold_anything_are_the_listed_ones():
    found = {place for path in SOURCES for place in free_forms(path)}
    assert found - FREE_FORM.keys() == set(), "give the record a TypedDict, in the module that writes it"
    assert FREE_FORM.keys() - found == set(), "these have a shape by now: take them off the list"


@pytest.mark.parametrize(("module", "table", "shape"), CHECKED)
def test_what_is_checked_of_a_record_is_its_shape(module, table, shape):
    known = all_shapes()
    found = keys(shape, known)
    checked = set(getattr(importlib.import_module(module), table))
    assert found.keys() - checked == CHECKED[module, table, shape]
    assert checked - found.keys() == set()


def test_what_is_checked_of_an_intent_is_its_shape():
    from jvs.store import intent, recovery

    known = all_shapes()
    assert set(keys("Begun", known) | keys("InWorktree", known)) | {"operation"} == set(intent.FIELDS)
    assert intent.PARTICULARS.keys() == INTENTS.keys()
    for operation, names in INTENTS.items():
        for name in names:
            assert intent.PARTICULARS[operation].keys() <= keys(name, known).keys(), name
    reported = [set(re.findall(r"'(\w+)'", keys(name, known).get("operation", ""))) for name in known]
    assert set().union(*reported) == recovery.HANDLERS.keys(), "each operation has an intent of its own"
    particulars = set().union(*(keys(name, known) for name in known if name.endswith("Intent")))
    assert keys("Particulars", known).keys() == particulars - set(intent.FIELDS)


def test_what_the_steps_learn_is_the_shape_of_the_publish_record():
    from jvs.publish import record

    found = keys("PublishRecord", shapes(ROOT / "jvs/publish/record.py"))
    learned = {key for added in record.LEARNED.values() for key in added}
    assert found.keys() == learned | {"version", "done", "note", "tags", "meta", "merged"}


def names_that_get_is_given(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(parsed(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
            and node.args
        ):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def test_every_get_names_a_key_that_some_record_has():
    # The checker takes any key for get(), and says nothing of one that no record has.
    known = {key for shape in all_shapes().values() for key in keys(shape.name, {shape.name: shape})}
    known |= set(KEYS) | OTHER_KEYS
    odd = [
        f"{relative(path)}:{line}: {name}"
        for path in SOURCES
        for line, name in names_that_get_is_given(path)
        if name not in known and not name.isupper()  # those are of the environment
    ]
    assert odd == []


def test_no_module_escapes_the_checker():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert config["strict"] is True
    assert [entry["module"] for entry in config["overrides"]] == ["tqdm.*"]
    assert not {"exclude", "ignore_errors", "disable_error_code", "follow_imports"} & config.keys()
    for path in SOURCES:
        if not re.search(rb"#\s*(mypy:|type:)", path.read_bytes()):
            continue  # no comment that could be one, and reading every token takes seconds
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                where = f"{relative(path)}:{token.start[0]}"
                if token.type == tokenize.COMMENT:
                    assert not re.match(r"#\s*mypy:", token.string), where
                    if re.match(r"#\s*type:\s*ignore", token.string):
                        assert re.match(r"# type: ignore\[[a-z-]+\]", token.string), (
                            f"{relative(path)}:{token.start[0]}"
                        )


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Return what the checker says of the library and of one wrong module for each kind of mistake."""
    mypy = Path(sys.executable).with_name("mypy")
    if not mypy.exists() and shutil.which("mypy") is None:
        pytest.skip("mypy is not installed: it comes with the extra 'dev'")
    root = tmp_path_factory.mktemp("checkout")
    for top in ("jvs", "plumbing", "porcelain"):
        shutil.copytree(ROOT / top, root / top, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for number, (needed, code, _) in enumerate(WRONG.values()):
        types = f"TYPE_CHECKING = False\nif TYPE_CHECKING:\n    {needed or 'pass'}\n"
        text = f"from __future__ import annotations\n\n{types}\n\n{code}\n"
        (root / "jvs" / "store" / f"wrong{number}.py").write_text(text)
    environment = {**os.environ, "JVS_TYPES_ROOT": str(root), "PATH": f"{mypy.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [ROOT / "contrib/types", "--no-error-summary"], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", WRONG)
def test_the_checker_reports(reported, kind):
    number, code = list(WRONG).index(kind), WRONG[kind][2]
    lines = [line for line in reported.split("\n") if f"jvs/store/wrong{number}.py:" in line]
    assert any(f"[{code}]" in line for line in lines), lines


def test_the_checker_finds_nothing_in_the_library(reported):
    assert [line for line in reported.split("\n") if line and "jvs/store/wrong" not in line] == []
