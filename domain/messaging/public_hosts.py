"""Requests to addresses that users typed: never into our own network.

A name is resolved once, every address it has is judged, and the connection goes to one of those
very addresses: a name that is resolved again for connecting may lead elsewhere by then.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

import httpx2

from domain.messaging.channels import TryLater, Undeliverable

# They carry an IPv4 address that is judged nowhere: NAT64, 6to4, IPv4-compatible.
_TUNNELS: Final = tuple(
    ipaddress.ip_network(block)
    for block in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "::/96")
)


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the open internet.

    Example:
        >>> [is_public(item) for item in ("93.184.215.14", "127.0.0.1", "169.254.169.254", "::1")]
        [True, False, False, False]
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in block for block in _TUNNELS):
            return False
    return ip.is_global and not ip.is_multicast


class PublicHosts(httpx2.AsyncBaseTransport):
    """A transport that connects to public addresses only.

    Args:
        allow_private: Connect anywhere, without TLS too: for tests and closed networks.
    """

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private
        # A kept connection is known by its IP address: another name's request must not use it.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to an address that was judged.

        Raises:
            Undeliverable: The address is not public, or the URL is not https.
            TryLater: The name cannot be resolved now.
        """
        host = request.url.host
        if request.url.scheme != "https" and not self._allow_private:
            raise Undeliverable("the address is not an https URL")
        addresses = await _resolved(host, request.url.port or _port_of(request.url.scheme))
        if not self._allow_private and not all(map(is_public, addresses)):
            raise Undeliverable("the address does not lead to the public internet")
        request.extensions = {**request.extensions, "sni_hostname": host}
        return await self._first_that_answers(request, addresses)

    async def _first_that_answers(
        self, request: httpx2.Request, addresses: Sequence[str]
    ) -> httpx2.Response:
        *others, last = addresses
        url = request.url
        for address in others:
            try:
                request.url = url.copy_with(host=address)
                return await self._inner.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        request.url = url.copy_with(host=last)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._inner.aclose()


async def _resolved(host: str, port: int) -> Sequence[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise TryLater("the host name cannot be resolved") from None
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def _port_of(scheme: str) -> int:
    return 443 if scheme == "https" else 80
