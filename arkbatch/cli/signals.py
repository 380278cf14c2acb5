"""Ctrl-C, SIGTERM and SIGHUP: what each of them does to a session or a server."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Protocol


@contextlib.contextmanager
def interrupt_at_once() -> Iterator[None]:
    """Let Ctrl-C interrupt at once while an input is read: no call was sent yet that it would have to wait for."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Stoppable(Protocol):
    """A session or worker that a first Ctrl-C stops in good order."""

    @property
    def is_stopping(self) -> bool: ...

    def stop(self) -> None: ...


@contextlib.contextmanager
def stop_on_signals(session: Stoppable) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM wait for the calls in flight, and the next one abandon them.

    A terminal that closes sends SIGHUP, perhaps more than once: it waits for the calls, and abandons nothing.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupt() -> None:
        if not session.is_stopping:
            session.stop()
        elif task is not None:
            task.cancel()

    def hang_up() -> None:
        if not session.is_stopping:
            session.stop()

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: interrupt}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else `nohup` began it
        handlers[signal.SIGHUP] = hang_up
    with contextlib.suppress(NotImplementedError):  # Windows: there Ctrl-C cancels the task at once
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in handlers:
                loop.remove_signal_handler(number)


async def wait_for_stop() -> None:
    """Return on the first Ctrl-C or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: there Ctrl-C cancels the task instead
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
