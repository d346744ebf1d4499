"""The documented commands of the SimpleX CLI's bot API, one function each, and a few undocumented ones.

The functions raise :class:`MessageError` for arguments that the CLI would certainly reject. Commands contain no names
of people or groups: chats, members, requests, items and files have ids. ``user_id`` is the profile that acts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cometbot.channels.simplex.protocol.command import Command, Network, check_last_parameter, json_object, to_json
from cometbot.channels.simplex.protocol.contents import ComposedMessage, UpdatedMessage, check_path, make_reaction
from cometbot.channels.simplex.protocol.refs import ChatRef, check_id, check_role, join_ids, make_group_ref
from cometbot.errors import MessageError

DELETE_MODES = ("broadcast", "internal", "internalMark", "history")
"""For everybody, only here, marked as deleted here, and from the group's history."""

DELETE_CHAT_MODES = ("full", "entity", "messages")

_CONNECT_ANSWERS = ("sentConfirmation", "sentInvitation", "contactAlreadyExists")
_NEWER_CONNECT_ANSWERS = ("connectionPlan", "sentInvitationToContact", "startedConnectionToContact")


# Address


def create_my_address(user_id: int) -> Command:
    """Create the profile's address. The CLI rejects a second one with ``errorStore.duplicateContactLink``."""
    return _command(f"/_address {_user(user_id)}", "userContactLinkCreated", network="interactive")


def delete_my_address(user_id: int) -> Command:
    """Delete the profile's address."""
    return _command(f"/_delete_address {_user(user_id)}", "userContactLinkDeleted", network="background")


def show_my_address(user_id: int) -> Command:
    """Request the profile's address. The CLI answers ``errorStore.userContactLinkNotFound`` if there is none."""
    return _command(f"/_show_address {_user(user_id)}", "userContactLink")


def set_profile_address(user_id: int, enable: bool) -> Command:
    """Show the address in the profile, or stop showing it."""
    return _command(
        f"/_profile_address {_user(user_id)} {_on_or_off(enable)}",
        "userProfileUpdated",
        "userProfileNoChange",
        network="interactive",
    )


def set_address_settings(user_id: int, settings: Mapping[str, Any]) -> Command:
    """Replace the address's settings. Requests are accepted automatically if ``autoAccept`` is set."""
    text = f"/_address_settings {_user(user_id)} {json_object(settings, 'the address settings')}"
    return _command(text, "userContactLinkUpdated", network="interactive")


# Messages


def send_messages(
    ref: ChatRef,
    messages: Sequence[ComposedMessage],
    *,
    live: bool = False,
    ttl: int | None = None,
    sign: bool = False,
) -> Command:
    """Send messages to a contact or a group. The answer has an item for each, in order.

    ``live`` is only for a single message, and at most one of several messages may quote another. ``ttl`` is the number
    of seconds after which they disappear, if the chat allows that.
    """
    if ref.kind not in ("direct", "group"):
        raise MessageError(f"messages go to a contact or a group, not to {ref}")
    if not messages:
        raise MessageError("there is no message to send")
    if len(messages) > 1 and (live or sum(item.quoted_item_id is not None for item in messages) > 1):
        raise MessageError("several messages at once cannot be live, and only one of them may answer another")
    options = _option("live", live) + _ttl(ttl) + _option("sign", sign)
    body = to_json([message.to_object() for message in messages], "the messages")
    return _command(f"/_send {ref}{options} json {body}", "newChatItems", network="background")


def update_chat_item(ref: ChatRef, item_id: int, message: UpdatedMessage, *, live: bool = False) -> Command:
    """Edit one of the bot's own messages. The last edit of a live message is sent without ``live``."""
    body = to_json(message.to_object(), "the message")
    text = f"/_update item {ref} {_item(item_id)}{_option('live', live)} json {body}"
    return _command(text, "chatItemUpdated", "chatItemNotChanged", network="background")


def delete_chat_item(ref: ChatRef, item_ids: Iterable[int], mode: str = "broadcast") -> Command:
    """Delete messages. ``mode`` is one of :data:`DELETE_MODES`."""
    ids = join_ids(item_ids, "the message")
    text = f"/_delete item {ref} {ids} {_check_choice(mode, DELETE_MODES, 'the way to delete')}"
    return _command(text, "chatItemsDeleted", network="background")


