"""`jvs try`: a command on a throwaway copy, and what becomes of what it changed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import making
import pytest
from making import as_nobody, run

from jvs import system
from jvs.fs import namespace
from jvs.operations import programs, throwaway

pytestmark = pytest.mark.skipif(not namespace.works(), reason="no mount namespaces here")


@pytest.fixture(params=["classic", "in place"])
def lab(request, tmp_path, monkeypatch) -> Path:
    """Return main of a repository with one snapshot; the current directory is in it."""
    return made_at(tmp_path / "lab", monkeypatch, classic=request.param == "classic")


def made_at(place: Path, monkeypatch, *, classic: bool = True) -> Path:
    main = place / "main" if classic else place
    if classic:
        assert run("init", str(place)).exit == 0
    else:
        main.mkdir()
        assert run("init", "--here", str(place)).exit == 0
    making.write(main, {"f": "main", "d/g": "main", "d/e/h": "main", "k": "main"})
    monkeypatch.chdir(main)
    assert run("snapshot", "first").exit == 0
    return main


def control(main: Path) -> Path:
    return main / ".jvs" if (main / ".jvs").is_dir() else main.parent / ".jvs"


def tree(root: Path) -> dict[str, object]:
    return shown(root)


def left(main: Path) -> list[str]:
    where = control(main) / "tries"
    return sorted(os.listdir(where)) if where.exists() else []


def fine(main: Path) -> None:
    root = main if (main / ".jvs").is_dir() else main.parent
    assert making.violations(root) == []
    said = run("doctor", "--strict")
    assert said.exit == 0, said.text + said.err


def test_what_a_command_changes_is_shown_and_main_is_as_it_was(lab):
    before = tree(lab)
    script = f"rm -r {lab}/d; echo new > {lab}/n; chmod 600 f; pwd > {lab}/where; test $(cat k) = main"
    said = run("try", "--", "sh", "-c", script)
    assert said.exit == 0, said.err
    assert [line.split() for line in said.text.splitlines()[:7]] == [
        *(["D", path] for path in ("d/", "d/e/", "d/e/h", "d/g")),
        *(["M", "f"], ["A", "n"], ["A", "where"]),
    ]
    assert tree(lab) == before
    (number,) = left(lab)
    assert run("try", "--list", "--json").json[0]["try_id"] == number
    assert run("try", "--apply", number, "--json").json["state"] == "applied"
    assert not (lab / "d").exists() and (lab / "where").read_text() == f"{lab}\n"
    assert (lab / "f").stat().st_mode & 0o777 == 0o600
    assert left(lab) == []
    assert run("undo").exit == 0
    assert tree(lab) == before
    fine(lab)


def test_it_is_applied_kept_or_discarded_at_once(lab):
    said = run("try", "--apply", "--json", "--", "sh", "-c", "echo 1 > n; exit 5")
    assert (said.exit, said.json["exit"], said.json["state"]) == (5, 5, "applied")
    assert (lab / "n").read_text() == "1\n"
    said = run("try", "--keep", "other", "--json", "--", "sh", "-c", "rm -r d; echo 2 > n")
    assert (said.exit, said.json["state"], said.json["fork"]) == (0, "kept", "other")
    there = Path(run("worktree", "path", "other").text.strip())
    assert not (there / "d").exists() and (there / "n").read_text() == "2\n"
    assert (lab / "d" / "g").exists() and (lab / "n").read_text() == "1\n"
    assert run("try", "--discard", "--json", "--", "sh", "-c", "rm -r d").json["state"] == "discarded"
    assert run("try", "--json", "--", "true").json["state"] == "empty"
    assert (lab / "d" / "g").exists()
    assert left(lab) == []
    fine(lab)


def test_a_pending_one_is_kept_or_discarded_later(lab):
    assert run("try", "--", "sh", "-c", "echo 1 > n").exit == 0
    assert run("try", "--", "sh", "-c", "echo 2 > n").exit == 0
    first, second = left(lab)
    assert run("try", "--keep", first, "main").exit == 7
    assert run("try", "--keep", first, "one").exit == 0
    assert run("try", "--discard", second).exit == 0
    assert left(lab) == []
    assert run("try", "--discard", second).exit == 5
    assert not (lab / "n").exists()
    fine(lab)


def test_where_both_changed_the_same_nothing_is_changed(lab):
    assert run("try", "--", "sh", "-c", "echo theirs > f; echo n > n").exit == 0
    making.write(lab, {"f": "ours", "other": "ours"})
    before = tree(lab)
    (number,) = left(lab)
    said = run("try", "--apply", number, "--json")
    assert said.exit == 7 and said.error["class"] == "E_CONFLICT", said.err
    assert [item["path"] for item in said.error["facts"]["conflicts"]] == ["f"]
    assert tree(lab) == before and left(lab) == [number]
    (lab / "f").write_text("main")
    assert run("try", "--apply", number).exit == 0
    assert (lab / "f").read_text() == "theirs\n" and (lab / "other").read_text() == "ours"
    fine(lab)


def test_main_that_was_changed_meanwhile_conflicts_at_once(lab):
    behind = f"/proc/$PPID/root{lab}/f"  # main itself, as jvs sees it
    said = run("try", "--apply", "--", "sh", "-c", f"echo theirs > f; echo x > {behind}")
    assert said.exit == 7 and "E_CONFLICT" in said.err
    assert (lab / "f").read_text() == "x\n"
    assert len(left(lab)) == 1
    assert run("try", "--apply", "--", "sh", "-c", f"echo theirs > f; echo y > {behind}; exit 3").exit == 3
    assert (lab / "f").read_text() == "y\n"


def test_jvs_fails_with_125_before_the_command(lab, monkeypatch):
    assert run("try", "--", "/no/such/program").exit == 125
    assert run("try", "--keep", "main", "--", "true").exit == 125
    assert run("try", "--json", "--keep", "main", "--", "true").error["class"] == "E_EXISTS"
    monkeypatch.setattr(namespace, "refusal", lambda mounts=None: "unshare: Operation not permitted")
    said = run("try", "--json", "--", "touch", str(lab / "x"))
    assert (said.exit, said.error["class"]) == (125, "E_IO")
    assert not (lab / "x").exists() and left(lab) == []
    fine(lab)


def test_words_that_do_not_go_together_are_a_usage_error(lab):
    for words in (
        (),
        ("x",),
        ("--list", "x"),
        ("--list", "--", "true"),
        ("--apply",),
        ("--keep", "x"),
        ("x", "--", "y"),
    ):
        assert run("try", *words).exit == 2, words


def running(marker: str) -> list[str]:
    """Return the processes whose command line ends with a word."""
    found = []
    for process in system.processes():
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        found += [process] if words[-2:-1] == [marker.encode()] else []
    return found


@pytest.mark.parametrize("quiet", [(), ("--json",)])
def test_what_a_command_left_running_is_ended_before_its_changes_are_read(lab, quiet, monkeypatch):
    monkeypatch.setattr(programs, "_POLITE_SECONDS", 0.2)
    seconds = f"{random.randrange(10**6, 10**7)}"
    stubborn = f"trap '' TERM; sleep {seconds}; echo late > late"
    script = f"echo now > now; ({stubborn}) & (exec setsid sleep {seconds}) & exit 0"
    said = run("try", *quiet, "--", "sh", "-c", script)
    assert said.exit == 0, said.err
    assert "that 'sh' left behind" in said.err
    assert running(seconds) == []
    (number,) = left(lab)
    assert run("try", "--apply", number).exit == 0
    assert (lab / "now").exists() and not (lab / "late").exists()
    fine(lab)


def test_a_namespace_that_comes_to_have_the_same_number_is_left_alone(lab, monkeypatch):
    real, others = programs._wait, []

    def wait(program, **more):
        said = real(program, **more)  # its namespace is gone by now, unless somebody holds it
        for _ in range(4):
            others.append(
                subprocess.Popen(["unshare", "-m", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
            )
            assert others[-1].stdout.readline() == b"\n"
        return said

    monkeypatch.setattr(programs, "_wait", wait)
    said = run("try", "--", "sh", "-c", "echo 1 > n")
    ended = [other.poll() for other in others]
    for other in others:
        other.kill()
        other.communicate()
    assert (said.exit, said.err, ended) == (0, "", [None] * 4)


def test_jvs_takes_along_what_it_began_when_it_is_terminated(lab):
    seconds = f"{random.randrange(10**6, 10**7)}"
    words = [sys.executable, "-c", "from jvs.cli.run import main; raise SystemExit(main())", "try", "--", "sh", "-c"]
    script = f"rm -r d; echo ready; sleep {seconds} & sleep {seconds}"
    child = subprocess.Popen([*words, script], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    child.terminate()
    assert child.wait(60) == 143
    child.stdout.close()
    assert running(seconds) == left(lab) == []
    assert (lab / "d/g").read_text() == "main"
    fine(lab)


def test_a_command_that_is_killed_leaves_nothing(lab):
    before = tree(lab)
    assert run("try", "--apply", "--", "sh", "-c", "rm -r d; kill -9 $$").exit == 137
    assert run("try", "--", "sh", "-c", "rm -r d; kill -INT $$").exit == 130
    assert tree(lab) == before and left(lab) == []
    fine(lab)


def test_where_jvs_itself_died_the_next_one_removes_what_is_left(lab, monkeypatch):
    jvs = [str(Path(sys.executable).parent / "jvs"), "try", "--apply", "--", "sh", "-c"]
    child = subprocess.Popen([*jvs, "echo x > n; echo on; read -r stop"], stdin=-1, stdout=-1, cwd=lab)
    assert child.stdout.readline() == b"on\n"
    assert run("try", "--list", "--json").json[0]["state"] == "running"
    (number,) = left(lab)
    assert run("try", "--apply", number).exit == 6
    assert run("doctor", "--strict").exit == 0, "one that runs is no finding"
    child.kill()
    child.wait()
    assert run("doctor").exit != 0 or "interrupted" in run("doctor").text
    assert run("doctor", "--repair-runtime").exit == 0
    assert left(lab) == [] and not (lab / "n").exists()
    fine(lab)


def test_what_is_excluded_is_not_kept(lab):
    making.write(lab, {".jvsignore": "*.o\nbuild/\n"})
    run("snapshot", "rules")
    said = run(
        "try", "--apply", "--", "sh", "-c", "mkdir build new; echo 1 > build/x; echo 1 > new/a.o; echo 1 > new/a"
    )
    assert said.exit == 0, said.err
    assert sorted(os.listdir(lab / "new")) == ["a"] and not (lab / "build").exists()
    assert "excluded" in said.err
    fine(lab)


@pytest.mark.parametrize("kind", ["overlay", "clone"])
def test_so_are_those_further_down(lab, kind, monkeypatch):
    if kind == "clone":
        monkeypatch.setattr(throwaway.ThrowawayCopy, "_overlay", lambda *_: False)
    making.write(lab, {".jvsignore": "modules/\n/d/e/cache/\n", "pkg/modules/m": "m", "pkg/a": "a", "d/e/cache/c": "1"})
    os.chmod(lab / "pkg", 0o751)
    run("snapshot", "rules")
    script = "cat pkg/modules/m d/e/cache/c > got; echo x > pkg/modules/m; echo y > pkg/b; rm -r d/e/cache/c"
    said = run("try", "--apply", "--json", "--", "sh", "-c", script)
    assert said.exit == 0, said.err
    assert sorted(change["path"] for change in said.json["changes"]) == ["got", "pkg/b"]
    assert [(lab / name).read_text() for name in ("got", "pkg/modules/m", "d/e/cache/c")] == ["m1", "m", "1"]
    assert (lab / "pkg").stat().st_mode & 0o777 == 0o751
    assert run("try", "--json", "--", "true").json["state"] == "empty"
    fine(lab)


def test_excluded_directories_are_seen_as_throwaway_copies(lab):
    making.write(lab, {".jvsignore": "env/\ncache/\n", "env/bin/tool": "#!/bin/sh\necho tool\n", "cache/c": "1"})
    (lab / "env/bin/tool").chmod(0o755)
    run("snapshot", "rules")
    before = tree(lab)
    script = f"{lab}/env/bin/tool > made; rm -r cache/c; echo x > env/new; mkdir env/bin/more"
    said = run("try", "--apply", "--json", "--", "sh", "-c", script)
    assert said.exit == 0, said.err
    assert [change["path"] for change in said.json["changes"]] == ["made"]
    assert "'cache' is excluded" in said.err and "'env' is excluded" in said.err
    assert (lab / "made").read_text() == "tool\n"
    (lab / "made").unlink()
    assert tree(lab) == before
    assert run("try", "--json", "--", "true").json["state"] == "empty"
    assert left(lab) == []
    fine(lab)


def test_its_snapshot_is_protected_while_it_is_pending(lab):
    assert run("try", "--", "sh", "-c", "echo 1 > n").exit == 0
    base = run("try", "--list", "--json").json[0]["snapshot_id"]
    for number in range(3):
        making.write(lab, {"k": str(number)})
        run("snapshot", f"later {number}")
    assert run("gc", "drop", base).exit != 0
    assert run("try", "--apply", left(lab)[0]).exit == 0
    assert (lab / "n").exists() and (lab / "k").read_text() == "2"
    assert run("gc", "drop", base).exit == 0
    fine(lab)


def test_files_that_were_changed_since_are_not_applied(lab):
    assert run("try", "--", "sh", "-c", "echo 1 > n").exit == 0
    (number,) = left(lab)
    (control(lab) / "tries" / number / "files" / "n").write_text("2\n")
    assert run("try", "--apply", number, "--json").error["class"] == "E_PAYLOAD_HASH_MISMATCH"
    assert not (lab / "n").exists()
    assert run("try", "--discard", number).exit == 0


@pytest.mark.parametrize("damage", ["{", '{"version": 1}', '{"version": 1, "operation_id": "../../x"}'])
def test_a_damaged_record_stops_what_needs_it_and_is_set_aside(lab, damage):
    assert run("try", "--", "sh", "-c", "echo 1 > n").exit == 0
    (number,) = left(lab)
    (control(lab) / "tries" / number / "try.json").write_text(damage)
    assert run("try", "--apply", number, "--json").error["class"] == "E_PARTIAL_SNAPSHOT"
    assert run("gc", "plan").exit == 23
    assert run("snapshot", "goes on").exit == 0
    assert run("doctor").exit != 0
    assert run("doctor", "--repair", "clean_intents").exit == 0
    assert left(lab) == [] and run("gc", "plan").exit == 0
    fine(lab)


def test_pending_ones_go_when_they_are_old_and_many(lab, monkeypatch):
    from jvs import clock, system

    for number in range(3):
        assert run("try", "--", "sh", "-c", f"echo {number} > n").exit == 0
    oldest = left(lab)[0]
    monkeypatch.setattr(system, "boot_id", lambda: "another boot")
    now = clock.now_ns()
    monkeypatch.setattr(clock, "now_ns", lambda: now + 40 * 86_400_000_000_000)
    options = ("-c", "undo.max_operations=2", "-c", "undo.max_age_days=2")
    run(*options, "restore", "HEAD")
    assert oldest in left(lab), "a clock that jumps makes nothing older than a day for each boot"
    monkeypatch.setattr("jvs.restore.pruning.DAY_NS", 1)
    said = run(*options, "restore", "HEAD")
    assert said.exit == 0 and "pending for too long" in said.err, said.err
    assert oldest not in left(lab) and len(left(lab)) == 2
    fine(lab)


def test_programs_and_agents_can_try_as_well(lab):
    from jvs.cli import mcp_tools
    from jvs.repository import Repository

    repo = Repository.open(lab, environment=os.environ)
    found = repo.try_command(["sh", "-c", "echo said; cat; echo 1 > n"])
    assert (found.state, found.output) == ("pending", b"said\n")
    assert [record["operation_id"] for record in repo.tries()] == left(lab)
    assert repo.try_command(try_id=left(lab)[0], then="apply").state == "applied"
    assert (lab / "n").read_text() == "1\n"
    tools = mcp_tools.Tools(str(lab), os.environ)
    answer, failed = tools.call("try", {"command": ["sh", "-c", "echo x; rm n; exit 4"]})
    assert not failed, answer
    reported = answer["result"]
    assert (reported["exit"], reported["state"], reported["output"]) == (4, "pending", "x\n")
    assert reported["changes"] == [{"path": "n", "change": "removed", "size": 2}]
    answer, failed = tools.call("try", {})
    assert [record["try_id"] for record in answer["result"]["tries"]] == left(lab)
    (lab / "n").write_text("ours")
    for wrong, name in (
        ({"try_id": left(lab)[0], "then": "apply"}, "E_CONFLICT"),
        ({"try_id": left(lab)[0], "then": "--keep"}, "E_USAGE"),
        ({"command": ["true"], "then": "--keep"}, "E_USAGE"),
        ({"command": ["--list"]}, "E_NOT_FOUND"),
        ({"try_id": "--list", "then": "discard"}, "E_NOT_FOUND"),
    ):
        answer, failed = tools.call("try", wrong)
        assert failed and answer["error"]["class"] == name, answer
    assert not tools.call("try", {"try_id": left(lab)[0], "then": "discard"})[1]
    assert left(lab) == []
    fine(lab)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_files_that_snapshots_share_are_no_link_groups(lab, monkeypatch):
    """The names of a file in other snapshots are none of its names here, and cost no look at the whole tree."""
    (lab / "new").write_text("new")
    assert run("snapshot", "second").exit == 0  # on a filesystem that shares nothing, by links
    monkeypatch.setattr(throwaway.ThrowawayCopy, "_link_groups", lambda _: pytest.fail("looked at everything"))
    assert run("try", "--apply", "--", "sh", "-c", "ln f f2; ln d/g g2; echo more >> k; ln new d/new; rm new").exit == 0
    for one, other in (("f", "f2"), ("d/g", "g2")):
        assert (lab / one).samefile(lab / other) and (lab / one).read_text() == "main"
    assert (lab / "k").read_text() == "mainmore\n" and (lab / "d/new").read_text() == "new"
    fine(lab)


@pytest.mark.parametrize("linked", [False, True])
def test_other_users_can_try_as_well(monkeypatch, linked):
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # pytest closes its own directories to others
        os.chown(place, 65533, 65533)

        def act() -> None:
            os.environ["HOME"] = place
            if not namespace.works():
                return
            main = made_at(Path(place) / "lab", monkeypatch)
            if linked:
                os.link(main / "f", main / "f2")
                run("snapshot", "linked")
            shutil.copytree(main, Path(place) / "copy", symlinks=True)
            script = "rm k; mv d dd; echo x >> f; echo n > dd/n; chmod 500 dd/e; touch -d 2001-02-03 dd/e/h"
            said = run("try", "--apply", "--", "sh", "-c", script)
            assert said.exit == 0, said.err
            assert subprocess.run(["sh", "-c", script], cwd=f"{place}/copy", check=False).returncode == 0
            assert (main / "dd" / "e" / "h").stat().st_mtime == Path(place, "copy/dd/e/h").stat().st_mtime
            assert sorted(os.listdir(main)) == sorted([*os.listdir(f"{place}/copy"), *(["f2"] if linked else [])])
            assert not linked or (main / "f2").read_text() == "mainx\n"
            assert left(main) == []
            fine(main)

        as_nobody(act)


def test_random_programs_do_the_same_to_main_and_to_a_plain_copy(tmp_path, monkeypatch):
    """A few here; more with JVS_TEST_TRIES=N, on other filesystems below JVS_TEST_TRIES_AT."""
    place = Path(os.environ.get("JVS_TEST_TRIES_AT", tmp_path)) / f"tries-{os.getpid()}"
    for seed in range(int(os.environ.get("JVS_TEST_TRIES", "6"))):
        place.mkdir()
        try:
            compare_once(place, random.Random(seed), monkeypatch, seed)
        finally:
            os.chdir("/")
            shutil.rmtree(place)


def compare_once(place: Path, chance: random.Random, monkeypatch, seed: int) -> None:
    main = made_at(place / "lab", monkeypatch)
    grow = program(chance, 25)
    subprocess.run([sys.executable, "-c", grow], cwd=main, check=True)
    assert run("snapshot", "grown", "--json").exit == 0
    shutil.rmtree(place / "copy", ignore_errors=True)
    subprocess.run(["cp", "-a", str(main), str(place / "copy")], check=True)
    change, was = program(chance, 25), shown(main)
    said = run("try", "--apply", "--json", "--", sys.executable, "-c", change)
    assert said.exit == 0, (seed, said.err)
    subprocess.run([sys.executable, "-c", change], cwd=place / "copy", check=True)
    assert shown(main) == shown(place / "copy"), f"seed {seed}\n{change}"
    undone = run("undo", "--json")
    assert undone.exit == 0 or said.json["operation_id"] is None, undone.err
    assert shown(main) == was, f"seed {seed}: undo"


NAMES = ["a", "b", "c", "d", "e"]


def program(chance: random.Random, steps: int) -> str:
    """Return a program that does things at random; what cannot be done is left out."""

    def path() -> str:
        return "/".join(chance.choice(NAMES) for _ in range(chance.choice([1, 1, 2, 2, 3])))

    lines = ["import os, shutil", "def do(f, *a, **k):", "    try: f(*a, **k)", "    except OSError: pass"]
    lines += ["def put(p, t):", "    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK"]
    lines += ["    with open(p, 'a', opener=lambda p, _: os.open(p, flags, 0o644)) as f: f.write(t)"]
    lines += ["def rm(p):", "    shutil.rmtree(p) if os.path.isdir(p) and not os.path.islink(p) else os.unlink(p)"]
    lines += ["def mtime(p, t):", "    os.utime(p, (t, t), follow_symlinks=False)"]
    for number in range(steps):
        lines.append(
            chance.choice(
                [
                    f"do(put, {path()!r}, '{number}')",
                    f"do(put, {path()!r}, '{number}')",
                    f"do(os.mkdir, {path()!r})",
                    f"do(os.mkdir, {path()!r})",
                    f"do(rm, {path()!r})",
                    f"do(os.rename, {path()!r}, {path()!r})",
                    f"do(os.rename, {path()!r}, {path()!r})",
                    f"do(os.link, {path()!r}, {path()!r})",
                    f"do(os.symlink, {path()!r}, {path()!r})",
                    f"do(os.mkfifo, {path()!r})",
                    f"do(os.chmod, {path()!r}, {chance.choice(['0o700', '0o755', '0o640'])})",
                    f"do(mtime, {path()!r}, {chance.randrange(1, 2_000_000_000)})",
                    f"do(os.setxattr, {path()!r}, 'user.{chance.choice(NAMES)}', b'{number}')",
                ]
            )
        )
    return "\n".join(lines)


def shown(root: Path) -> dict[str, object]:
    """Return what there is: kinds, modes, owners, contents, attributes, groups of names."""
    found: dict[str, object] = {}
    groups: dict[int, list[str]] = {}
    for above, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(above, name)
            st = os.lstat(path)
            label = os.path.relpath(path, root)
            if label.split("/")[0] == ".jvs":
                continue
            content = os.readlink(path) if os.path.islink(path) else None
            if os.path.isfile(path) and content is None:
                content = Path(path).read_text()
            attributes = {
                n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)
            }
            old = int(st.st_mtime) if st.st_mtime < 1_700_000_000 else "new"
            found[label] = (st.st_mode, st.st_uid, st.st_gid, content, attributes, old)
            if not os.path.isdir(path) or os.path.islink(path):
                groups.setdefault(st.st_ino, []).append(label)
    found["groups"] = sorted(sorted(names) for names in groups.values() if len(names) > 1)
    return found
