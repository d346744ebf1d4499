"""The schemas of the bodies and queries that the simulator accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate, validates_schema

from cometbot.simulator.errors import Refusal
from cometbot.simulator.misbehaviour import RESETS
from cometbot.simulator.records import AGENT_PROVIDERS, GROUP_CHAT_SETTINGS, MODERATED_CONTENTS, SCOPES

_URL_3000 = (validate.Length(max=3000), validate.URL(require_tld=False, schemes={"http", "https"}))
_URL_255 = (validate.Length(max=255), validate.URL(require_tld=False, schemes={"http", "https"}))
_NAME = validate.Length(min=1, max=100)
_TAG = fields.String(validate=validate.Length(min=1, max=100))


def load(schema: InputSchema, values: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """Validate ``values`` with ``schema``. Raises ``ERR_BAD_REQUEST`` with a text for each invalid field."""
    try:
        loaded: dict[str, Any] = schema.load(values, partial=partial)
    except ValidationError as error:
        raise to_refusal(error.messages_dict) from None
    return loaded


def to_refusal(messages: Mapping[str, Any]) -> Refusal:
    """Return the refusal for a schema's error messages.

    Each field has one entry; nested fields are joined with a dot.
    """
    details = dict(_flatten(messages))
    fields_named = ", ".join(details)
    return Refusal("ERR_BAD_REQUEST", f"Validation of the request failed: {fields_named}.", details=details)


def _flatten(messages: Mapping[Any, Any], path: str = "") -> list[tuple[str, list[str]]]:
    flat: list[tuple[str, list[str]]] = []
    for key, value in messages.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            flat.extend(_flatten(value, f"{name}."))
        else:
            flat.append((name, [str(text) for text in value]))
    return flat


class InputSchema(Schema):
    """Base of all schemas for input."""

    def split_lists(self, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Return the values of a query string. Lists may be repeated, comma-separated, or both."""
        values: dict[str, Any] = {}
        for name, texts in query.items():
            key = name.removesuffix("[]")
            is_list = isinstance(self.fields.get(key), fields.List)
            values[key] = [part for text in texts for part in text.split(",")] if is_list else texts[-1]
        return values


class _LenientSchema(InputSchema):
    """Ignores unknown fields, like CometChat."""

    class Meta:
        unknown = EXCLUDE


class _StrictSchema(InputSchema):
    """Refuses unknown fields: these bodies are the simulator's own, and a typo should not go unnoticed."""

    class Meta:
        unknown = RAISE


class DraftSchema(_LenientSchema):
    """The envelope of a message to be sent: docs/protocols/cometchat.md, "Sending a bot message"."""

    receiver = fields.String(required=True, validate=_NAME)
    receiverType = fields.String(required=True, validate=validate.OneOf(("user", "group")))
    category = fields.String(required=True, validate=validate.OneOf(("message", "custom", "interactive", "card")))
    type = fields.String(required=True, validate=_NAME)
    data = fields.Dict(keys=fields.String(), required=True)
    muid = fields.String(validate=validate.Length(max=255))
    tags = fields.List(_TAG, validate=validate.Length(max=25))


class EditSchema(_LenientSchema):
    """The editable parts of a message: docs/protocols/cometchat.md, "Messages"."""

    data = fields.Dict(keys=fields.String())
    tags = fields.List(_TAG, validate=validate.Length(max=25))


class UserSchema(_LenientSchema):
    """A user to create or update: docs/protocols/cometchat.md, "Users"."""

    uid = fields.String(required=True, validate=_NAME)
    name = fields.String(required=True, validate=_NAME)
    avatar = fields.String(validate=_URL_3000)
    link = fields.String(validate=_URL_3000)
    role = fields.String(validate=_NAME)
    statusMessage = fields.String()
    metadata = fields.Dict(keys=fields.String())
    tags = fields.List(_TAG, validate=validate.Length(max=25))
    withAuthToken = fields.Boolean()
    unset = fields.List(fields.String(validate=validate.OneOf(("avatar", "link", "metadata"))))


class BotSchema(_LenientSchema):
    """A bot to create or update: docs/protocols/cometchat.md, "Bots"."""

    uid = fields.String(required=True, validate=_NAME)
    webhookURL = fields.String(required=True, validate=_URL_255)
    groupChatSetting = fields.String(validate=validate.OneOf(GROUP_CHAT_SETTINGS))
    useBasicAuth = fields.Boolean(truthy={True}, falsy={False})
    username = fields.String(validate=validate.Length(max=50))
    password = fields.String(validate=validate.Length(max=50))
    enabled = fields.Boolean(truthy={True}, falsy={False})
    isAIBot = fields.Boolean(truthy={True}, falsy={False})


