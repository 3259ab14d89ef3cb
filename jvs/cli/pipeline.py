"""Commands of a publication's steps as filters: a publish record comes in on stdin and goes on to the next step.

Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

from jvs import canon
from jvs.cli import run as cli
from jvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from typing import Any


def record_step(args: argparse.Namespace, step: Callable[..., Mapping[str, object]], **more: Any) -> cli.Result:
    """Do one step as a filter: read a publish record from stdin, do the step, hand the record on.

    Errors: E_USAGE for empty stdin (the step before failed) or anything that is not a record.
    """
    record = read_record()
    args.repo = record["repo"]
    store = cli.open_store(args)
    return record_result(step(store, record, **more))


def read_record() -> Any:
    """Return the publish record on stdin; the step that takes it knows its shape. Errors: E_USAGE."""
    data = cli.read_stdin()
    if not data.strip():
        raise UsageError("stdin is empty: the step before failed", hint="look at what it said; nothing was done")
    try:
        record = canon.decode_object(data)
    except canon.BadJSON as error:
        raise UsageError(
            f"stdin does not hold a publish record: {error}", hint="feed it from the step before"
        ) from error
    for key in ("repo", "worktree", "snapshot_id"):
        if not isinstance(record.get(key), str) or "\0" in record[key]:
            raise UsageError(
                f"stdin does not hold a publish record: '{key}' is missing", hint="begin with 'jvs-check-worktree'"
            )
    return record


def record_result(record: Mapping[str, object]) -> cli.Result:
    """Return a record for the next step in the pipeline."""
    return cli.Result(record, cli.json_bytes(record, indent=None) + b"\n")
