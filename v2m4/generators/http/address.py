"""Which servers may be asked. On a public host nobody may make us reach into its own network.

An address is looked up once, every result is judged, and the connection goes to a judged result: a name that changes
its mind between two look-ups (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from v2m4.errors import V2M4Error

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_EMBEDDING = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "192.88.99.0/24")))
"""Networks whose addresses lead on to IPv4 addresses within them: NAT64 (RFC 6052, RFC 8215), IPv4-compatible, 6to4."""
_AS_WRITTEN = "/%?&=:@!$'()*+,;~"
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """A server: scheme http or https, host as written, port, path with query (empty, or from “/” on)."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """The address up to its port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")


def parse(url: str) -> Target:
    """The server that a URL names. Raises V2M4Error with what is wrong with it."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise V2M4Error(f"The mesh server's address {url!r} is not a URL ({error}). Write http://HOST:PORT.") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise V2M4Error(f"The mesh server's address {url!r} is not a URL. Write http://HOST:PORT or https://HOST.")
    if parts.username is not None or parts.password is not None:
        raise V2M4Error(
            "The mesh server's address holds a name or password, which would be kept in the run's settings. Leave it "
            "out, and reach the server through a tunnel of your own."
        )
    if any(c.isspace() or ord(c) < 32 for c in url.strip()):
        raise V2M4Error("The mesh server's address holds spaces or control characters. Remove them.")
    if port == 0:
        raise V2M4Error(f"The mesh server's address {url!r} has port 0, where no server can listen. Correct it.")
    path = quote(parts.path + (f"?{parts.query}" if parts.query else ""), safe=_AS_WRITTEN)
    return Target(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port, path)


def permitted(address: Address, public: bool) -> bool:
    """Whether this address may be connected to: anything but link-local (where clouds keep their machines' secrets) and
    multicast addresses, and on a public host only what the whole internet can reach."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return permitted(address.ipv4_mapped, public)
        if public and (address.sixtofour or address.teredo):
            return False
    if public and any(address in network for network in _EMBEDDING):
        return False
    if address.is_link_local or address.is_multicast:
        return False
    return address.is_global if public else True


def look_up(target: Target, public: bool) -> list[str]:
    """The addresses to connect to, in order of preference. Raises V2M4Error if there are none, or one is forbidden."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise V2M4Error(f"The mesh server {target.host} cannot be found. Check the address and the network.") from error
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    refused = [a for a in addresses if not permitted(ipaddress.ip_address(a), public)]
    if refused:
        where = "On a public page only servers that the whole internet can reach may be asked" if public else "Refused"
        raise V2M4Error(f"The mesh server {target.host} has the address {refused[0]}. {where}; choose another server.")
    return addresses
