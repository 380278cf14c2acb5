"""Runs endless work beside a body of code, and ends it with the body."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


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
