"""Settings: defaults, the user's file, the repository's file, `JVS_*`, and `-c`, in this order; later wins.

The library reads no environment: a command passes a mapping in (`Settings.from_environment`).
Source: jvs-config(5).
"""

from __future__ import annotations

import os

from jvs.engine.options import CONTROLS, NAMES, EngineOptions
from jvs.errors import UsageError, from_oserror, readable
from jvs.fs import paths, rooted
from jvs.fs.locks import DEFAULT_WAIT_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jvs.fs.rooted import Below

    Layer = dict[str, Any]
    """Settings of one origin. Shape: key -> value of the type that `KEYS` gives."""

MAX_BYTES = 1 << 20
"""Of a settings file: a larger one is a mistake, or meant to fill the memory."""
Key = tuple[str, object, tuple[str, ...] | None, str]
"""Shape: type (`text`, `list`, `bool`, `int`), default, allowed values or None, meaning."""

KEYS: dict[str, Key] = {
    "default_engine": ("text", None, NAMES, "the engine to use; unset: the best one that works here"),
    "default_tags": ("list", [], None, "tags that every snapshot gets"),
    "output_format": ("text", "text", ("text", "json"), "how results are printed"),
    "progress_enabled": ("bool", True, None, "show progress on a terminal"),
    "durability": ("text", "auto", ("auto", "each"), "one barrier where it flushes, or fsync each file"),
    "snapshot.when_detached": ("text", "branch", ("branch", "refuse"), "what a snapshot of a detached worktree does"),
    "audit.remember": ("bool", False, None, "note outside of the repository how far its log goes"),
    "exclude": ("list", [], None, "what snapshots leave out, and restores alone: rules as in .jvsignore"),
    "exclude_caches": ("bool", False, None, "exclude directories with a CACHEDIR.TAG"),
    "worktrees.path": ("text", "", None, "where forks are made: {repo}.forks/{name}; unset: in the repository"),
    "restore.protect": ("list", [], None, "paths and patterns that a restore leaves as they are"),
    "undo.max_operations": ("int", 20, None, "how many operations can be undone"),
    "undo.max_age_days": ("int", 14, None, "how long displaced files are kept"),
    "retention.keep_last": ("int", 0, None, "keep that many of the newest snapshots"),
    "retention.keep_within": ("text", "", None, "keep all snapshots younger than this (7d, 12h)"),
    "retention.keep_hourly": ("int", 0, None, "keep the newest snapshot of that many hours"),
    "retention.keep_daily": ("int", 0, None, "keep the newest snapshot of that many days"),
    "retention.keep_weekly": ("int", 0, None, "keep the newest snapshot of that many weeks"),
    "retention.keep_monthly": ("int", 0, None, "keep the newest snapshot of that many months"),
    "retention.keep_yearly": ("int", 0, None, "keep the newest snapshot of that many years"),
    "retention.keep_tag": ("list", [], None, "keep snapshots with a tag that fits one of these patterns"),
    "trusted": ("list", [], None, "repositories of other users in which you work all the same"),
    "engine.jobs": ("int", 0, None, "how many processes read and copy at once; 0: one for each processor"),
    "engine.link_restored": (
        "bool",
        True,
        None,
        "link what a restore brought back from the snapshot that it came from",
    ),
    "engine.remember_forks": ("bool", True, None, "take a new fork to hold what its snapshot holds, until it changes"),
    "engine.shared_extents": ("bool", True, None, "take parts of large files that lie where they lay as unchanged"),
    "engine.juicefs.binary": ("text", None, None, "path of the juicefs client; unset: found on PATH"),
    "engine.juicefs.control": ("text", "auto", CONTROLS, "ask the mount itself for clones"),
}
OWN_ONLY = ("engine.juicefs.binary", "trusted")
"""Programs to run, and whom to trust: only the user's own file, the environment and the command line may say."""
INSIDE = "JVS_INSIDE"
"""What `enter` and `try` tell a command: the repository that it is shown a part of, and finds none above."""
_ENVIRONMENT = {"JVS_SNAPSHOT_ENGINE": "default_engine"}


