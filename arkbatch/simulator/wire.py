"""Writes ids, headers and error bodies as Ark does.

An id is `02`, the time in milliseconds, 32 hex digits that look like the address of the serving host, and six more
digits; the same one stands in the header `X-Request-Id`, in the body and at the end of an error message.
"""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import orjson

from arkbatch.simulator.refusals import TYPES, Refusal

JSON = "application/json; charset=utf-8"
_BEIJING = timezone(timedelta(hours=8))
_HOST = "00000000000000000000ffff7f000001"  # ::ffff:127.0.0.1


class Ids:
    """Makes request ids; `wall` returns epoch seconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._count = 0

    def next_id(self) -> str:
        """Return an id that none of the last 16 million calls has.

        An odd factor permutes the 24-bit numbers.
        """
        return f"02{int(self._wall() * 1000):013d}{_HOST}{self._random_tail():06x}"

    def next_of_control(self) -> str:
        """Return an id of the control plane: Beijing's local time, and 18 digits."""
        stamp = datetime.fromtimestamp(self._wall(), _BEIJING).strftime("%Y%m%d%H%M%S")
        return f"{stamp}{_HOST[-12:]}{self._random_tail():06x}".upper()

    def _random_tail(self) -> int:
        self._count += 1
        return self._count * 0x9E3779 & 0xFFFFFF


def reply_headers(request_id: str, client_id: str | None, content_type: str = JSON) -> dict[str, str]:
    """Return the headers that the production service was seen to send with a 200."""
    result = {
        "X-Request-Id": request_id,
        "Content-Type": content_type,
        "Server": "hertz",
        "Vary": "Accept-Encoding",
    }
    if client_id is not None:
        result["X-Client-Request-Id"] = client_id
    return result


def error_body(refusal: Refusal, model: str, request_id: str) -> bytes:
    message = refusal.message.replace("{model}", model)
    return orjson.dumps(
        {
            "error": {
                "code": refusal.code,
                "message": f"{message} Request id: {request_id}",
                "param": refusal.param,
                "type": TYPES[refusal.status],
            }
        }
    )
