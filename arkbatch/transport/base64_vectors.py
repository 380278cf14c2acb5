"""A transport wrapper that stores the vectors of replies in base64.

A server may not know `encoding_format`, or a row may have asked for numbers; the record is small in both cases. Nothing
else of a reply is changed. No array file is written during a run: the record is the only truth about a row, so no crash
can leave two files that differ, and `arkbatch vectors` makes array files from the records.
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