class Settings:
    """The layers of one run. Shape: each layer is (origin, {key: value})."""

    def __init__(self) -> None:
        self.layers: list[tuple[str, Layer]] = []
        self.late: list[tuple[str, Layer]] = []
        self.wait = DEFAULT_WAIT_SECONDS
        self.use_index = True
        self.command = ""
        self.actor = ""
        self.user_file: str | None = None
        self.state_dir: str | None = None
        self.search_path: str | None = None
        self.sudo_uid: int | None = None
        self.inside: str | None = None
        self.repository: str | None = None

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        *,
        overrides: list[str] | None = None,
        wait: float | None = None,
        engine: str | None = None,
        use_index: bool = True,
        command: str = "",
        repository: str | None = None,
    ) -> Settings:
        """Collect the layers that do not depend on a repository.

        Errors: E_USAGE for unknown keys, wrong types, and values outside the allowed ones, naming where they are set.
        """
        self = cls()
        base = _base(environment, "XDG_CONFIG_HOME", ".config")
        if base:
            self.user_file = os.path.join(base, "jvs", "config.toml")
            self.layers.append((self.user_file, read_file(self.user_file)))
        state = _base(environment, "XDG_STATE_HOME", ".local/state")
        self.state_dir = os.path.join(state, "jvs") if state else None
        self.late.append(("environment", _from_environment(environment)))
        given = {}
        for override in overrides or []:
            key, separator, text = override.partition("=")
            if not separator:
                raise UsageError(f"-c '{override}' has no '='", hint="write -c KEY=VALUE")
            given[key] = parse_value(key, text, "-c")
        if engine is not None:
            given["default_engine"] = parse_value("default_engine", engine, "--engine")
        self.late.append(("command line", given))
        if wait is not None:
            self.wait = max(wait, 0.0)
        self.use_index = use_index
        self.command = command
        self.actor = readable(environment.get("JVS_ACTOR") or default_actor(environment))
        self.search_path = environment.get("PATH")
        self.inside = environment.get(INSIDE)
        self.repository = environment.get("JVS_REPO") or None if repository is None else repository
        caller = environment.get("SUDO_UID", "")
        self.sudo_uid = int(caller) if caller.isascii() and caller.isdigit() and len(caller) < 11 else None
        return self

    def with_repository(self, path: Below) -> None:
        """Put the repository's file between the user's and the environment; errors: E_USAGE, E_IO."""
        self.layers = [layer for layer in self.layers if layer[0] == self.user_file]
        found = read_file(path)
        for key in found:
            check_place(key, str(path))
        self.layers.append((str(path), found))

    def origin(self, key: str) -> tuple[Any, str]:
        """Return the value of a key and where it comes from. Errors: E_USAGE for an unknown key."""
        check_key(key, "settings")
        for origin, layer in reversed([*self.layers, *self.late]):
            if key in layer:
                return layer[key], origin
        return KEYS[key][1], "default"

    def get(self, key: str) -> Any:
        """Return the value of a key."""
        return self.origin(key)[0]

    def trusted(self) -> list[str]:
        """Return the repositories of others in which the user works all the same; a user's file of others says none.

        With sudo(8) the file may be that of the caller.
        """
        return list(self._own("trusted"))

    def _own(self, key: str) -> Any:
        """Return the value of a key of `OWN_ONLY`; a file that belongs to neither the user nor root gives none."""
        value, origin = self.origin(key)
        return KEYS[key][1] if value and origin == self.user_file and not _is_own(origin) else value

    def jobs(self) -> int:
        """Return how many threads and processes share the reading and copying; 1 is this one alone."""
        return self.get("engine.jobs") or os.cpu_count() or 1

    def engine_options(self) -> EngineOptions:
        """Return what engines take over from the settings."""
        return EngineOptions(
            binary=self._own("engine.juicefs.binary"),
            control=self.get("engine.juicefs.control"),
            search_path=self.search_path,
        )


def _base(environment: Mapping[str, str], name: str, below_home: str) -> str:
    """Return a directory of the user's own; empty when there is none.

    A relative path counts as not set: what it names depends on where a command runs, and there may be a repository
    that somebody else made. So does a home that is not there, as services have one: it is nobody's to make.
    Source: XDG Base Directory Specification.
    """
    given, home = environment.get(name, ""), environment.get("HOME", "")
    if given.startswith("/"):
        return given
    return os.path.join(home, below_home) if home.startswith("/") and os.path.isdir(home) else ""


def _is_own(path: str) -> bool:
    try:
        return os.stat(path).st_uid in (os.geteuid(), 0)
    except OSError:
        return False


