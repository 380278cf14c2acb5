"""The connections of a session, of which there may be another number while it goes on."""

import asyncio

import pytest
from servers import Raw, served, whole
from virtual import run_virtual

from arkbatch.core.calls import Call
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.transport import connection_slots, fd_limit
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.connection_slots import ConnectionSlots
from arkbatch.transport.transport import open_transport


def call(number):
    return Call(f"c-{number}", "chat", "/chat/completions", b"{}")


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(("changes", "at_once"), [([], 2), ([5], 5), ([5, 3], 3)])
def test_as_many_calls_go_at_once_as_were_allowed_last(changes, at_once):
    async def main():
        ours, server = ConnectionSlots(), Raw(whole(), silent=10.0)
        async with served(server) as url, open_transport(url, ApiKey(Secret("k")), Timeouts(), 2, ours) as http:
            for number in changes:
                ours.allow(number)
            sent = [asyncio.ensure_future(http.send(call(number))) for number in range(8)]
            await asyncio.sleep(5)
            heard = len(server.heard)
            await asyncio.gather(*sent)
            return heard, len(server.heard)

    assert run_virtual(main()) == (at_once, 8)


def test_without_a_transport_there_is_nothing_to_change():
    ConnectionSlots().allow(5)


def test_calls_that_wait_for_a_slot_get_it_in_their_order_and_a_cancelled_one_takes_none():
    async def main():
        slots, order = ConnectionSlots(1), []

        async def work(name):
            await slots.take()
            order.append(name)
            await asyncio.sleep(1)
            slots.give_back()

        first, second, third = (asyncio.ensure_future(work(name)) for name in "abc")
        await asyncio.sleep(0.5)
        second.cancel()
        await asyncio.gather(first, third)
        return order

    assert run_virtual(main()) == ["a", "c"]


def test_a_call_that_is_cancelled_as_it_gets_its_slot_gives_it_back():
    async def main():
        slots = ConnectionSlots(1)
        await slots.take()
        waiting = asyncio.ensure_future(slots.take())
        await asyncio.sleep(0)
        slots.give_back()
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.wait_for(slots.take(), 1)

    run_virtual(main())


@pytest.mark.usefixtures("either_way")
def test_open_connections_are_known(monkeypatch):
    seen = []

    def counted(calls, *, have):
        seen.append(have)
        return calls

    monkeypatch.setattr(connection_slots, "allowed_connections", counted)

    async def main():
        ours = ConnectionSlots()
        async with served(Raw(whole())) as url:
            async with open_transport(url, ApiKey(Secret("k")), Timeouts(), 3, ours) as http:
                await asyncio.gather(*(http.send(call(number)) for number in range(3)))
                ours.allow(2)
            await asyncio.sleep(0.1)
            ours.allow(2)

    run_virtual(main())
    assert seen == [3, 0]


def test_what_is_open_already_counts_as_ours(monkeypatch):
    monkeypatch.setattr(fd_limit, "_open_now", lambda: 100)
    monkeypatch.setattr("resource.getrlimit", lambda _: (120, 120))
    assert (fd_limit.allowed_connections(50), fd_limit.allowed_connections(50, have=30)) == (10, 40)


def test_when_no_file_is_left_to_count_by_the_number_stays(monkeypatch):
    def refused(*_, **__):
        raise OSError(24, "Too many open files")

    async def main():
        ours = ConnectionSlots()
        async with open_transport("http://127.0.0.1:1", ApiKey(Secret("k")), Timeouts(), 2, ours):
            monkeypatch.setattr(connection_slots, "allowed_connections", refused)
            ours.allow(9)
            return ours.limit

    assert run_virtual(main()) == 2
