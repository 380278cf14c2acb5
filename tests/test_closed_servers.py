"""A connection that a closing server had just accepted is closed, so that no test is told of another's socket."""

import asyncio
import gc
import socket

from virtual import run_virtual


def test_a_connection_is_closed_in_whichever_round_its_server_closes():
    async def main(rounds):
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        for _ in range(rounds):
            await asyncio.sleep(0)
        server.close()
        client.close()

    for rounds in range(5):
        run_virtual(main(rounds))
    gc.collect()  # a warning of the collector is an error of this test