def default_actor(environment: Mapping[str, str]) -> str:
    """Return `user@host`."""
    user = environment.get("USER") or environment.get("LOGNAME")
    if not user:
        import pwd

        try:
            user = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            user = str(os.geteuid())
    return f"{user}@{os.uname().nodename}"


def read_file(path: Below | str) -> Layer:
    """Return the flat settings of a TOML file; an absent file is an empty one.

    A user's own file, which is told as a path, may be a link; one in a control directory never. Neither may be a fifo
    to wait on. Errors: E_USAGE naming the file and, where TOML says it, the line; E_IO.
    """
    try:
        place = rooted.at(os.path.realpath(path)) if isinstance(path, str) else path
        data = paths.read_file(place, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise from_oserror(error, f"reading '{path}'") from error
    return parse_file(data, str(path))


def parse_file(data: bytes, path: str) -> Layer:
    """Return the flat settings of TOML text; errors as for `read_file`."""
    import tomllib

    try:
        text = data.decode("utf-8")
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{path}' is not valid TOML: {error}", hint="repair or move the file") from error
    flat: Layer = {}
    _flatten(document, "", flat)
    for key, value in flat.items():
        where = f"{path}:{_line_of(text, key)}"
        check_key(key, where)
        flat[key] = check_value(key, value, where)
    return flat


def _line_of(text: str, key: str) -> int:
    last = key.rsplit(".", 1)[-1]
    for number, line in enumerate(text.split("\n"), 1):
        if line.split("=")[0].strip().strip("\"'").rsplit(".", 1)[-1] == last:
            return number
    return 1


def _flatten(table: dict[str, Any], prefix: str, flat: Layer) -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{key}.", flat)
        else:
            flat[prefix + key] = value


def _from_environment(environment: Mapping[str, str]) -> Layer:
    found = {}
    for key in KEYS:
        name = "JVS_" + key.upper().replace(".", "_")
        if environment.get(name):
            found[key] = parse_value(key, environment[name], name)
    for name, key in _ENVIRONMENT.items():
        if environment.get(name):
            found[key] = parse_value(key, environment[name], name)
    return found


def check_key(key: str, where: str) -> None:
    """Raise E_USAGE for a key that does not exist, with the nearest that does."""
    if key in KEYS:
        return
    import difflib

    near = difflib.get_close_matches(key, KEYS, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise UsageError(f"{where}: unknown key '{key}'", hint=f"{hint}'jvs config list' shows all keys")


def check_place(key: str, path: str) -> None:
    """Refuse a key in a repository's file that names a program to run. Errors: E_USAGE."""
    if key in OWN_ONLY:
        raise UsageError(
            f"{path}: '{key}' is not taken from a repository, which somebody else may have made",
            hint=f"take it out there and set it in your own file: 'jvs config set --user {key} ...'",
        )


def check_value(key: str, value: Any, where: str) -> Any:
    """Return the value when it has the key's type and is allowed. Errors: E_USAGE."""
    kind, _, allowed, _ = KEYS[key]
    fits = {
        "text": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        "list": isinstance(value, list) and all(isinstance(item, str) for item in value),
    }[kind]
    names = {"text": "text", "bool": "true or false", "int": "a whole number, 0 or more", "list": "a list of texts"}
    if not fits:
        raise UsageError(f"{where}: '{key}' must be {names[kind]}", hint="jvs-config(5) says what each setting takes")
    if allowed is not None and value not in allowed:
        raise UsageError(f"{where}: '{key}' cannot be '{value}'", hint=f"use one of: {', '.join(allowed)}")
    if key == "trusted" and not all(item == "*" or item.startswith("/") for item in value):
        raise UsageError(
            f"{where}: '{key}' takes absolute paths", hint="name each repository as '/path', or all as '*'"
        )
    if key == "default_tags":
        from jvs.names import check_tag

        return [check_tag(tag) for tag in value]
    return value


def parse_value(key: str, text: str, where: str) -> Any:
    """Return the value that a text on the command line or in the environment means. Errors: E_USAGE."""
    check_key(key, where)
    kind = KEYS[key][0]
    value: Any = text
    if kind == "bool":
        value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower(), text)
    elif kind == "int":
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
    elif kind == "list":
        value = [item.strip() for item in text.strip("[]").replace('"', "").split(",") if item.strip()]
    return check_value(key, value, where)
