"""What is read in the sources: every `Source:` label names a page that exists and a section that is in it.

And no test measures free space where others write.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = re.compile(r"^(?P<page>[a-z0-9_./-]+)\((?P<section>[1-9])\)(?P<rest>.*)$", re.S)
FREE = re.compile(r"^(steps? [0-9]+|--[a-z-]+)")
"""What may follow a section or a page without being a heading: a step of the protocol, an option."""


def headings() -> dict[str, set[str]]:
    """Return page -> headings in lower case, for all pages of jvs."""
    return {
        f"{path.stem}({path.suffix[1:]})": {
            match.strip('"').lower().replace("\\-", "-")
            for match in re.findall(r"^\.S[hsHS] (.+)$", path.read_text(encoding="utf-8"), re.M)
        }
        for path in (ROOT / "man").glob("man[1-9]/*.[1-9]")
    }


def labels() -> list[tuple[str, str]]:
    """Return (file, text after `Source:`) of every docstring."""
    found = []
    for path in sorted(p for kind in ("jvs", "plumbing", "porcelain") for p in (ROOT / kind).rglob("*.py")):
        for docstring in re.findall(r'"{3}(.*?)"{3}', path.read_text(encoding="utf-8"), re.S):
            if "Source: " in docstring:
                text = docstring.partition("Source: ")[2].split("\n\n")[0]
                label = re.split(r"\n\s*[A-Z][a-z]+: ", text)[0]
                found.append((str(path.relative_to(ROOT)), " ".join(label.split()).rstrip(".")))
    return found


def problems(label: str, known: dict[str, set[str]]) -> list[str]:
    """Return what a label names that does not exist; pages of other programs are not looked up."""
    wrong = []
    for part in label.split("; "):
        page = None
        for item in re.split(r", (?:and )?| and (?=[A-Z][a-z])", part):
            match = PAGE.match(item)
            if match:
                page = f"{match['page']}({match['section']})"
                if page.startswith("jvs") and page not in known:
                    wrong.append(f"there is no page {page}")
            elif page in known and not FREE.match(item) and item.lower() not in known[page]:
                wrong.append(f"{page} has no section '{item}'")
    return wrong


@pytest.mark.parametrize(("file", "label"), labels())
def test_a_source_exists(file, label):
    assert problems(label, headings()) == []


def test_the_check_can_fail():
    known = {"jvs-format(5)": {"index"}}
    assert problems("jvs-format(5), Index; fork(2), Whatever", known) == []
    assert problems("jvs-format(5), Speed", known) == ["jvs-format(5) has no section 'Speed'"]
    assert problems("jvs-formats(5)", known) == ["there is no page jvs-formats(5)"]


ASKS_WHAT_IS_FREE = re.compile(r"\.f_b(?:free|avail)\b")
HAS_ITS_OWN = re.compile(r"\bown_fs\b|own_filesystem|\"mount\", \"-o\", \"loop\"")


def asks_a_shared_filesystem(source: str) -> bool:
    """Answer whether a test measures free space where other tests write in the same moment."""
    return bool(ASKS_WHAT_IS_FREE.search(source)) and not HAS_ITS_OWN.search(source)


def test_free_space_is_measured_on_a_filesystem_of_its_own():
    files = [file for file in Path(__file__).parents[1].rglob("test_*.py") if file != Path(__file__)]
    assert [file.name for file in files if asks_a_shared_filesystem(file.read_text())] == []


def test_the_rule_on_free_space_can_fail():
    assert asks_a_shared_filesystem("os.statvfs(fs_at('xfs'))" + ".f_bfree")
    assert not asks_a_shared_filesystem("own_fs('xfs')" + ".f_bfree")
