"""Writes a request body of many megabytes in pieces.

aiohttp would copy it: it warns of bytes of that size, and asks a `BytesIO` for a view, which makes Python copy the
`BytesIO`. Pieces are views of the one body, and each waits until the connection has taken those before it. aiohttp does
not limit how long a server may take none either: its read timeout begins after the body.
"""

import asyncio
from typing import Any

from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter

LARGE = 1 << 20  # bytes, from which on aiohttp warns
_PIECE = 1 << 16


class LargeBody(Payload):
    _value: bytes
    _autoclose = True

    def __init__(self, body: bytes, patience: float | None = None) -> None:
        super().__init__(body, content_type="application/json")
        self._size = len(body)
        self._patience = patience

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body; TimeoutError when the server has taken nothing for too long."""
        body = memoryview(self._value)
        for start in range(0, len(body), _PIECE):
            async with asyncio.timeout(self._patience):
                await writer.write(body[start : start + _PIECE])

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body; its length is always that of the body."""
        del content_length
        await self.write(writer)


def make_payload(body: bytes, patience: float | None = None) -> Any:
    """Return the body in the form that aiohttp takes.

    patience: seconds that a piece of a large one may wait to be taken
    """
    return body if len(body) < LARGE else LargeBody(body, patience)
