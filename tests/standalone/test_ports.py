"""Choosing ports: free ones, the same again, and never two alike."""

import socket
from pathlib import Path

import pytest

from safelight.standalone import ports
from safelight.standalone.errors import PortTakenError


def test_assigned_ports_are_free_and_different() -> None:
    chosen = ports.assign(("a", "b", "c"), {})
    assert len(set(chosen.values())) == 3
    assert all(ports.usable(port) for port in chosen.values())


def test_a_remembered_port_is_kept_while_it_is_free() -> None:
    first = ports.assign(("a", "b"), {})
    assert ports.assign(("a", "b"), first) == first
    with socket.create_server(("127.0.0.1", first["a"])):
        second = ports.assign(("a", "b"), first)
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


def test_a_grpc_partner_that_is_taken_spoils_the_port() -> None:
    first = ports.assign(("a",), {})
    with socket.create_server(("127.0.0.1", first["a"] + ports.GRPC_OFFSET)):
        assert ports.assign(("a",), first) != first


def test_two_names_never_share_a_remembered_port() -> None:
    port = ports.assign(("a",), {})["a"]
    assert len(set(ports.assign(("a", "b"), {"a": port, "b": port}).values())) == 2


def test_the_api_port_is_the_given_then_the_last_then_the_default() -> None:
    a, b, c = ports.assign(("a", "b", "c"), {}).values()
    assert ports.choose_api_port(a, b, c, "127.0.0.1") == a
    assert ports.choose_api_port(None, b, c, "127.0.0.1") == b
    assert ports.choose_api_port(None, None, c, "127.0.0.1") == c
    with socket.create_server(("127.0.0.1", b)), socket.create_server(("127.0.0.1", c)):
        assert ports.choose_api_port(None, b, c, "127.0.0.1") not in {b, c}
        with pytest.raises(PortTakenError, match=str(b)):
            ports.choose_api_port(b, None, c, "127.0.0.1")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "x"}'])
def test_a_broken_memory_is_no_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    assert ports.load(tmp_path / "ports.json") == {}
