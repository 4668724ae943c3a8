"""Where a request comes from, as far as it can be believed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.http import HttpRequest

UNKNOWN = "unknown"
_SITE_PREFIX_BITS = 64
"""What a provider gives to one customer at least: one machine there has as many IPv6 addresses as it likes."""

_Address = IPv4Address | IPv6Address


def client_address(request: HttpRequest, *, trusted_proxies: int) -> str:
    """The client's IP address, or `unknown` where the server has none (a Unix socket).

    Each proxy appends to `X-Forwarded-For` the address that called it. So the addresses that the trusted proxies
    wrote are the last ones; what stands left of them came with the request and may say anything. Without a trusted
    proxy the header is not read.
    """
    chain = [request.META.get("REMOTE_ADDR", "")]
    if trusted_proxies:
        chain = [*request.META.get("HTTP_X_FORWARDED_FOR", "").split(","), *chain]
    believed = map(_parsed, chain[-(trusted_proxies + 1) :])
    return next((str(found) for found in believed if found is not None), UNKNOWN)


def network_of(address: str) -> str:
    """What counts as one sender: the address, of IPv6 its network of 64 bits."""
    found = _parsed(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, _SITE_PREFIX_BITS), strict=False))
    return address


def _parsed(text: str) -> _Address | None:
    """An address as proxies write it, perhaps with a port: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        # Without the interface of a link-local address, as in fe80::1%eth0.
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A server that listens on IPv6 sees the clients of IPv4 as ::ffff:192.0.2.1.
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
