"""Bots: docs/protocols/cometchat.md, "Bots" and "Sending a bot message"."""

from __future__ import annotations

from cometbot.simulator import messaging
from cometbot.simulator.rest.routes import Answer, Call, Routes, answer, done, paged
from cometbot.simulator.schemas import BotSchema
from cometbot.simulator.shapes import bot_json

routes = Routes()
_NEW_BOT = BotSchema()
_CHANGED_BOT = BotSchema(exclude=("uid",))


@routes.add("POST", "/bots", acting="no")
def create_bot(call: Call) -> Answer:
    """The new bot, password and all."""
    return answer(bot_json(call.world.directory.create_bot(call.read(_NEW_BOT), call.world.now())))


@routes.add("GET", "/bots", acting="no")
def list_bots(call: Call) -> Answer:
    """The bots whose uid starts with ``searchKey``, by uid."""
    query = call.page()
    prefix = query["searchKey"].lower()
    bots = sorted(call.world.directory.bots.values(), key=lambda bot: bot.uid)
    chosen = [bot for bot in bots if bot.is_ai_bot == query["isAIBot"] and bot.uid.startswith(prefix)]
    return paged(chosen, query, bot_json)


@routes.add("GET", "/bots/<uid>", acting="no")
def get_bot(call: Call, uid: str) -> Answer:
    """One bot."""
    return answer(bot_json(call.world.directory.bot(uid)))


@routes.add("PUT", "/bots/<uid>", acting="no")
def update_bot(call: Call, uid: str) -> Answer:
    """The bot as changed."""
    body = call.read(_CHANGED_BOT, partial=True)
    return answer(bot_json(call.world.directory.update_bot(uid, body, call.world.now())))


@routes.add("DELETE", "/bots/<uid>", acting="no")
def delete_bot(call: Call, uid: str) -> Answer:
    """A confirmation; the user stays."""
    bot = call.world.directory.delete_bot(uid)
    return done(f"Bot with UID {bot.uid} has been deleted successfully.")


@routes.add("POST", "/bots/<uid>/messages", acting="no")
def send_bot_message(call: Call, uid: str) -> Answer:
    """The message that the bot sent."""
    bot = call.world.directory.bot(uid)
    return answer(call.world.shapes.message(messaging.send(call.world, bot.uid, call.body), viewer=bot.uid))
