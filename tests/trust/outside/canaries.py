"""Files outside of a repository that no command may read into it, change, move or delete."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

TOKEN = b"canary-5c1e7a90b4"
_LARGEST_SEARCHED = 1 << 20

Facts = dict[str, tuple[object, ...]]


def plant(directory: Path) -> None:
    """Make the canaries: files and directories of several kinds and modes, some named as records name things."""
    for name in ("dir", "dir/inner", "side", "main/dir", "files", "worktree", "1700000000000-0a1b2c3d/files"):
        (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / name / "file").write_bytes(TOKEN + name.encode())
    for name, mode in (("file", 0o644), ("secret", 0o600), ("program", 0o4755), ("op.json", 0o600), ("x.lock", 0o600)):
        (directory / name).write_bytes(TOKEN + name.encode())
        (directory / name).chmod(mode)
    (directory / "closed").mkdir(mode=0o700)
    (directory / "closed" / "file").write_bytes(TOKEN)
    (directory / "closed").chmod(0o500)
    (directory / "link").symlink_to("file")


def adopt(directory: Path, original: Path, name: str) -> Path:
    """Make a copy of a part of a repository a canary as well, marked in each of its directories."""
    made = directory / name
    if original.is_symlink() or not original.is_dir():
        shutil.copy2(original, made, follow_symlinks=False)
        return made
    shutil.copytree(original, made, symlinks=True)
    for here, _, _ in os.walk(made):
        Path(here, "marked").write_bytes(TOKEN)
    return made


def facts(directory: Path) -> Facts:
    """Return everything about the canaries that a command could change: kind, mode, owner, times, links, content."""
    found: Facts = {}
    for here, directories, files in os.walk(directory):
        for name in ("", *directories, *files):
            path = os.path.join(here, name) if name else here
            st = os.lstat(path)
            content = ""
            if stat.S_ISREG(st.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            elif stat.S_ISLNK(st.st_mode):
                content = os.readlink(path)
            found[path] = (st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_mtime_ns, content)
    return found


def differences(before: Facts, after: Facts) -> list[str]:
    """Say what happened to the canaries."""
    said = [f"deleted or moved: {path}" for path in before.keys() - after.keys()]
    said += [f"new: {path}" for path in after.keys() - before.keys()]
    said += [f"changed: {path}" for path in before.keys() & after.keys() if before[path] != after[path]]
    return sorted(said)


def leaks(repository: Path) -> list[str]:
    """Return the files of a repository that hold the content of a canary."""
    found = []
    for here, _, files in os.walk(repository):
        for name in files:
            path = Path(here, name)
            st = path.lstat()
            if stat.S_ISREG(st.st_mode) and st.st_size <= _LARGEST_SEARCHED and TOKEN in path.read_bytes():
                found.append(f"read into the repository: {path}")
    return found
