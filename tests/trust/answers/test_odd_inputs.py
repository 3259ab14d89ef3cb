"""Whatever a user, a caller or the system may do to a command: a class of error and a sentence, never a traceback.

Command lines, environments, limits, masks, homes, closed descriptors, deleted directories, standard input: each row
of the tables alone, then combinations by hypothesis. E_INTERNAL (status 70) is a bug, and so is a traceback.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from running import Answer, Lab

STATUSES = {0, 2, 3, 4, 5, 6, 7, *range(10, 32), 130, 141, 143}
"""What jvs-errors(7) knows, without 70."""

COMMANDS = {
    "snapshot": ["snapshot", "note"],
    "if-changed": ["snapshot", "--if-changed"],
    "status": ["status"],
    "history": ["history", "--all"],
    "diff": ["diff", "-p"],
    "show": ["show", "HEAD"],
    "restore": ["restore", "HEAD"],
    "undo": ["undo", "--list"],
    "fork": ["fork", "HEAD", "w"],
    "verify": ["verify", "--all"],
    "doctor": ["doctor", "--strict"],
    "gc plan": ["gc", "plan"],
    "info": ["info", "--sizes"],
    "config set": ["config", "set", "--user", "default_tags", "x"],
    "config list": ["config", "list"],
    "run": ["run", "--", "true"],
    "init": ["init", "../../other"],
    "worktree list": ["worktree", "list"],
    "help": ["help", "snapshot"],
    "completion": ["completion", "zsh"],
}


def judge(answer: Answer, what: str) -> None:
    assert b"Traceback" not in answer.err, f"{what}: {answer.said}"
    assert answer.exit != 70, f"{what}: {answer.said}"
    assert b"E_INTERNAL" not in answer.err, f"{what}: {answer.said}"
    assert answer.exit in STATUSES, f"{what}: exit {answer.exit}: {answer.said}"
    if answer.exit not in (0, 3, 130, 141, 143) and answer.err:
        assert re.search(rb"E_[A-Z_]+|^usage:", answer.err, re.M), f"{what}: {answer.said}"


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("template")
    lab = Lab(where / "lab")
    lab.must("init", str(lab.root), cwd=where)
    lab.snapshot("first", a="1\n")
    (lab.main / "sub").mkdir()
    (lab.main / "b").write_text("2\n")
    return where


@pytest.fixture
def ready(template, tmp_path: Path) -> Lab:
    """Return a repository with a snapshot and a change."""
    subprocess.run(["cp", "-a", f"{template}/.", str(tmp_path)], check=True)
    return Lab(tmp_path / "lab")


BAD = b"\xff\xfe"
SITUATIONS: dict[str, dict] = {
    **{
        f"{name} is not UTF-8": {"env": {name: os.fsdecode(BAD)}}
        for name in (
            *("JVS_ACTOR", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "TMPDIR", "USER", "LOGNAME", "PAGER", "TERM"),
            *("COLUMNS", "LANG", "LC_ALL", "JVS_SNAPSHOT_ENGINE", "JVS_TRACE", "SOURCE_DATE_EPOCH", "EDITOR", "TZ"),
        )
    },
    "JVS_ACTOR is very long": {"env": {"JVS_ACTOR": "x" * 100_000}},
    "JVS_ACTOR has control characters": {"env": {"JVS_ACTOR": "a\x1b[2Jb\nc"}},
    "JVS_ACTOR is empty": {"env": {"JVS_ACTOR": ""}},
    "COLUMNS is 0": {"env": {"COLUMNS": "0"}},
    "COLUMNS is a word": {"env": {"COLUMNS": "wide"}},
    "LC_ALL is C": {"env": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}},
    "PYTHONIOENCODING is ascii": {"env": {"PYTHONIOENCODING": "ascii:strict"}},
    "HOME is missing": {"env": {"HOME": "/nowhere/at/all", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}},
    "HOME is a file": {"env": {"HOME": "/dev/null", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}},
    "HOME cannot be written": {"env": {"HOME": "/proc", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}},
    "HOME is relative": {"env": {"HOME": "here", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}},
    "PATH is empty": {"env": {"PATH": ""}},
    "TMPDIR is missing": {"env": {"TMPDIR": "/nowhere"}},
    **{f"ulimit -n {n}": {"situation": [f"limit NOFILE {n}"]} for n in (6, 8, 10, 13, 16, 24)},
    **{f"ulimit -f {n}": {"situation": [f"limit FSIZE {n}"]} for n in (0, 100, 5000)},
    "umask 777": {"situation": ["umask 777"]},
    "umask 277": {"situation": ["umask 277"]},
    "umask 0": {"situation": ["umask 0"]},
    "stdin closed": {"situation": ["close 0"]},
    "stdout closed": {"situation": ["close 1"]},
    "stderr closed": {"situation": ["close 2"]},
    "0, 1 and 2 closed": {"situation": ["close 0", "close 1", "close 2"]},
    "the directory is deleted": {"situation": ["deleted"]},
}
AT_THE_START = re.compile(r"LANG|LC_ALL|PYTHON|closed|ulimit -n")
"""What Python itself reads or needs when it starts: these situations are tried on a process of their own, too."""


LONG = os.environ.get("JVS_FUZZ_EXAMPLES", "") != ""
"""Every command in every situation; else a sample that is always the same."""
EACH = 1 if LONG else 7


@pytest.mark.parametrize("command", COMMANDS)
def test_a_situation_is_never_a_bug(ready, command):
    start = list(COMMANDS).index(command) % EACH
    for situation, more in list(SITUATIONS.items())[start::EACH]:
        judge(ready.command("jvs", *COMMANDS[command], **more), f"{command} while {situation}")
        shutil.rmtree(ready.root.parent / "other", ignore_errors=True)
    after = ready.must("doctor", "--strict")
    assert b"healthy" in after.out, after.said


def prepared(steps: list[str]) -> Callable[[], None]:
    """Return what makes a situation in a process that is about to become a program."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for how, *words in (step.split(" ") for step in steps):
            if how == "close":
                os.close(int(words[0]))
            elif how == "deleted":
                os.mkdir("soon-gone")
                os.chdir("soon-gone")
                os.rmdir("../soon-gone")
            else:
                resource.setrlimit(getattr(resource, f"RLIMIT_{words[0]}"), (int(words[1]),) * 2)

    return prepare


