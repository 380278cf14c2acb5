"""How an exchange with a server failed, told by the exception that ended it."""

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from arkbatch.core.records import Break


def how(error: Exception) -> Break:
    match error:
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError() | aiohttp.ClientProxyConnectionError():
            return Break.CONNECT
        case TimeoutError():
            return Break.TIMEOUT
        case aiohttp.ClientPayloadError() if isinstance(error.__cause__, ContentEncodingError):
            return Break.GARBLED
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | ConnectionError():
            return Break.DROPPED
        case aiohttp.ClientOSError() | aiohttp.ClientConnectionError() | OSError():
            return Break.DROPPED
        case _:
            return Break.GARBLED


def detail(error: Exception) -> str:
    """The error in words. Its own text where it has one; it names hosts, never headers."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
