"""How things look in the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from cometbot.author_error import ErrorReport
from cometbot.cli.dev.rendering import (
    ActiveChat,
    render_callback,
    render_change,
    render_details,
    render_fault,
    render_log,
    render_message,
    render_request,
)
from cometbot.cli.dev.reports import Logged
from cometbot.simulator import CallbackEntry, RequestEntry

PLACE = ActiveChat("maria", "shop")


def shown(thing: RenderableType | None, width: int = 100) -> str:
    """What a terminal of this width shows, spaces at the ends of lines aside."""
    assert thing is not None
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def message(text: str = "", **changes: Any) -> dict[str, Any]:
    record = {
        "id": "7",
        "sender": "shop",
        "receiver": "maria",
        "receiverType": "user",
        "category": "message",
        "type": "text",
        "data": {"text": text},
    }
    return {**record, **changes}


def request(**changes: Any) -> RequestEntry:
    values: dict[str, Any] = {
        "id": 1,
        "at": 0.0,
        "method": "POST",
        "path": "/v3/bots/shop/messages",
        "headers": {"apikey": "***"},
        "body": {"data": {"text": "Hello!"}},
        "status": 200,
        "seconds": 0.004,
    }
    return RequestEntry(**{**values, **changes})


def callback(**changes: Any) -> CallbackEntry:
    values: dict[str, Any] = {
        "id": 1,
        "at": 0.0,
        "target": "shop",
        "url": "http://127.0.0.1:9/cometchat/shop",
        "trigger": "after_message",
        "message_id": "3",
        "headers": {"authorization": "***"},
        "body": {"data": {"data": {"text": "hi"}}},
        "status": 200,
        "answer": '{"data": {"success": true}}',
        "seconds": 0.012,
    }
    return CallbackEntry(**{**values, **changes})


def test_a_message_shows_who_said_what_and_its_id() -> None:
    assert shown(render_message(message("Hello, **Maria**!"), PLACE)) == "shop #7        Hello, Maria!"


def test_a_message_elsewhere_says_where_it_is() -> None:
    group = message("Hi all", receiver="ops-room", receiverType="group")
    assert shown(render_message(group, PLACE)) == "shop #7        in ops-room\n               Hi all"
    assert "in ops-room" not in shown(render_message(group, ActiveChat("maria", "ops-room", is_group=True)))
    assert "to tom" in shown(render_message(message("Hi Tom", receiver="tom"), PLACE))


def test_an_agent_is_shown_by_its_name() -> None:
    agent = {"entity": {"uid": "f728b4fa", "name": "Sh\x1bop", "role": "@agentic"}}
    data = {"text": "Hi", "entities": {"sender": agent, "receiver": {"entity": {"uid": "maria"}}}}
    text = shown(render_message(message("Hi", sender="f728b4fa", receiver="maria", data=data), PLACE))
    assert text.split("\n")[0].startswith("Sh")
    assert "op (agent) #7" in text
    assert "to maria" in text
    assert "\x1b" not in text


def test_a_message_in_a_thread_says_in_which() -> None:
    assert "in thread #3" in shown(render_message(message("Hi", parentId="3"), PLACE))


def test_lines_of_a_message_stay_lines_and_angle_brackets_stay() -> None:
    text = shown(render_message(message("Usage:\n/track <number>\n`a < b`"), PLACE)).split()
    assert text == ["shop", "#7", "Usage:", "/track", "<number>", "a", "<", "b"]
    assert len(shown(render_message(message("one\ntwo"), PLACE)).splitlines()) == 2


def test_what_follows_a_list_is_no_part_of_it() -> None:
    lines = shown(render_message(message("Which?\n1. Red\n2. Blue\nAnswer 2 for Blue."), PLACE)).splitlines()
    assert lines[-1].strip() == "Answer 2 for Blue."
    assert lines[-1].index("Answer") == lines[0].index("Which?")


def test_mentions_are_names() -> None:
    assert "Hi @tom" in shown(render_message(message("Hi <@uid:tom>"), PLACE))


def test_escape_sequences_of_others_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in shown(render_message(message("\x1b[2Jgone"), PLACE))
    assert "\x1b" not in shown(render_log(Logged(30, "x", "\x1b[2J")))
    assert "\x1b" not in shown(render_request(request(body={"data": {"text": "\x1b[2J"}})))


def test_a_file_is_shown_as_kind_name_and_whole_url() -> None:
    url = "https://example.com/" + "x" * 120
    data = {"text": "look", "attachments": [{"name": "a.png", "url": url}]}
    text = shown(render_message(message(type="image", data=data), PLACE))
    assert "look" in text
    assert "[image] a.png" in text
    assert url in "".join(line.strip() for line in text.splitlines())


def test_custom_data_is_shown_as_json() -> None:
    record = message(category="custom", type="order", data={"customData": {"number": 4711}})
    assert 'order {"number": 4711}' in shown(render_message(record, PLACE))


def test_buttons_of_cards_are_shown_by_their_labels() -> None:
    body = [
        {"type": "button", "label": "Buy", "action": {"type": "sendMessage", "text": "Buy"}},
        {"type": "button", "label": "Open", "action": {"type": "openUrl", "url": "https://example.com"}},
    ]
    card = message(category="card", data={"text": "Shoes", "card": {"body": body}})
    text = shown(render_message(card, PLACE))
    assert "[ Buy ]" in text
    assert "[ Open ]  https://example.com" in text
    actions = [{"buttonText": "Go", "action": {"url": "https://example.org"}}]
    data = {"interactiveData": {"text": "Which way?", "cardActions": actions}}
    text = shown(render_message(message(category="interactive", type="card", data=data), PLACE))
    assert "Which way?" in text
    assert "[ Go ]  https://example.org" in text


@pytest.mark.parametrize(
    ("trigger", "data", "expected"),
    [
        ("message_edited", {"message": message("Better")}, "shop #7        edited\n               Better"),
        ("message_deleted", {"message": message("x", deletedBy="tom")}, "tom deleted #7"),
        (
            "message_reaction_added",
            {"reaction": {"uid": "shop", "reaction": "👍", "messageId": "3"}},
            "shop added 👍 to #3",
        ),
        (
            "message_reaction_removed",
            {"reaction": {"uid": "shop", "reaction": "👍", "messageId": "3"}},
            "shop removed 👍 from #3",
        ),
        ("group_member_joined", {"group": {"guid": "ops"}, "members": {"ann": {}}}, "ann joined ops"),
        ("group_member_kicked", {"group": {"guid": "ops"}, "members": {"ann": {}}}, "ann was kicked: ops"),
    ],
)
def test_a_change_is_shown_in_a_few_words(trigger: str, data: dict[str, Any], expected: str) -> None:
    assert shown(render_change(trigger, data)) == expected


def test_a_change_that_needs_no_words_is_not_shown() -> None:
    assert render_change("user_mentioned", {"message": message("x")}) is None


def test_a_callback_is_a_line_with_its_outcome() -> None:
    line = shown(render_callback(callback()))
    assert line.split() == ["callback", "200", "12", "ms", "POST", "/cometchat/shop", "#3", '"hi"']


def test_failed_callback_shows_cause_and_attempts() -> None:
    failed = callback(status=0, error="ConnectionError: refused", attempt=2, copy=1)
    line = shown(render_callback(failed), width=160)
    assert "---" in line
    assert "(ConnectionError: refused)  (attempt 2)  (simulated duplicate)" in line


def test_a_request_is_a_line_with_its_outcome() -> None:
    line = shown(render_request(request()))
    assert line.split() == ["REST", "200", "4", "ms", "POST", "/v3/bots/shop/messages", '"Hello!"']


def test_request_line_shows_query_and_misbehaviour() -> None:
    entry = request(method="GET", body=None, query={"limit": "5", "id": "3"}, status=429, misbehaviour=("rate_limit",))
    line = shown(render_request(entry))
    assert "/v3/bots/shop/messages?limit=5&id=3" in line
    assert "(simulated rate limit)" in line


def test_details_show_headers_and_bodies_as_indented_json() -> None:
    text = shown(render_details(callback()))
    assert "authorization: ***" in text
    assert '"text": "hi"' in text
    assert '"success": true' in text
    assert "not JSON" in shown(render_details(callback(answer="not JSON")))


def test_error_is_shown_short_or_with_traceback() -> None:
    fault = ErrorReport("ValueError: no", "shop.py, line 3", "raise ValueError", "Traceback: all of it")
    assert shown(render_fault(fault)) == "  shop.py, line 3: ValueError: no\n    raise ValueError"
    assert shown(render_fault(fault, full_traceback=True)) == "  Traceback: all of it"
    assert shown(render_fault(ErrorReport("it broke"))) == "  it broke"


def test_a_log_record_shows_its_weight_and_its_fault() -> None:
    assert shown(render_log(Logged(20, "shop", "counting"))) == "· counting"
    text = shown(render_log(Logged(40, "shop", "failed", ErrorReport("ValueError: no"))))
    assert text == "! failed\n  ValueError: no"
