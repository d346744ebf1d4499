"""Marshmallow schemas of the app webhooks that report no message, each instantiated once.

Like in :mod:`~cometbot.channels.cometchat.schemas`, a field of a wrong type counts as absent, and unknown keys are
kept.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, post_load

from cometbot.channels.cometchat.schemas import (
    USER,
    LenientField,
    id_field,
    list_field,
    object_field,
    parse_count,
    parse_id,
    parse_list,
    parse_receiver_type,
    parse_time,
    text_field,
)
from cometbot.models import AgentToolCall, CallParticipant, ModerationFailure, ModerationRule, User

_parse_text = fields.String().deserialize
_parse_object = fields.Dict().deserialize
_EARLIEST_MILLISECONDS = 10**11
"""A time from here on is in milliseconds: as seconds it would be in the year 5138."""


def parse_any_time(value: object) -> float:
    """Return Unix seconds, given in seconds or in milliseconds, as a number or as a text."""
    time = parse_time(value)
    return time / 1000 if time >= _EARLIEST_MILLISECONDS else time


def parse_seconds(value: object) -> float:
    """Return a duration in seconds, given as a number or as a text."""
    return float(parse_time(value))


def parse_flag(value: object) -> bool:
    """Return a boolean, given as one or as a text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValidationError("Not a boolean.")


def parse_users(value: object) -> tuple[User, ...]:
    """Return the users in a list, or in an object by uid whose entries may lack their own uid."""
    if isinstance(value, dict):
        value = [{"uid": uid, **entry} for uid, entry in value.items() if isinstance(entry, dict)]
    return tuple(parse_list(USER.load, value))


def parse_texts(value: object) -> str:
    """Return a text, or the texts of a list as one."""
    if isinstance(value, list):
        return "\n".join(parse_list(_parse_text, value))
    return str(_parse_text(value))


def _time_field() -> LenientField:
    return LenientField(parse_any_time, 0)


def _text_field() -> LenientField:
    return LenientField(_parse_text, "")


def _user_field() -> LenientField:
    return LenientField(USER.load, None)


def _nested_field() -> LenientField:
    return LenientField(_parse_object, {})


class _ReportSchema(Schema):
    class Meta:
        unknown = INCLUDE


class ReceiptBodySchema(_ReportSchema):
    """The ``body`` of a receipt."""

    action = id_field()
    messageId = id_field()
    user = _user_field()
    timestamp = _time_field()


class ReceiptSchema(_ReportSchema):
    """``data`` of a receipt, in today's form and in that of legacy webhooks, which has no ``body``."""

    receiver = id_field()
    receiverType = LenientField(parse_receiver_type, "user")
    sender = id_field()
    messageSender = id_field()
    body = _nested_field()
    messageId = id_field()
    receiptType = id_field()
    receiptSender = id_field()
    receiptReceiver = id_field()
    deliveredAt = _time_field()
    readAt = _time_field()


class ConnectionSchema(_ReportSchema):
    """The connection that a presence webhook is about; its keys are those of either form."""

    action = id_field()
    platform = _text_field()
    type = id_field()
    at = _time_field()
    event_for = _nested_field()


class PresenceSchema(_ReportSchema):
    """``data`` of a presence webhook, in today's form and in that of legacy webhooks (``event``)."""

    timestamp = _time_field()
    user = _user_field()
    status = _text_field()
    currentConnection = _nested_field()
    userPresenceChanged = LenientField(parse_flag, True)
    event = _nested_field()


class BlockSchema(_ReportSchema):
    """``data`` of a webhook about blocked users."""

    users = LenientField(parse_users, ())
    by = _user_field()


class ParticipantSchema(_ReportSchema):
    """A participant of a call, as a :class:`CallParticipant`."""

    name = fields.String(required=True)
    joined_at = _time_field()
    left_at = _time_field()
    audio_call = LenientField(parse_flag, None)

    @post_load
    def make_participant(self, data: dict[str, Any], **kwargs: Any) -> CallParticipant:
        """Return the participant."""
        return CallParticipant(data["name"], data["joined_at"], data["left_at"], data["audio_call"])


_PARTICIPANT = ParticipantSchema()


class SessionSchema(_ReportSchema):
    """``data`` of the webhooks of calls and meetings that report only the session, their recordings and transcripts."""

    created_at = _time_field()
    destroyed_at = _time_field()
    occupant = LenientField(_PARTICIPANT.load)
    all_occupants = list_field(_PARTICIPANT.load)
    recording_url = _text_field()
    transcript_url = _text_field()
    tid = id_field()
    duration = LenientField(parse_seconds, 0)
    startTime = _time_field()
    endTime = _time_field()


