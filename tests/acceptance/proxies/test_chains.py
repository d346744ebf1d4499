"""Two proxies in a chain before a server: which address counts, with every proxy outside and inside."""

from __future__ import annotations

import itertools
from http.client import HTTPConnection

import pytest

from tests.acceptance.conftest import WAIT_TIMEOUT, Server, StartServer

from .conftest import HOST, NAMES, InnerProxy, Proxy, StartProxy

pytestmark = pytest.mark.process

BOTS = NAMES[0]
USERS = "/chat/trial/users"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    """A server that lets each address create one user."""
    return start_server(
        COMETBOT_CHANNELS="chat_api",
        COMETBOT_PROCESSES="1",
        COMETBOT_TRUSTED_PROXIES=HOST,
        CHAT_API_SIGNUPS="1",
    )


@pytest.fixture(scope="module", params=["nginx", "caddy", "haproxy"])
def inner(request: pytest.FixtureRequest, server: Server, start_proxy: StartProxy) -> Proxy:
    return start_proxy(request.param, server.address, InnerProxy)


@pytest.fixture(scope="module", params=["nginx", "caddy", "haproxy"])
def outer(request: pytest.FixtureRequest, inner: Proxy, start_proxy: StartProxy) -> Proxy:
    return start_proxy(request.param, inner.address)


def new_client() -> str:
    """Return an address of this machine that nobody has used yet."""
    number = next(_numbers)
    return f"127.1.{number // 250}.{number % 250 + 1}"


def status(connection: HTTPConnection, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Return status and body of a response, and close the connection."""
    try:
        sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        connection.request(method, path, b"{}" if method == "POST" else None, sent)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def sign_up(proxy: Proxy, client: str, claimed: str) -> int:
    """Return the status of a sign-up by ``client``, which claims to forward for another address."""
    return status(proxy.connect(BOTS, source=client), "POST", USERS, X_Forwarded_For=claimed)[0]


def test_the_clients_address_counts_behind_two_proxies(outer: Proxy) -> None:
    first, second = new_client(), new_client()
    assert sign_up(outer, first, "192.0.2.1") in (200, 201)
    assert sign_up(outer, first, "192.0.2.2") == 429
    assert sign_up(outer, second, "192.0.2.1") in (200, 201)


def test_scheme_and_host_arrive_through_two_proxies(outer: Proxy) -> None:
    found, body = status(outer.connect(BOTS, source=new_client()), "GET", "/chat/trial/openapi.json")
    assert (found, f'"https://{BOTS}/chat/'.encode() in body) == (200, True), body


def test_a_client_at_the_inner_proxy_cannot_claim_an_address(inner: Proxy) -> None:
    client = new_client()

    def ask(claimed: str) -> int:
        connection = HTTPConnection(*inner.address, timeout=WAIT_TIMEOUT, source_address=(client, 0))
        return status(connection, "POST", USERS, X_Forwarded_For=claimed)[0]

    assert ask("192.0.2.3") in (200, 201)
    assert ask("192.0.2.4") == 429
