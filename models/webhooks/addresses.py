"""Which addresses a webhook may be sent to: those of the public internet, and nothing that leads back inside.

A pure predicate over addresses. Resolving names, and connecting to what was checked, is `worker.webhooks`' part; the
ranges are those of IANA's special-purpose registries (RFC 6890) and what clouds serve their metadata on.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_IPV4_REFUSED = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this network", with the unspecified address
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata is 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's wire server: a public address that answers inside only
        "169.254.0.0/16",  # link-local, with the metadata of most clouds at 169.254.169.254
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata is 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with the broadcast address
    )
)
_IPV6_GLOBAL = IPv6Network("2000::/3")
"""Global unicast. All else is refused unseen: loopback, IPv4-mapped and -compatible, NAT64 (64:ff9b::/96 and
64:ff9b:1::/48), unique local (with AWS' and Google's metadata), link-local, site-local, multicast, and what is not
assigned yet."""
_IPV6_REFUSED = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo 2001::/32, benchmarking 2001:2::/48, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside, relayed to it
        "3fff::/20",  # documentation
    )
)
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""The upper half of an interface identifier whose lower half is an IPv4 address (RFC 5214), under any prefix."""


def is_public_address(address: IPv4Address | IPv6Address) -> bool:
    """Whether this is an address of the public internet, in whatever form it was written.

    An IPv6 address that carries an IPv4 address is refused with its range, public or not inside; ISATAP, which has no
    range of its own, is judged by what it carries. A zone id (`%eth0`) is never public.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4_REFUSED)
    if address.scope_id is not None or address not in _IPV6_GLOBAL:
        return False
    if any(address in network for network in _IPV6_REFUSED):
        return False
    number = int(address)
    if (number >> 32) & 0xFFFF_FFFF in _ISATAP:
        return is_public_address(IPv4Address(number & 0xFFFF_FFFF))
    return True
