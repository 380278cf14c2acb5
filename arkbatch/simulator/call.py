"""One HTTP request to the simulator, with what is known of it so far."""

from aiohttp import web
from msgspec import Struct

from arkbatch.simulator import wire


class SimulatedCall(Struct):
    """A call in progress.

    admitted: it counts towards the limits of its model
    outcome: stays "client_gone" when the client disconnects before the end
    """

    http: web.Request
    id: str
    at: float
    model: str = ""
    attempt: int = 0
    admitted: bool = False
    outcome: str = "client_gone"

    @property
    def client_id(self) -> str | None:
        return self.http.headers.get("X-Client-Request-Id")

    def reply_headers(self, content_type: str = wire.JSON) -> dict[str, str]:
        return wire.reply_headers(self.id, self.client_id, content_type)
