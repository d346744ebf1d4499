"""Flagging messages, and the review of flagged and blocked ones: docs/protocols/cometchat.md, "Review"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cometbot.simulator import messaging
from cometbot.simulator.errors import Refusal
from cometbot.simulator.records import StoredMessage
from cometbot.simulator.rest.routes import ApiCall, PlainBody, RouteTable, confirmation
from cometbot.simulator.schemas import FlagSchema, ReviewBlockedSchema, ReviewFlaggedSchema

routes = RouteTable()
_FLAG = FlagSchema()
_REVIEW_FLAGGED = ReviewFlaggedSchema()
_REVIEW_BLOCKED = ReviewBlockedSchema()


@routes.add("POST", "/messages/<id>/flagged", acting="must")
def flag_message(call: ApiCall, id: str) -> PlainBody:
    """Flag a message for review."""
    call.load_body(_FLAG)
    message = messaging.get_accessible_message(call.world, id, call.acting_uid)
    call.world.flagged.add(message.id)
    return PlainBody(confirmation(f"Message {message.id} has been flagged successfully."))


@routes.add("PATCH", "/moderation/flagged-messages/<id>", acting="no")
def review_flagged(call: ApiCall, id: str) -> PlainBody:
    """Approve a flagged message, which stays as it is, or disapprove it."""
    status = call.load_body(_REVIEW_FLAGGED)["status"]
    message = call.world.message_store.get(id)
    if message.id not in call.world.flagged:
        raise Refusal("ERR_MESSAGE_ID_NOT_FOUND", f"The message {id} is not flagged.")
    call.world.flagged.discard(message.id)
    if status == "disapproved":
        _set_status(call, message, status)
    return PlainBody(confirmation(f"Message with id {message.id} has been unflagged successfully."))


@routes.add("PATCH", "/moderation/blocked-messages/<id>", acting="no")
def review_blocked(call: ApiCall, id: str) -> dict[str, Any]:
    """Deliver a blocked message, or leave it blocked."""
    review = call.load_body(_REVIEW_BLOCKED)
    message = call.world.message_store.get(id)
    moderation = message.data.get("moderation")
    if not isinstance(moderation, dict) or moderation.get("status") != "disapproved":
        raise Refusal("ERR_MESSAGE_ID_NOT_FOUND", f"The message {id} is not blocked.")
    if review["status"] == "approved":
        approved = _set_status(call, message, "approved")
        messaging.emit_sent(call.world, approved, None)
        rules = [{"rule": moderation["rule"]}] if "rule" in moderation else []
        shown = call.world.serializer.message(approved, with_tags=True)
        data = {"message": shown, "moderation": rules, "reviewed": review["reviewed"]}
        call.world.emit("moderation_manual_approved", data, message=approved)
        return confirmation(f"Message with ID {message.id} has been approved.")
    return confirmation(f"Message with ID {message.id} has been reviewed successfully.")


def _set_status(call: ApiCall, message: StoredMessage, status: str) -> StoredMessage:
    moderation = {**message.data.get("moderation", {}), "status": status}
    return call.world.message_store.update(replace(message, data={**message.data, "moderation": moderation}))
