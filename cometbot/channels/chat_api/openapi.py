"""The OpenAPI document of the Chat API, generated from its routes and schemas."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from cometbot.channels.chat_api import schemas
from cometbot.channels.chat_api.operations import Operations
from cometbot.channels.chat_api.routes import COMMON_ERROR_STATUSES, ROUTES, Route

_KEY_SCHEME = "userKey"
_API_DESCRIPTION = (
    "Chat with a bot over HTTP. The user key names the caller. In automatic mode, createUser returns the key; in "
    "manual mode, your backend signs it with the encryption key (JWT, HS256; the claim id is the user's id)."
)
_STREAM_SUMMARY = "Stream what happens in a conversation from now on, as server-sent events."
_STATUS_DESCRIPTIONS: Mapping[int, str] = {
    200: "Done.",
    201: "Done.",
    400: "The request is invalid.",
    401: "The user key is missing, expired, or invalid.",
    403: "The user may not do this, or owns as many conversations as allowed.",
    404: "Not found.",
    409: "The id is taken.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many requests or streams. Retry-After says when to try again.",
    503: "The server did not confirm in time. Retry-After says when to try again.",
    507: "There is no room for users' data. Delete something, or try again later.",
}

JsonObject = dict[str, Any]


def build_document(url: str) -> JsonObject:
    """Return the OpenAPI document of the Chat API at ``url``."""
    return {**_build_document(), "servers": [{"url": url}]}


@functools.cache
def _build_document() -> JsonObject:
    plugin = MarshmallowPlugin(schema_name_resolver=_schema_name)
    spec = APISpec("Chat API", "1.0.0", "3.0.3", plugins=[plugin], info={"description": _API_DESCRIPTION})
    assert plugin.converter is not None
    plugin.converter.add_attribute_function(_describe_payload)  # type: ignore[no-untyped-call]
    plugin.map_to_openapi_type(schemas.StrictNumber, "number", None)  # type: ignore[no-untyped-call]
    plugin.map_to_openapi_type(schemas.StrictBoolean, "boolean", None)  # type: ignore[no-untyped-call]
    spec.components.security_scheme(_KEY_SCHEME, {"type": "apiKey", "in": "header", "name": "x-user-key"})
    _add_payloads(spec)
    spec.components.schema("Error", schema=schemas.ErrorSchema)
    for route in ROUTES:
        spec.path(path=route.path, operations={route.method.lower(): _operation(route)})
    described: JsonObject = spec.to_dict()
    return described


def _schema_name(schema: Any) -> str:
    """Return the name of a schema in the document, such as ``TextPayload`` or ``User``."""
    cls = schema if isinstance(schema, type) else type(schema)
    return re.sub(r"Schema$", "", str(cls.__name__))


def _add_payloads(spec: APISpec) -> None:
    """Add a schema for each type of payload, and the unions that a message and a bloc may hold."""
    for schema in schemas.PAYLOADS.values():
        spec.components.schema(_schema_name(schema), schema=schema)
    spec.components.schema("Payload", _one_of(schemas.PAYLOADS))
    spec.components.schema("BlocItem", _one_of(schemas.BLOC_PAYLOADS))


def _one_of(kinds: Mapping[str, Any]) -> JsonObject:
    references = {kind: f"#/components/schemas/{_schema_name(schema)}" for kind, schema in kinds.items()}
    return {
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": "type", "mapping": references},
    }


def _describe_payload(converter: Any, field: Any, **kwargs: Any) -> JsonObject:
    """Return a reference to the schema of the payloads that a field may hold; nothing for other fields."""
    if not isinstance(field, schemas.PayloadField):
        return {}
    if field.kinds is schemas.PAYLOADS:
        return {"$ref": "#/components/schemas/Payload"}
    name = "BlocItem" if field.kinds is schemas.BLOC_PAYLOADS else "CardPayload"
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(route: Route) -> JsonObject:
    described: JsonObject = {
        "operationId": route.name,
        "summary": _STREAM_SUMMARY if route.is_stream else _first_line(getattr(Operations, route.function_name)),
        "parameters": [_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)],
        "responses": {str(route.status): _success_response(route)},
    }
    if route.requires_key:
        described["security"] = [{_KEY_SCHEME: []}]
    if route.is_paged:
        schema = {"type": "string"}
        described["parameters"].append({"in": "query", "name": "nextToken", "schema": schema, "required": False})
    if route.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": type(route.body)}}}
    for status in sorted({*COMMON_ERROR_STATUSES, *route.errors}):
        described["responses"][str(status)] = _response(status, "Error")
    return described


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").partition("\n")[0]


def _path_parameter(name: str) -> JsonObject:
    return {"in": "path", "name": name, "required": True, "schema": {"type": "string", "minLength": 1}}


def _success_response(route: Route) -> JsonObject:
    response = _response(route.status, type(route.response))
    if route.is_stream:
        response["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    return response


def _response(status: int, schema: Any) -> JsonObject:
    return {"description": _STATUS_DESCRIPTIONS[status], "content": {"application/json": {"schema": schema}}}
