"""The control API under ``/simulator``, with which another process drives and observes the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from cometbot.http.json_response import json_response
from cometbot.http.origins import is_same_origin
from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.journal import Entry, Log
from cometbot.simulator.schemas import (
    ActSchema,
    BehaviourSchema,
    InputSchema,
    LogQuery,
    MessagesQuery,
    ModerationRuleChangeSchema,
    NewBotSchema,
    NewGroupSchema,
    NewModerationRuleSchema,
    NewUserSchema,
    NewWebhookSchema,
    ReportSchema,
    RuleSchema,
    SaySchema,
    load,
)
from cometbot.simulator.simulated_app import SimulatedApp

View = Callable[..., Response]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def control_blueprint(simulator: SimulatedApp) -> Blueprint:
    """Return the blueprint that offers the Python interface to other processes and to the page."""
    blueprint = Blueprint("control", __name__, url_prefix="/simulator")
    control = _ControlViews(simulator)
    blueprint.before_request(check_caller)
    for rule, views in control.routes().items():
        for method, view in views.items():
            blueprint.add_url_rule(rule, f"{method} {rule}", view, methods=[method], provide_automatic_options=False)
    return blueprint


class _ControlViews:
    """The views. Each answers ``{"data": …}``, or CometChat's error envelope."""

    def __init__(self, simulator: SimulatedApp) -> None:
        self._simulator = simulator
        self._world = simulator.world

    def routes(self) -> dict[str, dict[str, View]]:
        """Return the views by path and method."""
        return {
            "": {"GET": self.about},
            "/users": {"POST": self.add_user},
            "/groups": {"POST": self.add_group},
            "/bots": {"POST": self.add_bot},
            "/webhooks": {"POST": self.add_webhook},
            "/moderation": {"GET": self.moderation, "POST": self.add_moderation_rule},
            "/moderation/<id>": {"PATCH": self.change_moderation_rule},
            "/files/<name>": {"POST": self.add_file},
            "/users/<uid>/say": {"POST": self.say},
            "/users/<uid>/write": {"POST": self.write},
            "/users/<uid>/act": {"POST": self.act},
            "/reports": {"POST": self.report},
            "/messages": {"GET": self.messages},
            "/requests": {"GET": self.requests},
            "/callbacks": {"GET": self.callbacks},
            "/log": {"GET": self.log},
            "/misbehave": {"GET": self.misbehaviour, "POST": self.misbehave, "DELETE": self.behave},
            "/behaviour": {"PATCH": self.configure},
            "/reset": {"POST": self.reset},
        }

    def about(self) -> Response:
        """Return the names of users, groups, bots and webhooks, the counts and the behaviour, but no keys."""
        with self._world.condition:
            directory = self._world.directory
            return data_response(
                {
                    "appId": self._simulator.app_id,
                    "region": self._simulator.region,
                    "apiURL": self._simulator.api_url,
                    "users": sorted(directory.users),
                    "groups": sorted(directory.groups),
                    "bots": sorted(directory.bots),
                    "webhooks": sorted(self._world.webhooks),
                    "messages": len(self._world.message_store),
                    "lastId": self._world.journal.last_id,
                    "behaviour": asdict(self._world.behaviour),
                }
            )

    def add_user(self) -> Response:
        """Create a user and return its uid."""
        return data_response({"uid": self._simulator.add_user(**load_body(NewUserSchema())).uid})

    def add_group(self) -> Response:
        """Create a group and return its guid."""
        body = load_body(NewGroupSchema())
        self._simulator.add_group(**body)
        return data_response({"guid": body["guid"].lower()})

    def add_bot(self) -> Response:
        """Create a bot and return its uid."""
        return data_response({"uid": self._simulator.add_bot(**load_body(NewBotSchema())).uid})

    def add_webhook(self) -> Response:
        """Create an app webhook and return its id."""
        return data_response({"id": self._simulator.add_webhook(**load_body(NewWebhookSchema()))})

    def moderation(self) -> Response:
        """Return the rules of the moderation and the newest decisions."""
        return data_response(self._simulator.moderator.to_json())

    def add_moderation_rule(self) -> Response:
        """Create a rule of the moderation and return its id."""
        return data_response({"id": self._simulator.add_moderation_rule(**load_body(NewModerationRuleSchema()))})

    def change_moderation_rule(self, id: str) -> Response:
        """Switch a rule of the moderation on or off and return all."""
        self._simulator.enable_moderation_rule(id, **load_body(ModerationRuleChangeSchema()))
        return self.moderation()

    def add_file(self, name: str) -> Response:
        """Store the request body as a file and return its URL."""
        mime_type = (request.content_type or "").partition(";")[0]
        return data_response({"url": self._simulator.add_file(name, request.get_data(), mime_type)})

    def say(self, uid: str) -> Response:
        """Send a message as the user and return it."""
        return self._shown(self._simulator.user(uid).say(**load_body(SaySchema())).id)

    def write(self, uid: str) -> Response:
        """Send a message as the user, with this body of ``POST /messages``, and return it."""
        return self._shown(self._simulator.user(uid).write(_read_json_object()).id)

    def act(self, uid: str) -> Response:
        """Perform another action as the user and return the message that it changed or created, if it is one."""
        body = load_body(ActSchema())
        actor, message = self._simulator.user(uid), body["message"]
        acts: dict[str, Callable[[], Any]] = {
            "edit": lambda: actor.edit(message, body["text"]),
            "delete": lambda: actor.delete(message),
            "react": lambda: actor.react(message, body["reaction"]),
            "unreact": lambda: actor.unreact(message, body["reaction"]),
            "join": lambda: actor.join(body["group"], password=body["password"]),
            "leave": lambda: actor.leave(body["group"]),
        }
        if body["act"] in acts:
            return self._shown(acts[body["act"]]().id)
        others: dict[str, Callable[[], None]] = {
            "receive": lambda: actor.receive(message),
            "read": lambda: actor.read(message),
            "block": lambda: actor.block(body["user"]),
            "unblock": lambda: actor.unblock(body["user"]),
            "connect": actor.connect,
            "disconnect": actor.disconnect,
        }
        others[body["act"]]()
        return data_response({"success": True})

    def report(self) -> Response:
        """Send a report to the webhooks that have its trigger."""
        self._simulator.report(**load_body(ReportSchema()))
        return data_response({"success": True})

    def messages(self) -> Response:
        """Return the messages of a conversation, between two users, or all."""
        query = load(MessagesQuery(), request.args.to_dict())
        first, _, second = query["between"].partition(",")
        with self._world.condition:
            found = self._simulator.messages(
                query["conversation"], between=(first, second) if first else None, after=str(query["after"])
            )
            return data_response([self._world.serializer.message(message, with_tags=True) for message in found])

    def requests(self) -> Response:
        """Return the REST calls after an id."""
        return self._follow(self._simulator.requests)

    def callbacks(self) -> Response:
        """Return the callbacks after an id."""
        return self._follow(self._simulator.callbacks)

    def log(self) -> Response:
        """Return the entries of every kind after an id, in order."""
        query = self._wait()
        entries = self._world.journal.since(query["after"], query["limit"])
        return data_response([entry.to_json() for entry in entries])

    def misbehaviour(self) -> Response:
        """Return the active rules with their counts."""
        return data_response([effect.to_json() for effect in self._simulator.misbehave.active_rules])

    def misbehave(self) -> Response:
        """Add one rule, or several as ``rules``, and return all active rules."""
        body = _read_json_object()
        rules = body["rules"] if isinstance(body.get("rules"), list) else [body]
        checked = [load(RuleSchema(), rule) for rule in rules]
        for rule in checked:
            self._simulator.misbehave.add_json(rule)
        return self.misbehaviour()

    def behave(self) -> Response:
        """Remove all rules, or those of the query's ``kind``, and return the remaining ones."""
        self._simulator.misbehave.clear(request.args.get("kind", ""))
        return self.misbehaviour()

    def configure(self) -> Response:
        """Change the behaviour and return it."""
        changes = load_body(BehaviourSchema())
        self._simulator.configure(**{name: _freeze(value) for name, value in changes.items()})
        return data_response(asdict(self._world.behaviour))

    def reset(self) -> Response:
        """Delete everything, as :meth:`SimulatedApp.reset` does."""
        self._simulator.reset()
        return data_response({"success": True})

    def _follow(self, log: Log[Any]) -> Response:
        query = self._wait()
        entries = log.since(query["after"])[: query["limit"]]
        return data_response([entry.to_json() for entry in entries], meta={"dropped": log.dropped})

    def _wait(self) -> dict[str, Any]:
        query = load(LogQuery(), request.args.to_dict())
        if query["wait"]:
            try:
                self._simulator.wait_for(lambda _: self._world.journal.last_id > query["after"], query["wait"])
            except TimeoutError:
                return query
        return query

    def _shown(self, message_id: str) -> Response:
        with self._world.condition:
            return data_response(
                self._world.serializer.message(self._world.message_store.get(message_id), with_tags=True)
            )


