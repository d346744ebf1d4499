"""Objects of the SimpleX API as in release 7.0.2, for the fake CLI."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

JsonObject = dict[str, Any]
Value = TypeVar("Value")

_FEATURES = ("timedMessages", "fullDelete", "reactions", "voice", "files", "calls", "sessions")
_GROUP_FEATURES = (
    "timedMessages", "directMessages", "fullDelete", "reactions", "voice", "files", "simplexLinks", "reports",
    "history", "support", "sessions", "comments", "signMessages",
)  # fmt: skip
_LINK = re.compile(
    r"(?:https://[\w.-]+(?::\d+)?|simplex:)/(?:(?P<full>invitation|contact)/?#|(?P<short>[iagcr])(?:\?\S*)?#)\S+"
)
_DISABLED_FEATURES = ("timedMessages", "fullDelete", "sessions", "comments", "signMessages")


def utc_time(seconds: float) -> str:
    """Return a UTCTime with six fractional digits."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def copy(value: Value) -> Value:
    """Return a deep copy of ``value`` by way of JSON."""
    copied: Value = orjson.loads(orjson.dumps(value))
    return copied


def encode_base64(text: str) -> str:
    """Return a text as base64, the form of shared ids."""
    return base64.urlsafe_b64encode(text.encode()).decode()


def _dates(at: str) -> JsonObject:
    return {"createdAt": at, "updatedAt": at}


def local_profile(profile_id: int, profile: Mapping[str, Any]) -> JsonObject:
    """Return a profile as stored in this database."""
    return {**profile, "profileId": profile_id, "localAlias": ""}


def user(user_id: int, profile: Mapping[str, Any]) -> JsonObject:
    """Return a profile of the CLI."""
    name = profile["displayName"]
    preferences = profile.get("preferences") or {}
    allowed = {feature: {"allow": "no" if feature in _DISABLED_FEATURES else "yes"} for feature in _FEATURES}
    full = {**allowed, "commands": [], **preferences}
    return {
        "userId": user_id,
        "agentUserId": user_id,
        "userContactId": user_id,
        "localDisplayName": name,
        "profile": local_profile(user_id, profile),
        "fullPreferences": full,
        "activeUser": True,
        "activeOrder": user_id,
        "showNtfs": True,
        "sendRcptsContacts": True,
        "sendRcptsSmallGroups": True,
        "autoAcceptMemberContacts": False,
        "userChatRelay": False,
        "clientService": False,
    }


def connection(conn_id: int, entity_id: int, at: str) -> JsonObject:
    """Return the connection with a contact."""
    return {
        "connId": conn_id,
        "agentConnId": encode_base64(f"connection{conn_id}"),
        "connChatVersion": 16,
        "peerChatVRange": {"minVersion": 1, "maxVersion": 16},
        "connLevel": 0,
        "viaGroupLink": False,
        "connType": "contact",
        "connStatus": {"type": "ready"},
        "contactConnInitiated": False,
        "localAlias": "",
        "entityId": entity_id,
        "pqSupport": True,
        "pqEncryption": True,
        "authErrCounter": 0,
        "quotaErrCounter": 0,
        "createdAt": at,
    }


def contact(contact_id: int, name: str, profile_id: int, at: str, *, is_bot: bool = False) -> JsonObject:
    """Return a connected contact."""
    profile: JsonObject = {"displayName": name, "fullName": ""}
    if is_bot:
        profile["peerType"] = "bot"
    return {
        "contactId": contact_id,
        "localDisplayName": name,
        "profile": local_profile(profile_id, profile),
        "activeConn": connection(contact_id + 1000, contact_id, at),
        "contactUsed": True,
        "contactStatus": "active",
        "chatSettings": {"enableNtfs": "all", "favorite": False},
        "userPreferences": {},
        "mergedPreferences": {feature: _merged(feature) for feature in _FEATURES},
        **_dates(at),
        "chatTs": at,
        "contactGrpInvSent": False,
        "chatTags": [],
        "chatDeleted": False,
    }


def _merged(feature: str) -> JsonObject:
    is_on = feature not in _DISABLED_FEATURES
    allow = {"allow": "yes" if is_on else "no"}
    return {
        "enabled": {"forUser": is_on, "forContact": is_on},
        "userPreference": {"type": "user", "preference": allow},
        "contactPreference": allow,
    }


def member(member_id: int, group_id: int, name: str, at: str, **fields: Any) -> JsonObject:
    """Return a group member, with ``fields`` in place of the usual ones."""
    return {
        "groupMemberId": member_id,
        "groupId": group_id,
        "indexInGroup": member_id,
        "memberId": encode_base64(f"member{member_id}"),
        "memberRole": "member",
        "memberCategory": "invitee",
        "memberStatus": "connected",
        "memberSettings": {"showMessages": True},
        "blockedByAdmin": False,
        "invitedBy": {"type": "unknown"},
        "localDisplayName": name,
        "memberProfile": local_profile(member_id, {"displayName": name, "fullName": ""}),
        "memberContactProfileId": member_id,
        "memberChatVRange": {"minVersion": 1, "maxVersion": 16},
        **_dates(at),
        **fields,
    }


