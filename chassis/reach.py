"""Where the HTTP client may go: every address is put into one of four kinds before anything connects to it.

The guard against being sent to a service of the inside by a document or a name server (rfc8725bis section 3.10).
Its law: a kind that nobody permitted is refused, and the addresses of cloud metadata services can not be permitted.
"""

from __future__ import annotations

from enum import Enum, Flag, auto
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_Address = IPv4Address | IPv6Address


class Reach(Flag):
    """What may be reached besides https on the public internet.

    Attributes:
        PUBLIC: Nothing else.
        LOOPBACK: This machine, over http as well.
        PRIVATE: The networks that a company gives its own machines, over https.
    """

    PUBLIC = 0
    LOOPBACK = auto()
    PRIVATE = auto()


class AddressKind(Enum):
    """What an address leads to."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    REFUSED = "refused"


# RFC 1918, RFC 6598 and RFC 4193. All that is neither here nor of the public internet is refused: link-local
# addresses, among them 169.254.169.254, "any" addresses, multicast and what is reserved.
_PRIVATE_NETWORKS: Final = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# Cloud metadata services inside those networks: they hand out the machine's own credentials.
_METADATA_SERVICES: Final = frozenset(ip_address(text) for text in ("100.100.100.200", "fd00:ec2::254"))
_TRANSLATED: Final = ip_network("64:ff9b::/96")


def kind_of(text: str) -> AddressKind | None:
    """Return the kind of an address literal, zone identifier or not; None for a text that is no address."""
    try:
        address = _inner(ip_address(text.partition("%")[0]))
    except ValueError:
        return None
    if address.is_loopback:
        return AddressKind.LOOPBACK
    if address in _METADATA_SERVICES:
        return AddressKind.REFUSED
    if any(address.version == network.version and address in network for network in _PRIVATE_NETWORKS):
        return AddressKind.PRIVATE
    is_public = address.is_global and not address.is_multicast and not address.is_reserved
    return AddressKind.PUBLIC if is_public else AddressKind.REFUSED


def _inner(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 one stands for (RFC 4291, 3056, 6052), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def is_loopback_host(host: str) -> bool:
    """Tell whether `host` names this machine: a loopback literal, localhost or *.localhost (RFC 6761 section 6.3)."""
    host = host.lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return kind_of(host) is AddressKind.LOOPBACK


def may_connect(kind: AddressKind | None, reach: Reach, *, is_encrypted: bool) -> bool:
    """Tell whether an address of this kind may be connected to; without TLS loopback alone may."""
    match kind:
        case AddressKind.LOOPBACK:
            return Reach.LOOPBACK in reach
        case AddressKind.PRIVATE:
            return is_encrypted and Reach.PRIVATE in reach
        case AddressKind.PUBLIC:
            return is_encrypted
        case _:
            return False
