"""The ways to ask for an operation: a command, the Python API, `jvs run`, and the tools of the MCP server."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from making import run as jvs

from jvs import Repository
from jvs.errors import JvsError


class Failed(Exception):
    """An operation that failed; `name` is the class of the failure."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Command:
    """The commands, in this process."""

    def __init__(self, root: Path, **settings: str) -> None:
        self.options = ["-C", str(root), "--json", *(w for k, v in settings.items() for w in ("-c", f"{k}={v}"))]

    def _ask(self, *words: str) -> Any:
        said = jvs(*self.options, *words)
        if said.exit:
            raise Failed(said.error["class"])
        return said.json

    def snapshot(self, note: str, **options: Any) -> str:
        tags = [word for tag in options.get("tags", ()) for word in ("--tag", tag)]
        return self._ask("snapshot", *tags, *(["--if-changed"] if options.get("if_changed") else []), "-m", note)[
            "snapshot_id"
        ]

    def restore(self, target: str, paths: list[str] | None = None) -> None:
        self._ask("restore", target, *(["--", *paths] if paths else []))

    def undo(self) -> None:
        self._ask("undo")

    def fork(self, name: str, target: str) -> str:
        return self._ask("worktree", "fork", target, name)["path"]


class Api:
    """The class `Repository`."""

    def __init__(self, root: Path, **settings: str) -> None:
        wait = {"wait": float(settings.pop("wait"))} if "wait" in settings else {}
        self.repo = Repository.open(
            root, environment=os.environ, **{k.replace(".", "_"): v for k, v in settings.items()}, **wait
        )

    def _ask(self, work: Any, *args: Any, **more: Any) -> Any:
        try:
            return work(*args, **more)
        except JvsError as error:
            raise Failed(error.name) from error

    def snapshot(self, note: str, **options: Any) -> str:
        return self._ask(self.repo.snapshot, note, **options)["snapshot_id"]

    def restore(self, target: str, paths: list[str] | None = None) -> None:
        self._ask(self.repo.restore, target, paths=paths)

    def undo(self) -> None:
        self._ask(self.repo.undo)

    def fork(self, name: str, target: str) -> str:
        return self._ask(self.repo.fork, target, name)["path"]


class Run(Command):
    """`jvs run`, which takes snapshots and restores on its way; what it does not do is asked of the commands."""

    def snapshot(self, note: str, **options: Any) -> str:
        tags = [word for tag in options.get("tags", ()) for word in ("--tag", tag)]
        words = [word for word in self.options if word != "--json"]  # which wants a stderr that a process can have
        said = jvs(*words, "run", "--note", note, *tags, "--", "true")
        if said.exit:
            raise Failed(re.findall(r"E_[A-Z_]+", said.err)[0])
        return said.text.split()[-1]


class Mcp:
    """The tools of the MCP server, as the server calls them."""

    def __init__(self, root: Path, **settings: str) -> None:
        from jvs.cli import mcp_tools

        overrides = [f"{key}={value}" for key, value in settings.items() if key != "wait"]
        wait = float(settings["wait"]) if "wait" in settings else None
        self.tools = mcp_tools.Tools(str(root), os.environ, overrides=overrides, wait=wait)

    def _ask(self, name: str, /, **arguments: Any) -> Any:
        answer, failed = self.tools.call(name, arguments)
        json.dumps(answer)
        if failed:
            raise Failed(answer["error"]["class"])
        return answer["result"]

    def snapshot(self, note: str, **options: Any) -> str:
        return self._ask("snapshot", note=note, **{"if_changed": False, **options})["snapshot_id"]

    def restore(self, target: str, paths: list[str] | None = None) -> None:
        self._ask("restore", target=target, paths=paths or [])

    def undo(self) -> None:
        self._ask("undo")

    def fork(self, name: str, target: str) -> str:
        return self._ask("fork", name=name, snapshot=target)["path"]


CALLERS = {"command": Command, "api": Api, "run": Run, "mcp": Mcp}
