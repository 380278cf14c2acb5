"""Sends notifications in the background without delaying the run.

Each delivery has a daemon thread of its own: a name look-up can hang, and a thread of a pool would be joined when the
process exits. A failure is reported to `failed` in one line; nothing is raised or tried again. Only
`wait_for_deliveries`, at the end, waits, and no longer than a delivery may take.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from arkbatch.monitor.notification import Notification
from arkbatch.monitor.notify_channels import SECONDS, Channel, DeliveryFailed


class _Daemons(Executor):
    """An executor that runs each call in a daemon thread of its own."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # a running future cannot be cancelled, so its result can always be set

        def work() -> None:
            try:
                future.set_result(function(*args, **named))
            except BaseException as error:  # noqa: BLE001 - a thread's only way out; see `NotificationSender._report_failure`
                future.set_exception(error)

        threading.Thread(target=work, daemon=True, name="notify").start()
        return future


class NotificationSender:
    """Sends each notification to all channels; made and used inside a running loop.

    failed: called with one line for each message that did not arrive
    """

    def __init__(
        self, messengers: Sequence[Channel], failed: Callable[[str], None], *, patience: float = SECONDS + 1
    ) -> None:
        self._messengers = messengers
        self._failed = failed
        self._patience = patience
        self._under_way: dict[asyncio.Future[None], asyncio.TimerHandle] = {}

    def send(self, notice: Notification) -> None:
        """Send to all channels; returns at once."""
        loop = asyncio.get_running_loop()
        for messenger in self._messengers:
            future = loop.run_in_executor(_Daemons(), messenger.deliver, notice)
            self._under_way[future] = loop.call_later(self._patience, future.cancel)
            future.add_done_callback(partial(self._report_failure, messenger.name))

    async def wait_for_deliveries(self) -> None:
        """Wait for the deliveries that are under way, each for a limited time."""
        if self._under_way:
            await asyncio.wait(list(self._under_way))
            await asyncio.sleep(0)  # the callbacks of a future may run after its waiter

    def _report_failure(self, name: str, future: "asyncio.Future[None]") -> None:
        self._under_way.pop(future).cancel()
        if future.cancelled():
            self._failed(f"could not notify {name}: no answer within {self._patience:.0f} s")
        elif isinstance(error := future.exception(), DeliveryFailed):
            self._failed(f"could not notify {name}: {error}")
        elif error is not None:
            self._failed(f"could not notify {name}: {type(error).__name__}")
