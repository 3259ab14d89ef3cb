"""List the hooks and which of them may run

One line for each hook that is there: its name, whether it may run, the SHA-256 of its content, and where it lies.
Your own hooks always run. Those that lie in the repository run only when you allowed their content (`jvs hooks
allow`); `changed` means that you allowed another one, `unsafe` that others can change it.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class HookItem(TypedDict):
        """One hook, as `--json` prints it; a hook that always runs, or never may, has no SHA-256."""

        hook: str
        origin: str
        state: str
        why: str
        sha256: str | None
        path: str


RAISES = OPENING
SEE_ALSO = ("jvs-hooks-allow(1)", "jvs-hooks-deny(1)", "jvs-config(5)", "jvs-threats(7)")
EXAMPLES = (("jvs hooks list", "what would run here, and what would not"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    return cli.make_parser("hooks list", __doc__, jsonl=True)


def work(args: argparse.Namespace) -> cli.Result:
    """Read the hooks and the permissions."""
    from jvs.store import hooks

    found: list[HookItem] = [
        {
            "hook": hook.name,
            "origin": hook.origin,
            "state": hook.state,
            "why": hook.why,
            "sha256": hook.digest,
            "path": str(hook.path),
        }
        for hook in hooks.list_all(cli.open_store(args))
    ]
    return cli.Result({"hooks": found, "count": len(found)}, lambda _: _text(found), items=found)


def _text(found: list[HookItem]) -> str:
    from jvs.ui.terminal import show_text

    if not found:
        return "No hooks\n"
    return "".join(
        f"{item['hook']:<13}  {item['state']:<11}  {(item['sha256'] or '-')[:16]:<16}  {show_text(item['path'])}\n"
        for item in found
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
