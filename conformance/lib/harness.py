"""What every check gets: the program to judge, a fresh directory, isolation, and methods for what must be true."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib import odd_files, oracle
from lib.places import worktree_dir as worktree_dir
from lib.reader import Repo, read_repository
from lib.records import ID
from lib.treehash import DIR, hash_tree
from lib.violations import Expect

if TYPE_CHECKING:
    import argparse

    from supervisor.standby import Standby


def bin_directory(parser: argparse.ArgumentParser, given: str | None) -> str:
    """Return the directory of the programs to judge: the given one, or that of `jvs` on PATH; ends with 2 without."""
    program = shutil.which("jvs") if given is None else os.path.join(given, "jvs")
    if program is None or not os.access(program, os.X_OK):
        parser.error(f"there is no program '{program or 'jvs'}': name its directory with --bin")
    return os.path.dirname(os.path.abspath(program))


def fast_directory() -> str | None:
    """Return a memory filesystem to work in, or None: then tempfile's own choice."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


class Failure(AssertionError):
    """A promise that does not hold."""


class Skip(Exception):
    """A check that cannot run here, and why."""


@dataclass
class Result:
    """How one command ended."""

    argv: list[str]
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "backslashreplace")

    @property
    def errors(self) -> str:
        return self.err.decode("utf-8", "backslashreplace")

    def json(self) -> Any:
        """Return stdout as one JSON document."""
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise Failure(f"{self}: stdout is not one JSON document: {error}") from error

    def error(self) -> dict[str, Any]:
        """Return the error object that `--json` puts on stderr."""
        lines = [line for line in self.errors.splitlines() if line.strip()]
        for start in range(len(lines)):
            try:
                value = json.loads("\n".join(lines[start:]))
            except ValueError:
                continue
            if isinstance(value, dict) and isinstance(value.get("error"), dict):
                found: dict[str, Any] = value["error"]
                return found
        raise Failure(f"{self}: stderr holds no error object")

    def __str__(self) -> str:
        shown = " ".join(word if word and " " not in word else repr(word) for word in self.argv)
        return f"`{shown}` exit {self.code}\n  stdout: {_short(self.text)}\n  stderr: {_short(self.errors)}"


def _short(text: str) -> str:
    text = text.strip()
    if len(text) > 1500:
        text = text[:500] + "\n ...\n" + text[-900:]
    return text.replace("\n", "\n    ")