class AgentSchema(_LenientSchema):
    """An agent to create or update: docs/protocols/cometchat.md, "Agents"."""

    name = fields.String(required=True, validate=_NAME)
    icon = fields.String(required=True, validate=_URL_3000)
    integrateWith = fields.String(required=True, validate=validate.OneOf(AGENT_PROVIDERS))
    integrationType = fields.String(required=True, validate=validate.OneOf(("agent",)))
    integrationMeta = fields.Dict(keys=fields.String())
    isActive = fields.Boolean(truthy={True}, falsy={False})
    metaData = fields.Dict(keys=fields.String())


class MembersSchema(_LenientSchema):
    """Users to add to a group or to ban from it: docs/protocols/cometchat.md, "Groups and members"."""

    admins = fields.List(fields.String())
    moderators = fields.List(fields.String())
    participants = fields.List(fields.String())
    usersToBan = fields.List(fields.String())


class GroupSchema(_LenientSchema):
    """A group to create or update: docs/protocols/cometchat.md, "Groups and members"."""

    guid = fields.String(required=True, validate=_NAME)
    name = fields.String(required=True, validate=_NAME)
    type = fields.String(required=True, validate=validate.OneOf(("public", "password", "private")))
    password = fields.String()
    icon = fields.String(validate=_URL_3000)
    description = fields.String(validate=validate.Length(max=255))
    metadata = fields.Dict(keys=fields.String())
    owner = fields.String()
    tags = fields.List(_TAG, validate=validate.Length(max=25))
    members = fields.Nested(MembersSchema)
    unset = fields.List(fields.String(validate=validate.OneOf(("icon", "description", "metadata"))))


class ScopeSchema(_LenientSchema):
    """A member's new scope."""

    scope = fields.String(load_default="participant", validate=validate.OneOf(SCOPES))


class ActivationSchema(_LenientSchema):
    """Users to deactivate or to reactivate."""

    uidsToDeactivate = fields.List(fields.String())
    uidsToActivate = fields.List(fields.String())


class BlockSchema(_LenientSchema):
    """Users to block or to unblock."""

    blockedUids = fields.List(fields.String(), required=True)


class FriendsSchema(_LenientSchema):
    """Users to make friends of a user, or friends to remove."""

    accepted = fields.List(fields.String(), validate=validate.Length(max=25))
    friends = fields.List(fields.String())


class AuthTokenSchema(_LenientSchema):
    """The description that a client gives of itself for its token."""

    platform = fields.String()
    userAgent = fields.String(attribute="user_agent")
    appInfo = fields.Dict(keys=fields.String(), attribute="app_info")


class ConversationSchema(_LenientSchema):
    """The tags of a conversation, or how it is deleted: docs/protocols/cometchat.md, "Conversations and receipts"."""

    tags = fields.List(_TAG, validate=validate.Length(max=25))
    conversationWith = fields.String()
    deleteMessagesPermanently = fields.Boolean(load_default=False)


