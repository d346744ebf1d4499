"""Which operation a request is for, by the path as it was sent."""

from __future__ import annotations

import pytest

from cometbot.channels.chat_api.routes import ROUTES
from cometbot.channels.chat_api.routing import match_route, raw_path
from cometbot.http.errors import HttpError


def test_there_are_21_operations_and_each_is_found_at_its_path() -> None:
    assert len({route.name for route in ROUTES}) == 21
    for route in ROUTES:
        path = route.path.replace("{", "").replace("}", "")
        assert match_route(path, route.method)[0] is route


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/conversations/a%2Fb", {"id": "a/b"}),
        ("/conversations/a%2Fb/listen", {"id": "a/b"}),
        ("/conversations/a/b/listen", {"id": "a/b"}),
        ("/conversations/participants/listen", {"id": "participants"}),
        ("/conversations/x%2Fmessages/messages", {"conversationId": "x/messages"}),
        ("/conversations/a%5Cb/participants/c%2Fd", {"conversationId": "a\\b", "userId": "c/d"}),
        ("/conversations/x/participants/listen", {"conversationId": "x", "userId": "listen"}),
        ("/messages/%00", {"id": "\0"}),
        ("/messages/%0A", {"id": "\n"}),
    ],
)
def test_ids_are_decoded_after_the_path_was_taken_apart(path: str, ids: dict[str, str]) -> None:
    assert match_route(path, "GET")[1] == ids


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/users"),
        ("PATCH", "/users/me"),
        ("POST", "/users/me"),
        ("HEAD", "/conversations/x/listen"),
    ],
)
def test_what_there_is_not_is_a_404(method: str, path: str) -> None:
    with pytest.raises(HttpError) as caught:
        match_route(path, method)
    assert (caught.value.status, caught.value.code) == (404, "ResourceNotFound")


def test_head_is_answered_where_get_is() -> None:
    assert match_route("/users/me", "HEAD")[0].name == "getUser"


@pytest.mark.parametrize(
    ("environ", "mount", "rest", "path"),
    [
        (
            {"RAW_URI": "/chat/x/conversations/a%2Fb?nextToken=%2F"},
            "/chat/x",
            "conversations/a/b",
            "/conversations/a%2Fb",
        ),
        ({"REQUEST_URI": "/chat/x/users/me/"}, "/chat/x", "users/me/", "/users/me"),
        ({"RAW_URI": "//chat//x//users//me"}, "/chat/x", "/users//me", "/users/me"),
        ({"RAW_URI": "http://host/chat/x/users/a%2Fb"}, "/chat/x", "users/a/b", "/users/a%2Fb"),
        ({"RAW_URI": "/bots/chat/x/users/a%2Fb"}, "/bots/chat/x", "users/a/b", "/users/a%2Fb"),
        ({}, "/chat/x", "users/a b", "/users/a%20b"),
        ({"RAW_URI": "/something/else"}, "/chat/x", "users/me", "/users/me"),
        ({"RAW_URI": ""}, "/chat/x", "", "/"),
    ],
)
def test_raw_path_is_used_where_the_server_provides_it(
    environ: dict[str, str], mount: str, rest: str, path: str
) -> None:
    assert raw_path(environ, mount, rest) == path
