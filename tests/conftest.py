"""Settings for all tests: a machine that is busy must not fail them."""

from asyncio.selector_events import BaseSelectorEventLoop

import pytest
from http_paths import by_session
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_accept_connection = BaseSelectorEventLoop._accept_connection2


async def _accept_unless_closed(loop, factory, connection, extra, sslcontext=None, server=None, *more):
    """Take a connection, but close one whose server was closed after it was accepted.

    asyncio leaves such a connection to the collector, which tells of it in whichever test runs then.
    """
    if server is not None and not server.sockets:
        connection.close()
        return
    await _accept_connection(loop, factory, connection, extra, sslcontext, server, *more)


BaseSelectorEventLoop._accept_connection2 = _accept_unless_closed


@pytest.fixture(params=["direct", "session"])
def either_way(request, monkeypatch):
    """Both ways in which a call is posted."""
    if request.param == "session":
        by_session(monkeypatch)
