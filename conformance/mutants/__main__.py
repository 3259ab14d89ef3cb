"""Judges wrong programs, each of which must be caught."""

import os
import sys

sys.dont_write_bytecode = True
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from mutants import judge  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(judge.main())
