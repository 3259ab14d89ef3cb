"""Show what differs between snapshots, or from the files now

Without FROM: the two most recent snapshots of this worktree's line. With FROM: that snapshot against the files of the
worktree as they are now. With FROM and TO: the two snapshots. Directories are descended only where their digests
differ, and no file is read that did not change. A file that vanished in one place and came up in another with the
same content is shown as renamed. Files of the worktree are compared by owner, mtime, all attributes and hard links as
well (see jvs-status(1)), two snapshots by what their hash covers. PATHs or patterns (`'*.py'`) after `--` limit it
to them and what lies below; one that neither side has is an error.

`git apply` makes the tree of TO from that of FROM and a patch: names, content, links, and whether a file may be
executed. Binaries and texts of more than 512 KiB are literals, which a terminal does not show. Other bits of modes,
owners, attributes and empty directories have no place in a git patch. With --json it is in `patch`, and where it is
not UTF-8 also in `patch_b64`.

--tool hands two directories to a program of yours. A snapshot is shown read-only, in a mount namespace that only that
program sees; where the system allows none, the program gets a copy. The files now are the worktree itself.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, NoSpace, PayloadHashMismatch, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.compare.diff import Diff
    from jvs.store.store import Store
    from jvs.ui.terminal import Terminal

RAISES = (*NAMING, PayloadHashMismatch, NoSpace)
SEE_ALSO = ("jvs-status(1)", "jvs-history(1)", "jvs-restore(1)", "jvs-diff-tree(1)")
EXAMPLES = (
    ("jvs diff", "what the newest snapshot changed"),
    ("jvs diff LATEST", "what changed in the files since then"),
    ("jvs diff baseline LATEST --stat", "two snapshots, with bars"),
    ("jvs diff HEAD~1 --patch -- src", "line by line, below src"),
    ("jvs diff HEAD~1 HEAD --tool 'diff -rq'", "two snapshots, by another program"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("diff", __doc__, jsonl=True, zero=True)
    parser.add_argument("source", metavar="FROM", nargs="?", help="the snapshot to begin with")
    parser.add_argument("target", metavar="TO", nargs="?", help="the snapshot to end with (the files now)")
    parser.add_argument("path", metavar="PATH", nargs="*", help="after '--': only these paths or patterns")
    parser.add_argument("--paths", metavar="P", action="append", default=[], help="only this path; repeatable")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--stat", action="store_true", help="sizes, and bars that fit the screen")
    form.add_argument("--name-only", action="store_true", help="paths only, quoted like C text when they are odd")
    form.add_argument("--name-status", action="store_true", help="a letter (A, D, M, R), a TAB, the path")
    form.add_argument("-p", "--patch", action="store_true", help="a patch that 'git apply' takes")
    form.add_argument("--tool", metavar="CMD", help="run CMD with the directories of both, and end with its status")
    parser.add_argument("--exit-code", action="store_true", help="exit 3 when something differs")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Compare, and show it in the form that was asked for."""
    from jvs.operations import looking

    if args.tool is not None:
        return _tool(args)
    if args.zero and not (args.name_only or args.name_status):
        args.name_status = not (args.json or args.jsonl)
    store = cli.open_store(args)
    words = [*args.paths, *args.path]
    paths = cli.worktree_paths(store, args.worktree, words)
    found = looking.diff(store, args.source, args.target, args.worktree, paths=paths)
    code = 3 if args.exit_code and found.changes else 0
    if args.json or args.jsonl:
        value = {**found.as_json(), **(_patch_json(found) if args.patch else {})} if args.json else None
        return cli.Result(value, items=found.items(), exit=code)
    return cli.Result(None, lambda screen: _text(store, found, args, screen), exit=code, pager=not args.zero)


def _tool(args: argparse.Namespace) -> cli.Result:
    from jvs.cli import difftool

    if args.paths or args.path:
        raise UsageError("--tool compares whole directories", hint="leave the paths out")
    return cli.Result(exit=difftool.run(cli.open_store(args), args.tool, args.source, args.target, args.worktree))


def _patch_json(found: Diff) -> dict[str, str]:
    """Return the patch for `--json`. Shape: `patch`; where it is not UTF-8 also `patch_b64`, the exact bytes."""
    import base64

    from jvs.ui import patch, terminal

    data = b"".join(patch.patch_chunks(found, terminal.Terminal(color=False, width=80, tty=False)))
    text = data.decode("utf-8", "backslashreplace")
    exact = {} if text.encode() == data else {"patch_b64": base64.b64encode(data).decode("ascii")}
    return {"patch": text, **exact}


def _text(store: Store, found: Diff, args: argparse.Namespace, screen: Terminal) -> str | bytes:
    from jvs.store import refs
    from jvs.ui import diff_text, patch

    if args.patch:
        return b"".join(patch.patch_chunks(found, screen))
    if args.name_only or args.name_status:
        return diff_text.names(found.changes, zero=args.zero, letters=args.name_status)
    return diff_text.overview(found, refs.ShortIds.among_all(store.layout), screen, stat=args.stat)


def main(argv: list[str] | None = None) -> int:
    """Run the command; what comes after `--` is a path, even where a snapshot could be."""
    return cli.run(build_parser(), work, cli.with_paths(argv))
