"""What ``bot.send`` does while a handler runs: its message is one of the handler's, which is sent once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cometbot.asking import Asking
from cometbot.bot import Bot, Sender
from cometbot.broadcasts import Broadcast, BroadcastRequest
from cometbot.context import Context
from cometbot.context_access import change_job, find_home, make_broadcast_name
from cometbot.errors import BotError
from cometbot.event_loop import run_in_thread
from cometbot.events import JobEvent
from cometbot.jobs import JobChange
from cometbot.messages import Message
from cometbot.models import Conversation


class HandlerSender(Sender):
    """Sends what the handler of ``ctx`` passes to :meth:`Bot.send`.

    On the event's channel, a message of the same bot is sent by ``ctx.send``. Any other message is sent as outside of
    handlers, but not while the handler repeats what an earlier run has done. Inside ``ctx.once``, each is sent so.
    What names neither an app nor another channel stays in the event's app.
    ``get_asking`` returns the steps of the run, None if it has none yet. ``is_in_handler`` returns False once the
    handler has ended: threads that it has started may still send.
    """

    def __init__(
        self, ctx: Context, get_asking: Callable[[], Asking | None], is_in_handler: Callable[[], bool]
    ) -> None:
        self._ctx = ctx
        self._get_asking = get_asking
        self._is_in_handler = is_in_handler

    def send(
        self,
        bot: Bot,
        message: Message,
        *,
        user: str | None,
        group: str | None,
        conversation: Conversation | None,
        channel: str | None,
        app: str | None,
    ) -> str | None:
        """Send a message, or nothing if an earlier run has sent it. Return its id, None if it is the handler's."""
        asking = self._get_asking()
        if conversation is None and self._stays_in_app(channel, app):
            app = self._ctx.app
        if self._is_in_handler() and not (asking is not None and asking.is_inside_once):
            if bot is self._ctx.bot and self._belongs_to_handler(conversation, channel, app):
                to = conversation or self._ctx.conversation_with(
                    user=user or "", group=group or "", channel=channel or "", app=app or ""
                )
                self._ctx.send(message, to=to)
                return None  # an id would be there in some runs only
            if asking is not None and asking.is_repeating:
                return None
        return run_in_thread(
            bot.sender.send, bot, message, user=user, group=group, conversation=conversation, channel=channel, app=app
        )

    def _belongs_to_handler(self, conversation: Conversation | None, channel: str | None, app: str | None) -> bool:
        """Return True if a message of the handler's bot is one of the handler: on the event's channel, or of a job."""
        here = self._ctx.conversation.channel
        name = conversation.channel if conversation is not None else channel or here
        is_elsewhere = bool(app) and not self._ctx.app and not channel
        return (name == here and not is_elsewhere) or isinstance(self._ctx.event, JobEvent)

    def schedule(self, bot: Bot, change: JobChange) -> None:
        """Store a change of the jobs of ``bot``, unless an earlier run has done so."""
        asking = self._get_asking()
        if self._is_in_handler() and not (asking is not None and asking.is_inside_once):
            if bot is self._ctx.bot:
                change_job(self._ctx, change)
                return
            if asking is not None and asking.is_repeating:
                return
        run_in_thread(bot.sender.schedule, bot, change)

    def broadcast(self, bot: Bot, request: BroadcastRequest, users: object) -> Broadcast:
        """Store a broadcast, or return the one that an earlier run has stored."""
        asking = self._get_asking()
        if self._is_in_handler():
            if asking is not None and asking.is_inside_once and not request.name:
                raise BotError("broadcast: inside ctx.once it needs a name, so that a second call adds nothing")
            request = self._direct(bot, request)
            if asking is None or not asking.is_inside_once:
                is_repeating = asking is not None and asking.is_repeating
                is_repeated = is_repeating or not request.name
                name = request.name or make_broadcast_name(self._ctx)
                request = replace(request, name=name, is_repeated=is_repeated)
                users = () if is_repeating else users
        return run_in_thread(bot.sender.broadcast, bot, request, users)

    def _direct(self, bot: Bot, request: BroadcastRequest) -> BroadcastRequest:
        """Return a request that stays in the app of the event and, of the handler's bot, on its channel."""
        if self._stays_in_app(request.channel, request.app):
            return replace(request, app=self._ctx.app)
        home = find_home(self._ctx)
        if bot is not self._ctx.bot or home is None or request.app or request.channel:
            return request
        return replace(request, channel=home.channel)

    def _stays_in_app(self, channel: str | None, app: str | None) -> bool:
        """Return True if the event came from one of several apps, and neither channel nor app name anything else."""
        home = find_home(self._ctx)
        return home is not None and not app and (not channel or channel == home.channel) and bool(self._ctx.app)
