"""Passes on what people write to a few trusted readers, who answer by quoting it or with ``/answer NAME text``.

``FEEDBACK_READERS=4,7 cometbot simplex examples/feedback.py:bot``; ``/whoami`` shows a reader's number. On CometChat
the readers are UIDs. ``FEEDBACK`` names the SQLite file that remembers who has written.
"""

import os
import re
import sqlite3

from cometbot import Bot, Context, Media, Message, Text, direct

READERS = tuple(filter(None, os.environ.get("FEEDBACK_READERS", "").replace(" ", "").split(",")))
_WRITTEN = re.compile(r"(?P<name>[^\n(]+)(?: \((?P<uid>[^)\n]+)\))? writes:\n")


def copies(ctx: Context, heading: str = "") -> list[Message]:
    """Return what was written as new messages: its files, or its text. A file of SimpleX is received and sent anew."""
    made: list[Message] = []
    for file in ctx.attachments:
        caption = heading if made else f"{heading}{ctx.text}"
        if file.url.startswith("http"):
            made.append(Media(file.url, name=file.name, mime_type=file.mime_type, size=file.size, caption=caption))
            continue
        from cometbot.channels.simplex import file as simplex_file

        kind = {"image": "image", "video": "video", "audio": "voice"}.get(ctx.event.type, "file")
        made.append(simplex_file(str(ctx.client.receive(file)), kind, caption))
    return made or ([Text(f"{heading}{ctx.text}")] if ctx.text else [])


def make_bot(readers: tuple[str, ...] = READERS, path: str = ":memory:", name: str = "feedback") -> Bot:
    """Return a bot that forwards to ``readers`` (uids) and remembers in the file ``path`` who has written."""
    bot = Bot(name, description="Tell us what you think.")
    writers = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    writers.execute("CREATE TABLE IF NOT EXISTS writers (uid PRIMARY KEY, name)")

    def from_reader(ctx: Context) -> bool:
        return ctx.sender.uid in readers

    def find(word: str) -> list[str]:
        rows = writers.execute("SELECT uid, name FROM writers ORDER BY uid").fetchall()
        return [uid for uid, name in rows if word in (uid, name) or word.casefold() == name.casefold()]

    def answer(ctx: Context, to: str, messages: list[Message]) -> str:
        found = find(to)
        if len(found) != 1:
            return f"{to} may be any of {', '.join(found)}: answer the number." if found else f"{to} has not written."
        for message in messages:
            ctx.send(message, to=ctx.conversation_with(user=found[0]))
        return f"Sent to {to}."

    @bot.command("whoami", description="The number that the bot knows you by.")
    def whoami(ctx: Context) -> str:
        return ctx.sender.uid

    @bot.command("answer", hidden=True)
    def answer_by_name(ctx: Context, name: str, *, text: str) -> str:
        return answer(ctx, name, [Text(text)]) if from_reader(ctx) else "Only readers can answer."

    @bot.message(direct & from_reader)
    def answer_by_quoting(ctx: Context) -> str:
        written = _WRITTEN.match(ctx.message.quote.text) if ctx.message and ctx.message.quote else None
        if written is None:
            return "Quote what you answer, or write /answer NAME and your text."
        return answer(ctx, written["uid"] or written["name"], copies(ctx))

    @bot.message(direct)
    def forward(ctx: Context) -> str | None:
        writers.execute("INSERT OR REPLACE INTO writers VALUES (?, ?)", [ctx.sender.uid, ctx.sender.name])
        who = ctx.sender.name if len(find(ctx.sender.name)) == 1 else f"{ctx.sender.name} ({ctx.sender.uid})"
        for reader in readers:
            for message in copies(ctx, f"{who} writes:\n"):
                ctx.send(message, to=ctx.conversation_with(user=reader))
        return "Thank you! We read it." if ctx.user_state.increment("texts") == 1 else None

    return bot


bot = make_bot(path=os.environ.get("FEEDBACK", ":memory:"))
