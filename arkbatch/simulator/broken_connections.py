"""Breaks connections: aborted, cut in the middle, or answered by a proxy."""

from aiohttp import web

_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


def hang_up(request: web.Request) -> web.Response:
    """Abort the connection; the returned response is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def close_connection(request: web.Request) -> None:
    """Close the connection once everything written has been sent."""
    if request.transport is not None:
        request.transport.close()


async def send_half(
    request: web.Request, body: bytes, headers: dict[str, str], status: int = 200
) -> web.StreamResponse:
    """Announce a whole body and send half of it."""
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    return response


def bad_gateway() -> web.Response:
    """Return the error page of a proxy that did not reach the service."""
    return web.Response(body=_PAGE, status=502, content_type="text/html", headers={"Server": "nginx"})


def file_too_large() -> web.Response:
    """Return the error page of a proxy that takes no body of this size."""
    page = _PAGE.replace(b"502 Bad Gateway", b"413 Request Entity Too Large")
    return web.Response(body=page, status=413, content_type="text/html", headers={"Server": "nginx"})


def login_page() -> web.Response:
    """Return a web page with status 200, as a proxy does that wants somebody to log in."""
    return web.Response(text="<!DOCTYPE html>\n<html><title>Sign in</title></html>\n", content_type="text/html")
