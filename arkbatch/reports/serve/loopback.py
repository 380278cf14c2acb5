"""Servers that only this machine reaches: where they listen, and their names.

The name is checked because a web page elsewhere can give its own name the address 127.0.0.1 and would then be let in by
the browser.
"""

import errno

from aiohttp import web

from arkbatch.core.errors import UsageError

HOST = "127.0.0.1"
NAMES = {HOST, "localhost"}


async def listen_on_loopback(runner: web.AppRunner, port: int) -> int:
    """Listen on loopback; the port that it became, for 0 is any free one. UsageError: it is taken."""
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"Port {port} is taken; choose another, or 0 for any free one.") from error
        raise UsageError(f"Cannot listen on {HOST} port {port}: {error.strerror or error}.") from error
    bound: int = runner.addresses[0][1]
    return bound
