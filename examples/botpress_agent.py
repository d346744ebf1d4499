"""An agent that speaks the Chat API, such as one built at Botpress, behind a CometChat bot: questions in, answers back.

``AGENT_URL`` is the agent's URL (``https://chat.botpress.cloud/<webhook id>``). With ``AGENT_ENCRYPTION_KEY`` the keys
of its users are signed here; without, the agent's server makes them, and each user's is remembered.
"""

from __future__ import annotations

import os

from cometbot import Bot, ChannelError, ConfigurationError, Context, Media, Message, Text, direct
from cometbot.channels.chat_api.client import ChatClient
from cometbot.channels.chat_api.payloads import to_messages, to_payloads

bot = Bot("agent", description="Answers what the agent answers.", handler_timeout=120)


def connect(ctx: Context) -> ChatClient:
    """A client that speaks to the agent as the sender."""
    url, secret = os.environ.get("AGENT_URL", ""), os.environ.get("AGENT_ENCRYPTION_KEY", "")
    if not url:
        raise ConfigurationError("AGENT_URL is not set; set it to the agent's URL, and start the bot again")
    if secret:
        return ChatClient.connect(url, user_id=ctx.sender.uid, encryption_key=secret)
    client = ChatClient.connect(url, user_key=ctx.user_state.get("agent_key", ""))
    ctx.user_state["agent_key"] = client.user_key
    return client


@bot.message(direct)
def ask(ctx: Context) -> None:
    """Say to the agent what was said here, and here what it answers."""
    said: list[Message] = [Media(file.url, name=file.name) for file in ctx.attachments]
    said += [Text(ctx.text)] if ctx.text else []
    client = connect(ctx)
    try:
        place = client.get_or_create_conversation(f"cometchat-{ctx.sender.uid}").id
        with client.listen_conversation(place) as signals:
            for message in said:
                for payload in to_payloads(message):
                    client.create_message(place, payload)
            for answer in signals.answers(timeout=60, quiet=2):
                for reply in to_messages(answer.payload):
                    ctx.reply(reply)
    finally:
        client.close()


@bot.error(ChannelError)
def apologise(ctx: Context, error: ChannelError) -> str:
    return "The agent cannot be reached just now. Please try again in a moment."
