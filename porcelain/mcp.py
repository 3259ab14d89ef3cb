"""Serve the tools of a workspace to an agent

Speaks the Model Context Protocol on stdin and stdout until stdin ends; needs the extra `jvs[mcp]`. The tools are
snapshot, restore, undo, status, diff, history and fork, of the worktree around DIR. What agents send are values,
never options; answers are bounded and say how to get the rest; failures are errors with their class and hint.
Nothing that a tool does loses what was in the workspace: undo brings it back.
"""

from __future__ import annotations

import argparse
import os

from jvs import __version__
from jvs.cli import run as cli
from jvs.errors import OPENING, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jvs.cli.mcp_tools import Tools

RAISES = (*OPENING, NotFound)
SEE_ALSO = ("jvs-run(1)", "jvs-undo(1)", "jvs-agents(7)", "jvs-errors(7)")
EXAMPLES = (("jvs mcp --repo ~/lab < /dev/null", "see that it starts"),)
INSTRUCTIONS = "Versions of this workspace. Take a snapshot before a risky step; restore or undo if it fails."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    return cli.make_parser("mcp", __doc__)


def work(args: argparse.Namespace) -> cli.Result:
    """Serve until stdin ends."""
    directory = os.path.join(cli.here(), args.repo or ".")
    args.repo = None  # here it is the workspace, or any directory in it
    cli.open_store(args, directory).close()
    try:
        from mcp.server.lowlevel import Server
    except ImportError as error:
        raise NotFound(f"the MCP SDK cannot be used: {error}", hint="install it: pip install 'jvs[mcp]'") from error
    import anyio

    from jvs.cli import mcp_tools

    tools = mcp_tools.Tools(directory, os.environ, overrides=args.overrides, wait=args.wait)
    anyio.run(_serve, Server, tools)
    return cli.Result()


async def _serve(kind: Any, tools: Tools) -> None:
    """Answer requests one at a time: tools change files, and what they change must not be changed by two at once."""
    from mcp.server.stdio import stdio_server

    server = _second(kind, tools) if hasattr(kind, "add_request_handler") else _first(kind, tools)
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


def _second(kind: Any, tools: Tools) -> Any:
    """Return a server of the SDK's second major version."""
    types = _types()

    async def list_tools(context: Any, request: Any) -> Any:
        return types.ListToolsResult(tools=_described())

    async def call_tool(context: Any, request: Any) -> Any:
        return _answer(tools, request.name, request.arguments)

    return kind("jvs", version=__version__, instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool)


def _first(kind: Any, tools: Tools) -> Any:
    """Return a server of the SDK's first major version, which takes handlers by the type of their request."""
    types = _types()

    async def list_tools(request: Any) -> Any:
        return types.ServerResult(types.ListToolsResult(tools=_described()))

    async def call_tool(request: Any) -> Any:
        return types.ServerResult(_answer(tools, request.params.name, request.params.arguments))

    server = kind("jvs", version=__version__, instructions=INSTRUCTIONS)
    server.request_handlers[types.ListToolsRequest] = list_tools
    server.request_handlers[types.CallToolRequest] = call_tool
    return server


def _types() -> Any:
    """Return the module of types: keywords differ between the SDK's versions, the protocol's names do not."""
    import importlib

    return importlib.import_module("mcp.types")


def _described() -> list[Any]:
    types = _types()

    from jvs.cli import mcp_table

    return [
        types.Tool.model_validate(
            {
                "name": tool.name,
                "description": tool.text,
                "inputSchema": tool.schema(),
                "annotations": {
                    "readOnlyHint": tool.read_only,
                    "destructiveHint": tool.destructive,
                    "openWorldHint": False,
                },
            }
        )
        for tool in mcp_table.TOOLS.values()
    ]


def _answer(tools: Tools, name: str, arguments: Mapping[str, object] | None) -> Any:
    types = _types()

    answer, failed = tools.call(name, arguments)
    text = cli.json_bytes(answer, indent=None).decode("utf-8")
    return types.CallToolResult.model_validate({"content": [{"type": "text", "text": text}], "isError": failed})


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