class _PinnedConversationSchema(_LenientSchema):
    uid = fields.String(validate=_NAME)
    guid = fields.String(validate=_NAME)

    @validates_schema
    def _check(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if len(data) != 1:
            raise ValidationError("Give either uid or guid.")


class PinnedConversationsSchema(_LenientSchema):
    """The conversations that the app pins for all its users."""

    pinnedConversations = fields.List(fields.Nested(_PinnedConversationSchema), required=True)


class ReceiptSchema(_LenientSchema):
    """The message up to which a conversation was read or delivered. Without it, the whole conversation was."""

    messageId = fields.Integer()


def _fields(make: Callable[..., fields.Field[Any]], names: str, **options: Any) -> dict[str, Any]:
    return {name: make(**options) for name in names.split()}


def _list(**options: Any) -> fields.Field[Any]:
    return fields.List(fields.String(), **options)


_PAGE_FIELDS: dict[str, Any] = {
    "page": fields.Integer(load_default=1, validate=validate.Range(min=1)),
    "perPage": fields.Integer(load_default=100, validate=validate.Range(min=1, max=1000)),
    "searchIn": _list(load_default=lambda: ["name", "uid"]),
    **_fields(fields.String, "searchKey status role type conversationType", load_default=""),
    **_fields(_list, "tags userTags groupTags roles types scopes", load_default=list),
    **_fields(fields.Boolean, "withTags onlyDeactivated withDeactivated isAIBot hasJoined unread", load_default=False),
}
PageQuery = cast(type[InputSchema], _LenientSchema.from_dict(_PAGE_FIELDS, name="PageQuery"))
"""A query of a list that is paged by number: ``page`` and ``perPage``."""

_HISTORY_FIELDS: dict[str, Any] = {
    "affix": fields.String(load_default="prepend", validate=validate.OneOf(("append", "prepend"))),
    **_fields(fields.Integer, "id sentAt", load_default=0),
    **_fields(fields.Integer, "limit perPage", load_default=0, validate=validate.Range(min=0, max=1000)),
    **_fields(fields.String, "category type sender receiverType conversationId searchKey"),
    **_fields(_list, "categories types tags attachmentTypes mentionedUids"),
    "withTags": fields.Boolean(load_default=False),
    **_fields(fields.Boolean, "hasAttachments hasMentions myMentionsOnly hasLinks hasReactions"),
    **_fields(fields.Boolean, "hideReplies hideDeleted onlyDeleted unread undelivered"),
    **_fields(fields.Integer, "fromTimestamp toTimestamp"),
}
HistoryQuery = cast(type[InputSchema], _LenientSchema.from_dict(_HISTORY_FIELDS, name="HistoryQuery"))
"""A history query: docs/protocols/cometchat.md, "History queries". ``id`` 0 and ``sentAt`` 0 mean no cursor."""


class RuleSchema(_StrictSchema):
    """A rule of misbehaviour."""

    kind = fields.String(
        required=True,
        validate=validate.OneOf(("rate_limit", "fail", "slow", "drop", "duplicate_callbacks", "reorder_callbacks")),
    )
    routes = fields.List(fields.String())
    times = fields.Integer(validate=validate.Range(min=1))
    skip = fields.Integer(validate=validate.Range(min=0))
    every = fields.Integer(validate=validate.Range(min=1))
    probability = fields.Float(validate=validate.Range(min=0, max=1))
    seed = fields.Integer()
    retry_after = fields.Float(validate=validate.Range(min=0))
    reset = fields.String(validate=validate.OneOf(RESETS))
    status = fields.Integer(validate=validate.Range(min=400, max=599))
    code = fields.String()
    after = fields.Boolean()
    before = fields.Boolean()
    seconds = fields.Float(validate=validate.Range(min=0))
    n = fields.Integer(validate=validate.Range(min=1))
    window = fields.Integer(validate=validate.Range(min=2))
    timeout = fields.Float(validate=validate.Range(min=0))


class SaySchema(_StrictSchema):
    """A message that a user sends."""

    text = fields.String(load_default="")
    to = fields.String(load_default="")
    group = fields.String(load_default="")
    parent = fields.String(load_default="")
    quote = fields.String(load_default="")
    attachments = fields.List(fields.Raw(), load_default=list)
    custom = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)
    type = fields.String(load_default="")
    metadata = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)
    tags = fields.List(_TAG, load_default=list)
    muid = fields.String(load_default="")


MESSAGE_ACTS = ("edit", "delete", "react", "unreact", "join", "leave")
"""The acts whose result is a message."""

USER_ACTS = ("receive", "read", "block", "unblock", "connect", "disconnect")


class ActSchema(_StrictSchema):
    """Another action of a user: on a message, in a group, or towards another user."""

    act = fields.String(required=True, validate=validate.OneOf((*MESSAGE_ACTS, *USER_ACTS)))
    message = fields.String(load_default="")
    text = fields.String(load_default="")
    reaction = fields.String(load_default="")
    group = fields.String(load_default="")
    password = fields.String(load_default="")
    user = fields.String(load_default="")


class ReportSchema(_StrictSchema):
    """A report that the simulator sends to webhooks, without doing what it says."""

    trigger = fields.String(required=True)
    data = fields.Dict(keys=fields.String(), required=True)


class FlagSchema(_LenientSchema):
    """Why a message is flagged."""

    reasonId = fields.String(required=True, validate=validate.Length(min=1))
    remark = fields.String(load_default="")


class ReviewFlaggedSchema(_LenientSchema):
    """A moderator's decision on a flagged message."""

    status = fields.String(required=True, validate=validate.OneOf(("approved", "disapproved")))


class ReviewBlockedSchema(_LenientSchema):
    """A moderator's decision on a blocked message."""

    status = fields.String(required=True, validate=validate.OneOf(("approved", "rejected")))
    reviewed = fields.Boolean(load_default=True)


class PressSchema(_StrictSchema):
    """A button that a user presses: the message, the element, and the form's values."""

    message = fields.String(required=True)
    element = fields.String(required=True)
    values = fields.Dict(keys=fields.String(), load_default=dict)


