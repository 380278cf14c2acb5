"""An event loop whose clock jumps to the next timer when nothing is ready.

A night of waiting passes in milliseconds, also for a real aiohttp client and server that run in the same loop:
bytes written to a loopback socket are readable at once, so "nothing is ready" really means that everyone sleeps.
Work handed to threads (files, name look-ups) is waited for in real time, with the clock standing still.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector:
    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 1_000.0  # not zero, so that code which confuses "never" with "at 0" fails
        self.threads_at_work = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        events = self._real.select(0)
        if events or timeout == 0:
            return events
        if self.threads_at_work:
            return self._real.select(0.005)
        if timeout is None:
            events = self._real.select(5)
            if not events:
                raise RuntimeError("deadlock: every task waits and no timer is set")
            return events
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)  # type: ignore[arg-type]
        self._clock_resolution = 1e-6  # the real clock's 1e-9 is lost in rounding after 194 days, and no timer fires

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads_at_work += 1

        def ended(_: Any) -> None:
            self._jumping.threads_at_work -= 1

        future.add_done_callback(ended)
        return future


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