class Env:
    """A fresh directory with a home of its own, and the program under judgement."""

    def __init__(self, bin_dir: str, directory: str, standby: Standby | None = None) -> None:
        self.bin = os.path.abspath(bin_dir)
        self.standby = standby
        self._one_at_a_time = threading.Lock()
        self.directory = os.path.realpath(directory)
        self.home = os.path.join(self.directory, "home")
        self.work = os.path.join(self.directory, "work")
        os.makedirs(self.home, exist_ok=True)
        os.makedirs(self.work, exist_ok=True)
        self.variables = {
            "HOME": self.home,
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "USER": "conformance",
            "TERM": "dumb",
            "TMPDIR": self.directory,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    # --- running commands ---

    def run(
        self,
        *argv: str,
        cwd: str | None = None,
        code: int | Iterable[int] | None = 0,
        stdin: bytes | str = b"",
        env: dict[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Result:
        """Run a program; `code` is the exit status that must come out (None: any but a crash of the program)."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = self._warm(argv, cwd, data, env, timeout) or subprocess.run(
                argv,
                cwd=cwd or self.work,
                env=self.variables | (env or {}),
                input=data,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(f"`{' '.join(argv)}` did not end within {timeout:g} s") from error
        except FileNotFoundError as error:
            raise Failure(f"`{argv[0]}` is not there") from error
        result = Result(list(argv), done.returncode, done.stdout, done.stderr)
        allowed = None if code is None else {code} if isinstance(code, int) else set(code)
        if allowed is not None and result.code not in allowed:
            raise Failure(f"wanted exit {sorted(allowed)}: {result}")
        if result.code in (1, 70, 120, 127) and (allowed is None or result.code not in allowed):
            raise Failure(f"the program died: {result}")
        return result

    def _warm(
        self, argv: tuple[str, ...], cwd: str | None, data: bytes, env: dict[str, str] | None, timeout: float
    ) -> subprocess.CompletedProcess[bytes] | None:
        """Run in a fork of the process on standby when there is one and this is a program of the same installation."""
        where, name = os.path.split(argv[0])
        if self.standby is None or where != os.path.dirname(self.standby.program) or not name.startswith("jvs"):
            return None
        if not self._one_at_a_time.acquire(blocking=False):  # another thread runs one: this is a process of its own
            return None
        try:
            variables = self.variables | (env or {})
            return self.standby.run(list(argv), cwd=cwd or self.work, env=variables, stdin=data, timeout=timeout)
        finally:
            self._one_at_a_time.release()

    def jvs(self, *words: str, **options: Any) -> Result:
        """Run `jvs WORD ...`."""
        return self.run(os.path.join(self.bin, "jvs"), *words, **options)

    def step(self, name: str, *words: str, **options: Any) -> Result:
        """Run the plumbing command `jvs-NAME`."""
        return self.run(os.path.join(self.bin, "jvs-" + name), *words, **options)

    def refused(self, wanted: str, exit_code: int, *words: str, **options: Any) -> dict[str, Any]:
        """Run `jvs WORD ...` twice, as text and with --json: both must fail with the class and the exit status.

        The repository must be as before; the caller checks that.
        """
        said = self.jvs(*words, code=exit_code, **options)
        self.check(f": {wanted}: " in said.errors, f"stderr does not name {wanted}: {said}")
        self.check(said.out == b"", f"stdout is not empty: {said}")
        place = words.index("--") if "--" in words else len(words)
        said = self.jvs(*words[:place], "--json", *words[place:], code=exit_code, **options)
        error = said.error()
        self.check(said.out == b"", f"stdout is not empty: {said}")
        self.check(set(error) >= {"class", "exit", "message", "hint", "facts"}, f"the error object lacks keys: {error}")
        self.equal((error["class"], error["exit"]), (wanted, exit_code), "class and exit in the error object")
        self.check(bool(error["message"]) and not error["message"].endswith("."), f"message: {error['message']!r}")
        return error

    # --- repositories ---

    def repository(self, name: str = "repo", *, files: bool = True) -> str:
        """Make a repository, with a few files in main unless `files` is false; return its root."""
        self.jvs("init", name)
        root = os.path.join(self.work, name)
        if files:
            write(f"{root}/main/a.txt", "alpha\n")
            write(f"{root}/main/dir/b.txt", "beta\n" * 50)
            write(f"{root}/main/dir/deep/c.bin", bytes(range(256)) * 40)
            os.symlink("a.txt", f"{root}/main/link")
            os.mkdir(f"{root}/main/empty")
            os.chmod(f"{root}/main/dir/b.txt", 0o755)
        return root

    def snapshot(self, root: str, *words: str, worktree: str | None = None) -> str:
        """Take a snapshot and return its id."""
        cwd = worktree_dir(root, worktree or "main")
        made = self.jvs("snapshot", *words, "--json", cwd=cwd).json()
        snapshot_id: str = made["snapshot_id"]
        self.check(bool(ID.match(snapshot_id)), f"not a snapshot id: {snapshot_id!r}")
        return snapshot_id

    def history(self, root: str, count: int = 3) -> list[str]:
        """Take some snapshots, each with a change, and return their ids, oldest first."""
        ids = []
        for number in range(count):
            write(f"{root}/main/a.txt", f"version {number}\n")
            write(f"{root}/main/only-{number}", f"{number}\n")
            ids.append(self.snapshot(root, f"note {number}", "--tag", f"t{number}"))
        return ids

    # --- judging ---

    def check(self, holds: object, message: str) -> None:
        """Fail with the message unless something holds."""
        if not holds:
            raise Failure(message)

    def equal(self, got: Any, wanted: Any, what: str) -> None:
        """Fail unless two values are equal."""
        if got != wanted:
            raise Failure(f"{what}: got {got!r}, wanted {wanted!r}")

    def sound(self, root: str, *, expect: Expect | None = None, recovered: bool = True) -> None:
        """Fail when the oracle finds a violation."""
        found = oracle.check_repository(root, expect=expect, recovered=recovered)
        if found:
            raise Failure("the repository is not sound:\n  " + "\n  ".join(str(v) for v in found))

    def healthy(self, root: str) -> None:
        """Fail unless oracle, `verify --all` and `doctor --strict` all find nothing."""
        self.sound(root)
        self.jvs("verify", "--all", cwd=root)
        said = self.jvs("doctor", "--strict", cwd=root)
        self.check("Repository is healthy." in said.text, f"doctor does not report it: {said}")

    def noticed(self, root: str, what: str, *, codes: Iterable[int] | None = None) -> None:
        """Fail unless verify --all and doctor, as text and as JSON, all refuse to call the repository good."""
        for words in (("verify", "--all"), ("verify", "--all", "--json"), ("doctor",), ("doctor", "--json")):
            if words[0] == "doctor" and codes is not None:
                words = (words[0], "--strict", *words[1:])
            said = self.jvs(*words, cwd=root, code=None)
            self.check(said.code not in (0, 2), f"{what} was not noticed: {said}")
            if codes is not None and words[0] == "verify":
                self.check(said.code in set(codes), f"{what}: wanted exit {sorted(set(codes))}: {said}")

    def repo(self, root: str) -> Repo:
        """Read a repository with the independent reader."""
        return read_repository(root)

    def tree(self, path: str) -> str:
        """Return the root hash of a directory, as we compute it."""
        return hash_tree(path, skip=b".jvs").root_hash

    def config(self, root: str, name: str = "main") -> dict[str, Any]:
        """Return a worktree's configuration."""
        config = read_repository(root).configs.get(name)
        if config is None:
            raise Failure(f"worktree '{name}' has no readable configuration")
        return config

    def frozen(self, root: str) -> dict[bytes, Any]:
        """Return all of a repository but its index and locks, to show later that nothing changed."""
        control = b"" if os.path.basename(root) == ".jvs" else b".jvs/"
        return {
            path: (entry.kind, entry.mode, None if entry.kind == DIR else entry.digest)
            for path, entry in hash_tree(root).entries.items()
            if not path.startswith((control + b"index.sqlite", control + b"locks/"))
        }

    def unchanged(self, root: str, before: dict[bytes, Any], what: str) -> None:
        """Fail unless the repository is as it was."""
        now = self.frozen(root)
        differing = sorted(path for path in {*before, *now} if before.get(path) != now.get(path))
        self.check(not differing, f"{what} changed {differing[:5]}")


def mode_of(path: str) -> int:
    """Return the permission bits."""
    return os.stat(path).st_mode & 0o7777


def write(path: str, data: bytes | str) -> None:
    """Write a file, making its directory."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def copy_repository(source: str, target: str) -> None:
    """Copy a repository with everything cp keeps: reflinks where possible, hard links, attributes."""
    done = subprocess.run(["cp", "-a", "--reflink=auto", source, target], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        raise OSError(f"cp: {done.stderr.strip()}")
    for path in odd_files.fixed_below(source):  # which cp does not keep
        if not {"snapshots", "gc"} & set(path.split("/")):  # a subvolume goes whole; its copy is a plain directory
            odd_files.fix(os.path.join(target, path))


def remove_repository(path: str) -> None:
    """Remove a copy of a repository, read-only subvolumes included. Errors: OSError when something is left."""
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    odd_files.release(path)
    for here, directories, _ in os.walk(path):
        for name in directories:
            place = os.path.join(here, name)
            if not os.path.islink(place) and os.lstat(place).st_ino == 256:  # the root of a subvolume
                words = ["btrfs", "property", "set", "-ts", place, "ro", "false"]
                subprocess.run(words, capture_output=True, check=False)
    shutil.rmtree(path)


def release(check: Any) -> Any:
    """Mark a check that takes long: only `--profile release` runs it."""
    check.profile = "release"
    return check