def check_caller() -> None:
    """Refuse requests from other machines, and from pages of other sites in a browser on this machine."""
    host = urlsplit(f"//{request.host}").hostname
    origin = request.headers.get("Origin")
    is_foreign = origin is not None and not is_same_origin(origin, request.host)
    if request.remote_addr not in _LOOPBACK or host not in _LOOPBACK or is_foreign:
        raise Refusal("AUTH_ERR_NO_ACCESS", "The control API is only for this machine.")


def _read_json_object() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise bad_request("body", "The body must be a JSON object, sent as application/json.")
    return body


def load_body(schema: InputSchema) -> dict[str, Any]:
    """Validate the request's body with ``schema``. Raises ``ERR_BAD_REQUEST`` with a text for each invalid field."""
    return load(schema, _read_json_object())


def data_response(data: Any, *, meta: dict[str, Any] | None = None) -> Response:
    """Return ``data`` in CometChat's envelope."""
    envelope = {"data": data, "meta": meta} if meta else {"data": data}
    return json_response(envelope, default=to_json_value)


def to_json_value(value: Any) -> Any:
    """Return a value that orjson cannot encode as one that it can."""
    if isinstance(value, Entry):
        return value.to_json()
    return dict(value) if hasattr(value, "keys") else list(value)


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
