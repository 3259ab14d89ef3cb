"""The names of the engines, and what they take over from the settings: the one home of both.

Source: jvs-engines(7), jvs-config(5).
"""

from __future__ import annotations

from jvs.errors import UsageError

JUICEFS, BTRFS, REFLINK, COPY = "juicefs-clone", "btrfs-snapshot", "reflink-copy", "copy"
NAMES = (JUICEFS, BTRFS, REFLINK, COPY)
"""In order of preference."""
CONTROLS = ("auto", "never", "always")


class EngineOptions:
    """What engines take over from the settings. All of it is required: the library reads no environment.

    `binary` is the JuiceFS client, None: found on `search_path`, a list of directories as in PATH, None: where the
    system keeps programs. `control` says when to use the mount's control file.
    """

    __slots__ = ("binary", "control", "search_path")

    def __init__(self, *, binary: str | None, control: str, search_path: str | None) -> None:
        """Errors: E_USAGE."""
        if control not in CONTROLS:
            raise UsageError(
                f"'{control}' is no way to use the control file", hint=f"choose one of: {', '.join(CONTROLS)}"
            )
        self.binary = binary or None
        self.control = control
        self.search_path = search_path
