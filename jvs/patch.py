"""The long forms of a difference: bars that fit the screen, and unified patches of small text files.

Source: jvs-diff(1); patch(1).
"""

from __future__ import annotations

from jvs import diff, terminal, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jvs.diff import Change, Diff
    from jvs.terminal import Terminal
    from jvs.tree import Entry

PATCH_LIMIT_BYTES = 512 << 10
NARROW_COLUMNS = 60
_BAR_COLORS = {"+": "green", "-": "red", "~": "yellow"}
_LINE_COLORS = {b"+": "green", b"-": "red", b"@": "cyan"}


def show_change(change: Change) -> str:
    """Return the path of a change for people; a directory ends with a slash, a rename shows both paths."""
    text = terminal.show_path(change.path) + ("/" if change.is_dir and change.path != b"." else "")
    if change.what == diff.RENAMED:
        return f"{terminal.show_path(change.old_path)} -> {text}"
    return text


def touched(change: Change) -> dict[str, int]:
    """Return the bytes that a change added (`+`), removed (`-`) and wrote anew (`~`), as far as sizes tell."""
    old = change.old[3] if change.old is not None and change.old[1] == walk.FILE else 0
    new = change.new[3] if change.new is not None and change.new[1] == walk.FILE else 0
    same = change.old is not None and change.new is not None and change.old[4] == change.new[4]
    if change.is_dir or same:
        return {}
    return {"~": min(old, new), "+": max(new - old, 0), "-": max(old - new, 0)}


def show_sizes(change: Change) -> str:
    """Return what happened to the size: `1.0 KiB`, `1.0 KiB -> 2.0 KiB`, or what else of the entry changed."""
    old, new = change.old, change.new
    if change.is_dir and change.what != diff.MODIFIED:
        return "directory"
    if old is None or new is None:
        entry = change.entry
        return terminal.size(entry[3]) if entry[1] == walk.FILE else walk.KIND_NAMES[entry[1]]
    how = change.how()
    if "kind" in how:
        return f"{walk.KIND_NAMES[old[1]]} -> {walk.KIND_NAMES[new[1]]}"
    if "content" in how and new[1] == walk.FILE:
        sizes = [terminal.size(old[3]), terminal.size(new[3])]
        return sizes[1] if sizes[0] == sizes[1] else " -> ".join(sizes)
    if "mode" in how:
        return f"mode {old[2]:04o} -> {new[2]:04o}"
    return ", ".join(how) or "moved"


def stat_lines(found: Diff, screen: Terminal) -> Iterator[str]:
    """Yield a line with a bar for each change; the longest bar fills what the screen leaves."""
    rows = [(show_change(change), show_sizes(change), touched(change)) for change in found.changes]
    if not rows:
        return
    if screen.width < NARROW_COLUMNS:
        rows = [(name, sizes.rsplit(" -> ")[-1], counts) for name, sizes, counts in rows]
    size_width = max(terminal.columns(sizes) for _, sizes, _ in rows)
    bar_width = max(min(screen.width // 4, 40), 4)
    name_width = max(terminal.columns(name) for name, _, _ in rows)
    name_width = max(min(name_width, screen.width - size_width - bar_width - 5), 4)
    most = max(sum(counts.values()) for _, _, counts in rows) or 1
    for name, sizes, counts in rows:
        shown = terminal.pad(terminal.cut_left(name, name_width), name_width)
        signs = bar(counts, most, bar_width, screen)
        yield f" {shown} | {terminal.pad(sizes, size_width, right=True)} {signs}".rstrip()


def bar(counts: dict[str, int], most: int, width: int, screen: Terminal) -> str:
    """Return a bar of signs, in proportion to `most`; whatever is not nothing shows at least one sign."""
    lengths = {sign: max(round(count * width / most), 1) for sign, count in counts.items() if count}
    while sum(lengths.values()) > width and max(lengths.values()) > 1:
        longest = max(lengths, key=lambda sign: lengths[sign])
        lengths[longest] -= 1
    return "".join(screen.paint(sign * length, _BAR_COLORS[sign]) for sign, length in lengths.items())


def summary(counts: dict[str, int]) -> str:
    """Return `1 added, 2 modified`, or `no differences`."""
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no differences"


def patch_chunks(found: Diff, screen: Terminal) -> Iterator[bytes]:
    """Yield unified patches of the text files, in the form that patch(1) takes with -p1; others are named."""
    before = diff.reader_of(found.before, PATCH_LIMIT_BYTES)
    after = diff.reader_of(found.after, PATCH_LIMIT_BYTES)
    for change in found.changes:
        if change.is_dir:
            continue
        a, b = (_label(side, path) for side, path in ((b"a/", change.old_path), (b"b/", change.path)))
        head = [b"diff " + a + b" " + b]
        if change.what == diff.RENAMED:
            head += [
                b"rename from " + terminal.quote_path(change.old_path).encode(),
                b"rename to " + terminal.quote_path(change.path).encode(),
            ]
        if change.old is not None and change.new is not None and change.old[2] != change.new[2]:
            head += [b"old mode %04o" % change.old[2], b"new mode %04o" % change.new[2]]
        yield screen.paint_bytes(b"\n".join(head), "bold") + b"\n"
        if change.old is None or change.new is None or change.old[4] != change.new[4] or change.old[1] != change.new[1]:
            old = _content(change.old, change.old_path, before)
            new = _content(change.new, change.path, after)
            yield from _body(change, a, b, old, new, screen)


def _label(prefix: bytes, path: bytes) -> bytes:
    return terminal.quote_path(prefix + path).encode("utf-8")


def _content(entry: Entry | None, path: bytes, read: Callable[[bytes], bytes | None]) -> bytes | None:
    """Return what a patch can show of an entry: nothing for one that is not there, None for what is no small text."""
    if entry is None:
        return b""
    if entry[1] != walk.FILE or entry[3] > PATCH_LIMIT_BYTES:
        return None
    data = read(path)
    return None if data is None or b"\0" in data else data


def _body(
    change: Change, a: bytes, b: bytes, old: bytes | None, new: bytes | None, screen: Terminal
) -> Iterator[bytes]:
    import difflib

    if old is None or new is None:
        yield b"Binary or large files differ: " + show_sizes(change).encode("utf-8") + b"\n"
        return
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        _split(old),
        _split(new),
        a if change.old is not None else b"/dev/null",
        b if change.new is not None else b"/dev/null",
    )
    for line in lines:
        text = line.rstrip(b"\n")
        color = "bold" if text[:3] in (b"+++", b"---") else _LINE_COLORS.get(text[:1], "")
        yield (screen.paint_bytes(text, color) if color else text) + b"\n"
        if not line.endswith(b"\n"):
            yield b"\\ No newline at end of file\n"


def _split(data: bytes) -> list[bytes]:
    """Split at line feeds only, as patch(1) does; a carriage return is content."""
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
