"""What the buttons of cards and forms request."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.simulator import Refusal, Simulator, StoredMessage
from cometbot.simulator.page.buttons import ButtonRequest, button_request


def sent(simulator: Simulator, category: str, type_: str, data: dict[str, Any]) -> StoredMessage:
    body = {"receiver": "maria", "receiverType": "user", "category": category, "type": type_, "data": data}
    return simulator.user("helpdesk").write(body)


def interactive(simulator: Simulator, action: dict[str, Any]) -> StoredMessage:
    button = {"elementType": "button", "elementId": "go", "action": action}
    return sent(simulator, "interactive", "form", {"interactiveData": {"submitElement": button}})


def card(simulator: Simulator, action: dict[str, Any]) -> StoredMessage:
    row = {"id": "row", "type": "row", "items": [{"id": "go", "type": "button", "label": "Go", "action": action}]}
    shown = {"version": "1.0", "fallbackText": "x", "style": {"background": {}}, "body": [row]}
    return sent(simulator, "card", "text", {"text": "x", "card": shown})


def test_api_action_puts_values_under_its_data_key(simulator: Simulator) -> None:
    action = {
        "actionType": "apiAction", "url": "https://shop.example/a", "method": "put", "headers": {"X-Token": "t"},
        "payload": {"id": 1}, "dataKey": "form",
    }  # fmt: skip
    expected = ButtonRequest("PUT", "https://shop.example/a", {"X-Token": "t"}, {"id": 1, "form": {"name": "Maria"}})
    assert button_request(interactive(simulator, action), "go", {"name": "Maria"}) == expected


def test_api_action_without_data_key_merges_values(simulator: Simulator) -> None:
    action = {"actionType": "apiAction", "url": "https://shop.example/a", "payload": {"id": 1}}
    assert button_request(interactive(simulator, action), "go", {"name": "Maria"}).body == {"id": 1, "name": "Maria"}


def test_api_call_of_card_posts_its_body(simulator: Simulator) -> None:
    action = {"type": "apiCall", "url": "https://shop.example/b", "body": {"n": 2}}
    assert button_request(card(simulator, action), "go", {}) == ButtonRequest(
        "POST", "https://shop.example/b", {}, {"n": 2}
    )


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", ""])
def test_an_element_that_does_not_lead_to_the_web_is_refused(simulator: Simulator, url: str) -> None:
    message = interactive(simulator, {"actionType": "apiAction", "url": url})
    with pytest.raises(Refusal, match="http or https"):
        button_request(message, "go", {})


def test_an_element_that_is_not_in_the_message_is_refused(simulator: Simulator) -> None:
    message = interactive(simulator, {"actionType": "apiAction", "url": "https://shop.example/"})
    with pytest.raises(Refusal, match="no element stop"):
        button_request(message, "stop", {})
