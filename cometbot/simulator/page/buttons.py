"""Buttons of cards and forms that call a URL: find them in the stored message and build their request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.records import StoredMessage


@dataclass(frozen=True, slots=True)
class ButtonRequest:
    """The HTTP request of a button: docs/protocols/cometchat.md, "Interactive messages" and "Card messages"."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Any


def button_request(message: StoredMessage, element_id: str, values: Mapping[str, Any]) -> ButtonRequest:
    """Return the request that an element of ``message`` sends when pressed. ``values`` are the form's values.

    Raises :class:`Refusal` if there is no such element, or if it does not call a URL.
    """
    element = next((item for item in _iter_elements(message.data) if _id(item) == element_id), None)
    if element is None:
        raise Refusal("ERR_BAD_REQUEST", f"The message {message.id} has no element {element_id}.")
    action = element.get("action")
    action = action if isinstance(action, Mapping) else {}
    url = str(action.get("url", ""))
    if not url.startswith(("http://", "https://")):
        raise bad_request("element", "This element does not call an http or https address.")
    headers = action.get("headers")
    named = {str(name): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}
    method = str(action.get("method") or "POST").upper()
    return ButtonRequest(method, url, named, _body(action, values))


def _body(action: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    if action.get("type") == "apiCall":
        return action.get("body")
    payload = action.get("payload")
    known = dict(payload) if isinstance(payload, Mapping) else {}
    key = str(action.get("dataKey") or "")
    return {**known, key: dict(values)} if key else {**known, **values}


def _iter_elements(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object that has an action, at any depth."""
    if isinstance(value, Mapping):
        if "action" in value:
            yield value
        for item in value.values():
            yield from _iter_elements(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _iter_elements(item)


def _id(element: Mapping[str, Any]) -> str:
    return str(element.get("elementId") or element.get("id") or "")
