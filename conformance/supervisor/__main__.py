"""Runs a command and lists every call that changes something below a directory."""

import os
import sys

sys.dont_write_bytecode = True
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from supervisor import supervise  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(supervise.main(sys.argv[1:]))
