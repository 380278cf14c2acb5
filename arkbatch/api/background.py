"""Runs a coroutine to its end from ordinary code, also in a notebook."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_LOOK_SECONDS = 0.05  # a wait without a time-out would not let an interrupt through


def loop_factory() -> Any:
    """The event loop of uvloop where the platform has it, else None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_in_thread(work: Callable[[], Coroutine[Any, Any, T]], drain: Callable[[], None]) -> T:
    """Run `work()` on an event loop of its own in a thread, and wait for it.

    The first interrupt calls `drain` in that loop and waits; the second one cancels the work. KeyboardInterrupt is
    raised again at the end. Whatever the work raises is raised here.
    """
    run: _Run[T] = _Run(work, drain)
    thread = threading.Thread(target=run.run_loop, name="arkbatch", daemon=True)
    thread.start()
    interrupts = 0
    while not run.ended.is_set():  # not `Thread.join`, which takes the thread for ended when it is interrupted
        try:
            run.ended.wait(_LOOK_SECONDS)
        except KeyboardInterrupt:
            interrupts += 1
            run.ask_to_end(cancel=interrupts > 1)
    if interrupts:
        raise KeyboardInterrupt
    return run.result_or_error()


class _Run(Generic[T]):
    """The work, its loop and what came of it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], drain: Callable[[], None]) -> None:
        self._work = work
        self._drain = drain
        self.ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[T] | None = None
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run_loop(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                self._result.append(runner.run(self._run_work()))
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = error
        finally:
            self.ended.set()

    async def _run_work(self) -> T:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        return await self._work()

    def ask_to_end(self, *, cancel: bool) -> None:
        if self._loop is not None and self._task is not None and not self._task.done():
            self._loop.call_soon_threadsafe(self._task.cancel if cancel else self._drain)

    def result_or_error(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]
