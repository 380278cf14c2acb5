"""The connections of a session, of which there may be another number while it goes on."""

import contextlib
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from arkbatch.transport.fd_limit import connections


class Connector(aiohttp.TCPConnector):
    """aiohttp's, whose limit can be changed. More than a lower limit stay open until they are idle or break.

    protocol: what its connections are
    """

    def __init__(self, *, protocol: type[ResponseHandler] = ResponseHandler, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(protocol, loop=self._loop)

    def allow(self, calls: int) -> None:
        """As many connections as calls, where the open files allow it; those that are open count as ours."""
        idle = sum(len(waiting) for waiting in self._conns.values())
        with contextlib.suppress(OSError):  # no file is left to look at the open ones with: it stays as it is
            self._limit = connections(calls, have=len(self._acquired) + idle)


class Pool:
    """Whoever opens the transport puts the connector in; before that, and without one, there is nothing to change."""

    def __init__(self) -> None:
        self.connector: Connector | None = None

    def allow(self, calls: int) -> None:
        if self.connector is not None:
            self.connector.allow(calls)
