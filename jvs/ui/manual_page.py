"""A page of the manual as plain text, for systems without man(1): the macros of man(7) and mdoc(7) that our pages use.

Source: groff_man(7), mdoc(7).
"""

from __future__ import annotations

import re
import shlex
import textwrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_STEP = 4
_MARGIN = 4
_CHARACTERS = {"aq": "'", "dq": '"', "ti": "~", "ha": "^", "ga": "`", "rs": "\\", "en": "-", "em": "--", "bu": "-"}
_ESCAPES = re.compile(r"\\(?:f\[[^]]*\]|f.|\((..)|\[([^]]*)\]|(.))")
_PLAIN = frozenset({"Sy", "Em", "Pa", "Ar", "Li", "Cm", "Ev", "Er", "Dv", "Ic", "Va", "No", "Sx", "Nm"})
_QUOTES = {"Dq": ('"', '"'), "Sq": ("'", "'"), "Ql": ("'", "'"), "Pq": ("(", ")"), "Bq": ("[", "]"), "Qq": ('"', '"')}
_OPENED = {"Po": "(", "So": "'", "Do": '"', "Oo": "["}
_CLOSED = {"Pc": ")", "Sc": "'", "Dc": '"', "Oc": "]"}
_AFTER, _BEFORE = frozenset(".,:;)]?!"), frozenset("([")
_IGNORED = frozenset({"TH", "Dd", "Dt", "Os", "ad", '\\"', "", "hy", "nh", "sp", "in", "ft", "Ed", "fi"})


def _plain(text: str) -> str:
    """Return text without escapes of roff."""

    def meaning(found: re.Match[str]) -> str:
        named = found.group(1) or found.group(2)
        if named is not None:
            return _CHARACTERS.get(named, "?")
        return {"-": "-", "e": "\\", " ": "\u00a0", "~": "\u00a0", "\\": "\\"}.get(found.group(3) or "", "")

    return _ESCAPES.sub(meaning, text)


def _words(line: str) -> list[str]:
    """Return the arguments of a macro; double quotes hold one together."""
    try:
        lexer = shlex.shlex(line, posix=True)
        lexer.whitespace_split, lexer.quotes, lexer.escape, lexer.commenters = True, '"', "", ""
        return list(lexer)
    except ValueError:
        return line.split()


class _Inline:
    """Joins the words of mdoc macros, with blanks where they belong. Shape: `text` so far."""

    def __init__(self) -> None:
        self.text = ""
        self._glue = True

    def add(self, word: str) -> None:
        """Add a word as it is."""
        if not self._glue and word not in _AFTER and self.text:
            self.text += " "
        self.text += word
        self._glue = word in _BEFORE

    def glued(self, word: str) -> None:
        """Add something without a blank before it."""
        self.text += word

    def take(self, words: list[str], name: str) -> None:
        """Add the words of a line, macros among them."""
        i = 0
        while i < len(words):
            word, i = words[i], i + 1
            if word in _QUOTES:
                end = len(words)
                while end > i and words[end - 1] in _AFTER:
                    end -= 1
                inner = _Inline()
                inner.take(words[i:end], name)
                self.add(_QUOTES[word][0] + inner.text + _QUOTES[word][1])
                i = end
            elif word in _OPENED:
                self.add(_OPENED[word])
                self._glue = True
            elif word in _CLOSED:
                self.glued(_CLOSED[word])
                self._glue = False
            elif word == "Ns":
                self._glue = True
            elif word == "Xr" and i + 1 < len(words):
                self.add(f"{words[i]}({words[i + 1]})")
                i += 2
            elif word == "Fl":
                dashes = "-"
                while words[i : i + 1] == ["Fl"]:  # a long option
                    dashes, i = dashes + "-", i + 1
                option = words[i] if i < len(words) and words[i] not in _PLAIN else ""
                self.add(dashes + _plain(option))
                i += bool(option)
            elif word == "Nm" and (i >= len(words) or words[i] in _AFTER):
                self.add(name)
            elif word not in _PLAIN:
                self.add(_plain(word))


