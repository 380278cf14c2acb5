"""Runs endless work beside a body of code, and ends it with the body."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from arkbatch.core.errors import ArkbatchError


@asynccontextmanager
async def run_beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run the work while the body runs. An error of the work is raised when the body has ended."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def first_error(errors: BaseExceptionGroup[ArkbatchError]) -> ArkbatchError:
    """The error of the task that failed first, out of task groups in each other."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, ArkbatchError)
    return first


@asynccontextmanager
async def run_together(*work: "asyncio._CoroutineLike[None]") -> AsyncIterator[None]:
    """Run endless pieces of work while the body runs. An error of one ends the body, and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(piece) for piece in work]
            yield
            for task in tasks:
                task.cancel()
    except* ArkbatchError as errors:
        raise first_error(errors) from None
