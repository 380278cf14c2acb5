"""A server with a tap on its line: every byte that clients send it, and the requests that these bytes make."""

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit


class Heard(NamedTuple):
    """One request as it was sent: its headers in order and as they were spelt."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Tap:
    """`raw`: every byte that left for the server, whichever connection it took; `requests`: those that came whole."""

    def __init__(self):
        self.raw, self.requests = bytearray(), []

    @asynccontextmanager
    async def on(self, url):
        """The URL under which the server at `url` is reached through the tap."""
        parts = urlsplit(url)

        connections = set()

        async def connect(reader, writer):
            connections.add(asyncio.current_task())
            far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
            with suppress(asyncio.CancelledError):  # the tap is closed
                await asyncio.gather(_pump(reader, far_writer, self._listener()), _pump(far_reader, writer))

        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{parts.path}"
        finally:
            server.close()
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections)

    def _listener(self):
        """Hears one connection."""
        pending = bytearray()

        def listen(data):
            self.raw.extend(data)
            pending.extend(data)
            while (cut := _first_of(pending)) is not None:
                request, length = cut
                self.requests.append(request)
                del pending[:length]

        return listen


def _first_of(data):
    """The first whole request in the bytes and its length, or None."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
    method, target, _ = first.split(" ")
    begin = end + 4
    length = int(next((value for name, value in headers if name.lower() == "content-length"), 0))
    if len(data) < begin + length:
        return None
    return Heard(method, target, headers, bytes(data[begin : begin + length])), begin + length


async def _pump(reader, writer, listen=None):
    try:
        while data := await reader.read(65_536):
            if listen is not None:
                listen(data)
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()
