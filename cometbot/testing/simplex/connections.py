"""Connections of the fake CLI: links that it creates, links that it follows, and new contacts."""

from __future__ import annotations

from cometbot.testing.simplex import api_objects
from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_grammar import Request
from cometbot.testing.simplex.groups import GroupCommands
from cometbot.testing.simplex.state import chat_refusal

UNKNOWN_PEER_NAME = "stranger"
"""The name of the person behind a link that was not published."""

_PLANS = {
    "invitation": ("invitationLink", "invitationLinkPlan"),
    "address": ("contactAddress", "contactAddressPlan"),
    "group": ("groupLink", "groupLinkPlan"),
}


class ConnectionCommands(GroupCommands):
    """The commands for new connections."""

    def do_connect_user(self, request: Request) -> JsonObject:
        """Create a link for one person, or connect to the owner of a link."""
        if "full" in request:
            return self._connect(request.text("full"), request.text("short"))
        pending = self._add_pending_connection(via_contact_uri=False)
        pending["connLinkInv"] = api_objects.link("invitation", pending["pccConnId"])
        return self.reply("invitation", connLinkInvitation=pending["connLinkInv"], connection=pending)

    def do_connect(self, request: Request) -> JsonObject:
        """Connect to the owner of a link."""
        return self._connect(request.text("rest"))

    def _connect(self, link: str, short: str = "") -> JsonObject:
        """Answer that the connection is pending; it completes after the answer."""
        kind = self._require_link_kind(link)
        known = self._find_linked_chat(link)
        if known is not None and "contact" in known:
            return self.reply("contactAlreadyExists", contact=known["contact"])
        pending = self._add_pending_connection(via_contact_uri=kind != "invitation")
        answer = self.reply("sentConfirmation" if kind == "invitation" else "sentInvitation", connection=pending)
        del self.state.pending[str(pending["pccConnId"])]
        name = self.state.links.get(link, {}).get("name", UNKNOWN_PEER_NAME)
        ref = self._join_by_link(name) if kind == "group" else self.add_connected_contact(name, "contactConnecting")
        for followed in (link, short):
            if followed:
                self.state.links[followed] = {"name": name, "ref": ref}
        return answer

    def add_connected_contact(self, name: str, first_event: str, *, is_bot: bool = False) -> str:
        """Add a contact, report its connection from ``first_event`` on, and return the chat."""
        contact = self.state.add_contact(name, is_bot=is_bot)
        for tag in (first_event, "contactSndReady", "contactConnected"):
            self.state.emit_event(tag, contact=contact)
        return f"@{contact['contactId']}"

    def _join_by_link(self, name: str) -> str:
        group = self.add_group({"displayName": name, "fullName": ""}, role="member")
        host = self.add_member(group, "host", role="owner")
        self.state.emit_event("groupLinkConnecting", groupInfo=group["info"], hostMember=host)
        self.state.emit_event("userJoinedGroup", groupInfo=group["info"], hostMember=host)
        return f"#{group['info']['groupId']}"

    def _add_pending_connection(self, *, via_contact_uri: bool) -> JsonObject:
        number = self.state.next_number("pending")
        pending = api_objects.pending_connection(number, self.state.now(), via_contact_uri=via_contact_uri)
        self.state.pending[str(number)] = pending
        return pending

    def do_connect_plan(self, request: Request) -> JsonObject:
        """Return the target of a link: an own chat, a known one, or a new person."""
        link = request.text("rest")
        kind, field = _PLANS[self._require_link_kind(link)]
        plan = {"type": kind, field: self._plan(link)}
        return self.reply("connectionPlan", connLink={"connFullLink": link}, connectionPlan=plan)

    def _plan(self, link: str) -> JsonObject:
        if self.is_own(link):
            group = next((item for item in self.state.groups.values() if _is_link_of(item["link"], link)), None)
            return {"type": "ownLink", **({} if group is None else {"groupInfo": group["info"]})}
        known = self._find_linked_chat(link)
        if known is None:
            return {"type": "ok"}
        return {"type": "known", **known}

    def _find_linked_chat(self, link: str) -> JsonObject | None:
        """Return the chat that a link led to before, or None if there is none any more."""
        ref = self.state.links.get(link, {}).get("ref", "")
        if not ref or ref[1:] not in (self.state.contacts if ref.startswith("@") else self.state.groups):
            return None
        info = self.state.chat_info(ref)
        if "contact" in info:
            return {"contact": info["contact"]}
        return {"groupInfo": info["groupInfo"], "groupUpdated": False, "linkOwners": []}

    def is_own(self, link: str) -> bool:
        """Return True if the fake CLI created this link and it still exists."""
        made = [pending.get("connLinkInv") for pending in self.state.pending.values()]
        made += [address["connLinkContact"] for address in self.state.addresses.values()]
        made += [(group["link"] or {}).get("connLinkContact") for group in self.state.groups.values()]
        return any(link in (links or {}).values() for links in made)

    def _require_link_kind(self, link: str) -> str:
        kind = api_objects.link_kind(link)
        if not kind:
            raise chat_refusal("invalidConnReq")
        return kind


def _is_link_of(group_link: JsonObject | None, link: str) -> bool:
    return group_link is not None and link in group_link["connLinkContact"].values()
