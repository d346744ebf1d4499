"""The commands that the stand-in understands, as the API reference writes them: read strictly, or not at all."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

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
}

_OPTIONS = {
    "live": r"(?P<live> live=on)?",
    "ttl": r"(?: ttl=(?P<ttl>\d+|default))?",
    "sign": r"(?P<sign> sign=on)?",
    "incognito": r"(?P<incognito> incognito=on)?",
    "messages": r"(?P<messages> messages=on)?",
    "pcc": r"(?P<pcc> pcc=on)?",
    "custom": r"(?: (?P<json>\{.*))?",
    "password": r"(?: (?P<json>\".*))?",
    "search": r"(?: search=(?P<rest>.+))?",
    "with": r"(?: @(?P<contact>\d+))?",
    "named": r"(?: (?P<rest>\S.*))?",
    "notify": r"(?P<quiet> notify=off)?",
    "relays": r"(?P<approved> approved_relays=on)?",
    "encrypt": r"(?: encrypt=(?P<encrypt>on|off))?",
    "inline": r"(?: inline=(?P<inline>on|off))?",
    "path": r"(?: (?P<rest>\S.*))?",
    "place": r"(?: (?P<place>after|before|around)=(?P<item>\d+))?",
    "invitation": r"(?: json (?P<json>\{.*))?",
    "links": r"(?: (?P<full>\S+)(?: (?P<short>\S+))?)?",
}

# In curly brackets: words, which stand alone; in angle brackets: options with the space before them.
_SYNTAX = """
create_address          /_address {user}
delete_address          /_delete_address {user}
show_address            /_show_address {user}
profile_address         /_profile_address {user} {switch}
address_settings        /_address_settings {user} {json}
send                    /_send {target}<live><ttl><sign> json {json}
send_text               /_send {target}<live><ttl><sign> text {rest}
update_item             /_update item {ref} {id}<live> json {json}
delete_item             /_delete item {ref} {ids} (?P<mode>broadcast|internal|internalMark|history)
delete_member_item      /_delete member item {group} {ids}
reaction                /_reaction {ref} {id} {switch} {json}
receive_file            /freceive {id}<relays><encrypt><inline><path>
cancel_file             /fcancel {id}
add_member              /_add {group} {number} {role}
join_group              /_join {group}
accept_member           /_accept member {group} {number} {role}
members_role            /_member role {group} {ids} {role}
block_members           /_block {group} {ids} blocked={switch}
remove_members          /_remove {group} {ids}<messages>
leave_group             /_leave {group}
list_members            /_members {group}
new_group               /_group {user}<incognito> {json}
new_public_group        /_public group {user}<incognito> {ids} {json}
group_relays            /_get relays {group}
add_relays              /_add relays {group} {ids}
allow_relay             /_relay allow {group}
group_profile           /_group_profile {group} {json}
create_link             /_create link {group} {role}
link_role               /_set link role {group} {role}
delete_link             /_delete link {group}
get_link                /_get link {group}
connect_plan            /_connect plan {user} {rest}
connect_user            /_connect {user}<incognito><links>
connect                 /connect {rest}
accept_contact          /_accept<incognito> {id}
reject_contact          /_reject {id}
list_contacts           /_contacts {user}
list_groups             /_groups {user}<with><named>
get_chats               /_get chats {user}<pcc> count={number} {json}
get_chat                /_get chat {ref}<place> count={number}<search>
delete_chat             /_delete {ref} (?P<mode>full|entity)<notify>
delete_chat             /_delete {ref} (?P<mode>messages)
group_custom            /_set custom {group}<custom>
contact_custom          /_set custom {contact}<custom>
member_contacts         /_set accept member contacts {user} {switch}
show_user               /user
create_user             /_create user {json}
list_users              /users
set_user                /_user {user}<password>
delete_user             /_delete user {user} del_smp={switch}<password>
update_profile          /_profile {user} {json}
contact_prefs           /_set prefs {contact} {json}
start                   /_start
stop                    /_stop
member_contact          /_create member contact {group} {number}
invite_member           /_invite member contact {contact}<invitation>
read_chat               /_read chat {ref}
version                 /version
subscriptions           /get subs
"""

UNREADABLE = "Failed reading: empty"


@dataclass(frozen=True, slots=True)
class Request:
    """A command that was read: its name here, its parameters as text, and the JSON at its end."""

    name: str
    texts: dict[str, str]
    json: Any = field(default=None)

    def __contains__(self, key: str) -> bool:
        return key in self.texts

    def text(self, key: str) -> str:
        """A parameter; empty where it was left out."""
        return self.texts.get(key, "")

    def number(self, key: str) -> int:
        """A parameter that is a number."""
        return int(self.texts[key])

    def numbers(self, key: str) -> list[int]:
        """A parameter that is a list of numbers."""
        return [int(part) for part in self.texts[key].split(",")]

    def is_on(self, key: str = "switch") -> bool:
        """Whether a switch is on, or an option was given."""
        return self.texts.get(key, "off") != "off"


def _pattern(syntax: str) -> re.Pattern[str]:
    named = re.sub(r"\{(\w+)\}", lambda found: _WORDS[found[1]], syntax)
    return re.compile(re.sub(r"(?<!\?P)<(\w+)>", lambda found: _OPTIONS[found[1]], named), re.DOTALL)


_RULES = [
    (name, _pattern(syntax)) for name, syntax in (line.split(maxsplit=1) for line in _SYNTAX.strip().splitlines())
]

NAMES = frozenset(name for name, _ in _RULES)


def read_command(text: str) -> Request:
    """What a command asks for. Raises :class:`ValueError` if it is none, or anything is left over."""
    stripped = text.rstrip()
    for name, pattern in _RULES:
        match = pattern.fullmatch(stripped)
        if match is None:
            continue
        texts = {key: value for key, value in match.groupdict().items() if value is not None}
        json = texts.pop("json", None)
        return Request(name, texts, None if json is None else orjson.loads(json))
    raise ValueError(UNREADABLE)
