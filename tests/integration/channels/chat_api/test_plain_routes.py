"""What needs no key: the greeting, the description, its page, and what browsers ask before they call."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from tests.integration.channels.chat_api.conftest import MakeSite, Site


@pytest.mark.parametrize("path", ["/hello", "/hello/", "//hello", "/hello//"])
def test_hello_is_answered_without_a_redirect(site: Site, path: str) -> None:
    answer = site.call_api("GET", path)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.mimetype == "text/plain"
    assert answer.text


def test_a_trailing_slash_does_not_matter(site: Site) -> None:
    person = site.sign_up()
    assert person.get("/users/me/").status_code == 200
    assert person.post("/conversations/", {}).status_code == 201


def test_the_description_names_the_url_and_all_operations(site: Site) -> None:
    answer = site.call_api("GET", "/openapi.json")

    assert answer.mimetype == "application/json"
    assert answer.json["servers"] == [{"url": "http://localhost/chat/helper"}]
    operations = {item["operationId"] for path in answer.json["paths"].values() for item in path.values()}
    assert len(operations) == 21


def test_the_description_names_the_url_that_the_world_uses(make_site: MakeSite) -> None:
    answer = make_site(public_url="https://bots.example.com").call_api("GET", "/openapi.json")
    assert answer.json["servers"] == [{"url": "https://bots.example.com/chat/helper"}]


def test_what_comes_in_and_what_is_refused_is_counted(make_site: MakeSite) -> None:
    site = make_site()
    person = site.sign_up()
    place = person.create_conversation()
    person.send_text(place, "hi")
    person.post("/events", {"conversationId": place, "payload": {}})
    person.get("/messages/none")
    lines = site.client.get("/metrics").text.splitlines()
    counted = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert counted['cometbot_events_received_total{bot="helper",outcome="received"}'] == 2
    assert counted['cometbot_events_received_total{bot="helper",outcome="refused"}'] == 1


def test_the_page_shows_all_operations_and_loads_nothing(site: Site) -> None:
    answer = site.call_api("GET", "/redoc")

    assert answer.mimetype == "text/html"
    assert "createMessage" in answer.text
    assert "CarouselPayload" in answer.text
    assert not re.search(r"<script|src=|<link|url\(", answer.text)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy
    assert not re.search(r"\sstyle=", answer.text)
    [style] = re.findall("<style>(.*?)</style>", answer.text, re.S)
    assert f"style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}';" in policy


@pytest.mark.parametrize("path", ["/users", "/hello", "/nothing", ""])
def test_options_allows_no_origin_by_default(site: Site, path: str) -> None:
    answer = site.call_api("OPTIONS", path, headers={"Origin": "https://evil.example"})

    assert (answer.status_code, answer.data) == (200, b"")
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


def test_pages_of_the_named_origins_may_call(make_site: MakeSite) -> None:
    site = make_site(chat_api_origins=("https://app.example",))
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}

    answer = site.call_api("OPTIONS", "/users", headers=asked)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "x-user-key" in answer.headers["Access-Control-Allow-Headers"]
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert "Origin" in answer.headers["Vary"]
    made = site.call_api("POST", "/users", {}, headers={"Origin": "https://app.example"})
    assert made.headers["Access-Control-Allow-Origin"] == "https://app.example"
    check_error = site.call_api("GET", "/users/me", headers={"Origin": "https://app.example"})
    assert check_error.status_code == 400
    assert check_error.headers["Access-Control-Allow-Origin"] == "https://app.example"
    stranger = site.call_api("POST", "/users", {}, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_all_origins_are_each_named(make_site: MakeSite) -> None:
    answer = make_site(chat_api_origins=("*",)).call_api("GET", "/hello/", headers={"Origin": "https://any.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://any.example"
