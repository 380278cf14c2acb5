"""Puts what an attempt records into the bucket of the run, at intervals."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from arkbatch.core.errors import ArkbatchError, RunDirectoryError
from arkbatch.engine.run_beside import run_beside
from arkbatch.journal.shard_files import ShardDirectory

PUBLISH_SECONDS = 20.0  # between two segments; so much is called again at worst when a machine is lost
GIVE_UP_SECONDS = 900.0  # in which a store that does not answer is tried at the end of an attempt
BEAT_SECONDS = 2.0
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 1.0, 30.0


@asynccontextmanager
async def published_at_intervals(
    shards: ShardDirectory, shard: int, number: int, note: Callable[[str], None]
) -> AsyncIterator[None]:
    """Publish while the body runs. A failure is noted, and the next interval tries again."""
    if shards.is_shared:
        yield
        return
    async with run_beside(_publish_at_intervals(shards, shard, number, note)):
        yield


async def _publish_at_intervals(shards: ShardDirectory, shard: int, number: int, note: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(PUBLISH_SECONDS)
        try:
            await asyncio.to_thread(shards.publish, shard, number)
        except (ArkbatchError, OSError) as error:
            note(f"The answers of shard {shard} could not be uploaded yet, and are tried again: {error}")


async def publish_whole(
    shards: ShardDirectory, shard: int, number: int, tell_alive: Callable[[], Awaitable[None]]
) -> None:
    """Publish an attempt that is over. RunDirectoryError: the store did not take it for a quarter of an hour.

    tell_alive: called every two seconds meanwhile
    """
    if shards.is_shared:
        return
    work = asyncio.ensure_future(_publish_patiently(shards, shard, number))
    try:
        while not (await asyncio.wait([work], timeout=BEAT_SECONDS))[0]:
            await tell_alive()
    except BaseException:
        work.cancel()
        raise
    work.result()


async def _publish_patiently(shards: ShardDirectory, shard: int, number: int) -> None:
    clock, wait = asyncio.get_running_loop().time, FIRST_RETRY_SECONDS
    until = clock() + GIVE_UP_SECONDS
    while True:
        try:
            return await asyncio.to_thread(lambda: shards.publish(shard, number, is_over=True))
        except (ArkbatchError, OSError) as error:
            if clock() > until:
                raise RunDirectoryError(
                    f"The answers of shard {shard} could not be uploaded: {error} They are safe in "
                    f"{shards.attempt_path(shard, number)}; the next worker on this machine uploads them."
                ) from error
        await asyncio.sleep(wait)
        wait = min(2 * wait, LAST_RETRY_SECONDS)
