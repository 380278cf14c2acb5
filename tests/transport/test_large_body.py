"""Request bodies of many megabytes arrive whole, and are in memory once."""

import asyncio
import hashlib
import tracemalloc

import pytest
from aiohttp import web
from virtual import run_virtual

from arkbatch.core.calls import Break, Call
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.large_body import LARGE, LargeBody, make_payload
from arkbatch.transport.transport import open_transport


async def digest(request):
    found = hashlib.sha256()
    async for piece in request.content.iter_any():
        found.update(piece)
    told = f"{found.hexdigest()} {request.headers['Content-Type']} {request.content_length}"
    return web.json_response({"told": told})


async def sent(body):
    app = web.Application()
    app.router.add_post("/chat/completions", digest)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        async with open_transport(url, ApiKey(Secret("k")), Timeouts(), 1) as transport:
            return await transport.send(Call("c", "chat", "/chat/completions", body))
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 12_345])
def test_a_body_of_any_size_arrives_whole(size):
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    reply = run_virtual(sent(body))
    assert reply.body.decode() == f'{{"told": "{hashlib.sha256(body).hexdigest()} application/json {size}"}}'


def test_a_large_body_is_not_copied():
    body = bytes(8 * LARGE)

    async def measured():
        tracemalloc.start()
        try:
            await sent(body)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert run_virtual(measured()) < len(body) / 2


def test_it_can_be_shown():
    assert make_payload(b"{}") == b"{}"
    assert LargeBody(b'{"a": 1}').decode() == '{"a": 1}'


def test_pieces_wait_for_the_connection():
    class Writer:
        def __init__(self):
            self.pieces = []

        async def write(self, piece):
            await asyncio.sleep(1)
            self.pieces.append(bytes(piece))

    writer, body = Writer(), bytes(range(256)) * 1024
    run_virtual(LargeBody(body).write_with_length(writer, None))
    assert b"".join(writer.pieces) == body
    assert len(writer.pieces) == 4


def test_a_server_that_takes_nothing_is_silent():
    over = asyncio.Event()

    async def deaf(reader, writer):
        await over.wait()
        writer.transport.abort()

    async def main():
        server = await asyncio.start_server(deaf, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, open_transport(url, ApiKey(Secret("k")), Timeouts(read=30), 1) as transport:
            async with asyncio.timeout(600):
                response = await transport.send(Call("c", "chat", "/chat/completions", bytes(16 * LARGE)))
            over.set()
            await asyncio.sleep(1)
            return response

    assert run_virtual(main()).how is Break.TIMEOUT
