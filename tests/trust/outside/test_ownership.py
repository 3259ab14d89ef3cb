"""A repository belongs to the user who made it: all others, root too, are refused, and change nothing."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import canaries
import every_command
import making
import pending
import pytest
import sandbox

from jvs.store import held

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="other users' repositories need root"),
    pytest.mark.xdist_group("confinement"),
]
OWNER, OTHER, NOBODY = 12345, 12346, 65534
# These only read a directory that was named, or probe it, or change what belongs to the caller.
NO_REPOSITORY = ("jvs-probe-engine", "jvs-apply-tree")
OF_THE_CALLER = ("hooks",)
Words = tuple[str, ...]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository to copy, with a pending operation of a dead process."""
    if reason := sandbox.is_possible():
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("built") / "repo"
    root.parent.chmod(0o755)
    pending.build(root)
    return root


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Return a directory that every user can reach, unlike that of pytest."""
    made = Path(tempfile.mkdtemp(prefix="jvs-owners-"))
    made.chmod(0o755)
    yield made / "scratch"
    shutil.rmtree(made)


def load_everything() -> None:
    """Import what a command may need: the users of these tests cannot read the interpreter's own files."""
    import encodings.ascii
    import encodings.latin_1  # noqa: F401
    import pwd  # noqa: F401
    import sqlite3  # noqa: F401

    for name in ("jvs", "jvs.plumbing", "jvs.porcelain"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, name + "."):
            importlib.import_module(module.name)


def owned(scratch: Path, built: Path, uid: int) -> Path:
    """Copy the repository and give it to a user, with what its records say of owners: an undo brings that back."""
    scratch.chmod(0o755)
    (scratch / "home").chmod(0o777)
    root = scratch / "repo"
    shutil.copytree(built, root, symlinks=True)
    with contextlib.closing(making.open_store(root)) as store:
        for path in (root / ".jvs/undo").glob(f"*/{held.NAME}"):
            record = held.load(store.layout, path.parent.name)
            assert record is not None
            for _, meta in record.dirs:
                meta[1:3] = uid, uid
            held.save(store.layout, path.parent.name, record)
    for here, directories, files in os.walk(root):
        for name in ("", *directories, *files):
            os.lchown(os.path.join(here, name), uid, uid)
    return root


def commands(root: Path, kind: str | None = None) -> list[Words]:
    """Return the words of every command that opens a repository."""
    kinds = (every_command.CHANGES, every_command.READS) if kind is None else (kind,)
    found = [words for one in kinds for words in every_command.invocations(root, one)]
    return [words for words in found if words[0] not in ("init", *NO_REPOSITORY)]


def wrong(root: Path, ways: Iterable[Words], uid: int, verdict: Callable[[sandbox.Ended], bool]) -> list[str]:
    """Run commands as a user; return those that end otherwise than they should, or change anything."""
    before = canaries.facts(root)
    found = []
    for words in ways:
        ended = sandbox.command(words, cwd=root, uid=uid)
        if not verdict(ended):
            said = ended.err.strip() or ended.out.decode(errors="replace").strip()
            found.append(f"'{' '.join(words)}' ended with {ended.exit}: {said[-300:]}")
        if changed := canaries.differences(before, canaries.facts(root)):
            return [*found, *(f"'{' '.join(words)}' {what}" for what in changed[:2])]
    return found


def is_refused(ended: sandbox.Ended) -> bool:
    """Answer whether a command was refused as it should be."""
    own = 125 if ended.words[0] in ("try", "enter") else 11  # they say with a status that it was not their command
    return ended.exit in (11, own) and "E_PATH_ESCAPE" in ended.err and "Traceback" not in ended.err


def worked(ended: sandbox.Ended) -> bool:
    """Answer whether a command that reads did so; it may find differences."""
    return ended.exit in (0, 1) and "E_" not in ended.err


def in_repository_of(uid: int, scratch: Path, built: Path, work: Callable[[Path], list[str]]) -> list[str]:
    """Call `work` with a repository of a user, confined."""
    load_everything()
    found: list[str] = sandbox.run(scratch, lambda here: work(owned(here, built, uid)))
    return found


