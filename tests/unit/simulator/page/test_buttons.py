"""What the buttons of cards and forms request."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.simulator import Refusal, Simulator, StoredMessage
from cometbot.simulator.page.buttons import Press, press


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


def test_an_api_action_puts_what_was_filled_in_under_its_data_key(simulator: Simulator) -> None:
    action = {
        "actionType": "apiAction", "url": "https://shop.example/a", "method": "put", "headers": {"X-Token": "t"},
        "payload": {"id": 1}, "dataKey": "form",
    }  # fmt: skip
    expected = Press("PUT", "https://shop.example/a", {"X-Token": "t"}, {"id": 1, "form": {"name": "Maria"}})
    assert press(interactive(simulator, action), "go", {"name": "Maria"}) == expected


def test_an_api_action_without_a_data_key_mixes_payload_and_values(simulator: Simulator) -> None:
    action = {"actionType": "apiAction", "url": "https://shop.example/a", "payload": {"id": 1}}
    assert press(interactive(simulator, action), "go", {"name": "Maria"}).body == {"id": 1, "name": "Maria"}


def test_an_api_call_of_a_card_sends_its_body_and_is_a_post_by_default(simulator: Simulator) -> None:
    action = {"type": "apiCall", "url": "https://shop.example/b", "body": {"n": 2}}
    assert press(card(simulator, action), "go", {}) == Press("POST", "https://shop.example/b", {}, {"n": 2})


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", ""])
def test_an_element_that_does_not_lead_to_the_web_is_refused(simulator: Simulator, url: str) -> None:
    message = interactive(simulator, {"actionType": "apiAction", "url": url})
    with pytest.raises(Refusal, match="http or https"):
        press(message, "go", {})


def test_an_element_that_is_not_in_the_message_is_refused(simulator: Simulator) -> None:
    message = interactive(simulator, {"actionType": "apiAction", "url": "https://shop.example/"})
    with pytest.raises(Refusal, match="no element stop"):
        press(message, "stop", {})
