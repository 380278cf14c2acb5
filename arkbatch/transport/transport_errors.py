"""Describes how an exchange with a server failed, from the exception that ended it."""

import os
import re
import socket

import aiohttp

from arkbatch.core.calls import Break

_USER = re.compile(r"//[^/\s]*@")  # of an address: a name and a password


class CallTimeoutError(TimeoutError):
    """A whole call took longer than it may."""


class UnreadableEncodingError(Exception):
    """The compression of a body is broken, or one that was not asked for."""


def break_of_error(error: Exception) -> Break:
    match error:
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError():
            return Break.CONNECT
        case TimeoutError():
            return Break.TIMEOUT
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | ConnectionError():
            return Break.DROPPED
        case aiohttp.ClientOSError() | aiohttp.ClientConnectionError() | OSError():
            return Break.DROPPED
        case _:
            return Break.GARBLED


def error_detail(error: Exception) -> str:
    """Return the error in words; it names hosts, never headers nor the password of a proxy."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        proxy = "the proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
        return f"{proxy}{error.host}:{error.port} cannot be reached ({_reason_text(error.os_error)})"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status} {error.message}".rstrip()
    if isinstance(error, CallTimeoutError | UnreadableEncodingError):
        return str(error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed it without an answer"
    if isinstance(error, aiohttp.ClientPayloadError) and break_of_error(error) is Break.DROPPED:
        return "the connection ended in the middle of the answer"
    if isinstance(error, OSError) and error.errno and not isinstance(error, aiohttp.ClientSSLError):
        return os.strerror(error.errno)
    return _USER.sub("//***@", " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":"))


def untrusted_text(error: aiohttp.ClientConnectorCertificateError) -> str:
    """Return what is wrong with a server's certificate, and what to do; nothing was sent."""
    wrong = error.certificate_error
    said = getattr(wrong, "verify_message", "") or str(wrong)
    text = f"the certificate of {error.host}:{error.port} is not to be trusted ({said}), so nothing was sent: "
    if "expired" in said or "not yet valid" in said:
        return f"{text}check this machine's clock, or have the certificate renewed"
    if "ostname" in said or "IP address" in said:
        return f"{text}check the host's name in base_url"
    return (
        f"{text}if that server, or a proxy on the way, is your own, name a file with the certificate that vouches for "
        "it: SSL_CERT_FILE=/path/to/certificate.pem"
    )


def _reason_text(error: OSError) -> str:
    """Return the reason for people; the event loop's text repeats the address as a tuple."""
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}: no such name, or no network"
    return os.strerror(error.errno) if error.errno else " ".join(str(error).split())
