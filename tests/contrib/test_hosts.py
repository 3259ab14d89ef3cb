"""The bench waits for the mounts of JuiceFS, so it has to find them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "contrib" / "bench"


def test_the_mounts_that_are_waited_for_are_found(juicefs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    hosts = importlib.import_module("hosts")
    assert juicefs_dir.is_dir()
    assert hosts._computed() > 0
