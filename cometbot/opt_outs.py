"""The words with which users end and begin to get broadcasts."""

from __future__ import annotations

from cometbot.broadcasts import OPTED_OUT_KEY
from cometbot.commands import parse_call
from cometbot.context import Context
from cometbot.dialogs import DIALOGS_KEY
from cometbot.events import ActionEvent, MessageEvent
from cometbot.quick_replies import QUICK_REPLIES_KEY, resolve_quick_reply
from cometbot.state import pop_reserved, set_reserved
from cometbot.text import normalize_text

OPT_OUT = "opt_out"
"""The mark of a message that opts out or in, recorded in place of its handler."""


def find_choice(ctx: Context) -> bool | None:
    """Return True if the event opts out of broadcasts, False if it opts in; None for any other.

    In one-to-one conversations, it is a word of the bot's, alone or as a command, or a press of a button whose action
    is such a word. A word that the bot has a handler for, or that answers a question, is none.
    """
    opt_outs = ctx.bot.opt_outs
    if not opt_outs.words or ctx.conversation.is_group:
        return None
    word = _find_word(ctx)
    return word in opt_outs.out if word in opt_outs.words and not _is_handled(ctx, word) else None


def opt(ctx: Context, *, out: bool) -> str | None:
    """Store that the user gets no broadcasts, or gets them again. Return the answer of the bot, None for none."""
    opt_outs = ctx.bot.opt_outs
    if not out:
        pop_reserved(ctx.user_state, OPTED_OUT_KEY)
        return opt_outs.back_text
    set_reserved(ctx.user_state, OPTED_OUT_KEY, True)
    return opt_outs.out_text and opt_outs.out_text.replace("{opt_in}", opt_outs.back[0])


def _find_word(ctx: Context) -> str:
    event = ctx.event
    if isinstance(event, ActionEvent):
        return normalize_text(event.name)
    if not isinstance(event, MessageEvent) or event.type != "text":
        return ""
    call = parse_call(ctx.text)
    is_command = call is not None and call.has_slash and not call.line.strip()
    return normalize_text(call.name if call is not None and is_command else ctx.text)


def _is_handled(ctx: Context, word: str) -> bool:
    """Return True if something of the author's is named so: a command, an action, or a choice that is on offer."""
    bot = ctx.bot
    if bot.routes.has_command(word):
        return True
    if isinstance(ctx.event, ActionEvent):
        return bot.routes.find_action_handler(ctx) is not None
    assert isinstance(ctx.event, MessageEvent)
    asked = [item for item in ctx.state.get(DIALOGS_KEY) or () if item["user"] == ctx.sender_id]
    offers = [*(ctx.state.get(QUICK_REPLIES_KEY) or ()), *(offer for item in asked for offer in item["offers"])]
    chosen = resolve_quick_reply(ctx.event, ctx.text, offers)
    return chosen is not None and normalize_text(chosen.name) not in bot.opt_outs.words
