"""The description of the API, as far as no request shows it."""

from __future__ import annotations

from cometbot.channels.chat_api import openapi
from cometbot.channels.chat_api.routes import ROUTES

DOCUMENT = openapi.build_document("https://host/chat/helper")
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_every_operation_has_request_and_response_schemas() -> None:
    for route in ROUTES:
        described = DOCUMENT["paths"][route.path][route.method.lower()]
        assert described["operationId"] == route.name
        assert ("requestBody" in described) is (route.body is not None)
        assert ("security" in described) is route.requires_key
        assert {str(route.status), "400", "401", "413", "415", "429", "503"} <= set(described["responses"])


def test_full_database_is_described_where_users_store_something() -> None:
    described = {
        operation["operationId"]: operation["responses"]
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
    }
    assert "COMETBOT" not in described["createMessage"]["507"]["description"]
    assert {name for name, responses in described.items() if "507" in responses} == {
        *("createUser", "updateUser", "getOrCreateUser", "createConversation", "getOrCreateConversation"),
        *("addParticipant", "createMessage", "createEvent"),
    }


def test_all_twelve_payloads_are_told_apart_by_their_type() -> None:
    payload = SCHEMAS["Payload"]
    assert len(payload["oneOf"]) == len(payload["discriminator"]["mapping"]) == 12
    for kind, reference in payload["discriminator"]["mapping"].items():
        assert SCHEMAS[reference.rpartition("/")[2]]["properties"]["type"]["enum"] == [kind]
    assert SCHEMAS["CarouselPayload"]["properties"]["items"]["items"] == {"$ref": "#/components/schemas/CardPayload"}
    assert SCHEMAS["BlocPayload"]["properties"]["items"]["items"] == {"$ref": "#/components/schemas/BlocItem"}
    assert len(SCHEMAS["BlocItem"]["oneOf"]) == 7


def test_every_reference_leads_somewhere() -> None:
    text = str(DOCUMENT)
    named = {part.partition("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(SCHEMAS)
    assert len(named) > 25


def test_the_description_is_made_once_and_not_changed_by_its_url() -> None:
    other = openapi.build_document("https://other")
    assert other["servers"] == [{"url": "https://other"}]
    assert other["paths"] == DOCUMENT["paths"]
    assert DOCUMENT["servers"] == [{"url": "https://host/chat/helper"}]
