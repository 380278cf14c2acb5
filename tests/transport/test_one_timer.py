"""One timer for each connection, and a silence is noticed as exactly as with one for each call."""

import asyncio

import pytest
from servers import OK, Raw, served, whole
from virtual import run_virtual

from arkbatch.core.calls import Break, Call, Reply
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.transport.aiohttp_internals import OneTimerHandler
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.transport import open_transport

CALL = Call("run-1-7-1", "chat", "/chat/completions", b"{}")


def session(handler, body, read=3.0):
    """What `body` makes of a transport whose patience is `read` seconds."""

    async def main():
        async with (
            served(handler) as url,
            open_transport(url, ApiKey(Secret("sk-secret")), Timeouts(connect=5, read=read), 1) as http,
        ):
            return await body(http)

    return run_virtual(main())


def timers():
    return [each for each in asyncio.get_running_loop()._scheduled if "_look" in repr(each) and not each.cancelled()]


class Pausing(Raw):
    """Takes so many seconds for each answer."""

    def __init__(self, *pauses):
        super().__init__(whole())
        self.pauses = iter(pauses)

    @property
    def silent(self):
        return next(self.pauses)

    @silent.setter
    def silent(self, _): ...


def test_each_call_has_the_whole_patience_whatever_the_timer_began_with():
    async def body(http):
        replies = []
        for _ in range(3):
            replies.append(await http.send(CALL))
            await asyncio.sleep(2)
        return replies

    first, second, third = session(Pausing(2.5, 2.5, 10), body)
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert (third.how, third.seconds) == (Break.TIMEOUT, pytest.approx(3, abs=0.01))


def test_a_silence_is_counted_from_the_last_part_of_the_answer():
    beginning = Raw(OK + b"Content-Length: 40\r\n\r\n{", silent=2)
    broken = session(beginning, lambda http: http.send(CALL))
    assert (broken.how, broken.seconds) == (Break.TIMEOUT, pytest.approx(5, abs=0.01))


@pytest.mark.parametrize("dripped", [b"HTTP/1.1 102 Processing\r\n\r\n", b"X"])
def test_neither_interim_answers_nor_a_head_that_drips_lengthen_the_wait(dripped, either_way):
    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(dripped if dripped.startswith(b"HTTP") else OK)
        for _ in range(40):
            await asyncio.sleep(0.5)
            writer.write(dripped)
        writer.close()

    broken = session(drip, lambda http: http.send(CALL))
    assert (broken.how, broken.seconds) == (Break.TIMEOUT, pytest.approx(3, abs=0.1))


def test_an_idle_connection_has_no_silence():
    async def body(http):
        first = await http.send(CALL)
        await asyncio.sleep(4)  # the pool keeps a connection for five
        return first, await http.send(CALL), len(timers())

    first, second, left = session(Raw(whole()), body, read=1.0)
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert left == 1


@pytest.mark.parametrize("close", [True, False])
def test_a_connection_that_is_closed_by_either_side_leaves_no_timer(close):
    async def main():
        async with served(Raw(whole(), close=close)) as url:
            async with open_transport(url, ApiKey(Secret("k")), Timeouts(connect=5, read=600), 1) as http:
                await http.send(CALL)
                await asyncio.sleep(1)
                kept = len(timers())
            return kept, len(timers())

    assert run_virtual(main()) == (0 if close else 1, 0)


def test_a_reply_for_which_aiohttp_pauses_goes_on():
    """A large body comes faster than anybody reads."""
    large = b"x" * (4 << 20)
    made = []

    class Counting(OneTimerHandler):
        def pause_reading(self):
            made.append(self)
            super().pause_reading()

        def set_response_params(self, **parameters):
            super().set_response_params(**{**parameters, "read_bufsize": 1000})

    async def body(http):
        http._posts._connector._factory = lambda: Counting(asyncio.get_running_loop())
        return await http.send(CALL)

    reply = session(Raw(whole(large)), body)
    assert made
    assert reply.body == large
