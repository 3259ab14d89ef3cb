"""Interrupts every operation of jvs at every system call and judges what is left."""

import os
import sys

sys.dont_write_bytecode = True
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from torture import cli  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(cli.main())