@pytest.mark.parametrize(
    ("owner", "caller"), [(OWNER, 0), (NOBODY, 0), (NOBODY, NOBODY), (OWNER, OTHER), (0, OTHER), (OWNER, NOBODY)]
)
def test_everybody_but_the_owner_is_refused_by_every_command(scratch, built, owner, caller):
    """uid 65534 is who owns what no user namespace maps: nobody works there, itself included."""

    def work(root: Path) -> list[str]:
        os.rmdir(root / ".jvs/gc/trash")  # the doctor would make it again
        ways = commands(root)
        return wrong(root, ways if owner == OWNER and caller != NOBODY else ways[:: len(ways) // 8], caller, is_refused)

    assert in_repository_of(owner, scratch, built, work) == []


def test_with_sudo_the_repository_of_the_caller_is_read_and_not_changed(scratch, built):
    def work(root: Path) -> list[str]:
        os.environ["SUDO_UID"] = str(OWNER)
        changing = [words for words in commands(root, every_command.CHANGES) if words[0] not in OF_THE_CALLER]
        found = wrong(root, changing, 0, lambda ended: ended.exit not in (0, None, 70))
        found += wrong(root, commands(root, every_command.READS), 0, lambda ended: "E_INTERNAL" not in ended.err)
        reading = [("history",), ("status",), ("verify", "--all"), ("diff", "-p", "HEAD"), ("doctor",), ("info",)]
        found += wrong(root, reading, 0, worked)
        ended = sandbox.command(("snapshot", "as root"), cwd=root / "main", uid=0)
        found += [] if is_refused(ended) and "sudo" in ended.err else [ended.err]
        ended = sandbox.command(("snapshot", "as the owner"), cwd=root / "main", uid=OWNER)
        return found + ([] if ended.exit == 0 else [ended.err])

    assert in_repository_of(OWNER, scratch, built, work) == []


@pytest.mark.parametrize(("owner", "sudo"), [(OWNER, OTHER), (NOBODY, NOBODY), (OWNER, ""), (OWNER, "x"), (OWNER, -1)])
def test_sudo_opens_no_other_repositories(scratch, built, owner, sudo):
    def work(root: Path) -> list[str]:
        os.environ["SUDO_UID"] = str(sudo)
        return wrong(root, [("history",), ("status",), ("doctor",)], 0, is_refused)

    assert in_repository_of(owner, scratch, built, work) == []


def test_the_caller_of_sudo_is_nothing_to_others(scratch, built):
    def work(root: Path) -> list[str]:
        os.environ["SUDO_UID"] = str(OWNER)
        return wrong(root, [("history",)], OTHER, is_refused)

    assert in_repository_of(OWNER, scratch, built, work) == []


def trust(root: Path, uid: int, path: str | None = None) -> Path:
    """Let a user trust a repository, by the words of the hint."""
    ended = sandbox.command(("config", "set", "--user", "trusted", path or str(root)), cwd=root.parent, uid=uid)
    assert ended.exit == 0, ended.err
    return Path(os.environ["XDG_CONFIG_HOME"]) / "jvs/config.toml"


def foreign(root: Path, owner: int) -> list[str]:
    """Return what in a repository does not belong to its owner."""
    paths = [Path(here, name) for here, above, below in os.walk(root) for name in (*above, *below)]
    return [f"of another: {path}" for path in paths if path.lstat().st_uid != owner]


@pytest.mark.parametrize("owner", [OWNER, NOBODY])
def test_what_root_makes_in_a_repository_that_it_trusts_belongs_to_the_owner(scratch, built, owner):
    def work(root: Path) -> list[str]:
        trust(root, 0)
        shutil.rmtree(root / ".jvs/locks")
        (root / ".jvs/locks").mkdir(mode=0o700)
        os.chown(root / ".jvs/locks", owner, owner)
        found = []
        for words in commands(root):
            ended = sandbox.command(words, cwd=root)
            found += ended.faults + [f"'{' '.join(words)}': {what}" for what in foreign(root, owner)]
            if words[0] in ("snapshot", "worktree", "restore") and "E_PATH_ESCAPE" in ended.err:
                found.append(ended.err)
            if found:
                return found
        (root / "main/new").write_text("of root")
        os.chown(root / "main/new", owner, owner)
        made = [sandbox.command(("snapshot", "of root"), cwd=root / "main")]
        if owner != NOBODY:
            made.append(sandbox.command(("snapshot", "of the owner"), cwd=root / "main", uid=owner))
            made.append(sandbox.command(("doctor", "--strict"), cwd=root, uid=owner))
        return foreign(root, owner) + [ended.err or "status" for ended in made if ended.exit != 0]

    assert in_repository_of(owner, scratch, built, work) == []


def test_another_user_who_trusts_it_reads_and_changes_nothing(scratch, built):
    """Only root can give files to the owner."""

    def work(root: Path) -> list[str]:
        for here, directories, files in os.walk(root / ".jvs"):
            if Path(here).name == "snapshots":
                directories.clear()  # the modes in payloads are part of what was published
            for name in ("", *directories, *files):
                Path(here, name).chmod(0o777)
        trust(root, OTHER)
        found = wrong(root, [("history",), ("status",), ("show",), ("verify", "--all")], OTHER, worked)
        changing = [words for words in commands(root, every_command.CHANGES) if words[0] not in OF_THE_CALLER]
        return found + wrong(root, changing, OTHER, lambda ended: ended.exit not in (0, None, 70))

    assert in_repository_of(OWNER, scratch, built, work) == []


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv(1), to give rights up")
def test_root_that_cannot_give_files_away_changes_nothing(scratch, built):
    """As on NFS with root_squash, and in containers without CAP_CHOWN."""

    def work(root: Path) -> list[str]:
        trust(root, 0)
        before = canaries.facts(root)
        rights = ["setpriv", "--bounding-set=-chown", "--inh-caps=-chown", sandbox.program("jvs")]
        found = []
        for words, code in ((("history",), 0), (("snapshot", "x"), 11), (("doctor", "--repair-runtime"), 11)):
            done = subprocess.run([*rights, *words], cwd=root, capture_output=True, text=True, timeout=60)
            found += [] if done.returncode == code else [f"{words}: {done.returncode} {done.stderr}"]
            found += canaries.differences(before, canaries.facts(root))
        return found

    assert in_repository_of(OWNER, scratch, built, work) == []


def test_only_settings_of_ones_own_can_trust(scratch, built):
    def work(root: Path) -> list[str]:
        found = []
        (root / ".jvs/config.toml").write_text(f'trusted = ["{root}"]\n')
        found += wrong(root, [("history",)], 0, is_refused)
        (root / ".jvs/config.toml").unlink()
        file = trust(root, 0)
        found += wrong(root, [("history",)], 0, worked)
        os.chown(file, OTHER, OTHER)  # as sudo finds it, which keeps HOME
        found += wrong(root, [("history",)], 0, is_refused)
        os.chown(file, 0, 0)
        for other in (str(root.parent), f"{root}x", str(root / "main"), f"{root}/.jvs"):
            trust(root, 0, other)
            found += wrong(root, [("history",)], 0, is_refused)
        link = root.parent / "link"
        link.symlink_to(root)
        for named in ("*", str(link), f"{root}/"):
            trust(root, 0, named)
            found += wrong(root, [("history",)], 0, worked)
        file.unlink()
        os.environ["JVS_TRUSTED"] = str(root)
        found += wrong(root, [("history",)], 0, worked)
        del os.environ["JVS_TRUSTED"]
        found += wrong(root, [("history", "-c", f"trusted={root}")], 0, worked)
        found += wrong(root, [("config", "set", "trusted", str(root), "-c", "trusted=*")], 0, lambda e: e.exit == 2)
        return found + wrong(root, [("history", "-c", "trusted=relative")], 0, lambda ended: ended.exit == 2)

    assert in_repository_of(OWNER, scratch, built, work) == []


def test_root_leaves_nothing_in_the_home_of_the_caller(scratch, built):
    """With sudo that keeps HOME: a settings file of root would lock its user out of every repository."""

    def work(root: Path) -> list[str]:
        os.chown(os.environ["HOME"], OWNER, OWNER)
        for name in [name for name in os.environ if name.startswith("XDG_")]:
            del os.environ[name]
        os.chown(root / ".jvs", 0, 0)
        before = canaries.facts(Path(os.environ["HOME"]))
        ended = sandbox.command(("config", "set", "--user", "default_engine", "copy"), cwd=root)
        found = [] if ended.exit == 4 and "sudo -H" in ended.err else [f"{ended.exit}: {ended.err}"]
        ended = sandbox.command(("snapshot", "x", "-c", "audit.remember=true"), cwd=root)
        found += [] if ended.exit == 0 else [ended.err]
        return found + canaries.differences(before, canaries.facts(Path(os.environ["HOME"])))

    assert in_repository_of(OWNER, scratch, built, work) == []


def test_the_hint_keeps_what_is_trusted_already(scratch, built):
    def work(root: Path) -> list[str]:
        trust(root, 0, "/srv/a b")
        ended = sandbox.command(("history", "--json"), cwd=root)
        hint = json.loads(ended.err)["error"]["hint"]
        return [] if f"trusted '/srv/a b' {root}" in hint else [hint]

    assert in_repository_of(OWNER, scratch, built, work) == []


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1)")
def test_a_container_that_does_not_map_the_owner_is_reported_so(scratch, built):
    def work(root: Path) -> list[str]:
        before = canaries.facts(root)
        argv = ["unshare", "--user", "--map-root-user", sandbox.program("jvs"), "history"]
        done = subprocess.run(argv, cwd=root, capture_output=True, text=True, user=OTHER, group=OTHER, timeout=60)
        if done.stderr.startswith("unshare:"):  # a kernel that lets only root make user namespaces
            return []
        said = done.returncode == 11 and "stands for every user that is not known here" in done.stderr
        return [] if said else [done.stderr, *canaries.differences(before, canaries.facts(root))]

    assert in_repository_of(OWNER, scratch, built, work) == []


def test_init_refuses_where_its_files_are_not_its_own(tmp_path, monkeypatch):
    """As on FAT, or NFS with root_squash: the owner of what was made is another one than we are."""
    real, me = os.geteuid, os.geteuid() + 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: me)
        said = making.run("init", str(tmp_path / "lab"))
    assert (said.exit, real()) == (11, me - 1)
    assert "belongs to" in said.err and not (tmp_path / "lab").exists()


def test_init_finishes_nothing_that_somebody_else_began(tmp_path):
    root = tmp_path / "lab"
    assert making.run("init", str(root)).exit == 0
    (root / ".jvs").rename(root / ".jvs.init-0a1b2c3d")
    os.chown(root / ".jvs.init-0a1b2c3d", OTHER, OTHER)
    said = making.run("init", str(root))
    assert said.exit == 11 and (root / ".jvs.init-0a1b2c3d").is_dir() and not (root / ".jvs").exists()
    os.chown(root / ".jvs.init-0a1b2c3d", 0, 0)
    assert making.run("init", str(root)).exit == 0
