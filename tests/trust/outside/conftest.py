"""Modules that the tests of this directory share: importlib mode puts nothing on the path."""

from __future__ import annotations

import sys
from pathlib import Path

for _directory in (Path(__file__).parent, Path(__file__).parents[3] / "conformance"):
    if str(_directory) not in sys.path:
        sys.path.append(str(_directory))
