"""Making a repository, cloning one, and changing its settings or the user's.

Source: jvs-init(1), jvs-config(5).
"""

from __future__ import annotations

from jvs import names
from jvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from jvs.store.detach import Detached, HistoryDeleted
    from jvs.store.init import Initialized
    from jvs.store.init_in_place import InitializedHere
    from jvs.store.settings import Settings
    from jvs.store.store import Store
    from jvs.stream.cloning import Cloned as Cloned


def init(path: str, settings: Settings, *, source: str | None = None, home: str | None = None) -> Initialized:
    """Make a repository; main begins empty, or as a clone of `source`. `home` is refused as a place.

    Shape: `repo_root`, `format_version`, `repo_id`, `engine`, `degraded`.
    Durable: yes. Errors: E_NAME_INVALID, E_USAGE, E_EXISTS, E_PATH_ESCAPE, E_IO, E_NO_SPACE.
    """
    from jvs.store import init as making

    return making.create(path, settings, source=source, home=home)


def init_here(path: str, settings: Settings, *, home: str | None = None, control: str | None = None) -> InitializedHere:
    """Make a directory the main worktree of a new repository, where it is. `home` is refused as a place.

    Its control directory is `.jvs` in it, or `control`, elsewhere on the same filesystem.

    Shape: `repo_root`, `format_version`, `repo_id`, `engine`, `captures` (entries, bytes).
    Durable: yes. Errors: E_USAGE, E_EXISTS, E_PATH_ESCAPE, E_IO, E_NO_SPACE.
    """
    if control is not None:
        from jvs.store import init_apart

        return init_apart.create(path, control, settings, home=home)
    from jvs.store import init_in_place as making

    return making.create(path, settings, home=home)


def clone(source: str, path: str, settings: Settings, new: Settings, *, home: str | None = None) -> Cloned:
    """Make a copy of the repository in a directory, with all of its snapshots and an id of its own, at a free path.

    `settings` are those to read the source with, `new` those of the clone, which must be others.
    Shape: those of `init`, and `source_root`, `source_repo`, `snapshots` (how many), `head`, `way`.
    Durable: yes. Errors: E_NOT_A_REPOSITORY, E_USAGE, E_EXISTS, E_PATH_ESCAPE, E_PAYLOAD_HASH_MISMATCH, E_IO.
    """
    from jvs.store import finding
    from jvs.store.store import Store
    from jvs.stream import cloning

    opened = Store.open_found(finding.named(source), settings)
    try:
        return cloning.clone(opened, path, new, home=home)
    finally:
        opened.close()


def detach_keeping(store: Store) -> Detached:
    """Move the history of a workspace next to it, and leave its files where they are.

    Shape: `repo_root` (where the files are), `history`, `snapshots` (how many it holds).
    Durable: yes. Errors: E_USAGE for a classic repository, E_EXISTS, E_PATH_ESCAPE, E_BUSY, E_IO.
    """
    from jvs.store import detach as detaching

    return detaching.keep_history(store)


def detach(store: Store) -> HistoryDeleted:
    """Delete all history of a workspace, and leave its files where they are.

    Shape: `repo_root`, `paths` (where the files are), `snapshots` (how many were deleted).
    Durable: yes. Errors: E_EXISTS, E_BUSY, E_IO.
    """
    from jvs.store import detach as detaching

    return detaching.delete_history(store)


def finish_detaching(directory: str, settings: Settings) -> int:
    """Remove what a crash left of a control directory that was to be deleted; return how many there were."""
    from jvs.fs import rooted
    from jvs.store import detach as detaching

    return detaching.sweep(rooted.Root.open(directory).here, settings.engine_options())


def config_set(store: Store | None, settings: Settings, key: str, words: Iterable[str]) -> tuple[Any, str, bool]:
    """Set a key in the repository's file, without a store in the user's; return value, file, and whether it changed.

    Durable: yes. Errors: E_USAGE, E_NAME_INVALID, E_BUSY, E_IO, E_NO_SPACE.
    """
    from jvs.store import settings as reading

    reading.check_key(key, "command line")
    words = names.check_listed(words, "words")
    if len(words) != 1 and reading.KEYS[key][0] != "list":
        raise UsageError(f"'{key}' takes one value, not {len(words)}", hint="quote a value with blanks")
    value = reading.parse_value(key, ",".join(words), "command line")
    return value, *_write_setting(store, settings, key, value)


def config_unset(store: Store | None, settings: Settings, key: str) -> tuple[str, bool]:
    """Remove a key from the repository's file, without a store from the user's; return the file, whether it changed."""
    from jvs.store import settings as reading

    reading.check_key(key, "command line")
    return _write_setting(store, settings, key, None)


def _write_setting(store: Store | None, settings: Settings, key: str, value: Any) -> tuple[str, bool]:
    from jvs.store import settings as reading
    from jvs.store import settings_file

    if store is not None:
        if value is not None:
            reading.check_place(key, str(store.layout.config))
        return str(store.layout.config), settings_file.change_repository(store, key, value)
    if settings.user_file is None:
        raise UsageError("there is no place for the user's file", hint="set HOME or XDG_CONFIG_HOME")
    return settings.user_file, settings_file.change_user(settings.user_file, key, value)
