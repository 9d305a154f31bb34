"""SSRF: a webhook goes to the public internet and nowhere else, however its target is written or resolved."""

import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.webhooks.conftest import TIMEOUT_SECONDS, FakeResolver, claimed
from tests.worker.webhooks.target import server_tls, target
from worker.webhooks import network
from worker.webhooks.addresses import locate, system_lookup
from worker.webhooks.network import PinnedNetwork, make_tls
from worker.webhooks.outcome import FINAL, Deadline, NotTakenError, Reason
from worker.webhooks.sending import Sender

PUBLIC = "93.184.216.34"
PUBLIC_IPV6 = "2606:2800:220:1:248:1893:25c8:1946"

INSIDE = {
    "loopback": "127.0.0.1",
    "loopback, not the first": "127.255.255.254",
    "unspecified": "0.0.0.0",  # noqa: S104  # Linux connects it to itself
    "this network": "0.1.2.3",
    "private 10": "10.1.2.3",
    "private 172": "172.31.255.255",
    "private 192": "192.168.0.1",
    "carrier-grade NAT": "100.64.0.1",
    "link-local": "169.254.1.1",
    "cloud metadata": "169.254.169.254",
    "Alibaba's metadata": "100.100.100.200",
    "Azure's wire server": "168.63.129.16",
    "Oracle's metadata": "192.0.0.192",
    "multicast": "224.0.0.1",
    "multicast, the last": "239.255.255.255",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "documentation": "203.0.113.7",
    "benchmarking": "198.18.0.1",
    "IPv6 loopback": "::1",
    "IPv6 unspecified": "::",
    "IPv6 unique local": "fd00::1",
    "AWS' metadata": "fd00:ec2::254",
    "IPv6 link-local": "fe80::1",
    "IPv6 link-local with a zone": "fe80::1%1",
    "IPv6 site-local": "fec0::1",
    "IPv6 multicast": "ff02::1",
    "IPv6 documentation": "2001:db8::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "IPv4-mapped": "::ffff:127.0.0.1",
    "IPv4-mapped, public inside": f"::ffff:{PUBLIC}",
    "IPv4-compatible": "::127.0.0.1",
    "NAT64": "64:ff9b::7f00:1",
    "NAT64, public inside": "64:ff9b::5db8:d822",
    "NAT64, local use": "64:ff9b:1::a00:1",
    "6to4": "2002:7f00:1::",
    "6to4, public inside": "2002:5db8:d822::1",
    "ISATAP": "2606:2800::5efe:7f00:1",
}


class Reached(Exception):  # noqa: N818  # no error: it says where
    """Something wanted to connect."""


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Sender:
    """A sender as in production, that would be found out if it connected anywhere."""

    def refuse(address: Any, *_: Any, **__: Any) -> None:
        raise Reached(address)

    monkeypatch.setattr(network.socket, "create_connection", refuse)
    return Sender(make_tls(), TIMEOUT_SECONDS)


def why(sender: Sender, url: str) -> str | None:
    return sender.send(claimed(url), datetime.now(UTC)).error


def test_the_guard_of_these_tests_sees_a_connection(guarded: Sender) -> None:
    """Given a public address, when it is sent to, then the sender does connect: the guard is no dead end."""
    assert why(replace(guarded, lookup=FakeResolver([PUBLIC])), "https://hook.example/") == Reason.INTERNAL


@pytest.mark.parametrize("address", INSIDE.values(), ids=INSIDE.keys())
def test_a_name_that_leads_inside_is_refused(guarded: Sender, address: str) -> None:
    resolver = FakeResolver([address])
    assert why(replace(guarded, lookup=resolver), "https://hook.example/") == Reason.REFUSED_ADDRESS
    assert resolver.asked == ["hook.example"]


