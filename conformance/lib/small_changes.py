"""Operations that change one record, ready to be interrupted: pins, tags, notes, facts, settings."""

from __future__ import annotations

from lib.before import base
from lib.harness import Env

Words = tuple[str, ...]


def pin(env: Env) -> Words:
    _, ids = base(env)
    return ("gc", "pin", ids[0], "--reason", "keep")


def unpin(env: Env) -> Words:
    root, ids = base(env)
    env.jvs("gc", "pin", ids[0], "--reason", "keep", cwd=root)
    return ("gc", "unpin", ids[0])


def pin_again(env: Env) -> Words:
    root, ids = base(env)
    env.jvs("gc", "pin", ids[0], "--reason", "keep", cwd=root)
    return ("gc", "pin", ids[0], "--reason", "for a month", "--expires", "30d")


def tag(env: Env) -> Words:
    _, ids = base(env)
    return ("tag", ids[1], "later", "still")


def tag_delete(env: Env) -> Words:
    root, ids = base(env)
    env.jvs("tag", ids[1], "later", cwd=root)
    return ("tag", ids[1], "later", "--delete")


def note(env: Env) -> Words:
    root, ids = base(env)
    env.jvs("tag", ids[1], "later", cwd=root)
    return ("note", "later", "another note")


def meta(env: Env) -> Words:
    _, ids = base(env)
    return ("meta", ids[0], "loss=0.12", "epoch=40")


def config(env: Env) -> Words:
    base(env)
    return ("config", "set", "snapshot.when_detached", "refuse")


def config_unset(env: Env) -> Words:
    root, _ = base(env)
    env.jvs("config", "set", "snapshot.when_detached", "refuse", cwd=root)
    return ("config", "unset", "snapshot.when_detached")


BUILDS = {
    "pin": pin,
    "pin-again": pin_again,
    "unpin": unpin,
    "tag": tag,
    "tag-delete": tag_delete,
    "note": note,
    "meta": meta,
    "config": config,
    "config-unset": config_unset,
}
