"""Finds the proxy for an address in the environment, and checks it.

It is looked up once: aiohttp's `trust_env` reads the environment for each request, which costs as much as the rest of a
request, and takes keys from `.netrc` besides.
"""

import ipaddress
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from arkbatch.core.errors import UsageError

_SCHEMES = ("http", "https")


class _ProxyVariable(NamedTuple):
    variable: str
    url: str


def proxy_for(base_url: str) -> str | None:
    """Return the proxy that the environment's variables name for this host."""
    named = _named_for(base_url)
    return named.url if named else None


def check_proxy(base_url: str) -> None:
    """Raise UsageError if the proxy for this address can never work."""
    named = _named_for(base_url)
    if named is None:
        return
    variable, host = named.variable, urlsplit(base_url).hostname
    without = f"or add {host} to NO_PROXY, to go without one"
    try:
        parts = urlsplit(named.url)
        port = parts.port
    except ValueError:
        raise UsageError(f"{variable} is not the URL of a proxy: write http://HOST:PORT, {without}") from None
    shown = f"{variable} = {_without_password(parts, named.url)}"
    if parts.scheme.startswith("socks"):
        raise UsageError(
            f"{shown} is a SOCKS proxy, and arkbatch needs an HTTP proxy: name one (http://HOST:PORT), {without}"
        )
    if "://" not in named.url:
        raise UsageError(f"{shown} has no scheme: write http://{shown.partition(' = ')[2]}, {without}")
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:
        raise UsageError(f"{shown} is not the URL of a proxy: write http://HOST:PORT, {without}")


def _named_for(base_url: str) -> _ProxyVariable | None:
    parts = urlsplit(base_url)
    proxies = getproxies()
    if not parts.hostname or _is_exempt(parts, proxies.get("no", "")):
        return None
    for name in (parts.scheme, "all"):
        if url := proxies.get(name):
            return _ProxyVariable(f"{name.upper()}_PROXY", url)
    return None


def _is_exempt(parts: SplitResult, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host: by name, suffix, address with or without port, or network (10.0.0.0/8)."""
    host = parts.hostname or ""
    if proxy_bypass(host) or proxy_bypass(f"{host}:{parts.port}") or "*" in (n.strip() for n in no_proxy.split(",")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(_contains_address(network.strip(), address) for network in no_proxy.split(","))


def _contains_address(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network.strip("[]"), strict=False)
    except ValueError:
        return False


def _without_password(parts: SplitResult, url: str) -> str:
    """Return a proxy's address without its name and password."""
    return f"{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else url.rpartition("@")[2]