class RuleSchema(_ReportSchema):
    """The rule of a moderation."""

    id = LenientField(parse_id, "")
    name = _text_field()
    action = LenientField(partial(parse_list, _parse_text), ())


class ConditionSchema(_ReportSchema):
    """The condition of a rule."""

    message = LenientField(parse_texts, "")


_RULE, _CONDITION = RuleSchema(), ConditionSchema()


class MatchedRuleSchema(_ReportSchema):
    """A rule and its condition, as a :class:`ModerationRule`."""

    rule = _nested_field()
    condition = _nested_field()

    @post_load
    def make_rule(self, data: dict[str, Any], **kwargs: Any) -> ModerationRule:
        """Return the rule."""
        rule, condition = _RULE.load(data["rule"]), _CONDITION.load(data["condition"])
        return ModerationRule(rule["id"], rule["name"], tuple(rule["action"]), condition["message"], raw=data)


_MATCHED_RULE = MatchedRuleSchema()


class FailureContextSchema(_ReportSchema):
    """The ``context`` of a failed moderation; which of it is there depends on the engine."""

    engine = _text_field()
    setting = _text_field()
    rule = object_field()
    condition = object_field()
    request = _nested_field()


class FailedRequestSchema(_ReportSchema):
    """The request that failed."""

    url = _text_field()


_FAILURE_CONTEXT, _FAILED_REQUEST = FailureContextSchema(), FailedRequestSchema()


class FailureSchema(_ReportSchema):
    """One failure of the moderation, as a :class:`ModerationFailure`."""

    category = fields.String(required=True)
    errorMessage = _text_field()
    httpStatus = LenientField(parse_count, None)
    responseBody = _text_field()
    failedAt = _time_field()
    context = _nested_field()

    @post_load(pass_original=True)
    def make_failure(self, data: dict[str, Any], original: Any, **kwargs: Any) -> ModerationFailure:
        """Return the failure."""
        context = _FAILURE_CONTEXT.load(data["context"])
        return ModerationFailure(
            data["category"],
            data["errorMessage"],
            engine=context["engine"],
            setting=context["setting"],
            rule=_MATCHED_RULE.load(context) if "rule" in context else None,
            status=data["httpStatus"],
            response=data["responseBody"],
            url=_FAILED_REQUEST.load(context["request"])["url"],
            failed_at=data["failedAt"],
            raw=original,
        )


class ModerationSchema(_ReportSchema):
    """``data`` of the moderation's webhooks; ``message`` is loaded as a message."""

    moderation = list_field(_MATCHED_RULE.load)
    contentType = _text_field()
    outcome = _text_field()
    completedAt = _time_field()
    failures = list_field(FailureSchema().load)


class CampaignSchema(_ReportSchema):
    """``data`` of the webhooks of campaigns, notifications, feed items and push notifications."""

    id = id_field()
    campaignId = id_field()
    notificationId = id_field()
    pushNotificationId = id_field()
    receiver = id_field()
    createdAt = _time_field()
    sentAt = _time_field()
    deliveredAt = _time_field()
    readAt = _time_field()
    interactedAt = _time_field()
    clickedAt = _time_field()
    completedAt = _time_field()


class ToolFunctionSchema(_ReportSchema):
    """The function that a tool call names."""

    name = _text_field()
    arguments = _text_field()


_TOOL_FUNCTION = ToolFunctionSchema()


class ToolCallSchema(_ReportSchema):
    """A tool call of an agent, as an :class:`AgentToolCall`."""

    id = fields.Function(deserialize=parse_id, required=True)
    function = _nested_field()

    @post_load
    def make_tool_call(self, data: dict[str, Any], **kwargs: Any) -> AgentToolCall:
        """Return the call."""
        function = _TOOL_FUNCTION.load(data["function"])
        return AgentToolCall(data["id"], function["name"], function["arguments"])


class AgentDataSchema(_ReportSchema):
    """The inner ``data`` of an agent's message."""

    text = text_field()
    runId = id_field()
    threadId = id_field()
    toolCallId = id_field()
    toolCalls = list_field(ToolCallSchema().load)


RECEIPT = ReceiptSchema()
RECEIPT_BODY = ReceiptBodySchema()
PRESENCE = PresenceSchema()
CONNECTION = ConnectionSchema()
BLOCK = BlockSchema()
SESSION = SessionSchema()
MODERATION = ModerationSchema()
CAMPAIGN = CampaignSchema()
AGENT_DATA = AgentDataSchema()
