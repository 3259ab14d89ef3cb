"""What a walk leaves out: the name at the root of a worktree that jvs keeps for itself, and what a user excludes.

Rules are those of gitignore(5), relative to the root of the worktree. What they exclude is neither captured nor
touched, with all that is below it; a rule that begins with `!` takes an entry back, if no directory above is excluded.
Source: jvs-config(5), What is excluded; jvs-format(5), Worktree configuration.
"""

from __future__ import annotations

import os
import stat

from jvs.errors import UsageError
from jvs.fs import listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

RESERVED = b".jvs"
"""No payload holds an entry of this name at its root: in a worktree it is the control directory, or leads to it."""
CACHE_TAG = b"CACHEDIR.TAG"
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""How such a file begins. Source: https://bford.info/cachedir/."""
_MEMORY = 100_000


class Exclusion:
    """Says of the entries of a tree which are left out.

    Shape: `names` are left out of the root; `rules` are lines of gitignore(5); with `caches` also directories that
    say that they are caches. Errors: E_USAGE for a rule that means nothing.
    """

    def __init__(
        self, rules: list[str] | None = None, *, caches: bool = False, names: frozenset[bytes] = frozenset({RESERVED})
    ) -> None:
        self.names = names
        self.rules = list(rules or ())
        self.caches = caches
        self._matches = _compile(self.rules) if self.rules else None
        self._last = _LastNames(self.rules)
        self._by_name = not any("/" in rule.rstrip("/") for rule in self.rules)
        self._known: dict[tuple[bytes, bool], bool] = {}

    @property
    def has_rules(self) -> bool:
        """Whether a user excludes anything."""
        return bool(self.rules) or self.caches

    def drops(self, path: bytes, *, is_dir: bool) -> bool:
        """Answer whether the rules leave an entry out, when the directories that lead to it are not."""
        if path in self.names:
            return True
        if self._matches is None or not self._last.may_fit(path.rpartition(b"/")[2]):
            return False
        key = (path.rpartition(b"/")[2] if self._by_name else path, is_dir)
        known = self._known.get(key)
        if known is None:
            if len(self._known) > _MEMORY:
                self._known.clear()
            known = self._known[key] = self._matches(key[0], is_dir)
        return known

    def drops_any(self, path: bytes, *, is_dir: bool) -> bool:
        """Answer whether the rules leave an entry out, or a directory above it."""
        parts = path.split(b"/")
        above = (b"/".join(parts[:depth]) for depth in range(1, len(parts)))
        return any(self.drops(one, is_dir=True) for one in above) or self.drops(path, is_dir=is_dir)

    def points(self, points: list[str], root: str) -> list[str]:
        """Return the mount points below a directory that the rules do not leave out."""
        prefix = os.path.realpath(root).rstrip("/") + "/"
        return [p for p in points if not self.drops_any(os.fsencode(p.removeprefix(prefix)), is_dir=os.path.isdir(p))]

    def leaves_out(self, fd: int, path: bytes, st: os.stat_result) -> bool:
        """Answer whether an entry of an open directory is left out, when that directory is not."""
        is_dir = stat.S_ISDIR(st.st_mode)
        return self.drops(path, is_dir=is_dir) or (self.caches and is_dir and _is_cache(fd, path.rpartition(b"/")[2]))

    def rest(
        self, fd: int, path: bytes, names: list[bytes], stats: list[os.stat_result]
    ) -> tuple[list[bytes], list[os.stat_result]]:
        """Return the names and stats of the entries of an open directory without those that are left out."""
        if not self.has_rules:
            if path or self.names.isdisjoint(names):
                return names, stats
            kept = [i for i, name in enumerate(names) if name not in self.names]
        else:
            may_fit, caches, reserved = self._last.may_fit, self.caches, () if path else self.names
            dropped = {
                i
                for i, name in enumerate(names)
                if (caches or may_fit(name) or name in reserved)
                and self.leaves_out(fd, listing.relative(path, name), stats[i])
            }
            if not dropped:
                return names, stats
            kept = [i for i in range(len(names)) if i not in dropped]
        return [names[i] for i in kept], [stats[i] for i in kept]

    def find(self, fd: int, path: bytes = b"") -> Iterator[bytes]:
        """Yield the topmost paths in an open directory, which is at `path` of the tree, that are left out."""
        names, stats = listing.list_dir(fd)
        for name, st in zip(names, stats, strict=True):
            below = listing.relative(path, name)
            if self.leaves_out(fd, below, st):
                yield below
            elif stat.S_ISDIR(st.st_mode) and self.has_rules:  # else only names at the root are
                try:
                    child = paths.open_dir(name, fd)
                except OSError:  # gone meanwhile, or not ours to read: the walk itself will say
                    continue
                try:
                    yield from self.find(child, below)
                finally:
                    os.close(child)