class NewUserSchema(_StrictSchema):
    """A user to create in the simulator."""

    uid = fields.String(required=True, validate=_NAME)
    name = fields.String(load_default="")
    avatar = fields.String()
    metadata = fields.Dict(keys=fields.String())
    tags = fields.List(_TAG)


class NewGroupSchema(_StrictSchema):
    """A group to create in the simulator, with its members."""

    guid = fields.String(required=True, validate=_NAME)
    name = fields.String(load_default="")
    type = fields.String(load_default="public", validate=validate.OneOf(("public", "password", "private")))
    password = fields.String(load_default="")
    owner = fields.String(load_default="")
    members = fields.List(fields.String(), load_default=list)


class NewBotSchema(_StrictSchema):
    """A bot to create in the simulator, with its user."""

    uid = fields.String(required=True, validate=_NAME)
    webhook_url = fields.String(required=True, validate=_URL_255)
    name = fields.String(load_default="")
    username = fields.String(load_default="", validate=validate.Length(max=50))
    password = fields.String(load_default="", validate=validate.Length(max=50))
    group_setting = fields.String(load_default="allMessages", validate=validate.OneOf(GROUP_CHAT_SETTINGS))
    enabled = fields.Boolean(load_default=True)


class NewWebhookSchema(_StrictSchema):
    """An app webhook to create in the simulator."""

    url = fields.String(required=True, validate=_URL_255)
    triggers = fields.List(fields.String(), load_default=list)
    username = fields.String(load_default="", validate=validate.Length(max=50))
    password = fields.String(load_default="", validate=validate.Length(max=100))
    id = fields.String(load_default="")
    edits_as = fields.String(load_default="action", validate=validate.OneOf(("message", "action")))


class NewModerationRuleSchema(_StrictSchema):
    """A rule of the moderation to create in the simulator."""

    name = fields.String(required=True, validate=_NAME)
    url = fields.String(required=True, validate=_URL_255)
    contents = fields.List(fields.String(validate=validate.OneOf(MODERATED_CONTENTS)), validate=validate.Length(min=1))
    threshold = fields.Integer(validate=validate.Range(min=0, max=100))
    action = fields.String(validate=validate.OneOf(("block", "flag")))
    username = fields.String(load_default="", validate=validate.Length(max=50))
    password = fields.String(load_default="", validate=validate.Length(max=100))
    id = fields.String(load_default="")


class ModerationRuleChangeSchema(_StrictSchema):
    """A change of a rule of the moderation."""

    enabled = fields.Boolean(required=True)


class BehaviourSchema(_StrictSchema):
    """Changes to the simulator's behaviour."""

    core_limit = fields.Integer(validate=validate.Range(min=1))
    standard_limit = fields.Integer(validate=validate.Range(min=1))
    redeliver = fields.List(fields.Float(validate=validate.Range(min=0)))
    callback_timeout = fields.Float(validate=validate.Range(min=0, min_inclusive=False))
    callback_threads = fields.Integer(validate=validate.Range(min=1, max=64))
    relay_to_non_members = fields.Boolean()
    relay_own_messages = fields.Boolean()
    relay_messages_of_bots = fields.Boolean()
    send_needs_membership = fields.Boolean()
    repeated_muid = fields.String(validate=validate.OneOf(("accept", "same")))
    parent_id_in_body = fields.Boolean()
    categories = fields.List(fields.String(validate=validate.OneOf(("message", "custom", "interactive", "card"))))
    media_access = fields.String(validate=validate.OneOf(("presigned", "token")))
    moderation_context = fields.Integer(validate=validate.Range(min=0, max=10))
    moderation_error = fields.String(validate=validate.OneOf(("approve-message", "drop-message")))
    moderation_timeout = fields.Float(validate=validate.Range(min=0, min_inclusive=False))


class LogQuery(_StrictSchema):
    """A query for the entries of a log after an id, which may wait some seconds for the first."""

    after = fields.Integer(load_default=0)
    limit = fields.Integer(load_default=1000, validate=validate.Range(min=1, max=10_000))
    wait = fields.Float(load_default=0.0, validate=validate.Range(min=0, max=30))


class EarlierQuery(_StrictSchema):
    """A query for messages before an id, of the conversation with a user or of a group."""

    user = fields.String(load_default="")
    group = fields.String(load_default="")
    before = fields.Integer(required=True, validate=validate.Range(min=0))

    @validates_schema
    def _check(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if bool(data["user"]) == bool(data["group"]):
            raise ValidationError("Give either user or group.", "user")


class MessagesQuery(_StrictSchema):
    """A query for the messages of one conversation or between two users, after an id."""

    conversation = fields.String(load_default="")
    between = fields.String(load_default="")
    after = fields.Integer(load_default=0)
