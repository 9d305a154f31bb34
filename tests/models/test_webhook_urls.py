"""Where a webhook may lead, for any URL and any address: what is taken means the same to every reader."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ValidationFailedError
from models.webhooks.addresses import is_public_address
from models.webhooks.urls import check_url

PUBLIC_PREFIX = int(IPv6Address("2606:4700::"))
CARRIERS = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: int(IPv6Address("64:ff9b::")) | v4,
    "translated locally": lambda v4: int(IPv6Address("64:ff9b:1::")) | v4,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "teredo": lambda v4: 0x2001 << 112 | (v4 ^ 0xFFFF_FFFF),
    "isatap": lambda v4: PUBLIC_PREFIX | 0x0200_5EFE << 32 | v4,
}
"""Every way in which an IPv6 address leads to an IPv4 one."""
PIECES = (
    "https://",
    "http://",
    "a.com",
    "b.org",
    "127.0.0.1",
    "0x7f",
    "1",
    "::1",
    "2606::1",
    "localhost",
    ":443",
    "%2e",
)
MARKS = ".:@#?/\\%[]_-é。 \t"
TEXTS = st.lists(st.sampled_from([*PIECES, *MARKS]), max_size=8).map("".join)


@pytest.mark.parametrize("carrier", CARRIERS)
@given(inner=st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_no_ipv6_address_carries_a_private_one_out(carrier: str, inner: IPv4Address) -> None:
    assert not is_public_address(IPv6Address(CARRIERS[carrier](int(inner))))


@given(address=st.ip_addresses())
def test_what_is_public_is_global_to_the_standard_library_too(address: IPv4Address | IPv6Address) -> None:
    assert address.is_global or not is_public_address(address)
    assert not (address.is_multicast and is_public_address(address))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "193.0.6.139", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_addresses_of_the_internet_are_public(text: str) -> None:
    assert is_public_address(ip_address(text))


@given(url=TEXTS.map("https://a".__add__) | TEXTS.map("https://".__add__) | TEXTS)
def test_what_is_taken_means_one_thing(url: str) -> None:
    """Given any text, when it is taken as a URL, then another parser finds the same host and nothing of an address."""
    with suppress(ValidationFailedError):
        check_url(url, allow_private=False)
        parsed = httpx.URL(url)
        assert (parsed.scheme, parsed.userinfo, parsed.fragment) == ("https", b"", "")
        host = parsed.host
        assert host
        assert host.isascii()
        assert "localhost" not in {host, host.rpartition(".")[2]}
        with suppress(ValueError):
            assert is_public_address(ip_address(host))