def delete_member_chat_item(group_id: int, item_ids: Iterable[int]) -> Command:
    """Delete messages of other members in a group. The bot's role must be moderator or above, and above theirs."""
    text = f"/_delete member item {make_group_ref(group_id)} {join_ids(item_ids, 'the message')}"
    return _command(text, "chatItemsDeleted", network="background")


def chat_item_reaction(ref: ChatRef, item_id: int, emoji: str, *, added: bool = True) -> Command:
    """Add one of the eight reactions to a message, or remove it."""
    text = f"/_reaction {ref} {_item(item_id)} {_on_or_off(added)} {to_json(make_reaction(emoji), 'the reaction')}"
    return _command(text, "chatItemReaction", network="background")


# Files


def receive_file(
    file_id: int,
    path: str = "",
    *,
    approved_relays: bool = True,
    encrypt: bool | None = False,
    inline: bool | None = None,
) -> Command:
    """Download a file to ``path`` on the CLI's machine: a folder, or a file that does not exist yet.

    Without ``approved_relays`` the CLI refuses file servers that it does not use itself. With ``encrypt`` the file
    cannot be read here; None leaves that to the CLI's setting.
    """
    text = f"/freceive {check_id(file_id, 'the file')}{_option('approved_relays', approved_relays)}"
    text += "" if encrypt is None else f" encrypt={_on_or_off(encrypt)}"
    text += "" if inline is None else f" inline={_on_or_off(inline)}"
    if path:
        text += f" {check_last_parameter(check_path(path), 'the path of a file')}"
    return _command(text, "rcvFileAccepted", "rcvFileAcceptedSndCancelled")


def cancel_file(file_id: int) -> Command:
    """Cancel sending or receiving a file."""
    text = f"/fcancel {check_id(file_id, 'the file')}"
    return _command(text, "sndFileCancelled", "rcvFileCancelled", network="background")


# Groups


def add_member(group_id: int, contact_id: int, role: str = "member") -> Command:
    """Invite a contact to a group. The bot must be admin or owner."""
    contact = check_id(contact_id, "the contact")
    text = f"/_add {make_group_ref(group_id)} {contact} {check_role(role)}"
    return _command(text, "sentGroupInvitation", network="interactive")


def join_group(group_id: int) -> Command:
    """Accept an invitation to a group."""
    return _command(f"/_join {make_group_ref(group_id)}", "userAcceptedGroupSent", network="interactive")


def accept_member(group_id: int, member_id: int, role: str = "member") -> Command:
    """Accept a member who waits for a review."""
    text = f"/_accept member {make_group_ref(group_id)} {_member(member_id)} {check_role(role)}"
    return _command(text, "memberAccepted", network="background")


def members_role(group_id: int, member_ids: Iterable[int], role: str) -> Command:
    """Change the role of members."""
    text = f"/_member role {make_group_ref(group_id)} {join_ids(member_ids, 'the member')} {check_role(role)}"
    return _command(text, "membersRoleUser", network="background")


def block_members_for_all(group_id: int, member_ids: Iterable[int], blocked: bool = True) -> Command:
    """Hide the messages of members from everybody, or show them again."""
    text = f"/_block {make_group_ref(group_id)} {join_ids(member_ids, 'the member')} blocked={_on_or_off(blocked)}"
    return _command(text, "membersBlockedForAllUser", network="background")


def remove_members(group_id: int, member_ids: Iterable[int], *, with_messages: bool = False) -> Command:
    """Remove members, and their messages too if ``with_messages`` is set."""
    text = f"/_remove {make_group_ref(group_id)} {join_ids(member_ids, 'the member')}"
    return _command(text + _option("messages", with_messages), "userDeletedMembers", network="background")


def leave_group(group_id: int) -> Command:
    """Leave a group."""
    return _command(f"/_leave {make_group_ref(group_id)}", "leftMemberUser", network="background")


def list_members(group_id: int) -> Command:
    """Request a group's members."""
    return _command(f"/_members {make_group_ref(group_id)}", "groupMembers")


def new_group(user_id: int, profile: Mapping[str, Any], *, incognito: bool = False) -> Command:
    """Create a group. ``profile`` has at least ``displayName`` and ``fullName``."""
    options = _option("incognito", incognito)
    text = f"/_group {_user(user_id)}{options} {json_object(profile, 'the group profile')}"
    return _command(text, "groupCreated")


