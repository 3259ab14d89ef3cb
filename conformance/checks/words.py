"""What is said of snapshots after they were taken, and what they say of single paths."""

from __future__ import annotations

import os

from lib.harness import Env, write
from lib.reader import read_file


def check_60_tags_notes_and_facts_come_later(env: Env) -> None:
    """Tags, notes and facts can be changed at any time: descriptors stay, every reader sees them, the log has them."""
    root = env.repository()
    ids = env.history(root, 3)
    for snapshot_id in ids:
        tags = env.jvs("tag", snapshot_id, cwd=root).text.split()
        env.jvs("tag", snapshot_id, "-d", *tags, "none", cwd=root)
    before = {i: read_file(f"{root}/.jvs/descriptors/{i}.json") for i in ids}
    env.jvs("tag", ids[0], "good", "paper", cwd=root)
    env.jvs("tag", "paper", "good", "--delete", cwd=root)
    env.jvs("note", "paper", "said later", cwd=root)
    for snapshot_id, loss in zip(ids, ("10", "9", "word"), strict=True):
        env.jvs("meta", snapshot_id, f"loss={loss}", cwd=root)
    env.equal(env.jvs("resolve", "paper", cwd=root).text.strip(), ids[0], "the tag names")
    env.equal(env.jvs("resolve", "said later", cwd=root).text.strip(), ids[0], "the note names")
    env.refused("E_NOT_FOUND", 5, "restore", "good", cwd=root)
    for words, wanted in (
        (("--sort", "loss"), [ids[1], ids[0], ids[2]]),
        (("--sort=-loss",), [ids[0], ids[1], ids[2]]),
        (("--meta", "loss=9"), [ids[1]]),
        (("--tag", "paper"), [ids[0]]),
    ):
        found = [record["snapshot_id"] for record in env.jvs("history", "--json", *words, cwd=root).json()]
        env.equal(found, wanted, f"history {words}")
    for word in ("HEAD", "LATEST"):
        env.refused("E_NAME_INVALID", 10, "tag", ids[0], word, cwd=root)
    env.equal({i: read_file(f"{root}/.jvs/descriptors/{i}.json") for i in ids}, before, "descriptors")
    plan = env.jvs("gc", "plan", "--keep-last", "1", "--json", cwd=root).json()
    env.equal(sorted(plan["candidates"]), [ids[1]], "what no tag names")
    env.healthy(root)
    path = f"{root}/.jvs/annotations/{ids[0]}.json"
    write(path, read_file(path).replace(b"said later", b"said never"))
    env.jvs("verify", "--all", cwd=root, code=24)


def check_61_a_path_can_be_followed_through_time(env: Env) -> None:
    """`history -- PATH` names the snapshots that changed a path, `cat` prints what each held, also when it is gone."""
    root = env.repository()
    path = f"{root}/main/d/file"
    ids: list[str] = []
    for content in ("one\n", "one\n", "two\n", None, "three\n"):
        if content is None:
            os.unlink(path)
        else:
            write(path, content)
        write(f"{root}/main/other", str(len(ids)))
        ids.append(env.snapshot(root, f"step {len(ids)}"))
    found = env.jvs("history", "--json", "--", "d/file", cwd=f"{root}/main").json()
    changes = [(record["snapshot_id"], record["path_changes"][0]["change"]) for record in found]
    wanted = [(ids[4], "added"), (ids[3], "removed"), (ids[2], "changed"), (ids[0], "added")]
    env.equal(changes, wanted, "the history of d/file")
    env.equal(len(env.jvs("history", "--json", "--", "*ile", cwd=f"{root}/main").json()), 4, "by a pattern")
    env.equal(env.jvs("cat", f"{ids[1]}:d/file", cwd=root).out, b"one\n", "what it held")
    env.equal(env.step("cat-file", f"{ids[2]}:d/file", cwd=root).out, b"two\n", "what it held, by plumbing")
    env.jvs("cat", f"{ids[3]}:d/file", cwd=root, code=5)
    before = env.frozen(root)
    env.jvs("restore", "--", "d/file", cwd=f"{root}/main")
    env.unchanged(root, before, "listing the candidates of a restore")
    payload = f"{root}/.jvs/snapshots/{ids[2]}/d/file"
    os.chmod(os.path.dirname(payload), 0o755)
    write(payload, "six\n")
    said = env.jvs("cat", f"{ids[2]}:d/file", cwd=root, code=21)
    env.equal(said.out, b"", "of a file that was tampered with")
