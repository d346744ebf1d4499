from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from cometbot.settings import TrustedProxy
from cometbot.web.proxies import TrustedProxies

NETWORKS = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")]


@Request.application
def show(request: Request) -> Response:
    return Response(f"{request.remote_addr} {request.scheme} {request.host}")


def ask(caller: str, headers: Iterable[tuple[str, str]], proxies: Sequence[TrustedProxy] = NETWORKS) -> str:
    client = Client(TrustedProxies(show, proxies))
    return client.get("/", headers=list(headers), environ_base={"REMOTE_ADDR": caller}).text


FORWARDED = [("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https")]


@pytest.mark.parametrize("proxy", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"])
def test_headers_of_a_named_proxy_are_believed(proxy: str) -> None:
    assert ask(proxy, FORWARDED) == "198.51.100.7 https localhost"


@pytest.mark.parametrize("caller", ["192.0.2.1", "11.0.0.1", "::1", "::ffff:192.0.2.1", "no address"])
def test_headers_of_anybody_else_are_not_believed(caller: str) -> None:
    assert ask(caller, FORWARDED) == f"{caller} http localhost"


def test_a_unix_socket_is_trusted_only_where_it_is_named() -> None:
    assert ask("", FORWARDED) == " http localhost"
    assert ask("", FORWARDED, ["unix"]) == "198.51.100.7 https localhost"
    assert ask("10.0.0.1", FORWARDED, ["unix"]) == "10.0.0.1 http localhost"


def test_what_a_caller_wrote_before_the_proxy_is_not_believed() -> None:
    assert ask("10.0.0.1", [("X-Forwarded-For", "127.0.0.1, 198.51.100.7")]).startswith("198.51.100.7 ")


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("192.0.2.1, 198.51.100.7, 2001:db8::5, 10.9.9.9", "198.51.100.7"),
        ("198.51.100.7:40000, 10.9.9.9:50000, [2001:db8::5]:60000", "198.51.100.7:40000"),
        ("198.51.100.7,::ffff:10.9.9.9", "198.51.100.7"),
        ("unknown, 10.9.9.9", "unknown"),
        ("10.1.1.1, 10.9.9.9", "10.1.1.1"),
    ],
)
def test_the_last_address_that_is_no_named_proxy_counts(forwarded: str, client: str) -> None:
    assert ask("10.0.0.1", [("X-Forwarded-For", forwarded)]).startswith(f"{client} ")


def test_proxies_behind_a_trusted_unix_socket_are_skipped_too() -> None:
    headers = [("X-Forwarded-For", "192.0.2.1, 198.51.100.7, 10.9.9.9")]
    assert ask("", headers, ["unix", *NETWORKS]).startswith("198.51.100.7 ")
    assert ask("", headers, ["unix"]).startswith("10.9.9.9 ")


def test_an_empty_entry_is_no_named_proxy() -> None:
    assert ask("", [("X-Forwarded-For", "192.0.2.1, ")], ["unix"]) == " http localhost"


def test_hosts_ports_and_prefixes_are_not_taken_from_headers() -> None:
    headers = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Port", "81"), ("X-Forwarded-Prefix", "/evil")]
    assert ask("10.0.0.1", headers) == "10.0.0.1 http localhost"
