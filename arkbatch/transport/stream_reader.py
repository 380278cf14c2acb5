"""Reads a streamed answer off its connection and hands it on as the reply that it would have been unstreamed.

So whoever wraps or judges a reply never sees a stream. It reads raw chunks as they come, keeps the moment at which the
answer began, and decides what an ending is worth: an answer whose finish reason came is whole, whatever became of the
connection, for it was paid for; one without it was cut off, also when the stream ended in good order. A silence that is
too long is the read timeout between two chunks, so a model may think for hours as long as it shows that it does.

An answer that was cut off may have been billed. What its chunks have counted by then goes along with the news of the
break; a stream counts in its last chunk alone unless it is asked to do so in each (`chunk_include_usage`), and what
was never said cannot be known.
"""

import asyncio
import contextlib
from collections.abc import Callable

import aiohttp
import orjson

from arkbatch.core.types import Body, Break, Broken, Reply, Response
from arkbatch.protocol.sse import Parser
from arkbatch.protocol.stream import Ending, ErrorEvent, Folding, Garbled, Truncated, Whole
from arkbatch.transport.session_posts import Incoming
from arkbatch.transport.transport_errors import detail, how

_LINGER_SECONDS = 1.0  # for the end of the body after `[DONE]`, so that the connection can be used again


def is_streamed(incoming: Incoming) -> bool:
    """A server that was asked to stream may answer in one piece all the same: errors do, and some gateways."""
    return incoming.status == 200 and not _is_json(incoming.headers.get("Content-Type", ""))


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


async def read_streamed(
    incoming: Incoming, began: float, largest: int, moved: Callable[[float], None] | None = None
) -> Response:
    """began: the loop time at which the call was sent; largest: bytes after which the stream is given up.

    moved: told the loop time of each part that comes
    """
    loop_time = asyncio.get_running_loop().time
    parser, folding, tell = Parser(), Folding(), moved or _nobody
    first: float | None = None
    size = 0
    torn: Exception | None = None
    try:
        async for chunk in incoming.content.iter_any():
            size += len(chunk)
            tell(loop_time())
            if size > largest:
                return Broken(Break.TOO_LARGE, f"the reply is over {largest >> 20} MB", loop_time() - began)
            for event in parser.feed(chunk):
                folding.add(event)
            if first is None and folding.started:
                first = loop_time() - began
            if parser.done:
                break
        else:
            for event in parser.close():
                folding.add(event)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        torn = error
    ending, seconds = folding.end(), loop_time() - began
    if torn is not None and not isinstance(ending, Whole | ErrorEvent):
        return Broken(how(torn), detail(torn), seconds, _billed(ending.body))
    if torn is None:
        await _use_up(incoming)
    return _response(ending, incoming, seconds, first)


def _nobody(now: float) -> None:
    """Who listens where nobody does."""


def _response(ending: Ending, incoming: Incoming, seconds: float, first: float | None) -> Response:
    match ending:
        case Whole(body):
            return Reply(200, orjson.dumps(body), incoming.headers, seconds, first)
        case ErrorEvent(body):
            return Reply(200, orjson.dumps(body), incoming.headers, seconds)
        case Truncated(body):
            said = "the stream ended before the answer did, without a finish reason"
            return Broken(Break.DROPPED, said, seconds, _billed(body))
        case Garbled(said, body):
            return Broken(Break.GARBLED, said, seconds, _billed(body))


def _billed(body: Body) -> bytes:
    """What came of an answer, where it says what it cost: only then is it of use to anyone."""
    return orjson.dumps(body) if body.get("usage") else b""


async def _use_up(incoming: Incoming) -> None:
    """Read to the end of the body, or give the connection up: nothing more is wanted of it."""
    if incoming.content.at_eof():
        return
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for _ in incoming.content.iter_any():
                pass
