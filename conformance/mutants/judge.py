"""Proves that the proofs can fail: every wrong program of `wrong_programs` must be caught by one of them.

A mutant is a patch on a copy of the installed package; the installation itself is never touched. The judges are the
programs of this suite: `KIND:OPERATION` is `torture` with that kind of interruption, `model:OPERATION` the crash
states of `crashmodel`, `interleave:FIRST+SECOND/PLACE` a pair of `interleave`, `check:PATTERN` checks of `run`. One
that no proof can tell from the right program has a reason in the list; it is judged all the same, and being caught
would be an error of the list.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from lib.harness import bin_directory, remove_repository

from mutants.edits import Drop, Mutant, Swap
from mutants.wrong_programs import MUTANTS

SUITE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Stale(Exception):
    """A patch that does not apply to the program any more."""


class Copy:
    """A copy of an installation: the package, and console scripts that load it."""

    def __init__(self, bin_dir: str, directory: str) -> None:
        self.bin, self.lib = os.path.join(directory, "bin"), os.path.join(directory, "lib")
        self.package = os.path.join(self.lib, "jvs")
        with open(os.path.join(bin_dir, "jvs"), encoding="utf-8") as script:
            self.interpreter = script.readline().strip().removeprefix("#!")
        os.makedirs(self.bin)
        for name, path in self._packages(bin_dir).items():
            target = os.path.join(self.lib, *name.split("."))
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        for name in sorted(os.listdir(bin_dir)):
            if name == "jvs" or name.startswith("jvs-"):
                self._script(os.path.join(bin_dir, name), os.path.join(self.bin, name))

    def _packages(self, bin_dir: str) -> dict[str, str]:
        """Ask the program's own interpreter where its packages are."""
        code = (
            "import json, sys; sys.path[:0] = sys.argv[1:]\n"
            "import jvs, jvs.plumbing, jvs.porcelain\n"
            "print(json.dumps({m.__name__: m.__path__[0] for m in (jvs, jvs.plumbing, jvs.porcelain)}))"
        )
        library = os.path.join(os.path.dirname(bin_dir), "lib")
        places = [library] if os.path.isdir(os.path.join(library, "jvs")) else []
        done = subprocess.run(
            [self.interpreter, "-c", code, *places], capture_output=True, text=True, check=True, cwd="/"
        )
        found: dict[str, str] = json.loads(done.stdout)
        return found

    def _script(self, source: str, target: str) -> None:
        with open(source, encoding="utf-8", errors="surrogateescape") as file:
            first, _, rest = file.read().partition("\n")
        if "python" not in first:
            return
        with open(target, "w", encoding="utf-8", errors="surrogateescape") as file:
            ours = f"import sys\nsys.path.insert(0, {self.lib!r})\nfrom jvs"
            file.write(first + "\n" + re.sub("^from jvs", lambda _: ours, rest, count=1, flags=re.MULTILINE))
        os.chmod(target, 0o755)

    def check(self) -> None:
        """Check that the scripts load the copy: a mutant that is never run would survive. Errors: Stale."""
        path = os.path.join(self.package, "__init__.py")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "a", encoding="utf-8") as file:
            file.write('\n__version__ = "of the copy"\n')
        said = subprocess.run([os.path.join(self.bin, "jvs"), "version"], capture_output=True, text=True, check=False)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        if "of the copy" not in said.stdout:
            raise Stale(f"the copy is not what runs: {said.stdout.strip()} {said.stderr.strip()}"[:300])

    def patch(self, edit: Drop | Swap) -> None:
        """Make one edit. Errors: Stale."""
        path = os.path.join(self.package, edit.file)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(dropped(text, edit) if isinstance(edit, Drop) else swapped(text, edit))


def swapped(text: str, edit: Swap) -> str:
    """Return a text with one edit made. Errors: Stale."""
    if text.count(edit.old) != 1:
        raise Stale(f"{edit.file} holds {edit.old!r} {text.count(edit.old)} times")
    return text.replace(edit.old, edit.new)


def dropped(text: str, edit: Drop) -> str:
    """Return a text with one edit made. Errors: Stale."""
    lines = text.splitlines(keepends=True)
    at = [number for number, line in enumerate(lines) if edit.text in line]
    if len(at) != 1:
        raise Stale(f"{edit.file} holds {edit.text!r} {len(at)} times")
    indent = lines[at[0]][: len(lines[at[0]]) - len(lines[at[0]].lstrip())]
    lines[at[0] : at[0] + edit.lines] = [indent + "pass\n"]
    return "".join(lines)