class _LastNames:
    """The last names that rules can fit, to tell most entries apart from them without matching."""

    def __init__(self, rules: list[str]) -> None:
        self._any = False
        self._names: set[bytes] = set()
        suffixes = []
        for rule in rules:
            last = rule.removeprefix("!").rstrip("/").rpartition("/")[2].encode("utf-8", "surrogateescape")
            rest = last.removeprefix(b"*")
            if not last or any(c in rest for c in b"*?[\\"):
                self._any = True
            elif rest != last:
                suffixes.append(rest)
            else:
                self._names.add(last)
        self._suffixes = tuple(suffixes)

    def may_fit(self, name: bytes) -> bool:
        """Answer whether some rule may fit an entry of this name; False is certain."""
        return self._any or name in self._names or name.endswith(self._suffixes)


def _is_cache(fd: int, name: bytes) -> bool:
    """Answer whether a directory holds the file that marks a cache."""
    try:
        child = paths.open_dir(name, fd)
    except OSError:
        return False
    try:
        tag = paths.open_file(CACHE_TAG, child)
        try:
            return os.read(tag, len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
        finally:
            os.close(tag)
    except OSError:
        return False
    finally:
        os.close(child)


def _whole(text: str) -> str:
    """Return an expression that fits whole paths for one of pathspec's, which may fit the beginning of a path only."""
    whole = text if text.startswith("^") else ".*" + text
    whole = whole + ".+" if whole.endswith("/") else whole
    return whole.replace("(?P<ps_d>/)", "/")


def _compile(rules: list[str]) -> Callable[[bytes, bool], bool]:
    """Return what answers for one path whether it is excluded; the last rule that fits decides.

    Each path is matched as a whole: what is below an excluded directory is never asked for.
    """
    import re

    from pathspec import GitIgnoreSpec

    groups: list[tuple[bool, list[str]]] = []
    for shown in rules:
        rule = shown.encode("utf-8", "surrogateescape").decode("latin-1")  # names are bytes, and `?` is one of them
        try:
            # Source: gitignore(5): `a/**/` are the directories below a, and not a.
            pattern = GitIgnoreSpec.from_lines([rule + "*/" if rule.endswith("/**/") else rule]).patterns[0]
        except (ValueError, IndexError) as error:
            raise UsageError(
                f"the rule '{shown}' for what is excluded is not valid", hint="see gitignore(5)"
            ) from error
        if pattern.include is None or pattern.regex is None:
            continue
        text = _whole(pattern.regex.pattern)
        if not groups or groups[-1][0] != pattern.include:
            groups.append((pattern.include, []))
        groups[-1][1].append(f"(?:{text})")
    deciding: list[tuple[bool, re.Pattern[str]]] = [
        (include, re.compile("|".join(texts), re.DOTALL)) for include, texts in reversed(groups)
    ]

    def matches(path: bytes, is_dir: bool) -> bool:
        text = path.decode("latin-1").replace("\n", "\x01") + ("/" if is_dir else "")
        return next((include for include, pattern in deciding if pattern.fullmatch(text)), False)

    return matches
