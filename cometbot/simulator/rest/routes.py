"""The request and response of a REST view, and the tables of routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cometbot.simulator.records import APP_SYSTEM
from cometbot.simulator.schemas import InputSchema, PageQuery, load
from cometbot.simulator.world import World

View = Callable[..., Any]
"""Returns ``data``, a whole envelope, or a :class:`PlainBody`."""


class Envelope(dict[str, Any]):
    """The body of a response that has more than ``data``."""


@dataclass(frozen=True, slots=True)
class PlainBody:
    """A response without an envelope: its body, an object or a list, and its status."""

    value: Any
    status: int = 200


_PAGE = PageQuery()


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One authenticated request. ``acting_uid`` is the user in ``onBehalfOf``, or the service account."""

    world: World
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    acting_uid: str = APP_SYSTEM

    def load_body(self, schema: InputSchema, *, partial: bool = False) -> dict[str, Any]:
        """Return the body, validated by ``schema``."""
        return load(schema, self.body, partial=partial)

    def load_query(self, schema: InputSchema) -> dict[str, Any]:
        """Return the query, validated by ``schema``."""
        return load(schema, schema.split_lists(self.query))

    def load_page_query(self) -> dict[str, Any]:
        """Return the query of a list that is paged by number."""
        return self.load_query(_PAGE)

    def get_flag(self, name: str) -> bool:
        """Return True if a flag is set in the query or the body."""
        text = self.query[name][-1] if name in self.query else self.body.get(name, False)
        return str(text).lower() in ("1", "true")


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API.

    ``group`` is the rate limit that it counts towards. ``acting`` is how ``onBehalfOf`` is used: ``no``, ``may`` or
    ``must``. ``auth_only`` is True if a key with that scope suffices.
    """

    method: str
    rule: str
    view: View
    group: str = "standard"
    acting: str = "may"
    auth_only: bool = False


class RouteTable(list[Route]):
    """The routes of one module, registered by decorating its views."""

    def add(
        self, method: str, rule: str, *, group: str = "standard", acting: str = "may", auth_only: bool = False
    ) -> Callable[[View], View]:
        """Return a decorator that registers a view under this method and path."""

        def register(view: View) -> View:
            self.append(Route(method, rule, view, group, acting, auth_only))
            return view

        return register


def confirmation(text: str) -> dict[str, Any]:
    """Return the data of a success that has only a message."""
    return {"success": True, "message": text}


def paginate(items: Sequence[Any], query: Mapping[str, Any], to_json: Callable[[Any], Any]) -> Envelope:
    """Return one page of ``items`` with its pagination."""
    size, number = query["perPage"], query["page"]
    shown = items[(number - 1) * size : number * size]
    pagination = {
        "total": len(items),
        "count": len(shown),
        "per_page": size,
        "current_page": number,
        "total_pages": -(-len(items) // size),
    }
    return Envelope(data=[to_json(item) for item in shown], meta={"pagination": pagination})
