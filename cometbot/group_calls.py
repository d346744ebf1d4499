"""The calls of a context that concern a group: its members, and what moderators do."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Literal

from cometbot.errors import BotError
from cometbot.events import MessageEvent
from cometbot.lasting_calls import LastingCalls
from cometbot.messages import Operation
from cometbot.models import Conversation, Group, User, check_recipient
from cometbot.sinks import ReplySink


class GroupCalls(LastingCalls):
    """The calls of a context in groups: ``members``, ``kick``, ``ban``, ``unban`` and ``delete``."""

    @abstractmethod
    def _carry_out(self, operation: Operation, sink: ReplySink) -> int: ...

    @cached_property
    def sender_scope(self) -> str:
        """The scope of the sender in this group: ``owner``, ``admin``, ``moderator`` or ``participant``.

        ::

            if ctx.sender_scope not in ("owner", "admin", "moderator"):
                return "Only moderators can do that."

        It is what the event says (``ctx.sender.scope``); where the event does not say it, the platform is asked, once a
        run. Empty outside of groups, for a user who has left, and where ``capabilities.members`` is false. Raises a
        :class:`ChannelError` if the platform cannot be asked.
        """
        where = self._home_conversation
        if where is None or not where.is_group or not self.sender.uid:
            return ""
        if self.sender.scope and where == self.conversation:
            return self.sender.scope
        return self._sink.get_scope(where, self.sender) if self._sink.capabilities_of(where).members else ""

    def members(self, of: Group | Conversation | None = None) -> list[User]:
        """Return the members of a group with their scopes (:attr:`User.scope`), by default of this one.

        The bot itself is not among them. Each call asks the platform, with large groups page by page. Raises
        :class:`BotError` in a one-to-one conversation and where ``capabilities.members`` is false, and a
        :class:`ChannelError` if the platform cannot be asked, or takes longer than 30 s.
        """
        if isinstance(of, Group):
            check_recipient("", of.guid)
            of = self._sink.conversation(self.bot, "", of.guid, of.channel)
        where = of if of is not None else self._home_conversation
        where = _check_group("members", where)
        if not self._sink.capabilities_of(where).members:
            raise BotError(
                f"members: the channel {where.channel} does not list the members of a group; ask "
                "ctx.capabilities.members first"
            )
        return self._sink.members(where)

    def kick(self, user: User | str) -> None:
        """Remove a member, given as a :class:`User` or uid, from this group. The user may come back.

        Like a reply, it is stored before it is done, it is done in the order of the calls, and a handler that runs
        again does not do it twice. It does nothing for a user who is gone already. If the platform refuses it, because
        the bot is no moderator or the user is the owner, the log says so, and the request is a dead letter. Raises
        :class:`BotError` in a one-to-one conversation and where ``capabilities.moderate`` is false.
        """
        self._moderate("kick", user)

    def ban(self, user: User | str) -> None:
        """Ban a user from this group, like :meth:`kick`. The user cannot come back until :meth:`unban`.

        Raises :class:`BotError` where ``capabilities.ban`` is false.
        """
        self._moderate("ban", user)

    def unban(self, user: User | str) -> None:
        """Lift the ban of a user from this group, like :meth:`ban`. The user has to join again."""
        self._moderate("unban", user)

    def delete(self, message: MessageEvent | str | None = None) -> None:
        """Delete a message of this group for everybody: a message of :meth:`history`, an id, or the event's message.

        It is stored and done like :meth:`kick`. A message that is deleted already stays so. Raises :class:`BotError` in
        a one-to-one conversation, where ``capabilities.moderate`` is false, and for a message of another conversation.
        Use ``sent.delete()`` for what this handler has sent.
        """
        self._check_call("delete")
        where = self._check_moderation("delete")
        if isinstance(message, MessageEvent) and message.conversation != where:
            raise BotError("delete: the message is one of another conversation; only messages of this group can go")
        id = message.id if isinstance(message, MessageEvent) else self._message_id if message is None else message
        if not isinstance(id, str) or not id:
            raise BotError(f"delete: expected a message or its id, got {'none' if message is None else repr(message)}")
        self._carry_out(Operation(conversation=where, kind="delete", message_id=id), self._sink)

    def _moderate(self, kind: Literal["kick", "ban", "unban"], user: User | str) -> None:
        self._check_call(kind)
        where = self._check_moderation(kind)
        uid = user.uid if isinstance(user, User) else user
        if not isinstance(uid, str) or not uid:
            raise BotError(f"{kind}: expected a User or a uid, got {user!r}")
        self._carry_out(Operation(conversation=where, kind=kind, user=uid), self._sink)

    def _check_moderation(self, call: str) -> Conversation:
        """Return the group. Raises :class:`BotError` where there is none, and where the channel cannot do it."""
        where = _check_group(call, self._home_conversation)
        name = "ban" if call in ("ban", "unban") else "moderate"
        if not getattr(self._sink.capabilities_of(where), name):
            raise BotError(f"{call}: the channel {where.channel} cannot do that; ask ctx.capabilities.{name} first")
        return where


def _check_group(call: str, where: Conversation | None) -> Conversation:
    if where is None or not where.is_group:
        raise BotError(
            f"{call}: expected a group, and this is a one-to-one conversation; ask ctx.conversation.is_group"
        )
    return where
