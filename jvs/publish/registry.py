"""The register of steps: the decorator that makes a function a step, and what steps in one process share.

Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

import functools

from jvs import progress
from jvs.fs import durable
from jvs.publish import record as publish_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate, ParamSpec, Protocol

    from jvs.fs.rooted import Below
    from jvs.publish.record import PublishRecord
    from jvs.store.store import Store
    from jvs.tree import scan

    P = ParamSpec("P")

    class StepFunction(Protocol[P]):
        """A step as its callers see it: it works on the record, and returns it marked."""

        def __call__(
            self,
            store: Store,
            record: PublishRecord,
            context: StepContext | None = None,
            *args: P.args,
            **options: P.kwargs,
        ) -> PublishRecord: ...


FUNCTIONS: dict[str, StepFunction[...]] = {}
"""Step -> the function that does it, filled by `step`."""


class StepContext:
    """What steps in one process hand to each other besides the record: never needed, only cheaper.

    `barrier` serves `sync-tree`, which then comes after `write-ready`, for all that was written before it; `unsynced`
    are the files that wait for it. `tree` is what cloning or hashing found.
    """

    def __init__(self, barrier: durable.Barrier | None = None) -> None:
        self.barrier = barrier
        self.tree: scan.ScanResult | None = None
        self.unsynced: list[Below] = []

    @property
    def is_shared(self) -> bool:
        """Whether other steps follow in this process; without, each step leaves everything durable."""
        return self.barrier is not None

    def close(self) -> None:
        """Close the barrier."""
        if self.barrier is not None:
            self.barrier.close()
            self.barrier = None

    def __enter__(self) -> StepContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def step(
    name: str,
) -> Callable[[Callable[Concatenate[Store, PublishRecord, StepContext, P], None]], StepFunction[P]]:
    """Make a function the step of this name.

    What calls it gets a function that refuses a record in which an earlier step is missing, reports how long the
    step took, marks it done, and returns the record. Doing a step for a second time is allowed.
    Errors: E_USAGE, E_NAME_INVALID for a bad record; those of the function.
    """

    def register(function: Callable[Concatenate[Store, PublishRecord, StepContext, P], None]) -> StepFunction[P]:
        @functools.wraps(function)
        def do(
            store: Store,
            record: PublishRecord,
            context: StepContext | None = None,
            *args: P.args,
            **options: P.kwargs,
        ) -> PublishRecord:
            shared = context or StepContext()
            with progress.step(name):
                publish_record.require(record, name, sync_follows=shared.is_shared)
                function(store, record, shared, *args, **options)
            publish_record.mark_done(record, name)
            return record

        FUNCTIONS[name] = do
        return do

    return register
