"""`jvs run`: a way back around any command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jvs.cli import run as cli


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert cli.main(["init", str(tmp_path / "lab")]) == 0
    main = tmp_path / "lab" / "main"
    (main / "kept").write_text("kept\n")
    monkeypatch.chdir(main)
    return main


def report(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    capfd.readouterr()
    code = cli.main(["run", "--json", *words])
    return code, json.loads(capfd.readouterr().out)


def test_a_command_that_succeeds_keeps_what_it_wrote_and_names_it(lab: Path, capfd) -> None:
    code, value = report(capfd, "--", "sh", "-c", "echo new > new; rm kept")
    assert code == 0
    assert value["created"] and not value["rolled_back"]
    assert [(c["path"], c["change"]) for c in value["changes"]] == [("kept", "removed"), ("new", "added")]
    assert (lab / "new").read_text() == "new\n"


def test_a_command_that_fails_is_rolled_back_and_can_be_brought_back(lab: Path, capfd) -> None:
    code, value = report(capfd, "--rollback", "--", "sh", "-c", "echo gone > kept; echo x > extra; exit 7")
    assert code == 7 and value["exit"] == 7
    assert value["rolled_back"]
    assert (lab / "kept").read_text() == "kept\n"
    assert not (lab / "extra").exists()
    assert cli.main(["undo"]) == 0
    assert (lab / "kept").read_text() == "gone\n" and (lab / "extra").read_text() == "x\n"


def test_no_second_snapshot_is_taken_when_nothing_changed(lab: Path, capfd) -> None:
    _, first = report(capfd, "--", "true")
    _, second = report(capfd, "--", "true")
    assert first["created"] and not second["created"]
    assert first["snapshot_id"] == second["snapshot_id"]
    assert second["changes"] == []


def test_after_takes_a_snapshot_of_the_result(lab: Path, capfd) -> None:
    _, value = report(capfd, "--after", "--", "sh", "-c", "echo y > y")
    assert value["after_snapshot_id"] not in (None, value["snapshot_id"])


def test_a_signal_ends_with_128_and_its_number(lab: Path, capfd) -> None:
    code, value = report(capfd, "--rollback", "--", "sh", "-c", "echo z > z; kill -TERM $$")
    assert code == 143 and value["rolled_back"]
    assert not os.path.lexists(lab / "z")


def test_what_the_command_prints_goes_to_stderr_when_json_is_wanted(lab: Path, capfd) -> None:
    capfd.readouterr()
    cli.main(["run", "--json", "--", "echo", "hello"])
    captured = capfd.readouterr()
    json.loads(captured.out)
    assert "hello" in captured.err


def test_a_command_that_cannot_be_run_is_an_error(lab: Path, capfd) -> None:
    assert cli.main(["run", "--", "no-such-program-here"]) == 5


def test_no_command_is_a_usage_error(lab: Path, capfd) -> None:
    assert cli.main(["run"]) == 2
