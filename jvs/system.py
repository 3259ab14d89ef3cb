"""On which systems jvs runs: one question, asked before anything is imported that only Linux has.

Source: README.md, Requirements.
"""

from __future__ import annotations

import sys

from jvs.errors import IOFailure


def check() -> None:
    """Refuse to work where the calls are missing that the promises rest on. Errors: E_IO.

    They are openat2(2), renameat2(2), syncfs(2), statx(2), O_PATH, O_NOATIME, the flags of unlinkat(2), and /proc.
    """
    if sys.platform != "linux":
        raise IOFailure(
            f"jvs works on Linux, and this is '{sys.platform}'",
            hint="run it in a Linux virtual machine or container, with the workspace on a filesystem of that",
            platform=sys.platform,
        )
