"""The connections of a session, of which there may be another number while it goes on."""

import asyncio

import pytest
from servers import Raw, served, whole
from virtual import run_virtual

from arkbatch.core.job import Secret, Timeouts
from arkbatch.core.types import Call
from arkbatch.transport import fd_limit as open_files
from arkbatch.transport import pool
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.pool import Pool
from arkbatch.transport.transport import open_transport


def call(number):
    return Call(f"c-{number}", "chat", "/chat/completions", b"{}")


@pytest.mark.parametrize(("changes", "at_once"), [([], 2), ([5], 5), ([5, 3], 3)])
def test_as_many_calls_go_at_once_as_were_allowed_last(changes, at_once):
    async def main():
        ours, server = Pool(), Raw(whole(), silent=10.0)
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
    Pool().allow(5)


def test_what_is_open_already_counts_as_ours(monkeypatch):
    monkeypatch.setattr(open_files, "_open_now", lambda: 100)
    monkeypatch.setattr("resource.getrlimit", lambda _: (120, 120))
    assert (open_files.connections(50), open_files.connections(50, have=30)) == (10, 40)


def test_when_no_file_is_left_to_count_by_the_number_stays(monkeypatch):
    def refused(*_, **__):
        raise OSError(24, "Too many open files")

    async def main():
        ours = Pool()
        async with open_transport("http://127.0.0.1:1", ApiKey(Secret("k")), Timeouts(), 2, ours):
            monkeypatch.setattr(pool, "connections", refused)
            ours.allow(9)
            return ours.connector.limit

    assert run_virtual(main()) == 2