class _Page:
    """Reads a page line by line. Shape: `out` are the lines of text so far."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.out: list[str] = []
        self._text: list[str] = []
        self._indent = _MARGIN
        self._first = ""
        self._lists: list[tuple[str, bool, int, int]] = []
        self._shifts: list[int] = []
        self._literal = False
        self._label_follows = False
        self._name = ""
        self._acts: dict[str, Callable[[list[str]], None]] = {
            **dict.fromkeys(("Sh", "SH"), self._section),
            **dict.fromkeys(("Ss", "SS"), self._subsection),
            **dict.fromkeys(("Pp", "PP", "P", "LP"), self._paragraph),
            **dict.fromkeys(("Bd", "nf"), self._begin_literal),
            "RS": lambda words: self._shift(_STEP),
            "RE": lambda words: self._shift(-_STEP),
            "TP": lambda words: self._begin_item(),
            "br": lambda words: self._flush(),
            "Bl": self._begin_list,
            "It": self._item,
            "El": self._end_list,
            "Nd": lambda words: self._text.append("- " + _plain(" ".join(words))),
        }

    def line(self, line: str) -> None:
        """Read one line of the source."""
        if self._literal and not re.match(r"\.(Ed|fi)\b", line):
            self.out.append((" " * (self._indent + _STEP) + _plain(line)).rstrip())
            return
        self._literal = False
        if not line.startswith("."):
            self._say(_plain(line))
            return
        macro, _, rest = line[1:].partition(" ")
        words = _words(rest)
        if macro in self._acts:
            self._acts[macro](words)
        elif macro in _IGNORED or macro.startswith("\\"):
            return
        elif re.fullmatch("[BIR][BIR]", macro):
            self._say(_plain("".join(words)))
        elif macro in ("B", "I", "SM"):
            self._say(_plain(" ".join(words)))
        else:
            if macro == "Nm" and words and not self._name:
                self._name = words[0]
            inline = _Inline()
            inline.take([macro, *words], self._name)
            self._say(inline.text)

    def end(self) -> str:
        """Return the page."""
        self._flush()
        text = "\n".join(self.out).replace("\u00a0", " ").strip("\n")
        return re.sub(r"\n{3,}", "\n\n", text) + "\n"

    def _say(self, text: str) -> None:
        if self._label_follows:
            self._label_follows = False
            self._flush()
            self.out += self._wrapped(text, self._indent - _STEP)
        else:
            self._text.append(text)

    def _wrapped(self, text: str, indent: int, first: str = "") -> list[str]:
        begin = " " * (indent - len(first)) + first
        return textwrap.wrap(
            text, max(self.width, indent + 20), initial_indent=begin, subsequent_indent=" " * indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip

    def _flush(self) -> None:
        text = ""
        for part in self._text:
            glued = not text or part in _AFTER or part.startswith(")") or text[-1] in _BEFORE
            text += part if glued else " " + part
        self._text = []
        if text:
            self.out += self._wrapped(text, self._indent, self._first)
            self._first = ""

    def _blank(self) -> None:
        self._flush()
        if self.out and self.out[-1]:
            self.out.append("")

    def _section(self, words: list[str]) -> None:
        self._blank()
        self._indent, self._lists, self._shifts = _MARGIN, [], []
        self.out.append(_plain(" ".join(words)))

    def _subsection(self, words: list[str]) -> None:
        self._blank()
        self._indent, self._lists = _MARGIN, []
        self.out.append("  " + _plain(" ".join(words)))

    def _paragraph(self, words: list[str]) -> None:
        self._blank()
        if not self._lists and not self._shifts:
            self._indent = _MARGIN

    def _begin_literal(self, words: list[str]) -> None:
        self._blank()
        self._literal = True

    def _shift(self, by: int) -> None:
        self._flush()
        if by > 0:
            self._shifts.append(self._indent)
            self._indent += by
        elif self._shifts:
            self._indent = self._shifts.pop()

    def _begin_item(self) -> None:
        self._blank()
        base = self._shifts[-1] + _STEP if self._shifts else _MARGIN
        self._indent = base + _STEP
        self._label_follows = True

    def _begin_list(self, words: list[str]) -> None:
        self._flush()
        kind = next((word for word in words if word.startswith("-") and word != "-compact"), "-item")
        self._lists.append((kind, "-compact" in words, 0, self._indent))

    def _item(self, words: list[str]) -> None:
        self._flush()
        if not self._lists:
            return
        kind, compact, count, indent = self._lists.pop()
        if not compact and kind != "-column":
            self._blank()
        self._lists.append((kind, compact, count + 1, indent))
        inline = _Inline()
        inline.take([word for word in words if word != "Ta"], self._name)
        if kind == "-column":
            cells = " ".join(words).replace(" Ta ", "\t").split("\t")
            self.out.append(" " * indent + "  ".join(f"{_cell(cell):<14}" for cell in cells).rstrip())
        elif kind in ("-tag", "-hang", "-ohang"):
            self.out += self._wrapped(inline.text, indent)
            self._indent = indent + _STEP
        elif kind == "-item":
            self._indent = indent
        else:
            self._first = f"{count + 1}. " if kind == "-enum" else "- "
            self._indent = indent + _STEP

    def _end_list(self, words: list[str]) -> None:
        self._flush()
        if self._lists:
            self._indent = self._lists.pop()[3]


def _cell(text: str) -> str:
    inline = _Inline()
    inline.take(_words(text), "")
    return inline.text


def render(source: str, width: int) -> str:
    """Return a page as text, at most `width` columns wide where its words allow that."""
    page = _Page(width)
    for line in source.splitlines():
        page.line(line)
    return page.end()
