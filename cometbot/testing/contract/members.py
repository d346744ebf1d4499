"""The part of the contract about groups: their members, and what moderators do."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import BotError, DeliveryError
from cometbot.messages import Capabilities
from cometbot.models import User
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase
from cometbot.testing.fakes.base import Actor, Unsupported
from cometbot.testing.replies import Replies


class MemberContract(ContractBase):
    """Tests of ``ctx.members``, ``ctx.sender_scope``, ``ctx.kick``, ``ctx.ban``, ``ctx.unban`` and ``ctx.delete``."""

    @pytest.fixture
    def learned(self, bot: Bot) -> list[Any]:
        """Return what the bot learns from its commands ``scope`` and ``list``; others remove and delete."""
        learned: list[Any] = []

        @bot.command("scope")
        def scope(ctx: Context) -> None:
            learned.append(ctx.sender_scope)

        @bot.command("list")
        def list_members(ctx: Context) -> None:
            learned.append(ctx.members())

        @bot.command("kick")
        def kick(ctx: Context, uid: str) -> str:
            ctx.reply("Removing.")
            ctx.kick(uid)
            return "Removed."

        @bot.command("ban")
        def ban(ctx: Context, uid: str) -> None:
            ctx.ban(User(uid))

        @bot.command("unban")
        def unban(ctx: Context, uid: str) -> None:
            ctx.unban(uid)

        @bot.command("delete")
        def delete(ctx: Context) -> None:
            ctx.delete()

        @bot.command("twice")
        def delete_twice(ctx: Context) -> str:
            assert ctx.message is not None
            ctx.delete(ctx.message)
            ctx.delete(ctx.message.id)
            return "Deleted."

        @bot.fallback
        def other(ctx: Context) -> str:
            return "Heard."

        return learned

    @pytest.fixture
    def moderated(self, group_client: BotClient, capabilities: Capabilities, learned: list[Any]) -> BotClient:
        """Return maria in a group with ben. Skip the test where nobody can be removed."""
        if not capabilities.moderate:
            pytest.skip("this platform has no moderators")
        assert not self._ben_in_group(group_client).send("/scope")
        return group_client

    def _ben_in_group(self, client: BotClient) -> BotClient:
        """Return a client for the user ben in the same group."""
        return client.as_user("ben", group="ops-room")

    def _uid_in_group(self, client: BotClient) -> str:
        """Return the uid of a user in the group."""
        return client.fake.uid(client.user, "ops-room")

    def test_members_have_scopes(self, group_client: BotClient, capabilities: Capabilities, learned: list[Any]) -> None:
        if not capabilities.members:
            pytest.skip("this platform does not list members")
        ben = self._ben_in_group(group_client)
        ben.send("/scope")
        group_client.send("/scope")
        group_client.send("/list")

        scopes = {member.uid: member.scope for member in learned[-1]}
        assert learned[:2] == ["participant", "participant"]
        assert scopes[self._uid_in_group(ben)] == scopes[self._uid_in_group(group_client)] == "participant"
        assert not set(group_client.bot.ids) & scopes.keys()

    @pytest.mark.parametrize("scope", ["owner", "admin", "moderator"])
    def test_scope_of_the_sender_is_known(
        self, group_client: BotClient, capabilities: Capabilities, learned: list[Any], scope: Any
    ) -> None:
        if not capabilities.members:
            pytest.skip("this platform does not list members")
        try:
            group_client.set_scope(scope)
        except Unsupported:
            pytest.skip("users of this platform have no such scope")
        group_client.send("/scope")
        group_client.send("/list")

        assert group_client.scope == scope
        assert learned[0] == scope
        assert {member.uid: member.scope for member in learned[1]}[self._uid_in_group(group_client)] == scope

    @pytest.mark.parametrize("command", ["/list", "/kick ben", "/ban ben", "/unban ben", "/delete"])
    def test_one_to_one_conversation_has_no_members(self, client: BotClient, learned: list[Any], command: str) -> None:
        client.send("/scope")
        assert learned == [""]
        with pytest.raises(BotError, match="one-to-one"):
            client.send(command)

    @pytest.mark.parametrize(
        ("command", "capability"),
        [("/list", "members"), ("/kick ben", "moderate"), ("/ban ben", "ban"), ("/delete", "moderate")],
    )
    def test_what_the_channel_cannot_do_raises(
        self, group_client: BotClient, capabilities: Capabilities, learned: list[Any], command: str, capability: str
    ) -> None:
        if getattr(capabilities, capability):
            pytest.skip("this platform can do that")
        with pytest.raises(BotError, match=rf"ctx\.capabilities\.{capability}"):
            group_client.send(command)

    def test_member_is_removed_between_two_replies(self, moderated: BotClient) -> None:
        ben = self._ben_in_group(moderated)
        assert ben.scope == "participant"

        assert moderated.send(f"/kick {self._uid_in_group(ben)}").texts == ["Removing.", "Removed."]
        assert ben.scope == ""
        assert moderated.scope == "participant"

    def test_user_who_is_gone_is_no_error(self, moderated: BotClient) -> None:
        uid = self._uid_in_group(self._ben_in_group(moderated))
        for _ in range(2):
            assert moderated.send(f"/kick {uid}").texts == ["Removing.", "Removed."]

        assert moderated.dead_letters == []

    def test_removed_user_may_come_back(self, moderated: BotClient) -> None:
        ben = self._ben_in_group(moderated)
        moderated.send(f"/kick {self._uid_in_group(ben)}")

        assert ben.send("I am back").texts == ["Heard."]
        assert ben.scope == "participant"

    def test_banned_user_gets_no_answer_until_the_ban_is_lifted(
        self, moderated: BotClient, capabilities: Capabilities
    ) -> None:
        if not capabilities.ban:
            pytest.skip("nobody can be banned here")
        ben, replies = self._ben_in_group(moderated), Replies()
        uid = self._uid_in_group(ben)
        for _ in range(2):
            moderated.send(f"/ban {uid}")
        with suppress(BotError):  # what the fake of most platforms says
            replies = ben.send("hello")
        assert not replies
        for _ in range(2):
            moderated.send(f"/unban {uid}")

        assert ben.send("hello").texts == ["Heard."]
        assert moderated.dead_letters == []

    def test_message_is_deleted(self, moderated: BotClient) -> None:
        ben = self._ben_in_group(moderated)
        ben.send("hello")
        assert not ben.is_deleted
        ben.send("/delete")
        assert ben.is_deleted

    def test_message_that_is_deleted_already_is_no_error(self, moderated: BotClient) -> None:
        ben = self._ben_in_group(moderated)
        assert ben.send("/twice").texts == ["Deleted."]
        assert ben.is_deleted
        assert moderated.dead_letters == []

    def test_bot_that_may_not_is_refused(self, moderated: BotClient) -> None:
        ben = self._ben_in_group(moderated)
        try:
            moderated.fake.set_bot_scope("ops-room", "participant")
        except Unsupported:
            pytest.skip("the bot may do everything here")
        with pytest.raises(DeliveryError):
            moderated.send(f"/kick {self._uid_in_group(ben)}")
        assert moderated.said().texts == ["Removing.", "Removed."]
        with pytest.raises(DeliveryError):
            ben.send("/delete")

        assert ben.scope == "participant"
        assert not ben.is_deleted
        assert [letter.is_reply for letter in moderated.dead_letters] == [True, True]

    def test_owner_is_not_removed(self, moderated: BotClient) -> None:
        host = self._find_owner(moderated)
        with pytest.raises(DeliveryError):
            moderated.send(f"/kick {host}")

        where = moderated.fake.conversation(Actor(moderated.user, "ops-room"))
        assert moderated.channel.get_scope(where, User(host)) == "owner"
        assert [letter.is_reply for letter in moderated.dead_letters] == [True]

    def _find_owner(self, client: BotClient) -> str:
        """Return the uid of the group's owner: ben, or who is it already."""
        ben = self._ben_in_group(client)
        try:
            ben.set_scope("owner")
        except Unsupported:
            members = client.channel.members(client.conversation)
            return next(member.uid for member in members if member.scope == "owner")
        return self._uid_in_group(ben)
