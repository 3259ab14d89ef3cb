"""What a person sees: quoting, widths, ages, sizes, the pager, progress bars."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys

import pytest

from jvs import clock, units
from jvs.ui import terminal
from jvs.ui.terminal import Reporter, Terminal

PLAIN = Terminal(color=False, width=80, tty=False)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"a b", "a b"),
        ("süß".encode(), "süß"),
        (b"a\nb", '"a\\nb"'),
        (b'say "x"', '"say \\"x\\""'),
        (b"back\\slash", '"back\\\\slash"'),
        (b"\xff\x00", '"\\377\\000"'),
        ("ü\t".encode(), '"ü\\t"'),
    ],
)
def test_quote_path_is_one_line_and_reversible(path, shown):
    assert terminal.quote_path(path) == shown


def test_show_text_escapes_control_characters_so_that_a_note_cannot_paint():
    assert terminal.show_text("a\x1b[31mb\rc") == "a\\x1b[31mb\\rc"
    assert terminal.show_text("plain ü") == "plain ü"


def test_columns_counts_wide_and_combining_characters():
    assert terminal.columns("abc") == 3
    assert terminal.columns("日本") == 4
    assert terminal.columns("e\u0301") == 1
    assert terminal.pad("日本", 6) == "日本  "
    assert terminal.pad("x", 3, right=True) == "  x"


@pytest.mark.parametrize("width", range(12))
def test_cut_never_exceeds_the_width(width):
    for text in ("a long line of text", "日本語のテキスト", "short"):
        assert terminal.columns(terminal.cut(text, width)) <= width
        assert terminal.columns(terminal.cut_left(text, width)) <= width


def test_cut_left_keeps_the_end():
    assert terminal.cut_left("some/long/path/file.txt", 12) == ".../file.txt"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s ago"),
        (89, "89 s ago"),
        (90, "1 min ago"),
        (5400, "1 h ago"),
        (129599, "35 h ago"),
        (129600, "1 day ago"),
        (200000, "2 days ago"),
        (-5, "in the future"),
    ],
)
def test_age_names_the_unit_that_says_most(seconds, shown, monkeypatch):
    monkeypatch.setattr(clock, "now_ns", lambda: 10**18)
    assert terminal.age(10**18 - seconds * 10**9) == shown


def test_size_and_plural():
    assert [units.size(n) for n in (0, 1023, 1024, 5 << 20)] == ["0 B", "1023 B", "1.0 KiB", "5.0 MiB"]
    assert units.plural(1, "entry", "entries") == "1 entry"
    assert units.plural(2, "entry", "entries") == "2 entries"


def test_paint_leaves_bytes_alone_without_colour():
    assert PLAIN.paint("x", "red") == "x"
    assert PLAIN.paint_bytes(b"\xff", "red") == b"\xff"
    color = Terminal(color=True, width=80, tty=True)
    assert color.paint_bytes(b"\xff", "red") == b"\x1b[31m\xff\x1b[0m"


def test_short_text_is_not_paged(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((80, 24)))
    rest = terminal.page_stream(iter([b"one\n", b"two\n"]), {"PATH": os.environ["PATH"], "PAGER": "sed p"})
    assert rest is not None
    assert b"".join(rest) == b"one\ntwo\n"


def test_long_text_goes_through_the_pager_while_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((80, 5)))
    seen = tmp_path / "seen"
    environment = {"PATH": os.environ["PATH"], "JVS_PAGER": f"tee {seen} >/dev/null"}
    lines = (b"%d\n" % i for i in range(100))
    assert terminal.page_stream(lines, environment) is None
    assert seen.read_bytes() == b"".join(b"%d\n" % i for i in range(100))


def test_a_pager_that_leaves_early_is_no_error(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((80, 5)))
    environment = {"PATH": os.environ["PATH"], "JVS_PAGER": "head -c 1 >/dev/null"}
    assert terminal.page_stream((b"x" * 100_000 + b"\n" for _ in range(100)), environment) is None


def test_an_error_while_paging_ends_the_pager_and_is_raised(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((80, 3)))

    def lines():
        yield b"1\n2\n3\n4\n"
        raise ValueError("broken in the middle")

    environment = {"PATH": os.environ["PATH"], "JVS_PAGER": "cat - >/dev/null"}
    with pytest.raises(ValueError, match="in the middle"):
        terminal.page_stream(lines(), environment)


@pytest.mark.parametrize("pager", ["", "cat", "no-such-pager-anywhere -x"])
def test_without_a_pager_everything_is_handed_back(pager):
    rest = terminal.page_stream(iter([b"x\n"] * 500), {"PATH": os.environ["PATH"], "PAGER": pager})
    assert rest is not None
    assert len(b"".join(rest)) == 1000


def test_bars_come_after_a_second_even_for_few_slow_steps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    stream = io.StringIO()
    reporter = Reporter("jvs x", trace=False, bars=True, stream=stream)
    reporter.advance("verify", 1, 3, "snapshots")
    assert stream.getvalue() == ""
    now[0] += 2
    reporter.advance("verify", 1, 3, "snapshots")
    reporter.close()
    assert "verify" in stream.getvalue()


def test_no_bars_when_they_are_off():
    stream = io.StringIO()
    reporter = Reporter("jvs x", trace=False, bars=False, stream=stream)
    for _ in range(1000):
        reporter.advance("hash", 1 << 20, None, "bytes")
    assert stream.getvalue() == ""


def test_importing_terminal_imports_nothing_heavy():
    code = (
        "import sys, jvs.ui.terminal; "
        "print([m for m in ('tqdm','subprocess','shutil','unicodedata') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
