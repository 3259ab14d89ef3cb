"""The man pages: one for every command, up to date, valid, complete, and leading nowhere that does not exist."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from jvs import errors
from jvs.cli import commands
from jvs.engine.options import NAMES
from jvs.fs import metadata
from jvs.gc import tombstone
from jvs.publish import record
from jvs.restore import journal
from jvs.store import audit, descriptor, hooks, intent, layout, records, recovery, settings, worktree

MAN = Path(__file__).resolve().parents[2] / "man"
PAGES = sorted(path for section in (1, 5, 7) for path in (MAN / f"man{section}").glob(f"*.{section}"))
HAND_WRITTEN = [path for path in PAGES if path.suffix != ".1"]
EXPECTED = (
    "jvs-audit.5",
    "jvs-config.5",
    "jvs-format.5",
    "jvs-stream.5",
    "jvs-agents.7",
    "jvs-engines.7",
    "jvs-errors.7",
    "jvs-guides.7",
    "jvs-migration.7",
    "jvs-plumbing.7",
    "jvs-principles.7",
    "jvs-protocol.7",
    "jvs-scale.7",
    "jvs-threats.7",
    "jvs-tutorial.7",
)
OF_THE_SYSTEM = {
    "bash(1)",
    "fish(1)",
    "zsh(1)",
    "chattr(1)",
    "cut(1)",
    "du(1)",
    "flock(2)",
    "gitignore(5)",
    "mv(1)",
    "openat2(2)",
    "read(1)",
    "renameat2(2)",
    "rsync(1)",
    "sha256sum(1)",
    "sudo(8)",
    "syncfs(2)",
    "tar(1)",
    "write(2)",
}

NOT_OURS = (
    "referenced manual not found",  # whether the pages of others are installed, and indexed
    "operating system explicitly specified",  # a rule for the pages of a BSD's own programs
)


def ids(path: Path) -> str:
    return path.name


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@functools.cache
def maker() -> ModuleType:
    """Return man/make.py as a module."""
    pytest.importorskip("argparse_manpage")
    before = dict(os.environ)
    spec = importlib.util.spec_from_file_location("make_man_pages", MAN / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    os.environ.clear()
    os.environ.update(before)
    return module


def names_on(path: Path) -> set[str]:
    """Return the pages that a page refers to, as `name(section)`."""
    text = path.read_text().replace("\\-", "-").replace("\\&", "")
    found = {f"{name}({section})" for name, section in re.findall(r"\.?Xr ([\w-]+) (\d)", text)}
    found |= {f"{name}({section})" for name, section in re.findall(r"^\.BR ([\w-]+) \((\d)\)", text, re.M)}
    return found | set(re.findall(r"jvs[a-z-]*\(\d\)", text.replace("\\fB", "").replace("\\fR", "")))


def test_every_command_has_a_page() -> None:
    missing = [name for name in commands.COMMANDS if not (MAN / "man1" / f"jvs-{name.replace(' ', '-')}.1").exists()]
    assert missing == []


def test_the_hand_written_pages_are_there() -> None:
    assert sorted(path.name for path in HAND_WRITTEN) == sorted(EXPECTED)


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    make = maker()
    monkeypatch.setenv("COLUMNS", "9999")
    status = make.main(["--check"])
    assert status == 0, capsys.readouterr().err


def test_check_notices_a_stale_a_missing_and_a_leftover_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = maker()
    monkeypatch.setenv("COLUMNS", "9999")
    pages = {"jvs.1": make.overview_page(), "jvs-gc.1": make.word_page("gc")}
    make.write(pages, tmp_path)
    assert make.check(pages, tmp_path) == []
    (tmp_path / "jvs.1").write_text("changed")
    (tmp_path / "jvs-gc.1").unlink()
    (tmp_path / "jvs-old.1").write_text("left over")
    assert [line.split(":")[0] for line in make.check(pages, tmp_path)] == ["jvs-gc.1", "jvs.1", "jvs-old.1"]
    make.write(pages, tmp_path)
    assert make.check(pages, tmp_path) == []


def test_a_line_that_begins_like_a_macro_is_shown() -> None:
    make = maker()
    assert make.prose(".jvs is a directory").startswith("\\&.jvs")
    assert make.prose("'word' in quotes") == "\\(aqword\\(aq in quotes"
    assert make.prose("a `--flag` of `jvs`") == "a \\fB\\-\\-flag\\fR of \\fBjvs\\fR"


@pytest.mark.parametrize("name", list(commands.COMMANDS))
def test_the_page_of_a_command_shows_all_that_its_parser_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "9999")
    module = importlib.import_module(commands.module_of(name))
    parser = module.build_parser()
    path = MAN / "man1" / f"jvs-{name.replace(' ', '-')}.1"
    shown = rendered(path)
    assert f"jvs-{name.replace(' ', '-')} - {commands.summary_of(name)}" in shown
    for action in parser._actions:
        if "--help" in action.option_strings or action.help == "==SUPPRESS==":
            continue
        for option in action.option_strings:
            assert option in shown
        if action.help:
            assert squeezed(parser._get_formatter()._expand_help(action)) in shown
    for error in module.RAISES:
        assert f"{error.exit} {error.name}" in shown
    for command, _ in module.EXAMPLES:
        assert squeezed(command) in shown


def squeezed(text: str) -> str:
    return " ".join(text.split())


def rendered(path: Path) -> str:
    """Return a page as plain text, white space squeezed."""
    done = subprocess.run(
        [tool("mandoc"), "-T", "utf8", "-O", "width=1000", str(path)], capture_output=True, text=True, check=True
    )
    return squeezed(re.sub(r".\x08", "", done.stdout))


def test_groff_has_nothing_to_say() -> None:
    for width in ("78n", "118n"):
        command = [tool("groff"), "-ww", f"-rLL={width}", "-mandoc", "-Tutf8", "-z", *map(str, PAGES)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("section", "level"), [("1", "warning"), ("5", "style"), ("7", "style")])
def test_mandoc_finds_no_fault(section: str, level: str) -> None:
    pages = [str(path) for path in PAGES if path.suffix == f".{section}"]
    done = subprocess.run([tool("mandoc"), "-T", "lint", "-W", level, *pages], capture_output=True, text=True)
    faults = [line for line in done.stdout.splitlines() if not any(words in line for words in NOT_OURS)]
    assert faults == []


@pytest.mark.parametrize("section", ["1", "5", "7"])
def test_man_shows_the_pages(section: str) -> None:
    pages = [path for path in PAGES if path.suffix == f".{section}"]
    command = [tool("man"), "-P", "cat", "--warnings=w", "-l", *map(str, pages)]
    environment = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    text = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout.decode())
    assert text.count("\nNAME\n") == text.count("\nSEE ALSO\n") == len(pages)
    for path in pages:
        assert f"\n{path.stem.upper()}({section})" in "\n" + text


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_references_lead_somewhere(path: Path) -> None:
    ours = {f"{page.stem}({page.suffix[1:]})" for page in PAGES}
    assert names_on(path) - ours - OF_THE_SYSTEM == set()


def test_references_to_the_system_are_used() -> None:
    assert OF_THE_SYSTEM - set().union(*(names_on(path) for path in PAGES)) == set()


def test_the_code_refers_to_pages_that_exist() -> None:
    ours = {f"{page.stem}({page.suffix[1:]})" for page in PAGES}
    dead = []
    for directory in ("jvs", "plumbing", "porcelain"):
        for path in sorted((MAN.parent / directory).rglob("*.py")):
            named = set(re.findall(r"\bjvs[a-z-]*\([157]\)", path.read_text()))
            dead += [f"{path.relative_to(MAN.parent)}: {name}" for name in sorted(named - ours)]
    assert dead == []


def test_the_overview_names_every_command() -> None:
    named = names_on(MAN / "man1" / "jvs.1")
    assert {f"jvs-{name.replace(' ', '-')}(1)" for name in commands.COMMANDS} - named == set()
    assert {f"{path.stem}({path.suffix[1:]})" for path in HAND_WRITTEN} - named == set()


def test_the_table_of_errors_is_that_of_the_code() -> None:
    text = (MAN / "man7" / "jvs-errors.7").read_text()
    said = [(name, int(status)) for name, status in re.findall(r"^\.It Sy (E_\w+) Pq exit (\d+)$", text, re.M)]
    assert sorted(said) == sorted((error.name, error.exit) for error in errors.ALL)
    assert said == sorted(said, key=lambda pair: (pair[1], pair[0]))


def test_every_error_has_a_cause_and_a_cure() -> None:
    text = (MAN / "man7" / "jvs-errors.7").read_text()
    for part in re.split(r"^\.It Sy (?=E_)", text, flags=re.M)[1:]:
        name = part.split()[0]
        assert part.count("\nCure:") == 1, name
        assert len(part.split("\n.Pp\nCure:")[0]) > 60, name


def test_all_errors_are_in_the_list_of_all_errors() -> None:
    found = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.JvsError)}
    assert found - {errors.JvsError} == set(errors.ALL)


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = (MAN / "man5" / "jvs-config.5").read_text()
    found = re.findall(r"^\.It Sy ([\w.]+) No \((\w+), (?:no default|default (.*))\)$", text, re.M)
    said = {key: (kind, default.replace("\\(dq", '"') or None) for key, kind, default in found}
    assert said == {key: (row[0], toml_of(row[1])) for key, row in settings.KEYS.items()}


def toml_of(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize("key", [key for key, row in settings.KEYS.items() if row[2]])
def test_the_page_of_settings_names_every_allowed_value(key: str) -> None:
    text = (MAN / "man5" / "jvs-config.5").read_text()
    part = re.split(rf"^\.It Sy {re.escape(key)} No ", text, flags=re.M)[1].split("\n.It Sy")[0].split("\n.El")[0]
    for value in settings.KEYS[key][2] or ():
        assert re.search(rf"(^|[\s,]){re.escape(value)}([\s,]|$)", part, re.M), value


RECORDS = {
    "worktree configuration": worktree.FIELDS,
    "descriptor": descriptor.FIELDS,
    "READY marker": descriptor.READY_FIELDS,
    "intent": intent.FIELDS,
    "pin": records.PIN_FIELDS,
    "tombstone": tombstone.FIELDS,
    "journal of an operation": journal.FIELDS,
}


@pytest.mark.parametrize("kind", list(RECORDS))
def test_the_page_of_the_format_names_every_field(kind: str) -> None:
    text = (MAN / "man5" / "jvs-format.5").read_text()
    assert [field for field in RECORDS[kind] if not re.search(rf"\b{field}\b", text)] == []


def test_the_page_of_the_format_names_every_place() -> None:
    text = (MAN / "man5" / "jvs-format.5").read_text()
    places = [*layout.DIRECTORIES, *layout.PORTABLE, "index.sqlite", "main/", "worktrees/NAME/"]
    assert [place for place in places if place not in text] == []
    migration = (MAN / "man7" / "jvs-migration.7").read_text()
    assert [name for name in layout.PORTABLE if not re.search(rf"\b{name}\b", migration)] == []


def test_the_page_of_the_log_names_every_field_and_operation() -> None:
    text = (MAN / "man5" / "jvs-audit.5").read_text()
    assert [key for key in audit._KEYS if f".It Sy {key}\n" not in text] == []
    named = set(re.findall(r"\w+", " ".join(re.findall(r"^\.It Sy (.*)$", text, re.M))))
    assert set(recovery.HANDLERS) - named == set()


def test_the_page_of_the_protocol_names_every_step() -> None:
    text = (MAN / "man7" / "jvs-protocol.7").read_text().split(".Sh PUBLISH")[1].split(".Ss ")[0]
    named = list(dict.fromkeys(re.findall(r"Xr jvs-([a-z-]+) 1", text)))
    assert named == list(record.STEPS)


def test_the_page_of_settings_names_every_hook() -> None:
    text = (MAN / "man5" / "jvs-config.5").read_text()
    assert [name for name in hooks.NAMES if name not in text] == []


def test_the_page_of_engines_names_every_engine_and_loss() -> None:
    text = (MAN / "man7" / "jvs-engines.7").read_text()
    assert [name for name in NAMES if f".Ss {name}\n" not in text] == []
    losses = re.findall(r"`what` is (.*?)\.", metadata.Losses.add.__doc__ or "")[0]
    assert [what for what in re.split(r", | or ", losses) if f".It Sy {what}\n" not in text] == []


def test_the_wheel_installs_the_pages() -> None:
    import tomllib

    project = tomllib.loads((MAN.parent / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["data-files"]
    assert {f"share/man/man{n}": [f"man/man{n}/*.{n}"] for n in (1, 5, 7)}.items() <= listed.items()
    assert {path.parent.name for path in PAGES} == {"man1", "man5", "man7"}
