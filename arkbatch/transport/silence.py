"""Connections that cost next to nothing while nothing is wrong with them.

aiohttp sets a timer when it has sent a request, another with each part of a reply, and takes each back: hardly any ever
fires. Here a connection has one timer that goes on by itself. A sign of life only notes the time, and when the timer
fires it looks how long the silence has been. What is to happen then is left to aiohttp.

And aiohttp wakes its parser after each piece of a reply that is read, in case it had paused. Here only if it had.
"""

import asyncio
import math

from aiohttp.client_proto import ResponseHandler


class Connected(ResponseHandler):
    """One connection of the pool. It overrides inner parts of aiohttp: `posting.is_tested` says when it may."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._silent_since = math.inf  # nothing is waited for

    def _reschedule_timeout(self) -> None:
        if not self._read_timeout:
            return
        self._silent_since = self._loop.time()
        if self._read_timeout_handle is None:
            self._read_timeout_handle = self._loop.call_later(self._read_timeout, self._look)

    def _drop_timeout(self) -> None:
        """Nothing is waited for any more. The timer stays for the next call, unless there can be none."""
        self._silent_since = math.inf
        if self._read_timeout_handle is not None and self.transport is None:
            self._read_timeout_handle.cancel()
            self._read_timeout_handle = None

    def _look(self) -> None:
        self._read_timeout_handle = None
        if self._silent_since == math.inf:
            return
        assert self._read_timeout is not None
        left = self._silent_since + self._read_timeout - self._loop.time()
        if left > 0:
            self._read_timeout_handle = self._loop.call_later(left, self._look)
        else:
            self._on_read_timeout()

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._drop_timeout()
