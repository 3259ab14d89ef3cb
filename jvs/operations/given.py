"""What a program gives as arguments, made into what the operations take.

Source: jvs-agents(7).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from jvs.store.settings import Settings

    Path = str | os.PathLike[str]


def settings(environment: Mapping[str, str] | None, options: dict[str, Any]) -> Settings:
    """Return the settings of a caller that names them by keyword, with `_` for `.`. Errors: E_USAGE."""
    from jvs.store import settings as reading
    from jvs.store.settings import Settings

    wait = options.pop("wait", None)
    keys = {key.replace(".", "_"): key for key in reading.KEYS}
    given = []
    for name, value in options.items():
        text = ",".join(value) if isinstance(value, list | tuple) else str(value)
        given.append(f"{keys.get(name, name)}={text.lower() if isinstance(value, bool) else text}")
    made = Settings.from_environment(environment or {}, overrides=given, wait=wait, command="Repository")
    made.repository = None  # the caller names it
    return made


def relative(paths: Iterable[Path | bytes] | None) -> list[bytes] | None:
    """Return paths below a worktree as bytes. Errors: E_USAGE for one path instead of a list, E_PATH_ESCAPE."""
    from jvs import names
    from jvs.fs import paths as fs_paths

    if paths is None:
        return None
    return [b"/".join(fs_paths.split_relative(os.fsencode(path))) for path in names.check_listed(paths, "paths")]
