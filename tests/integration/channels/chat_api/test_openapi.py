"""The Chat API answers as its own description says, whatever is asked: schemathesis makes up the requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cometbot.channels.chat_api.routes import ROUTES
from tests.integration.channels.chat_api.conftest import Site

# schemathesis chooses with Python's own random numbers, which hypothesis would rather not have.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
NAMES = [route.name for route in ROUTES]
SETTINGS = hypothesis.settings(
    max_examples=15, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)


@pytest.fixture(scope="module")
def operations(site: Site) -> dict[str, Any]:
    """The described operations by name."""
    schema = schemathesis.openapi.from_wsgi("/chat/helper/openapi.json", site.app)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


@pytest.fixture(scope="module")
def ids(site: Site) -> dict[str, str]:
    """Things that exist, by the names that paths and bodies have for them, and a key that may do everything to them."""
    person, other = site.sign_up(name="Ann"), site.sign_up()
    here = person.create_conversation()
    person.post(f"/conversations/{here}/participants", {"userId": other.id})
    message = person.send_text(here, "hi")
    event = person.post("/events", {"conversationId": here, "payload": {}}).json["event"]
    return {
        "key": person.key,
        "userId": other.id,
        "conversationId": here,
        "conversation": here,
        "message": message["id"],
        "event": event["id"],
    }


def fuzz(operation: Any, key: str, change: Callable[[Any], None] = lambda case: None) -> int:
    """How many requests were made up and answered as described; fails on the first that was not."""
    answered: list[int] = []

    @SETTINGS
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        change(case)
        case.headers = {**(case.headers or {}), "x-user-key": key}
        answered.append(case.call_and_validate(checks=CHECKS).status_code)

    ask()
    return len(answered)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_up_is_answered_as_described(name: str, operations: dict[str, Any], ids: dict[str, str]) -> None:
    assert fuzz(operations[name], ids["key"])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "listenConversation"])
def test_requests_for_existing_objects_conform_to_openapi(
    name: str, operations: dict[str, Any], ids: dict[str, str]
) -> None:
    def aim(case: Any) -> None:
        kind = case.path.split("/")[1].removesuffix("s")
        for part in case.path_parameters or {}:
            case.path_parameters[part] = ids[kind if part == "id" else part]
        if isinstance(case.body, dict):
            for part in set(case.body) & {"conversationId", "userId"}:
                case.body[part] = ids[part]

    assert fuzz(operations[name], ids["key"], aim)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_with_a_wrong_key_is_answered_as_described(name: str, operations: dict[str, Any]) -> None:
    assert fuzz(operations[name], "nonsense")