def judge(copy: Copy, judge_name: str, directory: str, seconds: float) -> str:
    """Return the first line by which a judge refuses a program, or nothing. Errors: Stale when it does not work."""
    kind, _, what = judge_name.partition(":")
    shared = ["--bin", copy.bin, "--dir", directory]
    if kind == "model":
        words = [os.path.join(SUITE, "crashmodel"), *shared, "--only", what, "--seconds", f"{seconds:g}"]
    elif kind == "interleave":
        pair, _, place = what.partition("/")
        words = [os.path.join(SUITE, "interleave"), *shared, "--pair", pair, "--place", place]
        words += ["--seconds", f"{seconds:g}"]
    elif kind == "check":
        words = [os.path.join(SUITE, "run"), *shared, "--jobs", "1", "-k", what]
    else:
        words = [os.path.join(SUITE, "torture"), *shared, "--only", what, "--kind", kind, "--seconds", f"{seconds:g}"]
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    timer = threading.Timer(seconds + 120, _end, [process])
    timer.start()
    try:
        assert process.stdout is not None
        lines = iter(process.stdout)
        for line in lines:
            if line.startswith("BROKEN"):
                raise Stale(f"is broken without any crash: {line.strip()[:300]}")
            if line.startswith(("VIOLATION", "FAILED")):
                return f"{line.split('   [')[0].strip()}: {next(lines, '').strip()}"[:300]
        return ""
    finally:
        timer.cancel()
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(mutant: Mutant, bin_dir: str, directory: str, seconds: float) -> dict[str, Any]:
    """Make one wrong program and run its judges on it. Shape: name, what, status, by, why, seconds."""
    began = time.monotonic()
    place = tempfile.mkdtemp(prefix=mutant.name + "-", dir=directory)
    os.chmod(place, 0o755)
    status, by, why = "survived", "", ""
    try:
        copy = Copy(bin_dir, place)
        copy.check()
        for edit in mutant.edits:
            copy.patch(edit)
        subprocess.run([copy.interpreter, "-m", "compileall", "-q", copy.lib], check=True, stdout=subprocess.DEVNULL)
        work = os.path.join(place, "work")
        os.mkdir(work)
        for name in mutant.judges:
            why = judge(copy, name, work, seconds)
            if why:
                status, by = "caught", name
                break
        if mutant.equivalent:
            status, why = ("wrong", why) if status == "caught" else ("equivalent", mutant.equivalent)
    except (Stale, OSError, subprocess.CalledProcessError) as error:
        status, why = "stale", str(error)
    finally:
        remove_repository(place)  # with files that nobody may change, where the work was cut off
    row = {"name": mutant.name, "what": mutant.what, "status": status, "by": by, "why": why}
    return {**row, "seconds": round(time.monotonic() - began, 1)}


def main(argv: list[str] | None = None) -> int:
    """Judge all mutants, or those named."""
    parser = argparse.ArgumentParser(prog="conformance/mutants", description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin", metavar="DIR", help="the directory that holds jvs and jvs-* (that of `jvs` on PATH)")
    parser.add_argument("--dir", metavar="DIR", default="/dev/shm", help="work below DIR (/dev/shm)")
    parser.add_argument("--only", metavar="NAMES", default="", help="only these mutants, with commas between")
    parser.add_argument("--seconds", metavar="N", type=float, default=120.0, help="for each judge of each (120)")
    parser.add_argument("--list", action="store_true", help="list the mutants and judge none")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    names = [name for name in args.only.split(",") if name]
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if len(chosen) < len(set(names)):
        parser.error(f"unknown: {', '.join(sorted(set(names) - {mutant.name for mutant in MUTANTS}))}")
    if args.list:
        print("\n".join(f"{mutant.name}: {mutant.what} ({', '.join(mutant.judges)})" for mutant in chosen))
        return 0
    bin_dir = bin_directory(parser, args.bin)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that the judges end as well
    rows = []
    with tempfile.TemporaryDirectory(prefix="jvs-mutants-", dir=args.dir) as directory:
        os.chmod(directory, 0o755)
        for mutant in chosen:
            row = run(mutant, bin_dir, directory, args.seconds)
            rows.append(row)
            if not args.json:
                by = f" by {row['by']}" if row["by"] else ""
                print(f"{row['status']}{by}  {row['name']} ({row['seconds']} s): {row['what']}", flush=True)
                print(f"    {row['why']}", flush=True)
    totals = {
        s: sum(row["status"] == s for row in rows) for s in ("caught", "equivalent", "survived", "wrong", "stale")
    }
    if args.json:
        print(json.dumps({"mutants": rows, **totals}, indent=2))
    else:
        print(", ".join(f"{count} {status}" for status, count in totals.items() if count))
    return 3 if totals["survived"] or totals["wrong"] or totals["stale"] else 0
