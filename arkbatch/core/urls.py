"""Parts of URLs that decide where a key or a message may be sent."""

from ipaddress import ip_address
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port, which must be equal for a key to be sent."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def is_local(url: str) -> bool:
    """Whether the server is on this machine."""
    host = origin(url)[1]
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # not an address but a name, such as 127.0.0.1.example.com
        return False
