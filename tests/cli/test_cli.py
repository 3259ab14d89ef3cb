"""The skin of all commands: options, dispatch, output, failures, signals."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys

import making
import pytest

from jvs.cli import commands
from jvs.cli import run as cli
from jvs.errors import ALL, JvsError

JVS = [sys.executable, "-c", "import sys; from jvs.cli.run import main; sys.exit(main())"]


def parser() -> argparse.ArgumentParser:
    return cli.make_parser("hash-tree", "Print the root hash of a directory (step 4)\n\nText.", jsonl=True, cbor=True)


def run(work, *words):
    with making.streams(b"") as (out, err):
        code = cli.run(parser(), work, list(words))
        return making.Said(code, out.buffer.getvalue(), err.buffer.getvalue().decode())


def test_the_version_is_one_line():
    for words in (["--version"], ["version"], ["snapshot", "--version"]):
        said = making.run(*words)
        assert (said.exit, said.text) == (0, "jvs 0.1.0\n")


def test_without_a_word_help_is_shown_and_it_is_a_usage_error():
    said = making.run()
    assert said.exit == 2
    assert "snapshot" in said.text + said.err
    assert making.run("--help").exit == making.run("-h").exit == 0


def test_an_unknown_word_names_the_nearest():
    said = making.run("snapsot")
    assert said.exit == 2
    assert "did you mean 'snapshot'?" in said.err
    assert making.run("--json", "zzz").error["class"] == "E_USAGE"


def test_an_unknown_word_is_looked_for_on_path(tmp_path):
    program = tmp_path / "jvs-hello"
    program.write_text('#!/bin/sh\necho "hello $*"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([*JVS, "--json", "hello", "a b"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "hello --json a b\n")


def test_a_word_is_never_a_path():
    for word in ("../x", "/bin/true", "a/b", "", " "):
        assert making.run(word).exit == 2


@pytest.mark.parametrize("word", sorted(commands.first_words() - {a.split(" ")[0] for a in commands.ALIASES}))
def test_a_second_word_is_asked_for(word):
    said = making.run(word)
    assert said.exit == 2
    assert "needs a second word" in said.err
    assert "one of: " in said.err
    assert making.run(word, "zzz").exit == 2


def test_options_between_two_words_are_taken(tmp_path):
    said = making.run("config", "--json", "list")
    assert said.exit == 0, said.err
    assert said.json


def test_directories_add_up(tmp_path):
    making.make_store(tmp_path / "r")
    said = making.run("-C", str(tmp_path), "check-worktree", "-C", "r")
    assert said.exit == 0
    assert said.text.startswith("main\t")


def test_the_forms_of_one_result():
    def work(args):
        return cli.Result({"a": "é", "n": 1}, "text\n", items=[{"i": 1}, {"i": 2}], cbor=[b"\xff", 1])

    assert run(work).out == b"text\n"
    assert run(work, "--json").text == '{\n  "a": "é",\n  "n": 1\n}\n'
    assert run(work, "--jsonl").text == '{"i":1}\n{"i":2}\n'
    assert run(work, "--cbor").out == b"\x41\xff\x01"


def test_text_may_be_bytes_or_made_for_the_terminal():
    assert run(lambda args: cli.Result(text=b"\xff\n")).out == b"\xff\n"
    assert run(lambda args: cli.Result(text=lambda terminal: f"{terminal.width}\n")).text == "80\n"
    assert run(lambda args: cli.Result()).out == b""


def test_names_that_are_no_unicode_can_be_printed():
    said = run(lambda args: cli.Result({"p": "a\udcff"}, "a\udcff\n"))
    assert said.exit == 0
    assert b"a" in said.out
    assert run(lambda args: cli.Result({"p": "a\udcff"}), "--json").exit == 0


@pytest.mark.parametrize("error", ALL)
def test_every_class_becomes_its_exit_code_sentence_and_hint(error):
    def work(args):
        raise error("it broke", hint="mend it", path="x")

    said = run(work)
    assert (said.exit, said.out) == (error.exit, b"")
    assert said.err == f"jvs-hash-tree: {error.name}: it broke\nhint: mend it\n"
    said = run(work, "--json")
    assert said.exit == error.exit
    assert said.error == {
        "class": error.name,
        "exit": error.exit,
        "message": "it broke",
        "hint": "mend it",
        "facts": {"path": "x"},
    }


def test_what_the_system_refuses_is_io_with_a_hint():
    def work(args):
        open("/no/such/file")  # noqa: SIM115

    said = run(work)
    assert said.exit == 4
    assert "E_IO" in said.err
    assert "/no/such/file" in said.err


def test_a_complaint_comes_after_the_result():
    said = run(lambda args: cli.Result({"a": 1}, "text\n", complaint=JvsError("but", hint="so")))
    assert (said.exit, said.text) == (70, "text\n")
    assert "E_INTERNAL: but" in said.err


def test_a_bug_shows_its_traceback_and_asks_for_a_report():
    def work(args):
        return {}["missing"]

    said = run(work)
    assert said.exit == 70
    assert "Traceback" in said.err
    assert "report" in said.err


@pytest.mark.parametrize("stop", [KeyboardInterrupt, cli.Terminated(15)])
def test_an_interruption_is_reported_by_the_exit_code(stop):
    def work(args):
        raise stop

    assert run(work).exit == (130 if stop is KeyboardInterrupt else 143)


def test_a_reader_that_went_away_is_no_error_message(tmp_path):
    making.write(tmp_path, {f"f{i}": "x" for i in range(50)})
    process = subprocess.Popen([*JVS, "help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait() in (0, 141)
    assert err == b""


def test_a_full_output_is_an_error():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*JVS, "hash-tree", "."], stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 4
        assert b"hint: " in done.stderr
        assert subprocess.run([*JVS, "--version"], stdout=full, stderr=subprocess.PIPE).returncode == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_command_that_waits(tmp_path, number):
    store = making.make_store(tmp_path / "r")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    words = ["with-lock", "-C", store.root, "main", "--", "sh", "-c", f'echo x >"{fifo}"; exec sleep 60']
    process = subprocess.Popen([*JVS, *words], stderr=subprocess.PIPE, start_new_session=True)
    fifo.read_text()
    os.killpg(process.pid, number)
    err = process.stderr.read()
    assert process.wait() == 128 + number, err
    assert making.run("-C", store.root, "snapshot", "--wait", "5").exit == 0


def test_stderr_that_is_closed_changes_no_exit_code(tmp_path):
    done = subprocess.run(["sh", "-c", 'exec 2>&-; "$@"', "sh", *JVS, "history"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 5


def test_a_directory_that_was_removed_beneath_us(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    said = making.run("history")
    assert said.exit in (4, 5)
    assert "Traceback" not in said.err
    os.chdir(tmp_path)


@pytest.mark.parametrize("wait", ["x", "", "nan"])
def test_a_wait_that_is_no_number_is_a_usage_error(tmp_path, wait):
    making.make_store(tmp_path / "r")
    os.chdir(tmp_path / "r")
    assert making.run("snapshot", "--wait", wait).exit == 2


def test_steps_are_shown_with_their_times_when_asked_for(tmp_path, monkeypatch):
    making.make_store(tmp_path / "r")
    os.chdir(tmp_path / "r")
    said = making.run("snapshot", "--debug")
    assert "clone-tree" in said.err
    assert "clear-intent" in said.err
    monkeypatch.setenv("JVS_TRACE", "1")
    assert "clone-tree" in making.run("snapshot").err
    monkeypatch.setenv("JVS_TRACE", "0")
    assert making.run("snapshot").err == ""


def test_a_long_json_list_is_one_document(tmp_path):
    making.make_store(tmp_path / "r")
    os.chdir(tmp_path / "r")
    for _ in range(3):
        making.run("snapshot")
    assert isinstance(json.loads(making.run("history", "--json").out), list)