@pytest.mark.parametrize("situation", list(filter(AT_THE_START.search, SITUATIONS))[:: 1 if LONG else 2])
def test_a_process_that_starts_in_a_situation_is_never_a_bug(ready, situation):
    more = dict(SITUATIONS[situation])
    prepare = prepared(more.pop("situation", []))
    for command in ("snapshot", "status") if LONG else ("snapshot",):
        answer = ready.program("jvs", *COMMANDS[command], preexec_fn=prepare, **more)
        if answer.exit == 1 and b"jvs" not in answer.err:
            continue  # Python itself could not start
        judge(answer, f"{command} while {situation}")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become another user")
@pytest.mark.parametrize("most", [1, 2, 4] if LONG else [2])
@pytest.mark.parametrize("command", ["snapshot", "verify", "fork", "run"])
def test_a_limit_on_processes_is_never_a_bug(ready, command, most):
    for directory in [*ready.root.parents]:
        if str(directory) not in ("/", "/tmp"):
            os.chmod(directory, 0o755)
    subprocess.run(["chown", "-R", "54321", str(ready.root)], check=True)
    for n in range(300):
        (ready.main / "sub" / f"f{n}").write_bytes(b"")
    script = f'ulimit -u {most}; exec "$@"'
    caps = "+dac_override,+dac_read_search"  # Python may lie below /root
    words = [
        "setpriv",
        "--reuid=54321",
        "--clear-groups",
        f"--inh-caps={caps}",
        f"--ambient-caps={caps}",
        "bash",
        "-c",
        script,
        "bash",
    ]
    path = shutil.which("jvs")
    done = subprocess.run(
        [*words, path, *COMMANDS[command]], cwd=ready.main, capture_output=True, stdin=subprocess.DEVNULL
    )
    judge(Answer(done.returncode, done.stdout, done.stderr), f"{command} with ulimit -u {most}")