def new_public_group(
    user_id: int, relay_ids: Iterable[int], profile: Mapping[str, Any], *, incognito: bool = False
) -> Command:
    """Create a channel that uses chat relays."""
    options = _option("incognito", incognito)
    relays = join_ids(relay_ids, "the relay")
    text = f"/_public group {_user(user_id)}{options} {relays} {json_object(profile, 'the group profile')}"
    return _command(text, "publicGroupCreated", "publicGroupCreationFailed", network="interactive")


def get_group_relays(group_id: int) -> Command:
    """Request a channel's relays."""
    return _command(f"/_get relays {make_group_ref(group_id)}", "groupRelays")


def add_group_relays(group_id: int, relay_ids: Iterable[int]) -> Command:
    """Add relays to a channel."""
    text = f"/_add relays {make_group_ref(group_id)} {join_ids(relay_ids, 'the relay')}"
    return _command(text, "groupRelaysAdded", "groupRelaysAddFailed", network="interactive")


def allow_relay_group(group_id: int) -> Command:
    """Allow a group to use this profile as its relay."""
    return _command(f"/_relay allow {make_group_ref(group_id)}", "relayGroupAllowed", network="background")


def update_group_profile(group_id: int, profile: Mapping[str, Any]) -> Command:
    """Replace a group's whole profile. Include the fields that are to stay."""
    text = f"/_group_profile {make_group_ref(group_id)} {json_object(profile, 'the group profile')}"
    return _command(text, "groupUpdated", network="background")


# Group links


def create_group_link(group_id: int, role: str = "member") -> Command:
    """Create the link by which people join a group."""
    text = f"/_create link {make_group_ref(group_id)} {check_role(role)}"
    return _command(text, "groupLinkCreated", network="interactive")


def group_link_member_role(group_id: int, role: str) -> Command:
    """Change the role of those who join by the link from now on."""
    return _command(f"/_set link role {make_group_ref(group_id)} {check_role(role)}", "groupLink")


def delete_group_link(group_id: int) -> Command:
    """Delete a group's link."""
    return _command(f"/_delete link {make_group_ref(group_id)}", "groupLinkDeleted", network="background")


def get_group_link(group_id: int) -> Command:
    """Request a group's link. The CLI answers ``errorStore.groupLinkNotFound`` if there is none."""
    return _command(f"/_get link {make_group_ref(group_id)}", "groupLink")


# Connections


def add_contact(user_id: int, *, incognito: bool = False) -> Command:
    """Create a link by which one person can connect."""
    options = _option("incognito", incognito)
    return _command(f"/_connect {_user(user_id)}{options}", "invitation", network="interactive")


def connect_plan(user_id: int, link: str) -> Command:
    """Request the target of a link or name, and whether it is known already."""
    text = f"/_connect plan {_user(user_id)} {check_last_parameter(link, 'the link')}"
    return _command(text, "connectionPlan", network="interactive")


def connect_by_link(user_id: int, full_link: str, short_link: str = "", *, incognito: bool = False) -> Command:
    """Connect to the owner of a link. Do not use links from users whom you do not trust."""
    options = _option("incognito", incognito)
    links = " ".join(_link(link) for link in (full_link, short_link) if link or link is full_link)
    return _command(f"/_connect {_user(user_id)}{options} {links}", *_CONNECT_ANSWERS, network="interactive")


def connect(link_or_name: str) -> Command:
    """Connect the active profile to the owner of a link or name, in one step."""
    text = f"/connect {check_last_parameter(link_or_name, 'the link')}"
    return _command(text, *_CONNECT_ANSWERS, *_NEWER_CONNECT_ANSWERS, "startedConnectionToGroup", network="interactive")


def accept_contact(request_id: int) -> Command:
    """Accept a contact request."""
    text = f"/_accept {check_id(request_id, 'the contact request')}"
    return _command(text, "acceptingContactRequest", network="interactive")


def reject_contact(request_id: int) -> Command:
    """Reject a contact request. The sender is not notified."""
    return _command(f"/_reject {check_id(request_id, 'the contact request')}", "contactRequestRejected")


# Chats and contacts


