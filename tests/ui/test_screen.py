"""What every command puts on a terminal: it fits 80 columns, is cut sensibly at 40, and holds in any locale.

Forms made for scripts are whole whatever their width: the plumbing, `status -s`, `diff --name-status` and its kin,
patches, `--format`. So is an absolute path, which is there to be copied.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import making
import pytest
import running

from jvs.cli import commands
from jvs.ui import terminal

LONG = "a very long directory name that goes on and on/and in it a file of a name that is even longer than that.txt"
LINES = """\
help
help gc
version
status
status -s
status src
history
history --oneline
history --all
history --graph
history --graph --oneline
history -g nothing
diff
diff HEAD
diff --stat HEAD
diff --name-status HEAD
diff baseline HEAD
diff -p HEAD
show
show baseline
show HEAD
restore --dry-run HEAD
undo --list
worktree list
worktree path
info
info --sizes
du
du HEAD
verify
verify --all
doctor
doctor --strict
doctor --repair-list
gc pins
config list
config list --show-origin
config get durability
restore HEAD
undo
restore baseline -- src
snapshot
snapshot --if-changed
snapshot x -- src
run -- sh -c 'echo 1 > a; false'
run --rollback -- sh -c 'rm -rf src; false'
worktree create tmp1
worktree rename tmp1 tmp2
worktree move tmp2 ../../moved-here
worktree attach ../../moved-here
worktree move tmp2
worktree remove tmp2
undo
undo --redo
worktree remove --discard other
gc pin HEAD
gc unpin HEAD
config set default_tags a b
config set default_tags a b
config unset default_tags
hooks list
hooks allow
hooks allow nosuch
hooks deny
fork
restore basline
restore HEAD --force-tampered ''
nosuch
gc
show zzz
show first
-C / status
restore first --bogus
snapshot a b
snapshot -w nosuch
worktree create ../x
worktree create other
worktree remove main
diff -- ../../x
-c durability=x status
config get nosuch
config set undo.max_operations x
-c snapshot.when_detached=refuse snapshot
-c default_engine=juicefs-clone snapshot
gc run --plan-id 0
help nosuch
fork HEAD HEAD
undo nosuch
send HEAD -o ../a.stream
receive ../a.stream
receive nosuch
init .
completion csh
""".splitlines()
FOR_SCRIPTS = ("status -s", "diff --name-status HEAD", "diff -p HEAD")
COLORS = re.compile(r"\x1b\[[0-9;]*[mK]")


@pytest.fixture
def rich(tmp_path, monkeypatch):
    """A repository with long, wide and odd names, many tags, forks, a detached worktree, pins and undo records."""
    store = making.make_store(tmp_path / "r")
    main = making.main_of(store)
    monkeypatch.chdir(main)
    making.write(main, {"a": "1", "src/model.py": "x\n" * 50, LONG: "1", "数据/" + "宽" * 30: "x" * 5000})
    making.write(main, {"deep/" + "d/" * 40 + "f": "1"})
    with open(os.fsencode(main) + b"/bad\xff\xfe name\n", "wb") as file:
        file.write(b"z" * 70000)
    os.mkfifo("pipe")
    tags = ["baseline", "v1", "a-tag-that-is-rather-long-as-tags-go", "another-long-tag"]
    making.snapshot(store, "first", tags=tags)
    making.write(main, {"a": "22", "new/one": "1", "new/two": "2"})
    os.unlink("src/model.py")
    making.snapshot(store, "a note that is very long indeed, so long that no screen can show it in one line\nand more")
    os.chmod("a", 0o600)
    os.rename("new/one", "new/one of a much longer name than before so that both together take more than a line")
    making.snapshot(store, "第三个快照" * 12, tags=["good"])
    for words in (
        ["worktree", "fork", "baseline", "experiment-with-a-long-name-but-not-too-long-for-a-name"],
        ["worktree", "fork", "good", "other"],
        ["restore", "baseline"],
        ["undo"],
        ["restore", "HEAD~1"],
        ["gc", "pin", "baseline", "--reason", "the state of the paper that was submitted in May, to be kept"],
    ):
        assert making.run(*words).exit == 0
    making.write(main, {"a": "333", "changed/x": "1", LONG: "2"})
    return store


def on_terminal(line: str, width: int, locale: dict[str, str] | None = None, **environment: str) -> tuple[int, str]:
    """Run `jvs LINE` on a terminal of some width; return exit code and what was shown, stdout and stderr as one."""
    own = {name: os.environ[name] for name in os.environ if name.startswith(("XDG_", "HOME"))}
    more = {"TERM": "xterm-256color", "PAGER": "cat", "PATH": os.environ["PATH"], **environment}
    return running.on_terminal(["jvs", *shlex.split(line)], width, Path.cwd(), {**own, **more}, locale)


def too_wide(text: str, width: int) -> list[str]:
    return [line for line in COLORS.sub("", text).split("\n") if terminal.columns(line) > width]


def test_every_command_of_the_table_is_tried():
    tried = {" ".join(line.split()[:count]) for line in LINES for count in (1, 2)} | {"worktree fork"}
    elsewhere = {
        "torture",
        "conformance run",
        "conformance list",
        "gc plan",
        "mcp",
        *("ls", "cat", "tag", "note", "meta", "merge", "enter", "try", "gc drop", "gc auto", "detach"),
        "clone",
        *("agent install", "agent uninstall", "agent status"),
    }  # programs of their own; test_cmd_gc
    missing = [
        name
        for name, row in commands.COMMANDS.items()
        if row[0] == commands.PORCELAIN and name not in tried | elsewhere
    ]
    assert missing == []


def test_eighty_columns_are_enough(rich):
    wrong = []
    for line in LINES:
        code, text = on_terminal(line, 80)
        assert code != 70 and "Traceback" not in text, f"{line}: {text}"
        assert text or line.startswith("config get"), line
        if line not in FOR_SCRIPTS:
            wrong += [f"{line}: {row}" for row in too_wide(text, 80) if str(rich.root) not in row]
    assert wrong == [], "\n".join(wrong)


def test_forty_columns_cut_no_sense_away(rich):
    wrong = []
    for line in LINES:
        code, text = on_terminal(line, 40, NO_COLOR="1")
        assert code != 70 and "\x1b" not in text, line
        if line not in FOR_SCRIPTS:
            wrong += [f"{line}: {row}" for row in too_wide(text, 40) if str(rich.root) not in row]
    assert wrong == [], "\n".join(wrong)


def test_whoever_asks_first_does_not_say_how_wide_later_terminals_are(rich, monkeypatch):
    running.Server.stop()
    monkeypatch.setenv("COLUMNS", "80")
    assert too_wide(on_terminal("help", 40, NO_COLOR="1")[1], 40) == []


def test_a_terminal_that_knows_no_letters_but_ascii_gets_all_of_it(rich):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for line in LINES:
        code, text = on_terminal(line, 80, plain, TERM="dumb")
        assert code != 70 and "Traceback" not in text, f"{line}: {text}"
        if line.split(" ")[0] not in ("diff",):  # a patch shows the bytes of files
            assert text.isascii(), f"{line}: {text}"
        assert "\x1b" not in text


def test_an_empty_repository_says_what_to_do_next(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "r")
    monkeypatch.chdir(making.main_of(store))
    for line, hint in (
        ("status", "jvs snapshot NOTE"),
        ("history", "jvs snapshot NOTE"),
        ("diff", "jvs snapshot"),
        ("show", "jvs snapshot"),
        ("verify", "jvs snapshot"),
        ("restore HEAD", "jvs snapshot"),
        ("undo", ""),
        ("undo --list", "nothing to undo"),
        ("fork x", "jvs snapshot"),
        ("info", "Snapshots:  0"),
        ("doctor", "healthy"),
        ("worktree list", "main"),
    ):
        code, text = on_terminal(line, 80)
        wide = [row for row in too_wide(text, 80) if store.root not in row]  # a path is never cut
        assert code in (0, 5) and hint in text and not wide, text
