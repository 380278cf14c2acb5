"""Connections that break: hung up, torn, or answered by a proxy in between."""

from aiohttp import web

_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


def hang_up(request: web.Request) -> web.Response:
    """Closes the connection; the response that the caller returns goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def close_connection(request: web.Request) -> None:
    """Closes the connection once what was written has been sent."""
    if request.transport is not None:
        request.transport.close()


async def send_half(
    request: web.Request, body: bytes, headers: dict[str, str], status: int = 200
) -> web.StreamResponse:
    """Promises a whole body and sends half."""
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    return response


def bad_gateway() -> web.Response:
    """A page of a proxy that did not reach the service, and so has no ids."""
    return web.Response(body=_PAGE, status=502, content_type="text/html", headers={"Server": "nginx"})
