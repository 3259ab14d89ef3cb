"""The examples run as they stand, on small data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "contrib" / "examples"
BIN = Path(sys.executable).parent


def run(name: str, *words: str) -> str:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([EXAMPLES / name, *words], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_experiment_loop_keeps_the_best_of_its_forks(tmp_path: Path) -> None:
    said = run("experiment-loop", str(tmp_path), "0.001", "0.3")
    assert "best rate: 0.3" in said
    best = (tmp_path / "lab" / "worktrees" / "rate-0.3" / "weight.txt").read_text()
    assert (tmp_path / "lab" / "main" / "weight.txt").read_text() == best


def test_the_pipeline_takes_back_a_failed_step_and_goes_on(tmp_path: Path) -> None:
    run("etl-pipeline", str(tmp_path))
    main = tmp_path / "warehouse" / "main"
    assert sorted(path.name for path in (main / "out").iterdir()) == ["all.csv"]
    done = subprocess.run([BIN / "jvs", "history", "--json"], cwd=main, check=True, capture_output=True, text=True)
    assert [tags for record in json.loads(done.stdout) if (tags := record["tags"])] == [
        ["load"],
        ["transform"],
        ["extract"],
    ]


@pytest.mark.parametrize("megabytes", ["2"])
def test_the_game_gets_its_assets_back(tmp_path: Path, megabytes: str) -> None:
    run("game-assets", str(tmp_path), megabytes)
    main = tmp_path / "game" / "main"
    assert (main / "levels" / "2.map").read_text() == "level 2, with a secret door\n"
    assert (main / "textures" / "pack.bin").stat().st_size == 2 << 20
    assert (main / "textures" / "pack.bin").read_bytes().endswith(b"patched")
