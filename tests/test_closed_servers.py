"""A connection that a closing server had just accepted is closed, so that no test is told of another's socket."""

import asyncio
import gc
import socket

import pytest
from virtual import run_virtual


@pytest.mark.parametrize("rounds", range(5))
def test_a_connection_is_closed_in_whichever_round_its_server_closes(rounds):
    async def main():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        for _ in range(rounds):
            await asyncio.sleep(0)
        server.close()
        client.close()

    run_virtual(main())
    gc.collect()  # a warning of the collector is an error of this test
