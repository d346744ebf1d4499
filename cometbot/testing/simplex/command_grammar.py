"""The grammar of the fake CLI's commands: those of the API reference, and their forms in the console."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

_NAME = r"'[^'#@\s][^']*'|[^\s,'#@][^\s,]*"

_WORDS = {
    "user": r"(?P<user>\d+)",
    "id": r"(?P<id>\d+)",
    "ids": r"(?P<ids>\d+(?:,\d+)*)",
    "ref": r"(?P<ref>[@#:*]\d+(?:\(_support(?::\d+)?\))?)",
    "target": r"(?P<ref>[@#]\d+(?:\(_support(?::\d+)?\))?)",
    "group": r"#(?P<group>\d+)",
    "contact": r"@(?P<contact>\d+)",
    "number": r"(?P<number>\d+)",
    "role": r"(?P<role>relay|observer|author|member|moderator|admin|owner)",
    "switch": r"(?P<switch>on|off)",
    "json": r"(?P<json>[\[{\"].*)",
    "rest": r"(?P<rest>\S(?:.*\S)?)",
    "text": r"(?P<rest>.+)",
    "message": r"(?P<message>.+)",
    "a_user": rf"(?P<user_name>{_NAME})",
    "a_contact": rf"@?(?P<contact_name>{_NAME})",
    "a_group": rf"#?(?P<group_name>{_NAME})",
    "a_member": rf"@?(?P<member_names>{_NAME})",
    "members": rf"@?(?P<member_names>(?:{_NAME})(?:,@?(?:{_NAME}))*)",
    "a_request": rf"@?(?P<request_name>{_NAME})",
    "a_chat": rf"(?P<chat_name>[@#](?:{_NAME}))",
    "new_name": rf"(?P<new_name>{_NAME})(?:\s+(?P<descr>\S.*))?",
    "topic": r"(?P<topic>files?|groups?|contacts?|address|incognito|messages|remote|settings|db)",
}

_OPTIONS = {
    "live": r"(?: live=(?P<live>on|off))?",
    "ttl": r"(?: ttl=(?P<ttl>\d+|default))?",
    "sign": r"(?: sign=(?P<sign>on|off))?",
    "incognito": r"(?: incognito=(?P<incognito>on|off))?",
    "masked": r"(?P<incognito> incognito| i)?",
    "messages": r"(?: messages=(?P<messages>on|off))?",
    "pcc": r"(?: pcc=(?P<pcc>on|off))?",
    "ratchet": r"(?: pq_ratchet=(?:on|off))?",
    "custom": r"(?: (?P<json>\{.*))?",
    "password": r"(?: (?P<json>\".*))?",
    "plain_password": r"(?: (?:\S.*))?",
    "search": r"(?: search=(?P<rest>.+))?",
    "with": r"(?: @(?P<contact>\d+))?",
    "with_named": rf"(?: @(?P<contact_name>{_NAME}))?",
    "named": r"(?: (?P<rest>\S.*))?",
    "mode": r"(?: (?P<mode>full|entity))?",
    "notify": r"(?: notify=(?P<notify>on|off))?",
    "relays": r"(?: approved_relays=(?P<approved>on|off))?",
    "encrypt": r"(?: encrypt=(?P<encrypt>on|off))?",
    "inline": r"(?: inline=(?P<inline>on|off))?",
    "path": r"(?: (?P<rest>\S.*))?",
    "of_text": r"\((?P<item_text>[^)]*)\) ?",
    "of_kind": r"(?: content=\w+)?",
    "page": r"(?: (?P<place>after|before|around)=(?P<item>\d+) count=| count=| initial=)(?P<number>\d+)",
    "changed": r"(?:(?: (?P<place>after|before)=(?P<item>\S+))? count=(?P<number>\d+))?",
    "query": r"(?: (?P<json>\{.*))?",
    "invitation": r"(?: json (?P<json>\{.*)| text (?P<message>.+))?",
    "links": r"(?: (?P<full>\S+)(?: (?P<short>\S+))?)?",
    "member_role": r"(?: (?P<role>relay|observer|author|member|moderator|admin|owner))?",
    "main": r"(?: main=(?:on|off))?",
    "parts": r"(?: snd_files=(?:on|off))?(?: large_link_data=(?:on|off))?(?: service_requests=(?:on|off))?",
    "count": r"(?: (?P<number>all|\d+))?",
    "accepting": r"(?: (?P<business>business)| incognito=(?P<incognito>on|off))?",
}

# Curly brackets hold words; angle brackets hold options, which include the space before them.
_SYNTAX = r"""
create_address          /_address {user}<ratchet>
create_address          (?:/address|/ad)
delete_address          /_delete_address {user}
delete_address          (?:/delete_address|/da)
show_address            /_show_address {user}
show_address            (?:/show_address|/sa)
profile_address         /_profile_address {user} {switch}
profile_address         (?:/profile_address|/pa) {switch}
address_settings        /_address_settings {user}<ratchet> {json}
auto_accept             /auto_accept {switch}<accepting><invitation>
send                    /_send {target}<live><ttl><sign> json {json}
send_text               /_send {target}<live><ttl><sign> text {text}
send_text               {a_chat} {message}
send                    (?P<quoted>>>?) ?{a_chat} <of_text>{message}
update_item             /_update item {ref} {id}<live> json ?{json}
update_item             /_update item {ref} {id}<live> text {message}
update_item             ! ?{a_chat} (?:<of_text>)?{message}
delete_item             /_delete item {ref} {ids} (?P<mode>broadcast|internal|internalMark|history)
delete_item             \\ ?{a_chat} (?P<item_text>.+)
delete_member_item      /_delete member item {group} {ids}
reaction                /_reaction {ref} {id} {switch} {json}
reaction                (?P<sign>[+-])(?P<emoji>\S) {a_chat} (?P<item_text>.+)
receive_file            (?:/freceive|/fr) {id}<relays><encrypt><inline><path>
cancel_file             (?:/fcancel|/fc) {id}
add_member              /_add {group} {number} {role}
add_member              (?:/add|/a) {a_group} {a_contact}<member_role>
join_group              /_join {group}
join_group              (?:/join|/j) {a_group}(?: mute)?
accept_member           /_accept member {group} {number} {role}
accept_member           /accept member {a_group} {a_member}<member_role>
members_role            /_member role {group} {ids} {role}
members_role            (?:/member role|/mr) {a_group} {a_member} {role}
block_members           /_block {group} {ids} blocked={switch}
block_members           /(?P<un>un)?block for all {a_group} {a_member}
remove_members          /_remove {group} {ids}<messages>
remove_members          (?:/remove|/rm) {a_group} {members}<messages>
leave_group             /_leave {group}
leave_group             (?:/leave|/l) {a_group}
list_members            /_members {group}
list_members            (?:/members|/ms) {a_group}
new_group               /_group {user}<incognito> {json}
new_group               (?:/group|/g)<masked> #?{new_name}
new_public_group        /_public group {user}<incognito> {ids} {json}
group_relays            /_get relays {group}
add_relays              /_add relays {group} {ids}
allow_relay             /_relay allow {group}
group_profile           /_group_profile {group} {json}
group_profile           (?:/group_profile|/gp) {a_group} {new_name}
create_link             /_create link {group}<member_role>
create_link             /create link {a_group}<member_role>
link_role               /_set link role {group} {role}
link_role               /set link role {a_group} {role}
delete_link             /_delete link {group}
delete_link             /delete link {a_group}
get_link                /_get link {group}
get_link                /show link {a_group}
connect_plan            /_connect plan {user} {rest}
connect_user            /_connect {user}<incognito><links>
connect_user            (?:/connect|/c)<masked>
connect                 (?:/connect|/c)<masked> {rest}
accept_contact          /_accept<incognito> {id}
accept_contact          (?:/accept|/ac)<masked> {a_request}
reject_contact          /_reject {id}
reject_contact          (?:/reject|/rc) {a_request}
list_contacts           /_contacts {user}
list_contacts           /contacts
list_groups             /_groups ?{user}<with><named>
list_groups             (?:/groups|/gs)<with_named><named>
get_chats               /_get chats {user}<pcc><changed><query>
last_chats              (?:/chats|/cs)<count>
get_chat                /_get chat {ref}<of_kind><page><search>
delete_user             /_delete user {user} del_smp={switch}<password>
delete_user             /delete user {a_user}<plain_password>
delete_chat             /_delete {ref} (?P<mode>messages)
delete_chat             /_delete {ref}<mode><notify>
delete_chat             (?:/delete|/d) #(?P<group_name>'[^']+'|\S+)
delete_chat             (?:/delete|/d) {a_contact} (?P<mode>messages)
delete_chat             (?:/delete|/d) {a_contact}<mode><notify>
group_custom            /_set custom {group}<custom>
contact_custom          /_set custom {contact}<custom>
member_contacts         /_set accept member contacts {user} {switch}
show_user               (?:/user|/u)
create_user             /_create user {json}
create_user             /create user {new_name}
list_users              /users
set_user                /_user {user}<password>
set_user                (?:/user|/u) {a_user}<plain_password>
update_profile          /_profile {user} {json}
update_profile          (?:/profile|/p) {new_name}
show_profile            (?:/profile|/p)
contact_prefs           /_set prefs {contact} {json}
start                   /_start<main><parts>
stop                    /_stop
member_contact          /_create member contact {group} {number}
invite_member           /_invite member contact {contact}<invitation>
read_chat               /_read chat {ref}
version                 (?:/version|/v)
subscriptions           /get subs
help                    (?:/help|/h)(?: {topic})?
help                    /h(?P<topic>[fgcaimrsd])
help                    (?P<topic>/markdown|/m)
"""

# First words of commands that a real CLI accepts, but that the fake CLI does not implement.
_UNSUPPORTED = """
/_abort switch|/_accept_conditions|/_app|/_archive reports|/_call|/_check running|/_clear chat|/_conditions
/_conditions_notified|/_connect contact|/_connect group|/_create *|/_create tag|/_db|/_delete member chat
/_delete reports|/_delete tag|/_download|/_enable|/_files_encrypt|/_files_folder|/_forward|/_get app settings
/_get code|/_get item info|/_get items|/_get tags|/_hide user|/_info|/_member settings|/_mute user|/_network
/_network_statuses|/_ntf|/_operators|/_parse|/_prepare|/_queue info|/_reaction members|/_read chat items
/_read user|/_reorder tags|/_report|/_resubscribe all|/_save app settings|/_server test|/_servers
/_service_response|/_set accept group invitations|/_set alias|/_set conn user|/_set contact user|/_set group user
/_set incognito|/_set receipts|/_set theme|/_set_file_to_receive|/_settings|/_share|/_short link
/_short_link_address|/_switch|/_sync|/_tags|/_temp_folder|/_ttl|/_unhide user|/_unmute user|/_unread chat
/_update tag|/_upload|/_validate_servers|/_verify|/abort switch|/block|/call|/clear|/code|/confirm remote ctrl
/connect remote ctrl|/contact_merge|/crc|/create bot|/db|/debug|/delete profile image|/delete remote
/delete welcome|/enable|/fdescription|/fd|/feed|/ff|/fforward|/file|/f|/files_folder|/find remote ctrl|/fs|/fstatus
/get queues|/get remote file|/get servers|/get subs|/get workers|/group_descr|/hide user|/image|/image_forward
/img|/imgf|/incognito|/info|/i|/item info|/last_item_id|/list remote|/live|/member support chats|/mute|/net
/network|/ntf|/operators|/q|/qi|/queue info|/quit|/exit|/read user|/receipts|/reconnect|/remote_hosts_folder
/report|/reset servers|/search|/set|/show|/simplex|/smp|/sql|/start remote host|/stop remote|/store remote file
/switch|/sync|/t|/tail|/ttl|/unblock|/unhide user|/unmute|/verify|/w|/welcome|/xftp|/?
"""
PARSE_ERROR_TEXT = "Failed reading: empty"
_BLANK_BYTES = b" \t\n\v\f\r\xa0"


class UnsupportedCommand(ValueError):
    """A command that real SimpleX CLIs accept and the fake CLI does not."""


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed command: its name here, its parameters as strings, and the JSON at its end."""

    name: str
    texts: dict[str, str]
    json: Any = field(default=None)

    def __contains__(self, key: str) -> bool:
        return key in self.texts

    def text(self, key: str) -> str:
        """Return a parameter, or an empty string if it was left out."""
        return self.texts.get(key, "")

    def number(self, key: str) -> int:
        """Return a parameter as a number."""
        return int(self.texts[key])

    def numbers(self, key: str) -> list[int]:
        """Return a parameter as a list of numbers."""
        return [int(part) for part in self.texts[key].split(",")]

    def is_on(self, key: str = "switch") -> bool:
        """Return True if a switch is on, or an option was given."""
        return self.texts.get(key, "off") != "off"


