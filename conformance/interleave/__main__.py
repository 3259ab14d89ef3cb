"""Runs one command of jvs in the middle of another, everywhere."""

import os
import sys

sys.dont_write_bytecode = True
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from interleave import cli  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(cli.main())