WORDS = st.one_of(
    st.sampled_from([word for words in COMMANDS.values() for word in words]),
    st.sampled_from(
        ["--json", "--jsonl", "-C", "-c", "--wait", "nan", "1e999", "-1", "--", "-h", "-n", "HEAD~1", "@{2h}"]
    ),
    st.sampled_from(["--format", "{id:{x}}", "{", "}", "{note!r}", "-m", "-F", "/dev/null", "/", ".", "-p", "--tag"]),
    st.binary(max_size=8).filter(lambda data: b"\0" not in data),
    st.text(max_size=6).map(lambda text: text.replace("\0", "").encode("utf-8", "replace")),
)


@given(
    st.sampled_from(["jvs", "jvs-resolve", "jvs-ls-tree", "jvs-cat-descriptor", "jvs-check-worktree", "jvs-diff-tree"]),
    st.lists(WORDS, max_size=5),
    st.dictionaries(st.sampled_from(["JVS_ACTOR", "COLUMNS", "HOME", "TZ", "JVS_DEFAULT_TAGS"]), st.binary(max_size=5)),
    st.binary(max_size=20),
)
@settings(
    max_examples=int(os.environ.get("JVS_FUZZ_EXAMPLES") or "20"),
    deadline=None,
    derandomize=not LONG,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
def test_any_words_in_any_environment(template, tmp_path_factory, program, words, environment, stdin):
    dangerous = {"run", "init"}
    if any(os.fsdecode(word) in dangerous for word in words):
        return
    where = tmp_path_factory.mktemp("any")
    subprocess.run(["cp", "-a", f"{template}/.", str(where)], check=True)
    env = {key: os.fsdecode(value.replace(b"\0", b"")) for key, value in environment.items()}
    answer = Lab(where / "lab").command(program, *words, env=env, input=stdin)
    judge(answer, f"{program} {words} {env}")
    shutil.rmtree(where)


EVENTS = {
    "NUL in the command": {"command": "echo \0"},
    "a lone surrogate": {"command": "echo \ud800"},
    "a number": {"command": 7},
    "a list": {"command": ["a", {"b": 1}]},
    "an option": {"command": "--help"},
    "very long": {"command": "x" * 300_000},
    "a newline": {"command": "a\nb"},
    "escape sequences": {"command": "\x1b[2J"},
}
PLACES = {"deleted": "gone", "a file": "a", "a number": 7, "NUL": "a\0b", "a lone surrogate": "\ud800", "none": None}


def hook(lab: Lab, event: object, **more) -> Answer:
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    return lab.program("jvs-claude-hook", input=data, **more)


@pytest.mark.parametrize(
    "given_input",
    [pytest.param(e, id=n) for n, e in EVENTS.items()],
)
def test_the_hook_takes_a_snapshot_whatever_the_command_is(ready, given_input):
    before = ready.ids()
    event = {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": given_input, "cwd": str(ready.main)}
    answer = hook(ready, event)
    assert (answer.exit, b"Traceback" in answer.err) == (0, False), answer.said
    assert len(ready.ids()) == len(before) + 1, answer.said


@pytest.mark.parametrize("place", [pytest.param(p, id=n) for n, p in PLACES.items()])
def test_the_hook_never_blocks_a_tool_wherever_it_is(ready, place):
    cwd = str(ready.main / place) if place in ("gone", "a") else place
    answer = hook(ready, {"hook_event_name": "PostToolUse", "tool_name": "Write", "tool_input": {}, "cwd": cwd})
    assert (answer.exit, b"Traceback" in answer.err) == (0, False), answer.said


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"null", b"{", b'{"tool_name": {}}', b"[" * 100_000], ids=range(7)
)
def test_the_hook_never_blocks_a_tool_whatever_it_reads(ready, data):
    answer = hook(ready, data)
    assert (answer.exit, b"Traceback" in answer.err) == (0, False), answer.said


