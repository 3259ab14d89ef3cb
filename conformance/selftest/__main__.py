"""Proves that the tools of this suite can fail."""

import os
import sys

sys.dont_write_bytecode = True
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from selftest import runner  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(runner.main())