@pytest.mark.parametrize("address", INSIDE.values(), ids=INSIDE.keys())
def test_an_address_that_leads_inside_is_refused(guarded: Sender, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    assert why(guarded, f"https://{host}/") in FINAL


@pytest.mark.parametrize("address", INSIDE.values(), ids=INSIDE.keys())
@pytest.mark.parametrize("first", [True, False])
def test_one_bad_address_among_good_ones_is_enough(guarded: Sender, address: str, first: bool) -> None:
    mixed = [address, PUBLIC, PUBLIC_IPV6] if first else [PUBLIC, PUBLIC_IPV6, address]
    assert why(replace(guarded, lookup=FakeResolver(mixed)), "https://hook.example/") == Reason.REFUSED_ADDRESS


HERE = [
    "localhost",
    "localhost.",
    "LOCALHOST",
    "a.localhost",
    "127.1",
    "127.0.1",
    "0",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "user@127.0.0.1",
    "hook.example@127.0.0.1",
    "127.0.0.1%2f",
    "[::1%25lo]",
    "[::1%lo]",
    "[fe80::1%25eth0]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
]


@pytest.mark.parametrize("host", HERE)
def test_other_ways_to_write_here_are_refused(guarded: Sender, host: str) -> None:
    assert why(guarded, f"https://{host}/") in FINAL


@pytest.mark.parametrize(
    "url", ["http://hook.example/", "ftp://hook.example/", "file:///etc/passwd", "hook.example", ""]
)
def test_only_https_goes_out(guarded: Sender, url: str) -> None:
    assert why(replace(guarded, lookup=FakeResolver([PUBLIC])), url) == Reason.REFUSED_URL


def inside_forms(number: int) -> list[str]:
    """One IPv4 address in the forms that a resolver of C takes, and inside IPv6 ones."""
    a, b, c, d = number.to_bytes(4, "big")
    upper, lower = number >> 16, number & 0xFFFF
    names = [str(number), hex(number), f"0{number:o}", f"{a}.{(b << 16) + (c << 8) + d}", f"{a}.{b}.{(c << 8) + d}"]
    names += [f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"{a}.{b}.{c}.{d}."]
    bare = [f"::ffff:{upper:x}:{lower:x}", f"::{upper:x}:{lower:x}", f"64:ff9b::{upper:x}:{lower:x}"]
    bare += [f"64:ff9b:1::{upper:x}:{lower:x}", f"2002:{upper:x}:{lower:x}::1", f"2606::5efe:{upper:x}:{lower:x}"]
    return names + [f"[{address}]" for address in bare]


PRIVATE = st.one_of(
    st.integers(int(IPv4Address(first)), int(IPv4Address(last)))
    for first, last in [
        ("127.0.0.0", "127.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("224.0.0.0", "255.255.255.255"),
    ]
)


@given(PRIVATE)
def test_no_form_of_a_private_address_is_let_through(number: int) -> None:
    """Twice: by the URL's check, and by what the system's own resolver makes of the form if that were not there."""
    for form in inside_forms(number):
        with pytest.raises(NotTakenError) as refused:
            locate(f"https://{form}/", Deadline.after(30), allow_private=False)
        assert refused.value.reason in FINAL, form
        try:
            resolved = system_lookup(form.strip("[]").removesuffix("."), 443)
        except OSError:
            continue
        with pytest.raises(NotTakenError, match=r"refused_address"):
            locate(
                "https://hook.example/", Deadline.after(30), allow_private=False, lookup=FakeResolver(list(resolved))
            )


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_what_is_let_through_is_global_by_python_s_own_tables(address: IPv4Address | IPv6Address) -> None:
    resolver = FakeResolver([str(address)])
    try:
        found = locate("https://hook.example/", Deadline.after(30), allow_private=False, lookup=resolver)
    except NotTakenError:
        return
    assert found.addresses == (address,)
    assert address.is_global
    assert not address.is_multicast
    assert not address.is_reserved


@given(st.sampled_from([PUBLIC, PUBLIC_IPV6, "1.1.1.1", "8.8.8.8", "2a00:1450:4001:81b::200e"]))
def test_what_is_public_is_let_through(address: str) -> None:
    resolver = FakeResolver([address])
    found = locate("https://hook.example:8443/a?b", Deadline.after(30), allow_private=False, lookup=resolver)
    assert (found.authority, found.path, found.addresses) == ("hook.example:8443", "/a?b", (ip_address(address),))


# --- rebinding -------------------------------------------------------------------------------------------------------


def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_checked(
    monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]
) -> None:
    """Given a name that is public at first and local afterwards, then one look-up is made and its answer is used.

    The connection to the public address is led to a server of this test, since tests reach no internet.
    """
    import ssl

    resolver = FakeResolver([PUBLIC], ["127.0.0.1"])
    connected: list[Any] = []
    real = socket.create_connection

    def lead(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        return real(("127.0.0.1", address[1]), timeout)

    monkeypatch.setattr(network.socket, "create_connection", lead)
    tls = ssl.create_default_context(cafile=certificate[0])
    with target(tls=server_tls(*certificate)) as hook:
        sender = Sender(tls, TIMEOUT_SECONDS, lookup=resolver)
        assert why(sender, f"https://hook.example:{hook.port}/") is None
        assert (resolver.asked, connected) == (["hook.example"], [(PUBLIC, hook.port)])
        # The next try asks again, hears "here", and is refused before it connects.
        assert why(sender, f"https://hook.example:{hook.port}/") == Reason.REFUSED_ADDRESS
        assert (len(resolver.asked), len(connected), len(hook.received)) == (2, 1, 1)


def test_the_second_address_is_tried_when_the_first_is_dead() -> None:
    with target() as hook, socket.create_server(("127.0.0.1", 0)) as closed:
        dead = IPv6Address("::1")  # the target listens on IPv4 alone
        addresses = [dead, ip_address("127.0.0.1")]
        closed.close()
        stream = PinnedNetwork(addresses, Deadline.after(TIMEOUT_SECONDS), make_tls()).connect_tcp("x", hook.port)
        stream.close()


# --- names that lead nowhere -----------------------------------------------------------------------------------------


def test_a_name_without_an_address_is_a_dns_failure(guarded: Sender) -> None:
    def lookup(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    assert why(replace(guarded, lookup=lookup), "https://hook.example/") == Reason.DNS
    assert why(replace(guarded, lookup=FakeResolver([])), "https://hook.example/") == Reason.DNS


def test_a_resolver_that_hangs_is_left_behind(guarded: Sender) -> None:
    released = threading.Event()

    def lookup(_host: str, _port: int) -> list[str]:
        released.wait(60)
        return [PUBLIC]

    assert why(replace(guarded, lookup=lookup), "https://hook.example/") == Reason.TIMEOUT
    released.set()


# --- the setting -----------------------------------------------------------------------------------------------------


def test_local_targets_are_only_for_those_who_asked_for_them(sender: Sender) -> None:
    with target() as hook:
        assert why(replace(sender, allow_private=False), hook.url) in FINAL
        assert why(replace(sender, allow_private=False), hook.url.replace("http:", "https:")) in FINAL
        assert hook.received == []
        assert why(sender, hook.url) is None
        assert why(sender, hook.url.replace("127.0.0.1", "localhost")) is None
        assert len(hook.received) == 2
