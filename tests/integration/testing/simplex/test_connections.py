"""Connections that the bot begins, and links that it gives away."""

from __future__ import annotations

import pytest

from cometbot.testing import FakeSimplexCLI
from cometbot.testing.simplex import Person
from tests.integration.testing.simplex.conftest import Client

ADDRESSES = [
    "https://smp9.example.org/a#Key",
    "simplex:/a#Key",
    "simplex:/contact#/?v=2-7&smp=x",
    "https://simplex.chat/contact#/?v=1-2&smp=x",
]
INVITATIONS = [
    "https://smp9.example.org/i#Key/a#Key",
    "https://smp9.example.org:443/i#address",
    "simplex:/invitation#/?v=2-7&smp=smp%3A%2F%2Fcontact",
    "https://simplex.chat/invitation#/?v=1-2&smp=x",
]


@pytest.mark.parametrize("link", ADDRESSES)
def test_an_address_gets_an_invitation(link: str, client: Client) -> None:
    assert client(f"/connect {link}")["type"] == "sentInvitation"
    assert client.event("contactConnected")["contact"]["localDisplayName"] == "stranger"


@pytest.mark.parametrize("link", INVITATIONS)
def test_a_one_time_link_gets_a_confirmation(link: str, client: Client) -> None:
    assert client(f"/connect {link}")["type"] == "sentConfirmation"
    assert client.event("contactConnected")


def test_connecting_ends_with_a_contact(client: Client, cli: FakeSimplexCLI) -> None:
    link = cli.publish("alice")
    plan = client(f"/_connect plan 1 {link}")["connectionPlan"]
    assert plan == {"type": "contactAddress", "contactAddressPlan": {"type": "ok"}}
    assert client(f"/_connect 1 {link}")["type"] == "sentInvitation"
    assert client.event("contactConnecting")["contact"] == client.event("contactConnected")["contact"]
    plan = client(f"/_connect plan 1 {link}")["connectionPlan"]
    assert plan["contactAddressPlan"]["contact"]["localDisplayName"] == "alice"
    again = client(f"/connect {link}")
    assert (again["type"], again["contact"]["localDisplayName"]) == ("contactAlreadyExists", "alice")
    assert client("@alice hi")["type"] == "newChatItems"
    client("/d alice")
    assert client(f"/connect {link}")["type"] == "sentInvitation"


def test_a_group_link_ends_with_a_group(client: Client, cli: FakeSimplexCLI) -> None:
    link = cli.publish("Team", "group")
    assert client(f"/_connect plan 1 {link}")["connectionPlan"]["groupLinkPlan"] == {"type": "ok"}
    assert client(f"/connect {link}")["type"] == "sentInvitation"
    assert client.event("groupLinkConnecting")
    assert client.event("userJoinedGroup")["groupInfo"]["localDisplayName"] == "Team"
    plan = client(f"/_connect plan 1 {link}")["connectionPlan"]
    assert plan["groupLinkPlan"]["type"] == "known"


def test_a_one_time_link_of_the_bot_is_used_once(client: Client, cli: FakeSimplexCLI) -> None:
    link = client("/connect i")["connLinkInvitation"]["connShortLink"]
    plan = client(f"/_connect plan 1 {link}")["connectionPlan"]
    assert plan == {"type": "invitationLink", "invitationLinkPlan": {"type": "ownLink"}}
    alice = cli.follow(link, "alice")
    assert isinstance(alice, Person)
    assert client.event("contactConnected")["contact"]["localDisplayName"] == "alice"
    with pytest.raises(ValueError, match="no link of the bot"):
        cli.follow(link, "bob")


def test_links_of_the_address_and_of_groups_are_followed(client: Client, cli: FakeSimplexCLI) -> None:
    address = client("/ad")["connLinkContact"]["connFullLink"]
    client("/auto_accept on")
    assert isinstance(cli.follow(address, "alice"), Person)
    plan = client(f"/_connect plan 1 {address}")["connectionPlan"]
    assert plan == {"type": "contactAddress", "contactAddressPlan": {"type": "ownLink"}}
    client("/g #team")
    link = client("/create link #team")["groupLink"]["connLinkContact"]["connFullLink"]
    assert client(f"/_connect plan 1 {link}")["connectionPlan"]["groupLinkPlan"]["type"] == "ownLink"
    cli.follow(link, "bob")
    assert client.event("joinedGroupMember")["member"]["localDisplayName"] == "bob"
