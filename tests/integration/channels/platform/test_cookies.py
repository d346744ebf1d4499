"""The cookies of one browser at several servers of one host name: a port does not part cookies."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie

import pytest
from werkzeug.test import TestResponse

from cometbot.settings import Secret
from tests.integration.channels.platform.conftest import ApiClient, Person, Site

SECRET = "a-secret-that-two-servers-share-by-mistake"


class Browser:
    """Sends all cookies of a host name to all of its ports."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def call_api(self, site: Site, port: int, method: str, path: str, body: object = None) -> TestResponse:
        sent = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        options = {} if body is None else {"json": body}
        url = f"http://localhost:{port}"
        answer = site.anonymous.call_api(
            method, path, headers={"Cookie": sent} if sent else {}, base_url=url, **options
        )
        for header in answer.headers.getlist("Set-Cookie"):
            ((name, morsel),) = SimpleCookie(header).items()
            self.cookies[name] = morsel.value
            if morsel["max-age"] == "0":
                del self.cookies[name]
        return answer

    def sign_up(self, site: Site, port: int, nickname: str) -> str:
        """The id of a new user."""
        return str(self.call_api(site, port, "POST", "client-api/user", {"nickname": nickname}).json["id"])

    def user_ids(self, site: Site, port: int) -> list[str]:
        """The users who this browser is, for the page and for the Client API."""
        page = self.call_api(site, port, "GET", "page-api/start").json["user"] or {}
        return [page.get("id", ""), self.call_api(site, port, "GET", "client-api/user").json.get("id", "")]


@pytest.mark.parametrize("shared", [{}, {"platform_jwt_secret_key": Secret(SECRET)}], ids=["own secrets", "one secret"])
def test_servers_on_one_host_keep_their_users_apart(make_site: Callable[..., Site], shared: dict[str, Secret]) -> None:
    first, second, browser = make_site(**shared), make_site(**shared), Browser()
    maria, tom = browser.sign_up(first, 8000, "Maria"), browser.sign_up(second, 8001, "Tom")

    for _ in range(2):
        assert browser.user_ids(first, 8000) == [maria, maria]
        assert browser.user_ids(second, 8001) == [tom, tom]


def test_leaving_one_server_leaves_no_other(make_site: Callable[..., Site]) -> None:
    first, second, browser = make_site(), make_site(), Browser()
    browser.sign_up(first, 8000, "Maria")
    tom = browser.sign_up(second, 8001, "Tom")
    browser.call_api(first, 8000, "POST", "page-api/leave", {})

    assert browser.user_ids(first, 8000) == ["", ""]
    assert browser.user_ids(second, 8001) == [tom, tom]
    assert "token" in browser.cookies


def test_a_client_that_keeps_token_alone_is_known(site: Site) -> None:
    answer = site.anonymous.post("client-api/user", {"nickname": "Maria"})
    token = answer.headers["Set-Cookie"].partition(";")[0]

    assert token.startswith("token=")
    assert site.anonymous.get("client-api/user", headers={"Cookie": token}).json == answer.json
    user = site.anonymous.get("page-api/start", headers={"Cookie": token}).json["user"]
    assert {**user, "name": "Maria"} == {**answer.json, "name": "Maria"}


def test_token_counts_more_for_clients_and_less_for_the_page(site: Site, maria: Person) -> None:
    other = site.sign_up("Tom")
    names = [header.partition("=")[0] for header in maria.response.headers.getlist("Set-Cookie")]
    own = maria.client.get_cookie(names[1])
    token = other.client.get_cookie("token")
    assert names[0] == "token"
    assert own is not None
    assert token is not None
    both = {"Cookie": f"token={token.value}; {names[1]}={own.value}"}

    assert site.anonymous.get("client-api/user", headers=both).json["id"] == other.id
    assert site.anonymous.get("page-api/start", headers=both).json["user"]["id"] == maria.id


def test_leaving_forgets_both_cookies(maria: ApiClient) -> None:
    maria.post("page-api/leave")

    assert maria.get("page-api/start").json["user"] is None
    assert maria.get("client-api/user").status_code == 401