@pytest.mark.parametrize("situation", ["stdin closed", "stdout closed", "stderr closed", "the directory is deleted"])
@pytest.mark.parametrize("program", [["jvs-claude-hook"], ["jvs-guard", "true"], ["jvs-guard"]], ids=" ".join)
def test_the_programs_for_agents_in_odd_situations(ready, program, situation):
    answer = ready.program(*program, preexec_fn=prepared(SITUATIONS[situation]["situation"]))
    assert b"Traceback" not in answer.err and answer.exit != 70, answer.said
    assert answer.exit == 0 or program[0] == "jvs-guard", answer.said


@pytest.mark.parametrize("word", [b"\xff", b"a b", b"", b"--", b"-x", b"\x1b[2J"], ids=range(6))
def test_the_guard_hands_words_on_as_they_are(ready, word):
    answer = ready.program("jvs-guard", "--", "printf", "%s", word) if word == b"" else None
    answer = answer or ready.program("jvs-guard", "sh", "-c", 'printf "%s" "$1"', "sh", word)
    judge(answer, "jvs-guard")
    assert word in answer.out


RECORDS = {
    "intents/1700000000000-00000000.json": {
        "version": 1,
        "operation_id": "1700000000000-00000000",
        "operation": "snapshot",
        "worktree": "main",
        "created_at": "2026-11-28T12:00:00.000000Z",
        "owner": {"pid": 1, "locked": True},
        "audit": {
            **dict.fromkeys(("event_id", "actor", "operation"), "snapshot"),
            "timestamp": "2026-11-28T12:00:00.000000Z",
            **dict.fromkeys(("target", "worktree", "reason")),
            "details": {},
        },
        "audit_seq": 1,
        "snapshot_id": "1700000000000-00000000",
        "parent_id": None,
    },
    "descriptors/ID.json": None,
    "worktrees/main/config.json": None,
    "snapshots/ID.READY": None,
}
VALUES: list[object] = [None, [], {}, 7, -1, "x", True, [{}], {"a": [1]}, "\u001b[2J", 1 << 70]
LOOKING = (["history"], ["history", "--graph"], ["show", "HEAD"], ["status"], ["verify", "--all"], ["doctor"], ["info"])
CHANGING = (["snapshot", "x"], ["undo", "--list"], ["gc", "plan"])


def with_checksum(record: dict) -> dict:
    """Give an edited descriptor the checksum that it would have, so that the checks behind it are reached."""
    covered = {k: v for k, v in record.items() if k not in ("descriptor_checksum", "integrity_state")}
    data = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**record, "descriptor_checksum": hashlib.sha256(data.encode()).hexdigest()}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_with_an_odd_field_is_never_a_bug(ready, name):
    """Each field missing, and of another kind; a descriptor with the checksum that fits it."""
    path = ready.jvs_dir / name.replace("ID", ready.ids()[0])
    kept = path.read_bytes() if path.exists() else None
    record = RECORDS[name] or json.loads(path.read_bytes())
    cases = [(key, value) for key in record for value in (..., *VALUES)]
    for i, (key, value) in enumerate(cases):
        if i % (1 if LONG else 11) != 0:
            continue
        odd = {k: v for k, v in record.items() if k != key} | ({} if value is ... else {key: value})
        path.unlink(missing_ok=True)
        path.write_text(json.dumps(with_checksum(odd) if name.startswith("descriptors") else odd) + "\n")
        commands = (*LOOKING, *CHANGING)
        for words in commands if LONG else (commands[i % len(commands)], commands[(i + 3) % len(commands)]):
            judge(ready.jvs(*words), f"{words} with {key} = {value!r} in {name}")
        if kept is not None:
            path.unlink(missing_ok=True)
            path.write_bytes(kept)
