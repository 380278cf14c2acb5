"""A transport that wraps a transport, and hands on the vectors of its replies in base64, however they came.

A server may not know `encoding_format`, or a row may have asked for numbers; the record is to be small all the same.
Nothing else of a reply is touched. Files of arrays are not written while a run goes on: the record stays the only
truth about a row, so no crash can leave two files at odds, and `arkbatch vectors` makes them of the records whenever
they are wanted.
"""

import msgspec

from arkbatch.core.types import Call, Reply, Response
from arkbatch.protocol.vectors import with_base64
from arkbatch.transport.transport import Transport


class PackedVectors:
    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def send(self, call: Call) -> Response:
        response = await self._inner.send(call)
        if isinstance(response, Reply) and response.status == 200:
            packed = with_base64(response.body)
            if packed is not response.body:
                return msgspec.structs.replace(response, body=packed)
        return response
