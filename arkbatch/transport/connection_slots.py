"""Limits the connections that calls use at once; the limit can change during a session.

aiohttp's own limit is fixed when its connector is made. So the connector gets none, and a call takes a slot first.
"""

import asyncio
import contextlib
import socket
import weakref
from collections import deque

import aiohttp

from arkbatch.transport.fd_limit import allowed_connections

_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 6}  # seconds, seconds, probes


class ConnectionSlots:
    """One slot for each call in flight; further calls wait in order."""

    def __init__(self, calls: int = 0) -> None:
        self.limit = calls
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def allow(self, calls: int) -> None:
        """Allow as many connections as calls, within the limit of open files.

        Connections that are already open count as used by calls.
        """
        with contextlib.suppress(OSError):  # no file is left to look at the open ones with: it stays as it is
            self.limit = allowed_connections(calls, have=sum(1 for each in self._sockets if each.fileno() >= 0))
            self._wake()

    async def take(self) -> None:
        """Wait until a slot is free."""
        if self._taken < self.limit and not self._waiting:
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            else:
                self._waiting.remove(turn)
            raise

    def give_back(self) -> None:
        """Free a slot, for the call that has waited longest."""
        self._taken -= 1
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        """Wake a call that already has its slot, so that no later call takes it."""
        while self._waiting and self._taken < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)

    def open_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Open a socket with keep-alive probes each minute, since routers forget silent connections."""
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):  # not every platform has each
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._sockets.add(made)
        return made
