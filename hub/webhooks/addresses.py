"""Which addresses a webhook may be sent to: nothing private, so that a URL somebody registers can't reach into our own network.

A name is resolved once, each of its addresses is judged, and the request goes to the judged address itself (`Target.url`, with
the name in Host and in TLS): what the name resolves to a moment later does not matter (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(name, port) → its addresses; raises OSError when there are none."""

_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")
"""IPv4 as a stateless translator writes it (RFC 7915)."""
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
"""Before the IPv4 address in the lower half of an ISATAP address (RFC 5214)."""
_NO_HOST: Final[tuple[Network, ...]] = (
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("fec0::/10"),
    ipaddress.IPv6Network("100::/64"),
    ipaddress.IPv6Network("3fff::/20"),
    ipaddress.IPv6Network("5f00::/16"),
)
"""What the library takes for global and is not: 6to4 relays, site-local, discard-only, documentation, segment routing."""
METADATA: Final[tuple[Network, ...]] = (
    ipaddress.IPv4Network("169.254.0.0/16"),
    ipaddress.IPv4Network("100.100.100.200/32"),
    ipaddress.IPv4Network("192.0.0.192/32"),
    ipaddress.IPv6Network("fd00:ec2::254/128"),
    ipaddress.IPv6Network("fd20:ce::254/128"),
    ipaddress.IPv6Network("fe80::/10"),
)
"""Where clouds keep their machines' credentials (AWS, Azure, GCP, Alibaba, Oracle) and what is link-local: never allowed."""


class AddressForbidden(ValueError):
    """The address must not be called; the text says why and is fit for the operator."""


class NameUnknown(Exception):
    """The name does not resolve at the moment."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a request goes: the address itself in `url`, the name in `headers` (Host) and, for TLS, in `extensions`."""

    url: str
    address: str
    headers: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)


def embedded(address: Address) -> Address:
    """The IPv4 address inside a mapped, compatible, translated, 6to4, Teredo, ISATAP or NAT64 one, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if (
        any(address in network for network in (*_NAT64, _TRANSLATED))
        or (address in _COMPATIBLE and int(address) > 1)
        or (int(address) >> 32 & 0xFFFFFFFF) in _ISATAP
    ):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def forbidden(address: str, allowed: Sequence[Network] = ()) -> str | None:
    """Why an address must not be called, None when it may; `allowed` are the private networks an operator has opened."""
    try:
        given = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "not an IP address"
    inner = embedded(given)
    for one in (given, inner):
        if any(one.version == network.version and one in network for network in METADATA):
            return "a link-local or metadata address"
        if one.is_multicast or one.is_unspecified or (one.version == 4 and one.is_reserved):
            return "not the address of one host"
    if any(inner.version == network.version and inner in network for network in allowed):
        return None
    if any(one.version == network.version and one in network for one in (given, inner) for network in _NO_HOST):
        return "not the address of one host"
    if not inner.is_global:
        return "a loopback address" if inner.is_loopback else "a private address"
    return None


async def resolve(name: str, port: int) -> Sequence[str]:
    """The addresses of a name by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class AddressGuard:
    """Judges URLs. `allowed`: private networks that may be called; `plain_http`: whether http is taken beside https."""

    def __init__(self, *, allowed: Sequence[Network] = (), plain_http: bool = False, resolve: Resolve = resolve) -> None:
        self._allowed = tuple(allowed)
        self._plain_http = plain_http
        self._resolve = resolve

    def check(self, url: str) -> None:
        """Raises AddressForbidden for what is wrong with the URL itself; asks no resolver."""
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise AddressForbidden("not an https address")
        if parts.scheme == "http" and not self._plain_http:
            raise AddressForbidden("only https is called")
        if parts.username is not None or parts.password is not None:
            raise AddressForbidden("user names and passwords don't belong into the address")
        try:
            ipaddress.ip_address(parts.hostname)
        except ValueError:
            return
        if (why := forbidden(parts.hostname, self._allowed)) is not None:
            raise AddressForbidden(f"{parts.hostname} is {why}")

    async def target(self, url: str, *, turn: int = 0) -> Target:
        """Resolve the URL's host once and choose an allowed address; `turn` goes through them when one does not answer.

        Raises AddressForbidden (none of the addresses may be called) and NameUnknown.
        """
        self.check(url)
        parts = urlsplit(url)
        name = str(parts.hostname)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = await self._resolve(name, port)
        except (OSError, UnicodeError) as error:
            raise NameUnknown(f"{name} does not resolve") from error
        judged = [(address, forbidden(address, self._allowed)) for address in found]
        usable = [address for address, why in judged if why is None]
        if not usable:
            reasons = ", ".join(sorted({why for _, why in judged if why is not None})) or "without an address"
            raise AddressForbidden(f"{name} is {reasons}")
        address = usable[turn % len(usable)]
        literal = f"[{address}]" if ":" in address else address
        host = f"[{name}]" if ":" in name else name
        shown = literal if parts.port is None else f"{literal}:{parts.port}"
        return Target(
            url=urlunsplit((parts.scheme, shown, parts.path or "/", parts.query, "")),
            address=address,
            headers={"Host": host if parts.port is None else f"{host}:{parts.port}"},
            extensions={"sni_hostname": name} if parts.scheme == "https" else {},
        )