def _pattern(syntax: str) -> re.Pattern[str]:
    named = re.sub(r"\{(\w+)\}", lambda found: _WORDS[found[1]], syntax)
    return re.compile(re.sub(r"(?<!\?P)<(\w+)>", lambda found: _OPTIONS[found[1]], named), re.DOTALL)


_RULES = [
    (name, _pattern(syntax)) for name, syntax in (line.split(maxsplit=1) for line in _SYNTAX.strip().splitlines())
]
_words = sorted(_UNSUPPORTED.strip().replace("\n", "|").split("|"), key=len, reverse=True)
_UNSUPPORTED_PATTERN = re.compile(rf"(?:{'|'.join(map(re.escape, _words))})(?![\w/])|//|\\\\")

COMMAND_NAMES = frozenset(name for name, _ in _RULES)


def read_command(text: str) -> Request:
    """Parse a command.

    Raises :class:`UnsupportedCommand` for one that only a real CLI accepts, and :class:`ValueError` if it is not a
    command or has extra text.
    """
    trimmed = trim(text)
    for name, pattern in _RULES:
        match = pattern.fullmatch(trimmed)
        if match is None:
            continue
        texts = {key: value for key, value in match.groupdict().items() if value is not None}
        json = texts.pop("json", None)
        return Request(name, texts, None if json is None else orjson.loads(json))
    other = _UNSUPPORTED_PATTERN.match(trimmed)
    if other:
        raise UnsupportedCommand(f"the fake CLI does not implement {other[0]}, which a SimpleX CLI may accept")
    raise ValueError(PARSE_ERROR_TEXT)


def trim(text: str) -> str:
    """Return a command without the whitespace bytes at its end, like the CLI.

    The CLI trims bytes, not characters, and treats 0xA0 as whitespace: it cuts the last byte of ``à`` and leaves a
    ``?``.
    """
    kept = text.encode().rstrip(_BLANK_BYTES)
    try:
        return kept.decode()
    except UnicodeDecodeError as error:
        return kept[: error.start].decode() + "?"