def list_contacts(user_id: int) -> Command:
    """Request all contacts with their pictures. For a large database that is many megabytes."""
    return _command(f"/_contacts {_user(user_id)}", "contactsList")


def list_groups(user_id: int, *, contact_id: int | None = None, search: str = "", is_joined: bool = False) -> Command:
    """Request the groups, those with a contact in them, or those with a text in their name.

    ``is_joined`` selects the older spelling ``/_groups1``. Raises :class:`MessageError` for a search that the CLI would
    parse as a contact, and for one that a command cannot carry.
    """
    text = f"/_groups{'' if is_joined else ' '}{_user(user_id)}"
    text += "" if contact_id is None else f" @{check_id(contact_id, 'the contact')}"
    if contact_id is None and re.match(r"@\d", search, re.ASCII):
        raise MessageError(
            "the text to search for: expected a part of a name, got what the CLI reads as a contact's number"
        )
    return _command(
        text + (f" {check_last_parameter(search, 'the text to search for')}" if search else ""), "groupsList"
    )


def get_chats(
    user_id: int, *, count: int, unread: bool = False, favorite: bool = False, search: str = "", pending: bool = False
) -> Command:
    """Request the chats that changed last, newest first, each with its newest item.

    ``pending`` adds connections that are not established yet; ``search`` replaces the two filters.
    """
    query: dict[str, Any] = {"type": "filters", "favorite": _check_switch(favorite), "unread": _check_switch(unread)}
    if search:
        query = {"type": "search", "search": search}
    options = f"{_option('pcc', pending)} count={_count(count)}"
    return _command(f"/_get chats {_user(user_id)}{options} {to_json(query, 'the query')}", "apiChats")


def delete_chat(ref: ChatRef, mode: str = "full", *, notify: bool = True) -> Command:
    """Delete a chat: ``full`` with everything, ``entity`` without its messages, or only the ``messages``."""
    text = f"/_delete {ref} {_check_choice(mode, DELETE_CHAT_MODES, 'what to delete')}"
    if not _check_switch(notify) and mode == "messages":
        raise MessageError("nobody is notified of deleted messages; leave notify out, or delete full or entity")
    tags = ("contactDeleted", "contactConnectionDeleted", "groupDeletedUser")
    return _command(text + ("" if notify else " notify=off"), *tags, network="background")


def set_group_custom_data(group_id: int, data: Mapping[str, Any] | None) -> Command:
    """Store the bot's own data with a group; None clears it."""
    return _command(f"/_set custom {make_group_ref(group_id)}{_custom(data)}", "cmdOk")


def set_contact_custom_data(contact_id: int, data: Mapping[str, Any] | None) -> Command:
    """Store the bot's own data with a contact; None clears it."""
    return _command(f"/_set custom {ChatRef('direct', contact_id)}{_custom(data)}", "cmdOk")


def set_auto_accept_member_contacts(user_id: int, enable: bool) -> Command:
    """Set whether direct chats that group members open are accepted automatically."""
    return _command(f"/_set accept member contacts {_user(user_id)} {_on_or_off(enable)}", "cmdOk")


# User profiles


def show_active_user() -> Command:
    """Request the active profile. The CLI answers ``error.noActiveUser`` if there is none."""
    return _command("/user", "activeUser")


def create_active_user(profile: Mapping[str, Any] | None, *, past_timestamp: bool = False) -> Command:
    """Create a profile and activate it."""
    user: dict[str, Any] = {
        "pastTimestamp": _check_switch(past_timestamp),
        "userChatRelay": False,
        "clientService": False,
    }
    if profile is not None:
        user["profile"] = dict(profile)
    return _command(f"/_create user {json_object(user, 'the profile')}", "activeUser")


def list_users() -> Command:
    """Request the profiles of this CLI."""
    return _command("/users", "usersList")


def set_active_user(user_id: int, view_password: str = "") -> Command:
    """Activate a profile. A hidden one needs its password."""
    return _command(f"/_user {_user(user_id)}{_password(view_password)}", "activeUser")


def delete_user(user_id: int, *, delete_queues: bool, view_password: str = "") -> Command:
    """Delete a profile, and its queues on the servers if ``delete_queues`` is set."""
    text = f"/_delete user {_user(user_id)} del_smp={_on_or_off(delete_queues)}{_password(view_password)}"
    return _command(text, "cmdOk", network="background")


