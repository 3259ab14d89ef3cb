"""Proves that the tools of this suite can fail: known hashes, damaged repositories, a supervisor that sees all calls.

It prints one line per test and ends with a count. It needs no jvs.
"""

from __future__ import annotations

import traceback

from lib.harness import Skip
from supervisor import seccomp

from selftest import damage, encodings, supervision, tools

_MODULES = (encodings, damage, tools, supervision)


def main() -> int:
    """Run every test and print one line for each."""
    tests = [(name, test) for module in _MODULES for name, test in vars(module).items() if name.startswith("test_")]
    failed = skipped = 0
    for name, test in tests:
        try:
            test()
            print(f"ok      {name}")
        except (Skip, seccomp.Unsupported) as reason:
            skipped += 1
            print(f"skipped {name}: {reason}")
        except Exception:
            failed += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}")
    print(f"{len(tests) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0
