"""Bots: docs/protocols/cometchat.md, "Bots" and "Sending a bot message"."""

from __future__ import annotations

from typing import Any

from cometbot.simulator import messaging
from cometbot.simulator.rest.routes import ApiCall, RouteTable, confirmation, paginate
from cometbot.simulator.schemas import BotSchema
from cometbot.simulator.serializers import bot_json

routes = RouteTable()
_NEW_BOT = BotSchema()
_CHANGED_BOT = BotSchema(exclude=("uid",))


@routes.add("POST", "/bots", acting="no")
def create_bot(call: ApiCall) -> dict[str, Any]:
    """Create a bot and return it, including its password."""
    return bot_json(call.world.directory.create_bot(call.load_body(_NEW_BOT), call.world.now()))


@routes.add("GET", "/bots", acting="no")
def list_bots(call: ApiCall) -> dict[str, Any]:
    """Return the bots whose uid starts with ``searchKey``, ordered by uid."""
    query = call.load_page_query()
    prefix = query["searchKey"].lower()
    bots = sorted(call.world.directory.bots.values(), key=lambda bot: bot.uid)
    chosen = [bot for bot in bots if bot.is_ai_bot == query["isAIBot"] and bot.uid.startswith(prefix)]
    return paginate(chosen, query, bot_json)


@routes.add("GET", "/bots/<uid>", acting="no")
def get_bot(call: ApiCall, uid: str) -> dict[str, Any]:
    """Return one bot."""
    return bot_json(call.world.directory.bot(uid))


@routes.add("PUT", "/bots/<uid>", acting="no")
def update_bot(call: ApiCall, uid: str) -> dict[str, Any]:
    """Update a bot and return it."""
    body = call.load_body(_CHANGED_BOT, partial=True)
    return bot_json(call.world.directory.update_bot(uid, body, call.world.now()))


@routes.add("DELETE", "/bots/<uid>", acting="no")
def delete_bot(call: ApiCall, uid: str) -> dict[str, Any]:
    """Delete a bot, but not its user, and return a confirmation."""
    bot = call.world.directory.delete_bot(uid)
    return confirmation(f"Bot with UID {bot.uid} has been deleted successfully.")


@routes.add("POST", "/bots/<uid>/messages", acting="no")
def send_bot_message(call: ApiCall, uid: str) -> dict[str, Any]:
    """Send a message as the bot and return it."""
    bot = call.world.directory.bot(uid)
    return call.world.serializer.message(messaging.send(call.world, bot.uid, call.body), viewer=bot.uid)