def update_profile(user_id: int, profile: Mapping[str, Any]) -> Command:
    """Replace a whole profile. All contacts are notified."""
    text = f"/_profile {_user(user_id)} {json_object(profile, 'the profile')}"
    return _command(text, "userProfileUpdated", "userProfileNoChange", network="background")


def set_contact_prefs(contact_id: int, preferences: Mapping[str, Any]) -> Command:
    """Replace the preferences for one contact, the command menu included."""
    text = f"/_set prefs {ChatRef('direct', contact_id)} {json_object(preferences, 'the preferences')}"
    return _command(text, "contactPrefsUpdated", network="background")


# Chat control


def start_chat() -> Command:
    """Start receiving. A CLI with a port has started already and answers ``chatRunning``."""
    return _command("/_start", "chatStarted", "chatRunning")


def stop_chat() -> Command:
    """Stop receiving."""
    return _command("/_stop", "chatStopped")


# Outside of the documented API


def get_chat(
    ref: ChatRef, *, count: int, after: int | None = None, before: int | None = None, search: str = ""
) -> Command:
    """Request a chat's items, oldest first: the newest ones, or those next after or before an item.

    The CLI's bot API reference does not list this command; the official libraries use it.
    """
    if after is not None and before is not None:
        raise MessageError("give one of after and before")
    start = "" if after is None else f" after={_item(after)}"
    start += "" if before is None else f" before={_item(before)}"
    text = f"/_get chat {ref}{start} count={_count(count)}"
    return _command(
        text + (f" search={check_last_parameter(search, 'the text to search for')}" if search else ""), "apiChat"
    )


def create_member_contact(group_id: int, member_id: int) -> Command:
    """Create a direct chat with a group member, who is then invited by :func:`invite_member_contact`."""
    text = f"/_create member contact {make_group_ref(group_id)} {_member(member_id)}"
    return _command(text, "newMemberContact", network="interactive")


def invite_member_contact(contact_id: int, message: UpdatedMessage | None = None) -> Command:
    """Invite a member to the direct chat that was created, optionally with a message."""
    text = f"/_invite member contact {ChatRef('direct', contact_id)}"
    if message is not None:
        text += f" json {to_json(dict(message.content), 'the message')}"
    return _command(text, "newMemberContactSentInv", network="interactive")


def read_chat(ref: ChatRef) -> Command:
    """Mark a whole chat as read."""
    return _command(f"/_read chat {ref}", "cmdOk")


def version() -> Command:
    """Request the CLI's version."""
    return _command("/version", "versionInfo")


def subscriptions() -> Command:
    """Request the servers that the CLI is connected to, which shows whether it has a network."""
    return _command("/get subs", "agentSubs")


def _command(text: str, *answers: str, network: Network = "no") -> Command:
    return Command(text, frozenset(answers), network)


def _check_switch(value: bool) -> bool:
    # A string such as "off" would count as true.
    if not isinstance(value, bool):
        raise MessageError(f"a switch of a command: expected True or False, got {value!r:.40}")
    return value


def _on_or_off(value: bool) -> str:
    return "on" if _check_switch(value) else "off"


def _option(name: str, value: bool) -> str:
    return f" {name}=on" if _check_switch(value) else ""


def _user(user_id: int) -> int:
    return check_id(user_id, "the profile")


def _item(item_id: int) -> int:
    return check_id(item_id, "the message")


def _member(member_id: int) -> int:
    return check_id(member_id, "the member")


def _count(count: int) -> int:
    return check_id(count, "the count")


def _ttl(ttl: int | None) -> str:
    return "" if ttl is None else f" ttl={check_id(ttl, 'the time to live')}"


def _custom(data: Mapping[str, Any] | None) -> str:
    return "" if data is None else f" {json_object(data, 'the data')}"


def _password(password: str) -> str:
    return f" {to_json(password, 'the password')}" if password else ""


def _link(link: str) -> str:
    if len(check_last_parameter(link, "the link").split()) > 1:
        raise MessageError("the link has a space in it; give the link alone")
    return link


def _check_choice(word: str, known: tuple[str, ...], what: str) -> str:
    if word not in known:
        raise MessageError(f"{what} must be one of {', '.join(known)}, not {word!r}")
    return word
