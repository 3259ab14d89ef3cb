"""Snapshots that travel: what arrives is what was sent, and what is cut, changed or hostile leaves nothing."""

from __future__ import annotations

import hashlib
import os

from lib.harness import Env, write
from lib.reader import read_file

END_BYTES = 36
"""The last item of a stream: an array of two, its kind, and the digest of all before but the bytes of files."""


def check_69_snapshots_travel_as_they_are(env: Env) -> None:
    """A line arrives with ids, words and hashes, grows by changes alone, and is refused whole when a byte is wrong."""
    source, target = env.repository("source"), env.repository("target")
    own = env.history(target, 1)
    write(f"{source}/main/large", os.urandom(5 << 20))
    os.link(f"{source}/main/a.txt", f"{source}/main/dir/again")
    ids = env.history(source, 3)
    env.jvs("note", ids[1], "said later", cwd=source)
    stream, changes = f"{env.work}/stream", f"{env.work}/changes"
    env.jvs("send", ids[1], "-o", stream, cwd=source)
    with open(f"{source}/main/large", "r+b") as file:
        file.write(b"changed")
    ids.append(env.snapshot(source, "a small change"))
    env.jvs("send", ids[3], "--since", ids[1], "-o", changes, cwd=source)
    env.check(os.path.getsize(changes) < 1 << 20, f"a change of 7 bytes is sent in {os.path.getsize(changes)}")
    before = env.frozen(target)
    env.refused("E_NOT_FOUND", 5, "receive", changes, cwd=target)
    _refuse_damage(env, target, read_file(stream))
    env.unchanged(target, before, "streams that were refused")
    answer = env.jvs("receive", stream, "--json", cwd=target).json()
    env.equal((answer["snapshots"], answer["present"], answer["boundary"]), (ids[:2], [], []), "what arrived")
    env.equal(env.jvs("receive", changes, "--json", cwd=target).json()["snapshots"], ids[2:], "what came later")
    env.equal(env.jvs("receive", stream, "--json", cwd=target).json()["present"], ids[:2], "what is here already")
    for snapshot_id in ids:
        there, here = (f"{root}/.jvs/descriptors/{snapshot_id}.json" for root in (source, target))
        env.equal(read_file(here), read_file(there), f"the descriptor of {snapshot_id}")
        made, sent = (env.tree(f"{root}/.jvs/snapshots/{snapshot_id}") for root in (target, source))
        env.equal(made, sent, f"the files of {snapshot_id}")
    env.equal(env.jvs("resolve", "said later", cwd=target).text.strip(), ids[1], "the note that came later")
    env.equal(env.jvs("resolve", "t2", cwd=target).text.strip(), ids[2], "a tag")
    env.equal(env.config(target)["head_snapshot_id"], own[0], "the head of main, which no stream moves")
    env.jvs("restore", ids[3], cwd=f"{target}/main")
    env.equal(env.tree(f"{target}/main"), env.tree(f"{source}/main"), "the files after a restore")
    env.healthy(target)


def check_70_what_was_not_sent_is_no_damage(env: Env) -> None:
    """A line that is sent in part ends at a boundary, a merge of what comes later closes it, and gc respects it."""
    source, target = env.repository("source"), env.repository("target", files=False)
    ids = env.history(source, 3)
    stream = f"{env.work}/stream"
    env.jvs("send", ids[2], "--only", "-o", stream, cwd=source)
    answer = env.jvs("receive", stream, "--json", cwd=target).json()
    env.equal((answer["snapshots"], answer["boundary"]), ([ids[2]], [ids[1]]), "what arrived, and where the line ends")
    env.jvs("verify", "--all", cwd=target)
    env.healthy(target)
    env.jvs("send", ids[1], "-o", stream, cwd=source)
    env.jvs("receive", stream, cwd=target)
    found = env.step("list-snapshots", "--ids", cwd=target).text.split()
    env.equal(sorted(found), sorted(ids), "all of the line")
    env.healthy(target)


def _refuse_damage(env: Env, target: str, data: bytes) -> None:
    """Refuse a stream that was cut, changed, continued or is none; each with a class of its own."""
    small = [len(data) // 3, len(data) - 1, 3]
    broken = {f"cut at {size}": data[:size] for size in small}
    broken["one byte changed"] = data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
    broken["something after its end"] = data + b"\0"
    empty = env.repository("empty", files=False)
    write(f"{empty}/main/only-0", b"")
    env.snapshot(empty, "an empty file")
    env.jvs("send", "-o", f"{env.work}/empty-stream", cwd=empty)
    sent = read_file(f"{env.work}/empty-stream")
    body = sent[:-END_BYTES].replace(b"\x46only-0", b"\x46../../", 1)
    env.check(body != sent[:-END_BYTES], "no file of that name is in the stream")
    broken["a name that leads out"] = body + sent[-END_BYTES:-32] + hashlib.sha256(body).digest()
    for what, changed in broken.items():
        write(f"{env.work}/broken", changed)
        said = env.jvs("receive", f"{env.work}/broken", cwd=target, code=None)
        wanted = (11,) if "leads out" in what else (4, 12, 20, 21, 23)
        env.check(said.code in wanted, f"a stream with {what}: {said}")
    env.equal(os.listdir(f"{target}/.jvs/intents"), [], "what is left of refused streams")