def group_info(group_id: int, profile: Mapping[str, Any], membership: JsonObject, at: str) -> JsonObject:
    """Return a group that the bot is in."""
    features: JsonObject = {
        feature: {"enable": "off" if feature in _DISABLED_FEATURES else "on"} for feature in _GROUP_FEATURES
    }
    return {
        "groupId": group_id,
        "useRelays": False,
        "localDisplayName": profile["displayName"],
        "groupProfile": dict(profile),
        "localAlias": "",
        "fullGroupPreferences": {**features, "commands": [], **(profile.get("groupPreferences") or {})},
        "membership": membership,
        "chatSettings": {"enableNtfs": "all", "favorite": False},
        **_dates(at),
        "chatTs": at,
        "chatTags": [],
        "groupSummary": {"currentMembers": 1},
        "membersRequireAttention": 0,
    }


def link(kind: str, number: int) -> JsonObject:
    """Return the links for a connection."""
    key = encode_base64(f"{kind}{number}").rstrip("=")
    path = "invitation" if kind == "invitation" else "contact"
    more = "&data=%7B%22type%22%3A%22group%22%7D" if kind == "group" else ""
    return {
        "connFullLink": f"simplex:/{path}#/?v=2-7&smp=smp%3A%2F%2FexampleKey%40smp9.example.org%2F{key}{more}",
        "connShortLink": f"https://smp9.example.org/{kind[0]}#{key}",
    }


def link_kind(text: str) -> str:
    """Return ``invitation``, ``address`` or ``group`` for a full or short link, or an empty string for other texts."""
    match = _LINK.fullmatch(text)
    if match is None:
        return ""
    if match["short"]:
        return {"i": "invitation", "a": "address"}.get(match["short"], "group")
    is_group = match["full"] == "contact" and "type%22%3A%22group" in text
    return "group" if is_group else {"contact": "address"}.get(match["full"], match["full"])


def _published_link(kind: str, number: int) -> JsonObject:
    flags = {"shortLinkDataSet": True, "shortLinkLargeDataSet": False}
    return {"userContactLinkId": number, "connLinkContact": link(kind, number), **flags}


def user_contact_link(number: int, settings: Mapping[str, Any]) -> JsonObject:
    """Return the address of a profile."""
    return {**_published_link("address", number), "addressSettings": dict(settings)}


def group_link(number: int, group_id: int, role: str) -> JsonObject:
    """Return the link for joining a group."""
    group_link_id = encode_base64(f"link{group_id}")
    return {**_published_link("group", number), "groupLinkId": group_link_id, "acceptMemberRole": role}


def contact_request(request_id: int, name: str, profile_id: int, at: str) -> JsonObject:
    """Return a contact request."""
    return {
        "contactRequestId": request_id,
        "agentInvitationId": encode_base64(f"invitation{request_id}"),
        "userContactLinkId_": 1,
        "cReqChatVRange": {"minVersion": 1, "maxVersion": 16},
        "localDisplayName": name,
        "profileId": profile_id,
        "profile": local_profile(profile_id, {"displayName": name, "fullName": ""}),
        **_dates(at),
        "xContactId": encode_base64(f"request{request_id}"),
        "pqSupport": True,
    }


def pending_connection(conn_id: int, at: str, *, via_contact_uri: bool) -> JsonObject:
    """Return a connection that is not established yet."""
    return {
        "pccConnId": conn_id,
        "pccAgentConnId": encode_base64(f"pending{conn_id}"),
        "pccConnStatus": {"type": "new"},
        "viaContactUri": via_contact_uri,
        "localAlias": "",
        **_dates(at),
    }


def chat_item(item_id: int, direction: Mapping[str, Any], content: Mapping[str, Any], at: str) -> JsonObject:
    """Return a chat item. ``content`` is a ``MsgContent``, sent or received depending on ``direction``."""
    is_own = direction["type"].endswith("Snd")
    return {
        "chatDir": dict(direction),
        "meta": {
            "itemId": item_id,
            "itemTs": at,
            "itemText": str(content.get("text") or ""),
            "itemStatus": {"type": "sndNew" if is_own else "rcvNew"},
            "itemSharedMsgId": encode_base64(f"shared{item_id}"),
            "itemEdited": False,
            "userMention": False,
            "hasLink": content.get("type") == "link",
            "deletable": is_own,
            "editable": is_own,
            "showGroupAsSender": False,
            **_dates(at),
        },
        "content": {"type": "sndMsgContent" if is_own else "rcvMsgContent", "msgContent": dict(content)},
        "mentions": {},
        "reactions": [],
    }


def quote_of(item: Mapping[str, Any]) -> JsonObject:
    """Return the quote of ``item`` in a reply."""
    meta = item["meta"]
    return {
        "chatDir": item["chatDir"],
        "itemId": meta["itemId"],
        "sharedMsgId": meta["itemSharedMsgId"],
        "sentAt": meta["itemTs"],
        "content": item["content"]["msgContent"],
    }


def rcv_transfer(file: Mapping[str, Any], sender: str) -> JsonObject:
    """Return an incoming file transfer."""
    return {
        "fileId": file["fileId"],
        "fileInvitation": {"fileName": file["fileName"], "fileSize": file["fileSize"]},
        "fileStatus": {"type": "new"},
        "fileType": "normal",
        "senderDisplayName": sender,
        "chunkSize": 65536,
        "cancelled": False,
    }


def snd_transfer(file: Mapping[str, Any], *, is_cancelled: bool = False) -> JsonObject:
    """Return an outgoing file transfer."""
    return {
        "fileId": file["fileId"],
        "fileName": file["fileName"],
        "filePath": file["fileSource"]["filePath"],
        "fileSize": file["fileSize"],
        "chunkSize": 65536,
        "cancelled": is_cancelled,
    }
